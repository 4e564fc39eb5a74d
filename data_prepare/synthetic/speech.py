"""The side of the corpus maker: ask the speaking process for samples, over pipes."""

import json
import struct
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from data_prepare.synthetic.voices import Voice

SPOKEN_RATE_HZ = 22050


@dataclass(frozen=True, slots=True)
class Line:
    """One utterance to be spoken.

    Arguments
    ---------
    voice : Voice
        Who speaks.
    clauses : tuple of (str, str)
        Words in lower case as they are said, and the mark after them: ``, . ? ! --``.
    """

    voice: Voice
    clauses: tuple[tuple[str, str], ...]


class SpeakingProcess:
    """A process of ``data_prepare.synthetic.espeak``; use it in a ``with`` block, in one thread."""

    def __init__(self) -> None:
        self._stack = ExitStack()
        self._errors = self._stack.enter_context(tempfile.TemporaryFile())  # noqa: SIM115 - stack
        self._process = subprocess.Popen(
            [sys.executable, "-m", "data_prepare.synthetic.espeak"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            cwd=Path(__file__).parent.parent.parent,
        )

    def __enter__(self) -> "SpeakingProcess":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the process; work in progress is lost."""
        process = self._process
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdout.close()
        try:
            process.stdin.close()
        except BrokenPipeError:
            process.terminate()
        process.wait()
        self._stack.close()

    def speak(self, lines: Sequence[Line]) -> Iterator[NDArray[np.float32]]:
        """Give the samples of each line in its turn; they depend on all lines of the job.

        Take all of them before the next job.

        Arguments
        ---------
        lines : Sequence[Line]
            One job.

        Yields
        ------
        ndarray
            [S] float32 in [-1, 1], mono at ``SPOKEN_RATE_HZ``, silence at both ends cut off.

        Raises
        ------
        RuntimeError
            If the process ended; its own words are in the message.
        """
        job = {"utterances": [_request(line) for line in lines]}
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(job).encode() + b"\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            raise RuntimeError(self._last_words()) from None
        for _ in lines:
            num_bytes = struct.unpack("<I", self._read(4))[0]
            samples = np.frombuffer(self._read(num_bytes), dtype="<i2")
            yield _cut_silence(samples.astype(np.float32) / 32768.0)

    def _read(self, num_bytes: int) -> bytes:
        assert self._process.stdout is not None
        data = self._process.stdout.read(num_bytes)
        if len(data) != num_bytes:
            raise RuntimeError(self._last_words())
        return data

    def _last_words(self) -> str:
        status = self._process.wait()
        self._errors.seek(0)
        said = self._errors.read().decode(errors="replace").strip().splitlines()
        words = said[-1] if said else "it said nothing"
        return (
            f"synthetic speech: the speaking process ended with status {status} ({words}); "
            "expected samples; check that the package espeakng-loader is installed and loads."
        )


def _request(line: Line) -> dict[str, object]:
    voice = line.voice
    return {
        "language": voice.language,
        "variant": voice.variant_file(),
        "rate_wpm": voice.rate_wpm,
        "rules": dict(voice.rules),
        "clauses": line.clauses,
    }


def _cut_silence(samples: NDArray[np.float32], threshold: float = 0.002) -> NDArray[np.float32]:
    is_loud = np.abs(samples) > threshold
    if not is_loud.any():
        return samples[:0]
    return samples[int(is_loud.argmax()) : len(samples) - int(is_loud[::-1].argmax())]
