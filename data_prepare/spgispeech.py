"""Prepare SPGISpeech: slices of earnings calls, 16 kHz WAV, one file an utterance.

Layout: `train.csv` and `val.csv` with the columns `wav_filename|wav_filesize|transcript`, and
`<train or val>/<call>/<n>.wav`. The corpus names no speakers: a call counts as one speaker.
Source: P. O'Neill et al., "SPGISpeech: 5,000 hours of transcribed financial audio for fully
formatted end-to-end speech recognition", Interspeech 2021.

    python -m data_prepare.spgispeech /corpora/SPGISpeech work/spgispeech --num_jobs 8
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from data_prepare.command_line import run_command
from data_prepare.corpus_plan import Division
from data_prepare.engine import prepare_corpus
from data_prepare.filters import Rejection
from data_prepare.options import CommonOptions, make_options, takes_options
from data_prepare.prepared import PreparedCorpus
from data_prepare.sources import RecordingHeaders, Scan, fingerprint_files, place
from data_prepare.utterance import Utterance

SPLIT_OF_FILE = {"train": "train", "val": "valid"}
_HEADER = b"wav_filename|wav_filesize|transcript"
_TASK_BYTES = 1 << 16


@dataclass(frozen=True, kw_only=True)
class SpgiSpeechOptions(CommonOptions):
    """Options of `prepare_spgispeech`.

    Arguments
    ---------
    splits : tuple[str, ...]
        Splits to take of "train" and "valid"; with none given, those that are there.
    """

    splits: tuple[str, ...] = ()

    def faults(self) -> list[str]:
        """Return what is wrong with the values, one line a fault."""
        known = set(SPLIT_OF_FILE.values())
        return super().faults() + [f"no split {name!r}" for name in set(self.splits) - known]


@dataclass(frozen=True)
class LinesTask:
    """The lines of a CSV that start in [first_byte, last_byte)."""

    id: str
    name: str
    first_byte: int
    last_byte: int


@dataclass(frozen=True)
class SpgiSpeechSource:
    """SPGISpeech on disk.

    Arguments
    ---------
    root : Path
        The folder with the CSV files.
    names : tuple[str, ...]
        CSV files to take, without their suffix.
    """

    root: Path
    names: tuple[str, ...]

    def tasks(self) -> Sequence[LinesTask]:
        """Return pieces of the CSV files."""
        tasks = []
        for name in self.names:
            num_bytes = (self.root / f"{name}.csv").stat().st_size
            for first in range(0, num_bytes, _TASK_BYTES):
                last = min(first + _TASK_BYTES, num_bytes)
                tasks.append(LinesTask(f"{name}.csv bytes {first} to {last}", name, first, last))
        return tasks

    def read(self, task: LinesTask) -> Scan:
        """Read a piece of a CSV and the headers of its recordings."""
        scan, headers = Scan(), RecordingHeaders()
        for offset, line in self._lines(task):
            cells = line.rstrip(b"\r\n").split(b"|", 2)
            try:
                name, _, text = (cell.decode("utf-8") for cell in cells)
            except ValueError:  # too few cells, or not UTF-8
                where = f"{task.name}.csv byte {offset}"
                detail = "expected UTF-8 wav_filename|wav_filesize|transcript"
                scan.rejected.append(Rejection(where, "broken_line", detail))
                continue
            path = PurePosixPath(name)
            group = str(path.parent)
            utterance = Utterance(
                id=str(path.with_suffix("")).replace("/", "-"),
                recording=str(PurePosixPath(task.name) / path),
                start_s=0.0,
                end_s=None,
                text=" ".join(text.split()),
                speaker=group,
                group=group,
                category="",
                split=SPLIT_OF_FILE[task.name],
            )
            place(scan, utterance, headers.get(self.root / utterance.recording))
        return scan

    def fingerprint(self) -> str:
        """Return a digest over the CSV files."""
        return fingerprint_files((self.root / f"{n}.csv" for n in self.names), root=self.root)

    def _lines(self, task: LinesTask) -> list[tuple[int, bytes]]:
        """Return (offset, line) of the lines that start in the task's bytes, without header."""
        lines = []
        with (self.root / f"{task.name}.csv").open("rb") as file:
            if task.first_byte:
                file.seek(task.first_byte - 1)
                file.readline()  # the rest of a line that started before
            while (offset := file.tell()) < task.last_byte:
                line = file.readline()
                if line.strip() and offset:
                    lines.append((offset, line))
        return lines


@takes_options(SpgiSpeechOptions)
def prepare_spgispeech(
    data_folder: str | Path, out_folder: str | Path, **options: Any
) -> PreparedCorpus:
    """Turn SPGISpeech into shards: splits train (train.csv) and valid (val.csv).

    A group is a call. It is a ValueError if a CSV has other columns, options are wrong, too much
    is rejected, or another preparation is in the way.

    Arguments
    ---------
    data_folder : str | Path
        The folder with train.csv, val.csv, train/ and val/.
    out_folder : str | Path
        Where the prepared corpus goes.
    **options : Any
        See `SpgiSpeechOptions` and `data_prepare.options.CommonOptions`.

    Returns
    -------
    PreparedCorpus
        The splits.

    Raises
    ------
    FileNotFoundError
        If there is no CSV file, or one that was asked for is absent.
    """
    checked = make_options(SpgiSpeechOptions, options, where="prepare_spgispeech")
    root = Path(data_folder).resolve()
    wanted = [n for n, s in SPLIT_OF_FILE.items() if s in (checked.splits or (s,))]
    found = [name for name in wanted if (root / f"{name}.csv").is_file()]
    if not found or (checked.splits and found != wanted):
        files = ", ".join(f"{name}.csv" for name in wanted if name not in found)
        raise FileNotFoundError(
            f"prepare_spgispeech: {root} lacks {files}; expected the transcripts there; give the "
            "folder that holds them."
        )
    for name in found:
        _check_header(root / f"{name}.csv")
    return prepare_corpus(
        SpgiSpeechSource(root, tuple(found)),
        Path(out_folder),
        name="spgispeech",
        options=checked,
        division=Division(),
    )


def _check_header(path: Path) -> None:
    with path.open("rb") as file:
        header = file.readline(4096).removeprefix(b"\xef\xbb\xbf").strip()
    if header != _HEADER:
        raise ValueError(
            f"prepare_spgispeech: {path} starts with {header[:80]!r}; expected the header "
            f"{_HEADER.decode()}; give the corpus's own file."
        )


if __name__ == "__main__":
    from data_prepare import spgispeech  # workers know this module by its full name

    sys.exit(run_command(spgispeech.prepare_spgispeech, sys.argv[1:]))
