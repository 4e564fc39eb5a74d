"""BizSpeech on disk: one long recording and one transcript a call, and three JSON files."""

import json
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from data_prepare.synthetic.call import MAX_CAST, Row, draw_cast, write_call
from data_prepare.synthetic.dirt import EVENT_KINDS, dirt_of_event, misalign, place_dirt
from data_prepare.synthetic.options import Options
from data_prepare.synthetic.recording import RecordingFormat, Timeline, write_recording
from data_prepare.synthetic.speech import SpeakingProcess
from data_prepare.synthetic.units import Layout, Record, Unit, share_out, write_lines

COLUMNS = ("SentenceID", "Sentence", "SentenceTimeGen", "SpeakerID", "Session")
TRANSCRIPT = "transcript_timealigned.txt"

# (file type, rate in Hz, channels): the first six hold every type, rate and number of channels.
# A third is MP3, whose encoder takes more time than all the rest of the work.
_FORMATS = (
    ("wav", 16000, 1),
    ("mp3", 16000, 2),
    ("wav", 32000, 2),
    ("mp3", 8000, 1),
    ("wav", 8000, 2),
    ("wav", 32000, 1),
    ("mp3", 16000, 1),
    ("wav", 16000, 2),
    ("wav", 16000, 1),
    ("mp3", 16000, 1),
    ("wav", 16000, 1),
    ("wav", 16000, 1),
)
_NATIVE_PARTITION = 5
_NUM_PARTITIONS = 5
_FIRST_EVENT = 1_000_001
_FIRST_SPEAKER = 500_001
_MIN_CALLS = 6
_MEAN_ROW_S = 4.9
_DIRTY_EVENT_S = 30.0
_CUT_SHARE = 0.4
_FRACTION_DIGITS = {"fraction_0": 0, "fraction_1": 1, "fraction_2": 2, "fraction_6": 6}


