"""Words spoken by eSpeak NG, and noise, as recordings to mix clips from: no download.

Every split has voices and noise of its own. Layout: <split>/activates/<voice>-<word>.flac,
<split>/negatives/..., <split>/backgrounds/<number>.flac; the same options give the same bytes.
"""

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray
from tqdm import tqdm

from data_prepare.synthetic.audio import render
from data_prepare.synthetic.speech import Line, SpeakingProcess
from data_prepare.synthetic.voices import draw_voice
from data_prepare.trigger_word.words import FOLDERS

NEGATIVES = (
    *("commuter", "compute", "computing", "competing", "confuser", "computation"),
    *("kitchen", "window", "morning", "seven", "weather", "music", "garden", "travel"),
    *("picture", "under the table", "turn it off", "what time is it", "good night"),
)
"""Other words: some that sound like "computer", some that do not."""
_NATIVE_SHARE = 0.8
_NOISE_S = 12.0
_NOISE_DBFS = -25.0
_HUM_HZ = (50.0, 60.0)


def speak_words(
    folder: Path,
    work: Path,
    *,
    trigger: str,
    negatives: Sequence[str],
    voices: Mapping[str, int],
    rate_hz: int,
    seed: int,
    progress: bool = True,
) -> None:
    """Speak every word with every voice, and make noise, or find it done.

    Arguments
    ---------
    folder : Path
        Where the recordings go; it appears when all are there.
    work : Path
        Folder on the same file system for what is not finished.
    trigger : str
        The trigger, in lower case as it is said.
    negatives : Sequence[str]
        Other words.
    voices : Mapping[str, int]
        Split to its number of voices, and of noises.
    rate_hz : int
        Sampling rate.
    seed : int
        Decides voices and noise.
    progress : bool
        Show a progress bar.

    Raises
    ------
    RuntimeError
        If the speech library cannot be used.
    """
    if folder.is_dir():
        return
    new = work / folder.name
    shutil.rmtree(new, ignore_errors=True)
    jobs = [(split, number) for split, count in voices.items() for number in range(count)]
    with SpeakingProcess() as process:
        for split, number in tqdm(jobs, desc="speaking", unit="voice", disable=not progress):
            rng = np.random.default_rng([seed, *split.encode(), number])
            voice = draw_voice(rng, is_native=bool(rng.random() < _NATIVE_SHARE))
            texts = [trigger, *negatives]
            spoken = process.speak([Line(voice, ((text, "."),)) for text in texts])
            for text, samples in zip(texts, spoken, strict=True):
                role = "trigger" if text == trigger else "negative"
                name = f"{number:04d}-{text.replace(' ', '_')}.flac"
                path = new / split / FOLDERS[role] / name
                _write(path, render(samples, voice, rate_hz=rate_hz), rate_hz=rate_hz)
            path = new / split / FOLDERS["background"] / f"{number:04d}.flac"
            _write(path, room_noise(rng, rate_hz=rate_hz), rate_hz=rate_hz)
    new.rename(folder)


def room_noise(rng: np.random.Generator, *, rate_hz: int) -> NDArray[np.float32]:
    """Return noise as of a room: a falling spectrum, hum of the mains, slow changes of level.

    Arguments
    ---------
    rng : np.random.Generator
        Decides slope, hum and changes.
    rate_hz : int
        Sampling rate.

    Returns
    -------
    ndarray
        [12 s] float32 at -25 dB of full scale.
    """
    num = round(_NOISE_S * rate_hz)
    spectrum = np.fft.rfft(rng.standard_normal(num))
    hz = np.fft.rfftfreq(num, 1 / rate_hz)
    spectrum *= np.maximum(hz, 20.0) ** -float(rng.uniform(0.2, 1.0))
    noise = np.fft.irfft(spectrum, num)
    noise /= np.sqrt(np.mean(np.square(noise)))
    seconds = np.arange(num) / rate_hz
    mains_hz = float(rng.choice(_HUM_HZ))
    for harmonic in (1, 2, 3):
        level, phase = rng.uniform(0.0, 0.3) / harmonic, rng.uniform(0.0, 2 * np.pi)
        noise += level * np.sin(2 * np.pi * mains_hz * harmonic * seconds + phase)
    knots = rng.uniform(-4.0, 4.0, 8)
    noise *= 10.0 ** (np.interp(seconds, np.linspace(0.0, _NOISE_S, 8), knots) / 20.0)
    noise *= 10.0 ** (_NOISE_DBFS / 20.0) / np.sqrt(np.mean(np.square(noise)))
    return np.clip(noise, -0.999, 0.999).astype(np.float32)


def _write(path: Path, samples: NDArray[np.float32], *, rate_hz: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, samples, rate_hz, format="FLAC", subtype="PCM_16")
