"""SPGISpeech on disk: one WAV file an utterance, one CSV file with `|` a split."""

from collections.abc import Iterable
from pathlib import Path

import soundfile

from data_prepare.synthetic.audio import render_alone
from data_prepare.synthetic.call import MAX_CAST, Row, draw_cast, length_s, write_call
from data_prepare.synthetic.options import Options
from data_prepare.synthetic.speech import Line, SpeakingProcess
from data_prepare.synthetic.units import Layout, Record, Unit, digest, share_out, write_lines

RATE_HZ = 16000
HEADER = "wav_filename|wav_filesize|transcript"

# Name of the split on disk -> share of the hours.
_SPLITS = {"train": 0.8, "val": 0.2}
_CALL_S = 60.0
_MIN_CALLS = 2
# The corpus has no currency, no fillers and no guesses.
_NOT_HERE = ("$", "--", "[")
_NONNATIVE_EVERY = 4


def plan(options: Options) -> list[Unit]:
    """Give the calls of both splits; each is a folder named by 32 hexadecimal digits."""
    units: list[Unit] = []
    for split, share in _SPLITS.items():
        split_s = 3600.0 * options.spgispeech_hours * share
        for seconds in share_out(split_s, per_unit_s=_CALL_S, at_least=_MIN_CALLS):
            name = digest("spgispeech", options.seed, len(units))
            units.append(Unit("spgispeech", len(units), f"{split}/{name}", seconds, split))
    return units


def make(unit: Unit, folder: Path, options: Options, process: SpeakingProcess) -> Record:
    """Speak a call into its folder, one file a row."""
    rng = unit.rng(options.seed)
    is_native = (unit.index + 1) % _NONNATIVE_EVERY != 0
    cast = draw_cast(rng, first_id=MAX_CAST * unit.index, seconds=unit.seconds, is_native=is_native)
    rows = _take_plain(write_call(rng, cast, seconds=3.0 * unit.seconds), unit.seconds)
    spoken = process.speak([Line(row.person.voice, row.sentence.clauses) for row in rows])
    seconds = 0.0
    lines = []
    for number, (row, samples) in enumerate(zip(rows, spoken, strict=True), start=1):
        path = folder / f"{number}.wav"
        heard = render_alone(rng, samples, row.person.voice, rate_hz=RATE_HZ)
        soundfile.write(path, heard, RATE_HZ)
        seconds += len(heard) / RATE_HZ
        name = f"{Path(unit.place).name}/{path.name}"
        lines.append(f"{name}|{path.stat().st_size}|{row.text}")
    return {"split": unit.kind, "seconds": seconds, "lines": lines}


def finish(folder: Path, records: Iterable[Record]) -> Record:
    """Write the CSV files; give utterances and seconds by split."""
    truth: Record = {split: {"utterances": 0, "seconds": 0.0} for split in _SPLITS}
    lines: dict[str, list[str]] = {split: [HEADER] for split in _SPLITS}
    for record in records:
        lines[record["split"]] += record["lines"]
        truth[record["split"]]["utterances"] += len(record["lines"])
        truth[record["split"]]["seconds"] += record["seconds"]
    for split in _SPLITS:
        write_lines(folder / f"{split}.csv", lines[split])
    return truth


def _take_plain(rows: list[Row], seconds: float) -> list[Row]:
    """Take rows that hold nothing the corpus leaves out, until the time is filled."""
    taken: list[Row] = []
    for row in rows:
        if length_s(taken) >= seconds:
            break
        if not any(mark in row.text for mark in _NOT_HERE):
            taken.append(row)
    return taken


LAYOUT = Layout(plan, make, finish)
