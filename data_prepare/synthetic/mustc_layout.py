"""MuST-C on disk: talks of one speaker, YAML with times, a line of each language a segment.

The tree is the official one: ``en-qaa/data/<split>/wav/*.wav``, ``<split>/txt/<split>.yaml``,
``<split>.en``, ``<split>.qaa``. No sentence stands in two splits, nor does a speaker.
"""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import soundfile

from data_prepare.synthetic.audio import noise, render
from data_prepare.synthetic.options import Options
from data_prepare.synthetic.speech import Line, SpeakingProcess
from data_prepare.synthetic.translation import LANGUAGE, draw_statement
from data_prepare.synthetic.units import Layout, Record, Unit, share_out, write_lines
from data_prepare.synthetic.voices import Voice, draw_voice

RATE_HZ = 16000
PAIR = f"en-{LANGUAGE}"

# Split -> share of the hours, and the share of all sentences that only it may hold.
SPLITS = {"train": (0.86, 0.8), "dev": (0.06, 0.1), "tst-COMMON": (0.08, 0.1)}
_TALK_S = 60.0
_MIN_TALKS = 2
_PAUSE_S = (0.3, 0.9)
_EDGE_S = 0.1
_SENTENCE_S = 3.3


def plan(options: Options) -> list[Unit]:
    """Give the talks of all splits."""
    units: list[Unit] = []
    for split, (share, _) in SPLITS.items():
        split_s = 3600.0 * options.mustc_hours * share
        for seconds in share_out(split_s, per_unit_s=_TALK_S, at_least=_MIN_TALKS):
            place = f"{PAIR}/data/{split}/talks/{len(units):05d}"
            units.append(Unit("mustc", len(units), place, seconds, split))
    return units


def make(unit: Unit, folder: Path, options: Options, process: SpeakingProcess) -> Record:
    """Speak a talk into one file; a segment is a sentence."""
    rng = unit.rng(options.seed)
    voice = draw_voice(rng, is_native=bool(rng.random() >= options.nonnative))
    pairs = draw_pairs(rng, unit.kind, num=max(1, round(unit.seconds / (_SENTENCE_S + 0.6))))
    name = f"talk_{unit.index}.wav"
    segments, num_samples = _speak(rng, folder / name, voice, pairs, process)
    return {
        "split": unit.kind,
        "seconds": num_samples / RATE_HZ,
        "wav": name,
        "place": unit.place,
        "speaker": f"spk.{unit.index}",
        "segments": [
            {"offset": start / RATE_HZ, "duration": (end - start) / RATE_HZ, "en": en, "qaa": qaa}
            for (start, end), (en, qaa) in zip(segments, pairs, strict=True)
        ],
    }


def finish(folder: Path, records: Iterable[Record]) -> Record:
    """Bring the recordings into one folder a split and write the texts; give sizes by split."""
    of_split: dict[str, list[Record]] = {split: [] for split in SPLITS}
    for record in records:
        of_split[record["split"]].append(record)
    for split, talks in of_split.items():
        data = folder / PAIR / "data" / split
        for name in ("wav", "txt"):
            (data / name).mkdir(parents=True, exist_ok=True)
        for talk in talks:
            _move(folder / talk["place"] / talk["wav"], data / "wav" / talk["wav"])
        rows = [(talk, segment) for talk in talks for segment in talk["segments"]]
        write_lines(data / "txt" / f"{split}.yaml", [_yaml_line(*row) for row in rows])
        write_lines(data / "txt" / f"{split}.en", [segment["en"] for _, segment in rows])
        write_lines(data / "txt" / f"{split}.{LANGUAGE}", [s["qaa"] for _, s in rows])
    return {
        split: {
            "talks": len(talks),
            "utterances": sum(len(talk["segments"]) for talk in talks),
            "seconds": sum(talk["seconds"] for talk in talks),
        }
        for split, talks in of_split.items()
    }


def draw_pairs(rng: np.random.Generator, split: str, *, num: int) -> list[tuple[str, str]]:
    """Draw sentences that only one split may hold, with their translations.

    Arguments
    ---------
    rng : np.random.Generator
        Source of all choices.
    split : str
        One of `SPLITS`.
    num : int
        How many.

    Returns
    -------
    list of (str, str)
        English, translation.
    """
    pairs: list[tuple[str, str]] = []
    while len(pairs) < num:
        statement = draw_statement(rng)
        english = statement.english()
        if split_of(english) == split:
            pairs.append((english, statement.translation()))
    return pairs


def split_of(english: str) -> str:
    """Return the only split that may hold a sentence: a matter of its letters alone."""
    number = sum(place * ord(char) for place, char in enumerate(english, start=7)) % 1000 / 1000
    for split, (_, share) in SPLITS.items():
        if number < share:
            return split
        number -= share
    return list(SPLITS)[-1]


def _speak(
    rng: np.random.Generator,
    path: Path,
    voice: Voice,
    pairs: list[tuple[str, str]],
    process: SpeakingProcess,
) -> tuple[list[tuple[int, int]], int]:
    """Write a talk; give first and last sample of each segment, and the samples in all."""
    lines = [Line(voice, _clauses(english)) for english, _ in pairs]
    edge = round(_EDGE_S * RATE_HZ)
    pieces, segments, end = [], [], 0
    for samples in process.speak(lines):
        speech = render(samples, voice, rate_hz=RATE_HZ)
        pause = round(rng.uniform(*_PAUSE_S) * RATE_HZ) + 2 * edge
        start = end + pause
        end = start + len(speech)
        pieces += [np.zeros(pause, dtype=np.float32), speech]
        segments.append((start - edge, end + edge))
    pieces.append(np.zeros(4 * edge, dtype=np.float32))
    talk = np.concatenate(pieces)
    talk += noise(rng, len(talk), level_db=voice.noise_db)
    soundfile.write(path, np.clip(talk, -0.999, 0.999), RATE_HZ)
    return segments, len(talk)


def _clauses(english: str) -> tuple[tuple[str, str], ...]:
    # In lower case: the voice spells a capital A out.
    parts = english.lower().removesuffix(".").split(", ")
    return tuple((part, "," if part is not parts[-1] else ".") for part in parts)


def _yaml_line(talk: Record, segment: Record) -> str:
    return (
        f"- {{duration: {segment['duration']:.6f}, offset: {segment['offset']:.6f}, "
        f"speaker_id: {talk['speaker']}, wav: {talk['wav']}}}"
    )


def _move(source: Path, target: Path) -> None:
    """Move a recording out of its talk's folder; a maker that was stopped goes on here."""
    if source.is_file():
        source.replace(target)
        source.parent.rmdir()
        if not any(source.parent.parent.iterdir()):
            source.parent.parent.rmdir()


LAYOUT = Layout(plan, make, finish)
