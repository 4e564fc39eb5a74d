"""Read calls of BizSpeech: from transcript, recording and metadata to utterances."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from pathlib import Path

from data_prepare.filters import Rejection
from data_prepare.sources import RecordingHeaders, Scan, fingerprint_files, place
from data_prepare.transcript import Row, TranscriptError, find_ends, parse_clock, read_rows
from data_prepare.utterance import Utterance

TRANSCRIPT_NAME = "transcript_timealigned.txt"
SESSIONS = ("presentation", "q-and-a")


@dataclass(frozen=True)
class EventTask:
    """A call.

    Arguments
    ---------
    id : str
        The event id.
    left_out : str
        Why the options leave it out, or "".
    is_native : bool | None
        None if the metadata do not know it.
    ceo : str
        Speaker id of the CEO.
    has_transcript : bool
        Whether there is a transcript.
    recording : str
        Name of the recording's file, or "".
    """

    id: str
    left_out: str
    is_native: bool | None
    ceo: str
    has_transcript: bool
    recording: str


@dataclass(frozen=True)
class ReadingRules:
    """Options that decide what is read of a call; see `data_prepare.bizspeech`."""

    ceo_only: bool
    generic_speakers: tuple[str, ...]
    max_overhang_s: float

    def is_generic(self, speaker: str) -> bool:
        """Tell whether a speaker id names nobody."""
        patterns = (pattern.casefold() for pattern in self.generic_speakers)
        return any(fnmatchcase(speaker.casefold(), pattern) for pattern in patterns)


@dataclass(frozen=True)
class BizSpeechSource:
    """BizSpeech on disk.

    Arguments
    ---------
    root : Path
        The folder with one folder a call.
    events : tuple of EventTask
        The calls, in the order in which they are wanted.
    rules : ReadingRules
        What is read of them.
    metadata_path : Path
        The metadata file.
    """

    root: Path
    events: tuple[EventTask, ...]
    rules: ReadingRules
    metadata_path: Path

    def __getstate__(self) -> dict[str, object]:
        """Leave the list of calls behind: each task that goes to a worker carries its own."""
        return self.__dict__ | {"events": ()}

    def tasks(self) -> Sequence[EventTask]:
        """Return the calls."""
        return self.events

    def read(self, task: EventTask) -> Scan:
        """Read a call's transcript and its recording's header."""
        if task.left_out:
            choice = Rejection(task.id, "excluded_event", task.left_out, is_choice=True)
            return Scan(rejected=[choice])
        path = self.root / task.id / TRANSCRIPT_NAME
        if not task.has_transcript:
            return Scan(rejected=[Rejection(task.id, "missing_transcript", f"no file {path}")])
        try:
            rows = read_rows(path)
        except TranscriptError as error:
            return Scan(rejected=[Rejection(task.id, "bad_transcript", f"{path}: {error}")])
        if not rows:
            return Scan(rejected=[Rejection(task.id, "bad_transcript", f"{path}: no rows")])
        return self._read_call(task, rows)

    def fingerprint(self) -> str:
        """Return a digest over metadata, transcripts, names of recordings, and what lists say."""
        recordings = "\n".join(f"{e.id}/{e.recording}\t{e.left_out}" for e in self.events)
        transcripts = [
            self.root / event.id / TRANSCRIPT_NAME for event in self.events if event.has_transcript
        ]
        digest = fingerprint_files([self.metadata_path, *transcripts], root=self.root)
        return hashlib.sha256(f"{digest}\n{recordings}".encode()).hexdigest()

    def _read_call(self, task: EventTask, rows: list[Row]) -> Scan:
        scan, headers = Scan(), RecordingHeaders()
        recording = self.root / task.id / (task.recording or "recording")
        starts = [
            parse_clock(row.values["SentenceTimeGen"]) if row.values else None for row in rows
        ]
        seen: set[str] = set()
        for row, start_s, (fault, end_s) in zip(rows, starts, find_ends(starts), strict=True):
            rejection = self._row_fault(task, row, fault, seen)
            if rejection is not None:
                scan.rejected.append(rejection)
                continue
            assert row.values is not None and start_s is not None, "a row without fault is whole"
            utterance = self._utterance(task, row.values, start_s, end_s)
            utterance = replace(utterance, recording=str(recording.relative_to(self.root)))
            place(
                scan,
                utterance,
                headers.get(recording),
                max_overhang_s=self.rules.max_overhang_s,
            )
        return scan

    def _row_fault(
        self, task: EventTask, row: Row, time_fault: str, seen: set[str]
    ) -> Rejection | None:
        if row.values is None:
            return Rejection(f"{task.id}-line-{row.line}", "broken_row", row.fault)
        values = row.values
        identifier = f"{task.id}-{values['SentenceID']}"
        where = f"line {row.line}"
        if self.rules.ceo_only and values["SpeakerID"] != task.ceo:
            return Rejection(identifier, "not_ceo", f"{where}: another speaker", is_choice=True)
        faults = (
            (task.is_native is None, "not_in_metadata", f"event {task.id} has no metadata"),
            (identifier in seen, "duplicate_id", "the id occurs twice in its call"),
            (values["Session"] not in SESSIONS, "unknown_session", repr(values["Session"])),
            (bool(time_fault), time_fault, f"start {values['SentenceTimeGen']!r}"),
        )
        seen.add(identifier)
        for is_fault, reason, detail in faults:
            if is_fault:
                return Rejection(identifier, reason, f"{where}: {detail}")
        return None

    def _utterance(
        self, task: EventTask, values: dict[str, str], start_s: float, end_s: float | None
    ) -> Utterance:
        speaker = values["SpeakerID"]
        return Utterance(
            id=f"{task.id}-{values['SentenceID']}",
            recording="",
            start_s=start_s,
            end_s=end_s,
            text=values["Sentence"],
            speaker=f"{task.id}/{speaker}" if self.rules.is_generic(speaker) else speaker,
            group=task.id,
            category=f"{'native' if task.is_native else 'nonnative'}/{values['Session']}",
        )
