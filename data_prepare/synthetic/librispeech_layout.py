"""LibriSpeech on disk: seven subsets, a folder a speaker and chapter, FLAC and text in capitals."""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np
import soundfile

from data_prepare.synthetic.audio import render_alone
from data_prepare.synthetic.call import Person, draw_person, write_monologue
from data_prepare.synthetic.options import Options
from data_prepare.synthetic.speech import Line, SpeakingProcess
from data_prepare.synthetic.units import Layout, Record, Unit, share_out, write_lines

RATE_HZ = 16000

# Subset -> share of the hours.
SUBSETS = {
    "train-clean-100": 0.35,
    "train-clean-360": 0.25,
    "train-other-500": 0.2,
    "dev-clean": 0.05,
    "dev-other": 0.05,
    "test-clean": 0.05,
    "test-other": 0.05,
}
_SPEAKER_S = 90.0
_MIN_SPEAKERS = 2
_TWO_CHAPTERS_S = 40.0
_FIRST_SPEAKER = 14
_FIRST_CHAPTER = 100_001
_OTHER_NONNATIVE = 0.5
_OTHER_NOISE_DB = 8.0


def plan(options: Options) -> list[Unit]:
    """Give the speakers of all subsets."""
    units: list[Unit] = []
    for subset, share in SUBSETS.items():
        subset_s = 3600.0 * options.librispeech_hours * share
        for seconds in share_out(subset_s, per_unit_s=_SPEAKER_S, at_least=_MIN_SPEAKERS):
            place = f"{subset}/{_FIRST_SPEAKER + 3 * len(units)}"
            units.append(Unit("librispeech", len(units), place, seconds, subset))
    return units


def make(unit: Unit, folder: Path, options: Options, process: SpeakingProcess) -> Record:
    """Speak the chapters of a speaker into the speaker's folder."""
    rng = unit.rng(options.seed)
    person = _draw_speaker(rng, unit)
    num_chapters = 2 if unit.seconds >= _TWO_CHAPTERS_S else 1
    seconds, utterances = 0.0, 0
    for number in range(num_chapters):
        chapter = folder / str(_FIRST_CHAPTER + 2 * unit.index + number)
        chapter.mkdir()
        lengths_s = _speak_chapter(
            rng, chapter, person, seconds=unit.seconds / num_chapters, process=process
        )
        seconds += sum(lengths_s)
        utterances += len(lengths_s)
    return {
        "subset": unit.kind,
        "speaker": person.id,
        "sex": person.voice.gender[0].upper(),
        "name": person.name,
        "seconds": seconds,
        "utterances": utterances,
    }


def finish(folder: Path, records: Iterable[Record]) -> Record:
    """Write SPEAKERS.TXT; give speakers, utterances and seconds by subset."""
    truth: Record = {name: {"speakers": 0, "utterances": 0, "seconds": 0.0} for name in SUBSETS}
    lines = [";ID  |SEX| SUBSET           |MINUTES| NAME"]
    for record in records:
        minutes = record["seconds"] / 60.0
        lines.append(
            f"{record['speaker']:<4} | {record['sex']} | {record['subset']:<16} | "
            f"{minutes:<5.2f} | {record['name']}"
        )
        truth[record["subset"]]["speakers"] += 1
        truth[record["subset"]]["utterances"] += record["utterances"]
        truth[record["subset"]]["seconds"] += record["seconds"]
    write_lines(folder / "SPEAKERS.TXT", lines)
    return truth


def _draw_speaker(rng: np.random.Generator, unit: Unit) -> Person:
    """Draw the reader: the ``other`` subsets have non-native speakers and more noise."""
    is_other = "other" in unit.kind
    is_native = not is_other or rng.random() >= _OTHER_NONNATIVE
    person = draw_person(rng, int(Path(unit.place).name), "reader", is_native=is_native)
    if not is_other:
        return person
    voice = replace(person.voice, noise_db=person.voice.noise_db + _OTHER_NOISE_DB)
    return replace(person, voice=voice)


def _speak_chapter(
    rng: np.random.Generator,
    chapter: Path,
    person: Person,
    *,
    seconds: float,
    process: SpeakingProcess,
) -> list[float]:
    """Write FLAC files and the text file of a chapter; give the lengths in seconds."""
    rows = write_monologue(rng, person, seconds=seconds)
    spoken = process.speak([Line(person.voice, row.sentence.clauses) for row in rows])
    lengths_s, lines = [], []
    name = f"{person.id}-{chapter.name}"
    for number, (row, samples) in enumerate(zip(rows, spoken, strict=True)):
        heard = render_alone(rng, samples, person.voice, rate_hz=RATE_HZ)
        soundfile.write(chapter / f"{name}-{number:04d}.flac", heard, RATE_HZ)
        lengths_s.append(len(heard) / RATE_HZ)
        lines.append(f"{name}-{number:04d} {row.sentence.words.upper()}")
    write_lines(chapter / f"{name}.trans.txt", lines)
    return lengths_s


LAYOUT = Layout(plan, make, finish)
