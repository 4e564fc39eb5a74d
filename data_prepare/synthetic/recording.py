"""A long recording of a call, written piece by piece, and the times of its rows."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

from data_prepare.synthetic.audio import noise, render
from data_prepare.synthetic.call import Row, length_s
from data_prepare.synthetic.speech import Line, SpeakingProcess

# A row starts this long before its speech, and after at least half a pause of silence.
_LEAD_MS = 50
_PAUSE_MS = {"same": 250, "other": 450}
_SILENT_ROW_MS = 2500
_END_MS = 400
_RIGHT_GAIN = 0.8
# Kind of dirt -> the start of the row is a multiple of this.
_STEP_MS = {"fraction_0": 1000, "fraction_1": 100, "fraction_2": 10}


@dataclass(frozen=True, slots=True)
class RecordingFormat:
    """How a recording is stored: ``wav`` or ``mp3``, rate in Hz, channels."""

    file_type: str
    rate_hz: int
    num_channels: int


class Timeline:
    """The place of each row in the recording, in whole milliseconds.

    Arguments
    ---------
    rng : np.random.Generator
        Source of the pauses.
    """

    def __init__(self, rng: np.random.Generator) -> None:
        self.starts_ms: list[int] = []
        self.rng = rng
        self._now_ms = 0
        self._speaker = ""

    def begin(self, row: Row) -> int:
        """Note the start of a row; give the pause before its speech in milliseconds."""
        pause_ms = _PAUSE_MS["same" if row.person.id == self._speaker else "other"]
        earliest_ms = self._now_ms + round(pause_ms * self.rng.uniform(0.5, 1.5))
        start_ms = earliest_ms + -earliest_ms % _STEP_MS.get(row.dirt or "", 1)
        pause_ms = start_ms + _LEAD_MS - self._now_ms
        self.starts_ms.append(start_ms)
        self._now_ms = start_ms + _LEAD_MS
        self._speaker = row.person.id
        return pause_ms

    def end(self, speech_ms: int) -> None:
        """Note how long the speech of the row was."""
        self._now_ms += speech_ms

    def guess(self, rows: list[Row]) -> None:
        """Note rows that nobody speaks, by the length that they would have."""
        for row in rows:
            self.begin(row)
            self.end(round(1000.0 * length_s([row])))


def write_recording(
    path: Path,
    rows: list[Row],
    *,
    form: RecordingFormat,
    process: SpeakingProcess,
    timeline: Timeline,
    is_cut_short: bool = False,
) -> float:
    """Speak rows into one file.

    Arguments
    ---------
    path : Path
        File to be written.
    rows : list[Row]
        What is said.
    form : RecordingFormat
        How it is stored.
    process : SpeakingProcess
        Who speaks.
    timeline : Timeline
        Takes the starts of the rows.
    is_cut_short : bool
        Whether the recording breaks off in the middle of the last row.

    Returns
    -------
    float
        Length of the recording in seconds.
    """
    rng = timeline.rng
    level_db = rows[0].person.voice.noise_db
    num_samples = 0
    with soundfile.SoundFile(
        path, "w", form.rate_hz, form.num_channels, format=form.file_type.upper()
    ) as file:
        pieces = _pieces(rows, form.rate_hz, process=process, timeline=timeline)
        for number, piece in enumerate(pieces, start=1):
            if is_cut_short and number >= len(rows):
                piece = piece[: len(piece) // 2 if number == len(rows) else 0]
            file.write(_channels(rng, piece, form.num_channels, level_db=level_db))
            num_samples += len(piece)
    return num_samples / form.rate_hz


def _pieces(
    rows: list[Row], rate_hz: int, *, process: SpeakingProcess, timeline: Timeline
) -> Iterator[NDArray[np.float32]]:
    """Give the pause and the speech of each row, in whole milliseconds, and the last silence."""
    step = rate_hz // 1000
    spoken = process.speak([Line(row.person.voice, row.sentence.clauses) for row in rows])
    for row, samples in zip(rows, spoken, strict=True):
        pause = np.zeros(timeline.begin(row) * step, dtype=np.float32)
        if row.sentence.clauses:
            speech = render(samples, row.person.voice, rate_hz=rate_hz)
        else:
            speech = np.zeros(_SILENT_ROW_MS * step, dtype=np.float32)
        rest = np.zeros(-len(speech) % step, dtype=np.float32)
        timeline.end((len(speech) + len(rest)) // step)
        yield np.concatenate([pause, speech, rest])
    yield np.zeros(_END_MS * step, dtype=np.float32)


def _channels(
    rng: np.random.Generator, piece: NDArray[np.float32], num_channels: int, *, level_db: float
) -> NDArray[np.float32]:
    """Give [S, C]: the right side a little softer, each side with noise of its own."""
    sides = [
        np.float32(gain) * piece + noise(rng, len(piece), level_db=level_db)
        for gain in (1.0, _RIGHT_GAIN)[:num_channels]
    ]
    return np.clip(np.stack(sides, axis=1), -0.999, 0.999)