def recording_format(index: int) -> RecordingFormat:
    """Give the format of the call with this number; formats and accents mix over the calls."""
    return RecordingFormat(*_FORMATS[(index + index // len(_FORMATS)) % len(_FORMATS)])


def is_native_call(index: int, nonnative: float) -> bool:
    """Tell whether the call with this number is native; the share is kept over all calls."""
    return int((index + 1) * nonnative + 1e-9) == int(index * nonnative + 1e-9)


def plan(options: Options) -> list[Unit]:
    """Give the calls that make up the hours, then those made for the dirt of events."""
    per_call_s = 60.0 * options.minutes_per_call
    lengths_s = share_out(3600.0 * options.hours, per_unit_s=per_call_s, at_least=_MIN_CALLS)
    calls = [("", length_s) for length_s in lengths_s]
    if options.dirt > 0.0:
        per_kind = max(1, round(options.dirt * len(calls) / len(EVENT_KINDS)))
        dirty_s = min(lengths_s[0], _DIRTY_EVENT_S)
        calls += [(kind, dirty_s) for kind in EVENT_KINDS for _ in range(per_kind)]
    return [
        Unit("bizspeech", index, str(_FIRST_EVENT + index), length_s, kind)
        for index, (kind, length_s) in enumerate(calls)
    ]


def make(unit: Unit, folder: Path, options: Options, process: SpeakingProcess) -> Record:
    """Speak a call into its folder."""
    rng = unit.rng(options.seed)
    is_native = is_native_call(unit.index, options.nonnative)
    first_id = _FIRST_SPEAKER + MAX_CAST * unit.index
    cast = draw_cast(rng, first_id=first_id, seconds=unit.seconds, is_native=is_native)
    rows = write_call(rng, cast, seconds=unit.seconds)
    if not unit.kind:
        kinds = dirt_of_event(
            unit.index, rows_per_event=unit.seconds / _MEAN_ROW_S, dirt=options.dirt
        )
        rows = place_dirt(rng, rows, kinds, operator=cast.operator)
    form = recording_format(unit.index)
    timeline = Timeline(rng)
    seconds, num_recorded = _record(
        unit, folder, rows, form=form, process=process, timeline=timeline
    )
    lines = transcript_lines(rng, rows, timeline.starts_ms, kind=unit.kind)
    write_lines(folder / TRANSCRIPT, _cut_transcript(unit, lines))
    return {
        "event": unit.place,
        "dirt": unit.kind,
        "is_native": is_native,
        "seconds": seconds,
        "format": [form.file_type, form.rate_hz, form.num_channels],
        "num_rows": len(rows),
        "num_rows_recorded": num_recorded,
        "dirt_rows": {str(n): row.dirt for n, row in enumerate(rows, start=1) if row.dirt},
        "metadata": {
            "partition": _NATIVE_PARTITION if is_native else unit.index % _NUM_PARTITIONS,
            "ceoID": cast.ceo.id,
            "companyName": cast.company,
        },
    }


def finish(folder: Path, records: Iterable[Record]) -> Record:
    """Write the three JSON files; give the truth: events, and counts of dirt by kind."""
    events = {record.pop("event"): record for record in records}
    metadata = {event: record.pop("metadata") for event, record in events.items()}
    of_kind: dict[str, list[str]] = {}
    for event, record in events.items():
        of_kind.setdefault(record["dirt"], []).append(event)
    for event in of_kind.get("missing_metadata", []):
        del metadata[event]
    good = of_kind[""]
    test_sets = {
        "native": [event for event in good if events[event]["is_native"]][:1],
        "nonnative": [event for event in good if not events[event]["is_native"]][:1],
    }
    _write_json(folder / "BizSpeech_MetaData.json", metadata)
    _write_json(folder / "exclude_event_list.json", {"misaligned": of_kind.get("misaligned", [])})
    _write_json(folder / "cloudasr_testset_lists.json", test_sets)
    counts: Counter[str] = Counter(record["dirt"] for record in events.values() if record["dirt"])
    for record in events.values():
        counts.update(record["dirt_rows"].values())
    return {"counts": dict(sorted(counts.items())), "events": events}


def transcript_lines(
    rng: np.random.Generator, rows: list[Row], starts_ms: list[int], *, kind: str = ""
) -> list[str]:
    """Give the lines of a transcript, its header first, with the dirt that the rows ask for."""
    texts = misalign(rows) if kind == "misaligned" else rows
    lines = ["\t".join(COLUMNS)]
    before_ms = 0
    for number, (row, start_ms) in enumerate(zip(texts, starts_ms, strict=True), start=1):
        time = _clock_of(rng, row, start_ms=start_ms, before_ms=before_ms)
        lines.append("\t".join((str(number), row.text, time, row.person.id, row.session)))
        before_ms = start_ms
    return lines


def clock(start_us: int, *, digits: int = 3) -> str:
    """Write a time in microseconds as ``hh:mm:ss`` with so many digits of a fraction, cut off."""
    seconds, fraction_us = divmod(start_us, 1_000_000)
    minutes, second = divmod(seconds, 60)
    whole = f"{minutes // 60:02d}:{minutes % 60:02d}:{second:02d}"
    return f"{whole}.{fraction_us:06d}"[: len(whole) + digits + 1] if digits else whole


def _clock_of(rng: np.random.Generator, row: Row, *, start_ms: int, before_ms: int) -> str:
    if row.dirt == "time_backwards":
        start_ms = max(0, before_ms - int(rng.integers(100, 5000)))
    start_us = 1000 * start_ms
    if row.dirt == "fraction_6":
        start_us += int(rng.integers(1, 1000))
    time = clock(start_us, digits=_FRACTION_DIGITS.get(row.dirt or "", 3))
    return f"{time[:4]}x{time[5:]}" if row.dirt == "broken_clock" else time


def _record(
    unit: Unit,
    folder: Path,
    rows: list[Row],
    *,
    form: RecordingFormat,
    process: SpeakingProcess,
    timeline: Timeline,
) -> tuple[float, int]:
    """Write the recording, as far as there is one; give its seconds and its complete rows."""
    num_spoken = len(rows)
    is_cut_short = unit.kind == "short_recording"
    if unit.kind == "missing_recording":
        num_spoken = 0
    elif is_cut_short:
        num_spoken = max(1, round((1.0 - _CUT_SHARE) * num_spoken))
    seconds = 0.0
    if num_spoken:
        seconds = write_recording(
            folder / f"recording.{form.file_type}",
            rows[:num_spoken],
            form=form,
            process=process,
            timeline=timeline,
            is_cut_short=is_cut_short,
        )
    timeline.guess(rows[num_spoken:])
    return seconds, num_spoken - is_cut_short


def _cut_transcript(unit: Unit, lines: list[str]) -> list[str]:
    """Leave the header or nothing of a transcript that is to be empty."""
    return lines[: unit.index % 2] if unit.kind == "empty_transcript" else lines


def _write_json(path: Path, value: object) -> None:
    path.write_text(json.dumps(value, indent=1) + "\n", encoding="utf-8")


LAYOUT = Layout(plan, make, finish)
