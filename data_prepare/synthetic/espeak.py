"""Speak utterances with the eSpeak NG library: the program of a process of its own.

Run as ``python -m data_prepare.synthetic.espeak`` it reads one job per line from standard input
and writes the samples to standard output. The library is under the GPL: only this program loads
it, and data_prepare.synthetic.speech talks to this program through pipes only.

Protocol: a job is one JSON line ``{"utterances": [{"language", "variant", "rate_wpm",
"rules", "clauses"}, ...]}``. For each utterance the answer is a little-endian unsigned 32-bit
number of bytes and then the samples, 16-bit signed mono at ``RATE_HZ``. Each job is spoken by a
forked child, because the library keeps state from one utterance to the next that nothing resets:
so the samples of a job depend on the job alone.

Source: eSpeak NG, src/include/espeak-ng/speak_lib.h and docs/voices.md.
"""

import ctypes
import json
import os
import struct
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

RATE_HZ = 22050

_AUDIO_OUTPUT_SYNCHRONOUS = 2
_CHARS_UTF8 = 1
_PHONEMES = 0x100
_PARAMETER_RATE = 1
_PARAMETER_VOLUME = 2
# At the library's own 100 one utterance in twelve is clipped.
_VOLUME = 60
_SEPARATOR = ord("|") << 8
_VARIANT = "stampede"
_PAUSE = "[[_:_:]]"

_Callback = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p
)


class Espeak:
    """The library with a voice folder of our own beside its own data.

    Arguments
    ---------
    library : str
        Path of libespeak-ng.
    data : Path
        Folder as made by `link_data`.

    Raises
    ------
    RuntimeError
        If the library cannot be set up, or refuses a voice or a text.
    """

    def __init__(self, library: str, data: Path) -> None:
        self._library = ctypes.CDLL(library)
        self._data = data
        self._chunks: list[bytes] = []
        self._callback = _Callback(self._collect)
        self._translate = self._library.espeak_TextToPhonemes
        self._translate.restype = ctypes.c_char_p
        self._translate.argtypes = [ctypes.POINTER(ctypes.c_char_p), ctypes.c_int, ctypes.c_int]
        rate_hz = self._library.espeak_Initialize(
            _AUDIO_OUTPUT_SYNCHRONOUS, 0, str(data).encode(), 0
        )
        if rate_hz != RATE_HZ:
            raise RuntimeError(f"espeak: the library speaks at {rate_hz} Hz; expected {RATE_HZ}.")
        self._library.espeak_SetSynthCallback(self._callback)

    def _collect(self, samples: Any, num_samples: int, events: int) -> int:
        if samples and num_samples > 0:
            self._chunks.append(ctypes.string_at(samples, 2 * num_samples))
        return 0

    def set_voice(self, language: str, *, variant: str, rate_wpm: int) -> None:
        """Take the language's voice, changed by a variant file, at a rate in words per minute."""
        (self._data / "voices" / "!v" / _VARIANT).write_text(variant, encoding="utf-8")
        name = f"{language}+{_VARIANT}"
        self._check(self._library.espeak_SetVoiceByName(name.encode()), f"voice {name}")
        for parameter, value in ((_PARAMETER_RATE, rate_wpm), (_PARAMETER_VOLUME, _VOLUME)):
            status = self._library.espeak_SetParameter(parameter, value, 0)
            self._check(status, f"value {value} of parameter {parameter}")

    def phonemes(self, text: str) -> str:
        """Give the phoneme mnemonics of a text, `|` between phonemes, blanks between words."""
        pointer = ctypes.c_char_p(text.encode())
        parts = []
        while pointer.value:
            part = self._translate(ctypes.byref(pointer), _CHARS_UTF8, _SEPARATOR)
            parts.append(part.decode())
        return " ".join(parts)

    def speak(self, text: str) -> bytes:
        """Give the samples of a text, in which ``[[...]]`` holds phoneme mnemonics."""
        self._chunks.clear()
        data = text.encode() + b"\0"
        status = self._library.espeak_Synth(
            data, ctypes.c_size_t(len(data)), 0, 0, 0, _CHARS_UTF8 | _PHONEMES, None, None
        )
        self._check(status, f"text {text!r}")
        return b"".join(self._chunks)

    @staticmethod
    def _check(status: int, what: str) -> None:
        if status != 0:
            raise RuntimeError(f"espeak: the library refused {what} with status {status}.")


def link_data(source: Path, folder: Path) -> None:
    """Make a data folder of links to the library's data, with an empty folder of variants."""
    for path in source.iterdir():
        if path.name != "voices":
            (folder / path.name).symlink_to(path)
    (folder / "voices" / "!v").mkdir(parents=True)


def substitute(phonemes: str, rules: dict[str, str]) -> str:
    """Put other phonemes in the place of some, stress marks kept.

    Arguments
    ---------
    phonemes : str
        Mnemonics with `|` between phonemes and blanks between words, as `Espeak.phonemes` gives.
    rules : dict[str, str]
        Phoneme -> the one spoken instead; "" leaves it out.

    Returns
    -------
    str
        The same form.
    """
    words = []
    for word in phonemes.split():
        changed = []
        for phoneme in word.split("|"):
            bare = phoneme.lstrip("',%=")
            stress = phoneme[: len(phoneme) - len(bare)]
            changed.append(stress + rules.get(bare, bare))
        words.append("|".join(part for part in changed if part))
    return " ".join(words)


def speak_utterance(espeak: Espeak, utterance: dict[str, Any]) -> bytes:
    """Speak one utterance of a job; clauses are ``[text, mark]`` with mark one of ``, . ? ! --``.

    With phoneme rules each clause is translated, changed and spoken as phonemes; the mark after it
    keeps the intonation of the clause.
    """
    rules: dict[str, str] = utterance["rules"]
    espeak.set_voice(
        utterance["language"], variant=utterance["variant"], rate_wpm=utterance["rate_wpm"]
    )
    parts = []
    for text, mark in utterance["clauses"]:
        spoken = f"[[{substitute(espeak.phonemes(text), rules)}]]" if rules else text
        parts.append(f"{spoken} {_PAUSE}" if mark == "--" else spoken + mark)
    return espeak.speak(" ".join(parts))


def speak_job(espeak_of: Callable[[], Espeak], job: dict[str, Any], out: BinaryIO) -> None:
    """Write the answer to one job."""
    espeak = espeak_of()
    for utterance in job["utterances"]:
        samples = speak_utterance(espeak, utterance)
        out.write(struct.pack("<I", len(samples)))
        out.write(samples)
    out.flush()


def _speak_in_fork(espeak_of: Callable[[], Espeak], line: str) -> int:
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            speak_job(espeak_of, json.loads(line), sys.stdout.buffer)
            status = 0
        except (KeyError, OSError, RuntimeError, ValueError) as error:
            sys.stderr.write(f"{type(error).__name__}: {error}\n")
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def main() -> int:
    """Answer jobs until standard input ends; give the exit status."""
    import espeakng_loader

    library = espeakng_loader.get_library_path()
    with tempfile.TemporaryDirectory(prefix="stampede-espeak-") as name:
        data = Path(name)
        link_data(Path(espeakng_loader.get_data_path()), data)
        for line in sys.stdin:
            status = _speak_in_fork(lambda: Espeak(library, data), line)
            if status != 0:
                return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
