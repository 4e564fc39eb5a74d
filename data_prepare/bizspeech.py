"""Prepare BizSpeech: earnings calls of about an hour, one recording and one transcript a call.

Layout: `<event id>/recording.<wav or mp3>`, `<event id>/transcript_timealigned.txt` and
`BizSpeech_MetaData.json`.
Source: A. Umashankar, "Large Scale Speech Recognition with Deep Learning", master's thesis,
Aalto University, 2021.

    python -m data_prepare.bizspeech /corpora/BizSpeech work/bizspeech --num_jobs 16 \
        --hours_wanted 8000 --nonnative_share 0.3 --qna_share 0.6

Speakers: an id of the column SpeakerID is taken for one person in the whole corpus (the metadata
name a CEO by such an id), so calls that share a speaker come into the same split. Ids that name
nobody ("Operator", "Unidentified Analyst", see `generic_speakers`) count as a speaker of their
own in each call.
"""

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from data_prepare.bizspeech_source import (
    TRANSCRIPT_NAME,
    BizSpeechSource,
    EventTask,
    ReadingRules,
)
from data_prepare.command_line import run_command
from data_prepare.corpus_plan import Division
from data_prepare.engine import prepare_corpus
from data_prepare.options import SplitOptions, make_options, takes_options
from data_prepare.prepared import PreparedCorpus
from data_prepare.scan import stable_hash
from data_prepare.selection import Selection

METADATA_NAME = "BizSpeech_MetaData.json"
_NATIVE_PARTITION = "5"
_WHERE = "prepare_bizspeech"


@dataclass(frozen=True, kw_only=True)
class BizSpeechOptions(SplitOptions):
    """Options of `prepare_bizspeech`.

    Arguments
    ---------
    metadata : Path | None
        The metadata file; BizSpeech_MetaData.json in the data folder if not given.
    hours_wanted : float | None
        Hours of audio in all splits together; everything if not given.
    nonnative_share : float | None
        Share of the hours from calls of non-native speakers, 0 to 1; as it comes if not given.
    qna_share : float | None
        Share of the hours from questions and answers, 0 to 1; as it comes if not given.
    ceo_only : bool
        Keep the CEO's sentences only.
    include_file : Path | None
        JSON file with the calls to take: {name: [event id, ...], ...} or [event id, ...].
    include_keys : tuple[str, ...]
        Names in that file; all if not given.
    strict_include : bool
        Take the included calls only; otherwise they come first and others fill up to the hours.
    exclude_files : tuple[Path, ...]
        JSON files with calls to leave out, of the same form.
    exclude_keys : tuple[str, ...]
        Names in those files; all if not given.
    audio_types : tuple[str, ...]
        File types of recordings; where a call has several, the first one here is taken.
    generic_speakers : tuple[str, ...]
        Speaker ids that name nobody, with * and ? as in file names, in any case.
    max_overhang_s : float
        An utterance may end this much after the recording does; it is cut there.
    """

    metadata: Path | None = None
    hours_wanted: float | None = None
    nonnative_share: float | None = None
    qna_share: float | None = None
    ceo_only: bool = False
    include_file: Path | None = None
    include_keys: tuple[str, ...] = ()
    strict_include: bool = True
    exclude_files: tuple[Path, ...] = ()
    exclude_keys: tuple[str, ...] = ()
    audio_types: tuple[str, ...] = ("wav", "mp3", "flac", "ogg")
    generic_speakers: tuple[str, ...] = (
        "", "-", "0", "-1", "none", "nan", "null", "operator*", "unidentified*", "unknown*",
    )  # fmt: skip
    max_overhang_s: float = 0.1
    min_duration_s: float = 1.0
    reject_texts: tuple[str, ...] = ("Operator Instructions",)

    def faults(self) -> list[str]:
        """Return what is wrong with the values, one line a fault."""
        shares = {"nonnative_share": self.nonnative_share, "qna_share": self.qna_share}
        faults = super().faults()
        faults += [
            f"{name} must lie in 0 to 1"
            for name, share in shares.items()
            if share is not None and not 0 <= share <= 1
        ]
        if self.hours_wanted is not None and self.hours_wanted <= 0:
            faults.append("hours_wanted must be positive")
        if self.max_overhang_s < 0:
            faults.append("max_overhang_s must be 0 or more")
        if not self.audio_types:
            faults.append("audio_types is empty")
        if self.include_file is None and (self.include_keys or not self.strict_include):
            faults.append("include_keys and strict_include=False need include_file")
        if not self.strict_include and self.hours_wanted is None:
            faults.append("strict_include=False needs hours_wanted to fill up to")
        if self.exclude_keys and not self.exclude_files:
            faults.append("exclude_keys needs exclude_files")
        return faults

    @property
    def selection(self) -> Selection:
        """Hours wanted of each category."""
        return Selection(
            self.hours_wanted,
            (
                _two_shares("nonnative", "native", self.nonnative_share),
                _two_shares("q-and-a", "presentation", self.qna_share),
            ),
        )


