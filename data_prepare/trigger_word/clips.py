"""One clip: which words it holds, where they lie, and its samples; decided by its own number."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data_prepare.trigger_word import mixing
from data_prepare.trigger_word.mixing import Samples, Span
from data_prepare.trigger_word.sounds import Sound, read_sound, read_stretch
from data_prepare.trigger_word.words import ROLES, Word

_CACHED_WORDS = 4096


@dataclass(frozen=True, kw_only=True)
class ClipOptions:
    """How clips are mixed.

    Arguments
    ---------
    rate_hz : int
        Sampling rate.
    clip_s : float
        Length; whole milliseconds.
    max_triggers, max_negatives : int
        A clip gets 0 to so many, each number alike.
    background_db : float
        Change of the background's level.
    snr_db : tuple[float, float] | None
        Range of the level of the words over the background's, drawn for each clip; then
        `background_db` is not used. None: as the recordings are.
    gain_db : tuple[float, float]
        Range of a change of level, drawn for each word.
    target_dbfs : float | None
        Level of the whole clip; None: as it comes.
    trim_db : float | None
        What is so many dB below a word's loudest 10 ms is cut off at both its ends; None: nothing.
    words_among_noise : bool
        Whether words have to be found in what is left, as in recordings with noise around them;
        otherwise a word is all of it.
    word_dbfs : float | None
        Level of each word before `gain_db`; None: as recorded.
    train_speed : tuple[float, float] | None
        Range of a factor of speed, drawn for each word of the split train: one voice becomes many.
    room_s : tuple[float, float] | None
        Range of the decay time (60 dB) of a room, drawn for each clip; its words sound in it.
    placement_tries : int
        Draws of a place for a word before it is left out.

    Raises
    ------
    ValueError
        If values are out of range; all faults at once.
    """

    rate_hz: int = 44100
    clip_s: float = 10.0
    max_triggers: int = 4
    max_negatives: int = 2
    background_db: float = -20.0
    snr_db: tuple[float, float] | None = None
    gain_db: tuple[float, float] = (0.0, 0.0)
    target_dbfs: float | None = -20.0
    trim_db: float | None = 30.0
    words_among_noise: bool = False
    word_dbfs: float | None = None
    train_speed: tuple[float, float] | None = None
    room_s: tuple[float, float] | None = None
    placement_tries: int = 20

    def __post_init__(self) -> None:
        rules = {
            f"rate_hz is {self.rate_hz}; expected 1000 to 192000": 1000 <= self.rate_hz <= 192_000,
            f"clip_s is {self.clip_s}; expected whole milliseconds, > 0": (
                self.clip_s > 0 and math.isclose(self.clip_s * 1000, round(self.clip_s * 1000))
            ),
            f"max_triggers is {self.max_triggers}; expected >= 1": self.max_triggers >= 1,
            f"max_negatives is {self.max_negatives}; expected >= 0": self.max_negatives >= 0,
            f"snr_db is {self.snr_db}; expected low, high": is_range(self.snr_db),
            f"gain_db is {self.gain_db}; expected low, high": is_range(self.gain_db),
            f"trim_db is {self.trim_db}; expected > 0": self.trim_db is None or self.trim_db > 0,
            f"train_speed is {self.train_speed}; expected low, high, from 0.5 to 2": (
                is_range(self.train_speed, least=0.5, most=2.0)
            ),
            f"room_s is {self.room_s}; expected low, high, from 0.01 to 10": (
                is_range(self.room_s, least=0.01, most=10.0)
            ),
            f"placement_tries is {self.placement_tries}; expected >= 1": self.placement_tries >= 1,
        }
        faults = [fault for fault, holds in rules.items() if not holds]
        if faults:
            raise ValueError("clips: " + "; ".join(faults) + ".")

    @property
    def clip_ms(self) -> int:
        """Length in milliseconds."""
        return round(self.clip_s * 1000)

    @property
    def num_samples(self) -> int:
        """Length in samples."""
        return round(self.clip_s * self.rate_hz)

    def record(self) -> dict[str, Any]:
        """Return the options as plain JSON values."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: list(v) if isinstance(v, tuple) else v for name, v in values.items()}


def is_range(
    pair: Sequence[float] | None, *, least: float = -math.inf, most: float = math.inf
) -> bool:
    """Tell whether a pair is None or (low, high), within bounds."""
    return pair is None or (len(pair) == 2 and least <= pair[0] <= pair[1] <= most)


@dataclass(frozen=True)
class Clip:
    """A finished clip.

    Arguments
    ---------
    samples : ndarray
        [S] int16.
    triggers, negatives : list of (str, (int, int))
        Id of each word and its span without noise around it, by time.
    background : str
        Id of the noise.
    snr_db : float | None
        Mean level of the words over that of the background, dB; None without words or noise.
    num_clipped : int
        Samples that did not fit into 16 bits.
    num_left_out : int
        Words for which no place was found.
    """

    samples: NDArray[np.int16]
    triggers: list[tuple[str, Span]]
    negatives: list[tuple[str, Span]]
    background: str
    snr_db: float | None
    num_clipped: int
    num_left_out: int

    def record(self) -> dict[str, Any]:
        """Return what a manifest says of the clip: plain JSON values.

        `trigger_ends_ms`: last millisecond of each trigger; labels are computed from it.
        """
        return {
            "trigger_ends_ms": [end for _, (_, end) in self.triggers],
            "trigger_spans_ms": [list(span) for _, span in self.triggers],
            "negative_spans_ms": [list(span) for _, span in self.negatives],
            "trigger_ids": [id_ for id_, _ in self.triggers],
            "negative_ids": [id_ for id_, _ in self.negatives],
            "background": self.background,
            "snr_db": None if self.snr_db is None else round(self.snr_db, 3),
            "num_clipped": self.num_clipped,
            "num_left_out": self.num_left_out,
        }


