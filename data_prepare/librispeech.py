"""Prepare LibriSpeech: read English books, 16 kHz FLAC, one file an utterance.

Layout: `<subset>/<speaker>/<chapter>/<speaker>-<chapter>-<n>.flac` and
`<speaker>-<chapter>.trans.txt` with lines `<utterance id> <TEXT>`.
Source: V. Panayotov et al., "LibriSpeech: an ASR corpus based on public domain audio books",
ICASSP 2015, https://www.openslr.org/12.

    python -m data_prepare.librispeech /corpora/LibriSpeech work/librispeech --num_jobs 8 \
        --merge train=train-clean-100+train-clean-360+train-other-500 valid=dev-clean
"""

import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from data_prepare.command_line import run_command
from data_prepare.corpus_plan import Division
from data_prepare.engine import prepare_corpus
from data_prepare.filters import Rejection
from data_prepare.options import CommonOptions, make_options, takes_options
from data_prepare.prepared import PreparedCorpus
from data_prepare.sources import RecordingHeaders, Scan, fingerprint_files, place
from data_prepare.utterance import Utterance

SUBSETS = (
    "train-clean-100",
    "train-clean-360",
    "train-other-500",
    "dev-clean",
    "dev-other",
    "test-clean",
    "test-other",
)
_TRANSCRIPTS = "*/*/*.trans.txt"


@dataclass(frozen=True, kw_only=True)
class LibriSpeechOptions(CommonOptions):
    """Options of `prepare_librispeech`; nothing is left out by length or by rate of characters.

    The recipes take the corpus whole, as their sources do, so that one preparation serves all;
    what trains on shorter utterances leaves out the others by itself (`max_utterance_s`).

    Arguments
    ---------
    subsets : tuple[str, ...]
        Subsets to take; with none given, all that are there.
    merge : dict[str, str]
        Splits to make of several subsets: `train=train-clean-100+train-clean-360`. Subsets that
        are not named become splits of their own name.
    """

    subsets: tuple[str, ...] = ()
    merge: dict[str, str] = field(default_factory=dict)
    min_duration_s: float = 0.0
    min_chars_per_s: float = 0.0
    max_chars_per_s: float = 1000.0

    def faults(self) -> list[str]:
        """Return what is wrong with the values, one line a fault."""
        faults = super().faults()
        merged = [name for names in self.merge.values() for name in names.split("+")]
        faults += [f"no subset {n!r}" for n in {*self.subsets, *merged} - set(SUBSETS)]
        faults += [f"merge takes {n!r} twice" for n, c in Counter(merged).items() if c > 1]
        return faults

    @property
    def split_of_subset(self) -> dict[str, str]:
        """Split of each subset that `merge` names."""
        return {name: split for split, names in self.merge.items() for name in names.split("+")}


@dataclass(frozen=True)
class ChapterTask:
    """A chapter: its transcript and its split."""

    id: str
    transcript: str
    subset: str
    split: str


@dataclass(frozen=True)
class LibriSpeechSource:
    """LibriSpeech on disk.

    Arguments
    ---------
    root : Path
        The folder with the subsets.
    splits : dict[str, str]
        Subset to split.
    """

    root: Path
    splits: dict[str, str]

    def tasks(self) -> Sequence[ChapterTask]:
        """Return the chapters."""
        return [
            ChapterTask(path.name.removesuffix(".trans.txt"), str(path), subset, split)
            for subset, split in self.splits.items()
            for path in sorted((self.root / subset).glob(_TRANSCRIPTS))
        ]

    def read(self, task: ChapterTask) -> Scan:
        """Read a chapter's transcript and the headers of its recordings."""
        scan, headers = Scan(), RecordingHeaders()
        path = Path(task.transcript)
        recordings = {file.stem for file in path.parent.glob("*.flac")}
        seen: set[str] = set()
        for number, line in enumerate(path.read_text(encoding="utf-8").split("\n"), start=1):
            identifier, _, text = line.strip().partition(" ")
            if not identifier:
                continue
            if identifier in seen:
                detail = f"{path.name} line {number}: the id occurs twice"
                scan.rejected.append(Rejection(identifier, "duplicate_id", detail))
                continue
            seen.add(identifier)
            recording = path.with_name(f"{identifier}.flac")
            utterance = Utterance(
                id=identifier,
                recording=str(recording.relative_to(self.root)),
                start_s=0.0,
                end_s=None,
                text=" ".join(text.split()),
                speaker=task.id.split("-")[0],
                group=task.id,
                category="other" if task.subset.endswith(("other", "other-500")) else "clean",
                split=task.split,
            )
            place(scan, utterance, headers.get(recording))
        for name in sorted(recordings - seen):
            detail = f"no line in {path.name}"
            scan.rejected.append(Rejection(name, "missing_transcript", detail))
        return scan

    def fingerprint(self) -> str:
        """Return a digest over the transcripts."""
        return fingerprint_files((Path(task.transcript) for task in self.tasks()), root=self.root)


@takes_options(LibriSpeechOptions)
def prepare_librispeech(
    data_folder: str | Path, out_folder: str | Path, **options: Any
) -> PreparedCorpus:
    """Turn LibriSpeech into shards; whichever of its seven subsets are there.

    Categories are "clean" and "other"; a group is a chapter. It is a ValueError if options are
    wrong, too much is rejected, or another preparation is in the way.

    Arguments
    ---------
    data_folder : str | Path
        The folder that holds the subsets, or LibriSpeech/ with them.
    out_folder : str | Path
        Where the prepared corpus goes.
    **options : Any
        See `LibriSpeechOptions` and `data_prepare.options.CommonOptions`.

    Returns
    -------
    PreparedCorpus
        A split for each subset or merged set.

    Raises
    ------
    FileNotFoundError
        If there is no subset, or one that was asked for is absent or without transcripts.
    """
    checked = make_options(LibriSpeechOptions, options, where="prepare_librispeech")
    root = Path(data_folder).resolve()
    if (root / "LibriSpeech").is_dir():
        root = root / "LibriSpeech"
    split_of = checked.split_of_subset
    wanted = checked.subsets or SUBSETS
    found = [name for name in wanted if (root / name).is_dir()]
    absent = sorted({*checked.subsets, *split_of} - set(found))
    if absent or not found:
        raise FileNotFoundError(
            f"prepare_librispeech: {root} lacks {', '.join(absent or wanted)}; expected folders of "
            "that name; give the folder with the subsets, or name fewer of them."
        )
    source = LibriSpeechSource(root, {name: split_of.get(name, name) for name in found})
    if not source.tasks():
        raise FileNotFoundError(
            f"prepare_librispeech: no transcript in {root} ({', '.join(found)}); expected "
            f"{_TRANSCRIPTS} in each; unpack the corpus again."
        )
    return prepare_corpus(
        source, Path(out_folder), name="librispeech", options=checked, division=Division()
    )


if __name__ == "__main__":
    from data_prepare import librispeech  # workers know this module by its full name

    sys.exit(run_command(librispeech.prepare_librispeech, sys.argv[1:]))