@takes_options(BizSpeechOptions)
def prepare_bizspeech(
    data_folder: str | Path, out_folder: str | Path, **options: Any
) -> PreparedCorpus:
    """Turn BizSpeech into shards: splits train, valid and test.

    Categories are native or nonnative, "/", presentation or q-and-a; a group is a call. With
    hours wanted, the hours of each category are hours x share x share; calls are read in
    shuffled order until they are found, and a category that runs out is named in the summary.
    An utterance ends where the next row of the transcript starts, the last one with the
    recording; rows whose times cannot be trusted are rejected, see rejected.jsonl. It is a
    ValueError if options or lists are wrong, too much is rejected, or another preparation is in
    the way.

    Arguments
    ---------
    data_folder : str | Path
        The folder with one folder a call.
    out_folder : str | Path
        Where the prepared corpus goes.
    **options : Any
        See `BizSpeechOptions`, `data_prepare.options.SplitOptions` and `CommonOptions`.

    Returns
    -------
    PreparedCorpus
        The splits.

    Raises
    ------
    FileNotFoundError
        If the folder, its metadata, a list or every transcript is missing.
    """
    checked = make_options(BizSpeechOptions, options, where=_WHERE)
    root = Path(data_folder).resolve()
    if not root.is_dir():
        raise FileNotFoundError(f"{_WHERE}: no folder {root}; expected the corpus; mend the path.")
    metadata_path = checked.metadata or root / METADATA_NAME
    source = BizSpeechSource(
        root=root,
        events=tuple(_list_events(root, metadata_path, checked)),
        rules=ReadingRules(
            ceo_only=checked.ceo_only,
            generic_speakers=checked.generic_speakers,
            max_overhang_s=checked.max_overhang_s,
        ),
        metadata_path=metadata_path,
    )
    return prepare_corpus(
        source,
        Path(out_folder),
        name="bizspeech",
        options=checked,
        division=Division(checked.split_by, checked.split_shares),
        selection=checked.selection,
    )


def _list_events(root: Path, metadata_path: Path, options: BizSpeechOptions) -> list[EventTask]:
    """Return all calls on disk, in lists or in neither, in the order in which they are wanted."""
    metadata = _load_json(metadata_path, "the metadata of all events")
    if not isinstance(metadata, dict):
        raise ValueError(f"{_WHERE}: {metadata_path} is no mapping; expected {{event id: ...}}.")
    on_disk = {path.name: _list_files(path, options) for path in root.iterdir() if path.is_dir()}
    events = {name for name, files in on_disk.items() if files or name in metadata}
    if not any(TRANSCRIPT_NAME in files for files in on_disk.values()):
        raise FileNotFoundError(
            f"{_WHERE}: no transcript found in {root}; expected <event id>/{TRANSCRIPT_NAME}; "
            "give the folder that holds the calls."
        )
    included = _read_lists(options.include_file, options.include_keys)
    excluded = _read_lists(options.exclude_files, options.exclude_keys)
    everything = events | set(included)
    order = sorted(everything, key=lambda name: (name not in included, _rank(name, options)))
    tasks = []
    for name in order:
        is_outside = options.include_file and options.strict_include and name not in included
        left_out = "not in the include list" if is_outside else ""
        left_out = f"excluded: {excluded[name]}" if name in excluded else left_out
        tasks.append(_event_task(name, left_out, on_disk.get(name, []), metadata.get(name)))
    return tasks


def _event_task(name: str, left_out: str, files: list[str], known: Any) -> EventTask:
    is_known = isinstance(known, dict)
    return EventTask(
        id=name,
        left_out=left_out,
        is_native=str(known.get("partition")) == _NATIVE_PARTITION if is_known else None,
        ceo=str(known.get("ceoID", "")) if is_known else "",
        has_transcript=TRANSCRIPT_NAME in files,
        recording=next((file for file in files if file != TRANSCRIPT_NAME), ""),
    )


def _rank(name: str, options: BizSpeechOptions) -> tuple[int, str]:
    return stable_hash(options.seed, name), name


def _list_files(folder: Path, options: BizSpeechOptions) -> list[str]:
    """Return which files of a call are there, wanted audio types first (one look at the disk)."""
    present = {path.name for path in folder.iterdir()}
    wanted = [*(f"recording.{kind}" for kind in options.audio_types), TRANSCRIPT_NAME]
    return [name for name in wanted if name in present]


def _two_shares(name: str, other: str, share: float | None) -> dict[str, float] | None:
    return None if share is None else {name: share, other: 1.0 - share}


def _read_lists(paths: Path | Sequence[Path] | None, keys: Sequence[str]) -> dict[str, str]:
    """Return event id -> name of the list that holds it."""
    paths = [paths] if isinstance(paths, Path) else paths or []
    names: dict[str, str] = {}
    found: set[str] = set()
    for path in paths:
        lists = _load_json(path, "lists of events")
        lists = {path.name: lists} if isinstance(lists, list) else lists
        if not isinstance(lists, dict) or not all(isinstance(v, list) for v in lists.values()):
            raise ValueError(
                f"{_WHERE}: {path} holds no lists; expected {{name: [event id, ...]}} or "
                "[event id, ...]; mend the file."
            )
        found |= lists.keys()
        for key in [key for key in lists if not keys or key in keys]:
            names |= {str(event): key for event in lists[key]}
    missing = sorted(set(keys) - found)
    if missing:
        raise ValueError(
            f"{_WHERE}: no list {missing} in {[str(path) for path in paths]}; expected some of "
            f"{sorted(found)}; correct the keys."
        )
    return names


def _load_json(path: Path, what: str) -> Any:
    if not path.is_file():
        raise FileNotFoundError(f"{_WHERE}: no file {path}; expected {what}; mend the path.")
    try:
        return json.loads(path.read_text(encoding="utf-8-sig"))
    except ValueError as error:
        raise ValueError(f"{_WHERE}: {path} is not JSON ({error}); mend the file.") from error


if __name__ == "__main__":
    from data_prepare import bizspeech  # workers know this module by its full name

    sys.exit(run_command(bizspeech.prepare_bizspeech, sys.argv[1:]))