class ClipMaker:
    """Makes the clips of one split.

    Arguments
    ---------
    words : Sequence[Word]
        The split's own: at least one of each role.
    options : ClipOptions
        How they are mixed.
    split : str
        Name of the split.
    seed : int
        Together with split and number it decides a clip.
    """

    def __init__(self, words: Sequence[Word], options: ClipOptions, *, split: str, seed: int):
        self.options = options
        self.split = split
        self.seed = seed
        self._words: Mapping[str, list[Word]] = {
            role: [word for word in words if word.role == role] for role in ROLES
        }
        self._load = lru_cache(_CACHED_WORDS)(self._read)

    def make(self, number: int) -> Clip:
        """Return a clip; equal numbers give equal clips, whatever was made before."""
        options = self.options
        rng = np.random.default_rng([self.seed, *self.split.encode(), number])
        noise = self._draw(rng, "background")
        background = read_stretch(noise, options.num_samples, rate_hz=options.rate_hz, rng=rng)
        foreground = np.zeros(options.num_samples, np.float32)
        occupied: list[Span] = []
        found: dict[str, list[tuple[str, Span]]] = {"trigger": [], "negative": []}
        num_wanted = 0
        most = {"trigger": options.max_triggers, "negative": options.max_negatives}
        for role, limit in most.items():
            count = int(rng.integers(0, limit + 1))
            num_wanted += count
            for _ in range(count):
                placed = self._place(rng, role, foreground, occupied)
                found[role] += [placed] if placed is not None else []
        if options.room_s is not None:
            decay_s = float(rng.uniform(*options.room_s))
            foreground = mixing.in_room(
                foreground, decay_s=decay_s, rate_hz=options.rate_hz, rng=rng
            )
        spans = [span for words in found.values() for _, span in words]
        level = self._background_level(rng, foreground, background, spans)
        background *= level
        samples, num_clipped = mixing.to_int16(
            foreground + background, target_dbfs=options.target_dbfs
        )
        return Clip(
            samples=samples,
            triggers=sorted(found["trigger"], key=lambda pair: pair[1]),
            negatives=sorted(found["negative"], key=lambda pair: pair[1]),
            background=noise.id,
            snr_db=self._snr_db(foreground, background, spans),
            num_clipped=num_clipped,
            num_left_out=num_wanted - len(spans),
        )

    def _draw(self, rng: np.random.Generator, role: str) -> Word:
        words = self._words[role]
        return words[int(rng.integers(0, len(words)))]

    def _place(
        self, rng: np.random.Generator, role: str, clip: Samples, occupied: list[Span]
    ) -> tuple[str, Span] | None:
        """Draw a word and a place for it, and add it there; None if there is no room.

        What comes back is the span of the word; occupied is that of its recording.
        """
        options = self.options
        word = self._draw(rng, role)
        sound = self._load(word)
        change = mixing.gain(float(rng.uniform(*options.gain_db)))
        if options.train_speed is not None and self.split == "train":
            sound = sound.at_speed(float(rng.uniform(*options.train_speed)))
        first_ms, stop_ms, whole_ms = (
            mixing.length_ms(num, rate_hz=options.rate_hz)
            for num in (sound.first, sound.stop, len(sound.samples))
        )
        span = mixing.place(
            rng,
            whole_ms,
            clip_ms=options.clip_ms,
            occupied=occupied,
            tries=options.placement_tries,
        )
        if span is None:
            return None
        mixing.overlay(clip, sound.samples * change, start_ms=span[0], rate_hz=options.rate_hz)
        occupied.append(span)
        return word.id, (span[0] + first_ms, span[0] + stop_ms - 1)

    def _background_level(
        self,
        rng: np.random.Generator,
        foreground: Samples,
        background: Samples,
        spans: Sequence[Span],
    ) -> np.float32:
        options = self.options
        if options.snr_db is None:
            return mixing.gain(options.background_db)
        wanted = float(rng.uniform(*options.snr_db))
        found = self._snr_db(foreground, background, spans)
        return mixing.gain(options.background_db if found is None else found - wanted)

    def _snr_db(
        self, foreground: Samples, background: Samples, spans: Sequence[Span]
    ) -> float | None:
        """Return the words' level, where there are words, over the background's."""
        rate = self.options.rate_hz / 1000
        parts = [foreground[round(a * rate) : round((b + 1) * rate)] for a, b in spans]
        if not parts:
            return None
        difference = mixing.dbfs(np.concatenate(parts)) - mixing.dbfs(background)
        return difference if math.isfinite(difference) else None

    def _read(self, word: Word) -> Sound:
        options = self.options
        return read_sound(
            word,
            rate_hz=options.rate_hz,
            trim_db=options.trim_db,
            is_among_noise=options.words_among_noise,
            word_dbfs=options.word_dbfs,
        )
