"""Draw persons: voice, pace, accent and room, spread continuously so that each is unique.

A voice is an English voice of eSpeak NG changed by a variant file of our own. Formants are scaled
as by the length of the vocal tract (women about 15 % above men: Peterson and Barney, 1952, J.
Acoust. Soc. Am. 24, 175-184). The accent of a non-native speaker is a set of phonemes that are
spoken in the place of others, as described by first language in Swan and Smith, Learner English
(2001); a speaker has most, seldom all, of the habits of the first language.
"""

from dataclasses import dataclass

import numpy as np

# Voice file of the library -> weight among native speakers.
NATIVE_LANGUAGES = {
    "gmw/en-US": 10,
    "gmw/en": 4,
    "gmw/en-GB-x-rp": 2,
    "gmw/en-US-nyc": 2,
    "gmw/en-GB-scotland": 1,
}

# First language -> (phoneme of the voice gmw/en-US -> what is spoken instead).
ACCENTS: dict[str, dict[str, str]] = {
    "german": {"T": "s", "D": "z", "w": "v", "V": "a", "dZ": "tS"},
    "french": {"T": "s", "D": "z", "h": "", "I": "i:", "tS": "S"},
    "spanish": {"z": "s", "I": "i:", "v": "b", "V": "a", "S": "tS"},
    "italian": {"T": "t", "D": "d", "I": "i:", "h": ""},
    "russian": {"T": "s", "D": "z", "w": "v", "h": "x", "I": "i:"},
    "hindi": {"T": "t", "D": "d", "w": "v", "z": "dZ"},
    "mandarin": {"T": "s", "D": "d", "v": "w", "I": "i:"},
    "japanese": {"T": "s", "D": "z", "v": "b", "V": "a", "I": "i:"},
    "finnish": {"T": "t", "D": "d", "z": "s", "S": "s", "b": "p"},
    "dutch": {"T": "t", "D": "d", "w": "v", "V": "O", "z": "s"},
}
_HABIT_SHARE = 0.75
# Words per minute, and highest pitch over lowest: learners speak slower and flatter.
_WPM = {True: (160, 195), False: (145, 178)}
_PITCH_RATIO = {True: (1.25, 1.55), False: (1.12, 1.45)}


@dataclass(frozen=True, slots=True)
class Voice:
    """One person.

    Arguments
    ---------
    language : str
        Voice file of the library, e.g. ``gmw/en-US``.
    gender : str
        ``female`` or ``male``.
    first_language : str
        ``english``, or a key of `ACCENTS`.
    pitch_hz : tuple of (int, int)
        Lowest and highest pitch.
    formants_percent : tuple of int
        Scale of formants 0 to 5.
    flutter, roughness : int
        Unsteadiness of the voice, 0 is none.
    rate_wpm : int
        Words per minute.
    rules : tuple of (str, str)
        Phoneme -> phoneme spoken instead.
    tilt : float
        One-tap high (negative) or low (positive) emphasis of the microphone, within (-1, 1).
    echoes : tuple of (float, float)
        Early reflections of the room: delay in seconds, gain.
    level_db : float
        Mean level in dB below full scale; negative.
    noise_db : float
        Level of the noise in dB below full scale; negative.
    """

    language: str
    gender: str
    first_language: str
    pitch_hz: tuple[int, int]
    formants_percent: tuple[int, ...]
    flutter: int
    roughness: int
    rate_wpm: int
    rules: tuple[tuple[str, str], ...]
    tilt: float
    echoes: tuple[tuple[float, float], ...]
    level_db: float
    noise_db: float

    @property
    def is_native(self) -> bool:
        """Tell whether English is the first language."""
        return self.first_language == "english"

    def variant_file(self) -> str:
        """Give the text of the variant file (eSpeak NG, docs/voices.md)."""
        lines = [
            "language variant",
            "name stampede",
            f"gender {self.gender}",
            f"pitch {self.pitch_hz[0]} {self.pitch_hz[1]}",
            f"flutter {self.flutter}",
            f"roughness {self.roughness}",
        ]
        lines += [f"formant {n} {scale} 100 100" for n, scale in enumerate(self.formants_percent)]
        return "\n".join(lines) + "\n"


def draw_voice(rng: np.random.Generator, *, is_native: bool) -> Voice:
    """Draw a person.

    Arguments
    ---------
    rng : np.random.Generator
        Source of all choices.
    is_native : bool
        False gives one of the accents of `ACCENTS` over American English.

    Returns
    -------
    Voice
        Its pitch, pace, accent, level and room.
    """
    gender = "female" if rng.random() < 0.45 else "male"
    language, first_language, rules = _draw_accent(rng, is_native=is_native)
    low_hz = int(rng.uniform(155, 215) if gender == "female" else rng.uniform(78, 125))
    tract = rng.uniform(1.07, 1.18) if gender == "female" else rng.uniform(0.94, 1.05)
    formants = 100.0 * tract * rng.uniform(0.97, 1.03, size=6)
    delays_s = rng.uniform(0.002, 0.015, size=3)
    gains = rng.uniform(0.02, 0.12, size=3) * rng.choice([-1.0, 1.0], size=3)
    return Voice(
        language=language,
        gender=gender,
        first_language=first_language,
        pitch_hz=(low_hz, int(low_hz * rng.uniform(*_PITCH_RATIO[is_native]))),
        formants_percent=tuple(int(round(scale)) for scale in formants),
        flutter=int(rng.integers(0, 4)),
        roughness=int(rng.integers(0, 3)),
        rate_wpm=int(rng.integers(*_WPM[is_native])),
        rules=rules,
        tilt=float(rng.uniform(-0.25, 0.25)),
        echoes=tuple((float(s), float(g)) for s, g in zip(delays_s, gains, strict=True)),
        level_db=float(rng.uniform(-27.0, -20.0)),
        noise_db=float(rng.uniform(-68.0, -52.0)),
    )


def _draw_accent(
    rng: np.random.Generator, *, is_native: bool
) -> tuple[str, str, tuple[tuple[str, str], ...]]:
    if is_native:
        weights = np.array(list(NATIVE_LANGUAGES.values()), dtype=np.float64)
        language = str(rng.choice(list(NATIVE_LANGUAGES), p=weights / weights.sum()))
        return language, "english", ()
    first_language = str(rng.choice(list(ACCENTS)))
    habits = list(ACCENTS[first_language].items())
    kept = rng.random(len(habits)) < _HABIT_SHARE
    kept[int(rng.integers(len(habits)))] = True
    return "gmw/en-US", first_language, tuple(h for h, k in zip(habits, kept, strict=True) if k)
