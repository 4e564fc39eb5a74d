"""MuST-C as it lies on disk: its trees, its YAML of segments, and utterances out of them."""

import math
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import yaml

from data_prepare.audio import AudioInfo
from data_prepare.filters import Rejection
from data_prepare.sources import (
    DEFAULT_OVERHANG_S,
    RecordingHeaders,
    Scan,
    fingerprint_files,
    place,
)
from data_prepare.translation_text import SourceForm, char_ratio, source_text
from data_prepare.utterance import Utterance

SOURCE_LANGUAGE = "en"
FBANK_WINDOW_MS, FBANK_SHIFT_MS = 25, 10
WHERE = "prepare_mustc"
_NEEDED = ("wav", "offset", "duration")
_MAX_LISTED = 20


@dataclass(frozen=True)
class SplitFiles:
    """Where a split lies.

    Arguments
    ---------
    name : str
        As on disk, such as ``tst-COMMON``.
    segments : Path
        YAML list with wav, offset, duration (seconds) and speaker_id of each segment.
    source, target : Path
        Line k belongs to segment k.
    wavs : Path
        Folder of the recordings.
    """

    name: str
    segments: Path
    source: Path
    target: Path
    wavs: Path


@dataclass(frozen=True)
class Segment:
    """A segment of a talk; times as the corpus writes them, in seconds."""

    number: int
    offset_s: float
    duration_s: float
    speaker: str
    source: str
    target: str


@dataclass(frozen=True)
class TalkTask:
    """All segments of a recording that are in one split, by offset."""

    id: str
    split: str
    recording: str
    segments: tuple[Segment, ...]

    @property
    def is_training(self) -> bool:
        """Whether segments may be left out; other splits are scored, and stay whole."""
        return self.split.startswith("train")


@dataclass(frozen=True)
class PairRules:
    """What is done with a pair of texts, and which pairs are trained on.

    Arguments
    ---------
    language : str
        Of the translation.
    source_form : SourceForm
        See `data_prepare.translation_text.source_text`.
    origin : str
        Noted with each utterance unless empty.
    min_frames, max_frames : int, int
        Bounds of training utterances, in frames of 10 ms.
    min_char_ratio, max_char_ratio : float | None, float | None
        Training utterances between them (exclusive) are kept.
    """

    language: str
    source_form: SourceForm
    origin: str
    min_frames: int
    max_frames: int
    min_char_ratio: float | None
    max_char_ratio: float | None

    def fault(self, segment: Segment, num_frames: int) -> tuple[str, str, bool] | None:
        """Return why a training segment is left out: reason, detail, whether it is a choice."""
        if num_frames < self.min_frames:
            return "too_few_frames", f"{num_frames}, at least {self.min_frames}", False
        if num_frames > self.max_frames:
            return "too_many_frames", f"{num_frames}, at most {self.max_frames}", True
        if not segment.target:
            return "empty_target", "no translation", False
        if self.min_char_ratio is None and self.max_char_ratio is None:
            return None
        ratio = char_ratio(source_text(segment.source, self.source_form), segment.target)
        low, high = self.min_char_ratio or 0.0, self.max_char_ratio or float("inf")
        if ratio is None or not low < ratio < high:
            return "char_ratio", f"{ratio}, between {low} and {high}", True
        return None


@dataclass(frozen=True)
class MustCSource:
    """MuST-C on disk.

    Arguments
    ---------
    root : Path
        Folder that recordings are named relative to.
    splits : dict[str, str]
        Split on disk -> split of the prepared corpus.
    rules : PairRules
        What becomes of the texts.
    files : tuple of SplitFiles
        What is read.
    talks : tuple of TalkTask
        What it holds.
    """

    root: Path
    splits: dict[str, str]
    rules: PairRules
    files: tuple[SplitFiles, ...] = ()
    talks: tuple[TalkTask, ...] = field(default=(), repr=False)

    def __getstate__(self) -> dict[str, object]:
        """Leave the list of talks behind: a worker gets the one it shall read."""
        return self.__dict__ | {"talks": (), "files": ()}

    def tasks(self) -> Sequence[TalkTask]:
        """Return the talks of all splits."""
        return self.talks

    def read(self, task: TalkTask) -> Scan:
        """Turn a talk's segments into utterances; reads the recording's header.

        A segment of another split than training is cut where its recording ends, however far it
        overhangs, as by the corpus's usual readers.
        """
        scan, headers = Scan(), RecordingHeaders()
        max_overhang_s = DEFAULT_OVERHANG_S if task.is_training else math.inf
        header = headers.get(self.root / task.recording)
        for segment in task.segments:
            utterance = self._utterance(task, segment, header)
            fault = None
            if isinstance(header, AudioInfo) and task.is_training:
                seconds = (utterance.end_s or 0.0) - utterance.start_s
                fault = self.rules.fault(segment, num_frames(seconds))
            if fault is not None:
                scan.rejected.append(Rejection(utterance.id, *fault))
            else:
                place(scan, utterance, header, max_overhang_s=max_overhang_s)
        return scan

    def fingerprint(self) -> str:
        """Return a digest over texts and segments."""
        paths = [path for f in self.files for path in (f.segments, f.source, f.target)]
        return fingerprint_files(paths, root=self.root)

    def _utterance(
        self, task: TalkTask, segment: Segment, header: AudioInfo | Rejection
    ) -> Utterance:
        start_s, end_s = segment.offset_s, segment.offset_s + segment.duration_s
        if isinstance(header, AudioInfo):  # whole samples, as the corpus's readers cut them
            first = int(segment.offset_s * header.rate_hz)
            start_s = first / header.rate_hz
            end_s = (first + int(segment.duration_s * header.rate_hz)) / header.rate_hz
        notes = {
            "source": source_text(segment.source, self.rules.source_form),
            "source_language": SOURCE_LANGUAGE,
        }
        if self.rules.origin:
            notes["origin"] = self.rules.origin
        return Utterance(
            id=f"{task.id}_{segment.number}",
            recording=task.recording,
            start_s=start_s,
            end_s=end_s,
            text=segment.target,
            speaker=segment.speaker,
            group=task.id,
            category="",
            language=self.rules.language,
            split=self.splits[task.split],
            notes=notes,
        )


def num_frames(seconds: float) -> int:
    """Return the frames of Kaldi's filter banks (25 ms every 10 ms, only whole windows)."""
    milliseconds = int(1000 * seconds + 1e-6)
    return int(1 + (milliseconds - FBANK_WINDOW_MS) // FBANK_SHIFT_MS)


def read_talks(files: Sequence[SplitFiles], *, root: Path) -> tuple[TalkTask, ...]:
    """Read the segments of splits, grouped by recording.

    A recording's segments are numbered by their offset, wherever they stand in the list. An id is
    ``<recording>_<number>``, with the split before it where splits share recordings.

    Arguments
    ---------
    files : Sequence[SplitFiles]
        Of each split.
    root : Path
        Folder that recordings are named relative to.

    Returns
    -------
    tuple of TalkTask
        In the order of splits and of first mention.

    Raises
    ------
    ValueError
        If lists differ in length, or segments lack something; names all faults of a split.
    """
    by_split = {split: _by_recording(split) for split in files}
    counts = Counter(Path(wav).stem for talks in by_split.values() for wav in talks)
    tasks = []
    for split, talks in by_split.items():
        for wav, segments in talks.items():
            stem = Path(wav).stem
            name = stem if counts[stem] == 1 else f"{split.name}_{stem}"
            path = split.wavs / wav
            recording = str(path.relative_to(root) if path.is_relative_to(root) else path)
            segments.sort(key=lambda s: s.offset_s)
            numbered = (_numbered(segment, number) for number, segment in enumerate(segments))
            tasks.append(TalkTask(name, split.name, recording, tuple(numbered)))
    return tuple(tasks)


def _numbered(segment: Segment, number: int) -> Segment:
    return Segment(**{**asdict(segment), "number": number})


def _by_recording(split: SplitFiles) -> Mapping[str, list[Segment]]:
    # As strings: a file name such as 1e3 shall stay one. libyaml's loader is ten times as fast.
    loader = getattr(yaml, "CBaseLoader", yaml.BaseLoader)
    items = yaml.load(split.segments.read_text(encoding="utf-8"), Loader=loader) or []
    lines = {path: _lines(path) for path in (split.source, split.target)}
    lengths = {path.name: len(found) for path, found in lines.items()}
    if set(lengths.values()) != {len(items)}:
        raise ValueError(
            f"{WHERE}: {split.segments} has {len(items)} segments, but {lengths} lines; expected "
            "equal numbers, since line k belongs to segment k; unpack the corpus again."
        )
    faults: list[str] = []
    talks: defaultdict[str, list[Segment]] = defaultdict(list)
    rows = zip(items, *lines.values(), strict=True)
    for number, (item, source, target) in enumerate(rows, start=1):
        try:
            times = float(item["offset"]), float(item["duration"])
            speaker = item.get("speaker_id", "")
            segment = Segment(0, *times, str(speaker), source, target)
            talks[item["wav"]].append(segment)
        except (KeyError, TypeError, ValueError, AttributeError):
            faults.append(f"segment {number} is {str(item)[:80]}")
    if faults:
        raise ValueError(
            f"{WHERE}: {split.segments}: {len(faults)} broken: {'; '.join(faults[:_MAX_LISTED])}; "
            f"expected {', '.join(_NEEDED)} (numbers of seconds) in each; mend the file."
        )
    return talks


def _lines(path: Path) -> list[str]:
    """Return the lines of a text, split at line feeds only: other marks may stand inside."""
    text = path.read_text(encoding="utf-8")
    lines = text.removesuffix("\n").split("\n") if text else []
    return [" ".join(line.split()) for line in lines]
