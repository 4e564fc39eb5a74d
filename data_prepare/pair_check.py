"""Check one utterance of a shard: its JSON, its audio, its row."""

import io
import json
from typing import Any

import numpy as np
import soundfile

from data_prepare.index_format import NOTES, TEXT_NAMES
from data_prepare.reading import TEXT_FIELDS
from data_prepare.shard_walk import Pair

_FLAC_MAGIC = b"fLaC"
_BLOCK_SAMPLES = 1 << 20


def read_meta(text: bytes) -> dict[str, Any]:
    """Return the content of a JSON member.

    Arguments
    ---------
    text : bytes
        The member.

    Returns
    -------
    dict[str, Any]
        All that an utterance needs is in it.

    Raises
    ------
    ValueError
        If it is not JSON or something lacks.
    """
    try:
        meta = json.loads(text)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    if not isinstance(meta, dict):
        raise ValueError(f"holds a {type(meta).__name__}; expected an object")
    for name in TEXT_FIELDS:
        if not isinstance(meta.get(name), str):
            raise ValueError(f"{name} is {meta.get(name)!r}; expected a text")
    if not isinstance(meta.get(NOTES, {}), dict):
        raise ValueError(f"{NOTES} is {meta[NOTES]!r}; expected an object")
    for name in ("num_samples", "rate_hz"):
        value = meta.get(name)
        if not isinstance(value, int) or isinstance(value, bool) or value < 0:
            raise ValueError(f"{name} is {value!r}; expected a number")
    return meta


def text_row(key: str, meta: dict[str, Any]) -> dict[str, Any]:
    """Return an utterance's line of utterances.jsonl."""
    row = {name: key if name == "key" else meta[name] for name in TEXT_NAMES}
    return row | ({NOTES: meta[NOTES]} if NOTES in meta else {})


def audio_fault(flac: bytes, *, num_samples: int, rate_hz: int) -> str:
    """Return what is wrong with an utterance's audio, "" if nothing."""
    if not flac.startswith(_FLAC_MAGIC):
        return "is no FLAC"
    try:
        with soundfile.SoundFile(io.BytesIO(flac)) as file:
            found = (file.samplerate, file.channels, file.frames)
            if found != (rate_hz, 1, num_samples):
                return f"{found} Hz, channels, samples; expected {(rate_hz, 1, num_samples)}"
            num_read = _count_samples(file)
    except (soundfile.SoundFileError, RuntimeError) as error:
        return f"does not decode: {error}"
    return "" if num_read == num_samples else f"only {num_read} of {num_samples} samples decode"


def _count_samples(file: soundfile.SoundFile) -> int:
    block = np.empty(min(_BLOCK_SAMPLES, file.frames), np.int16)
    num_read = 0
    while len(block) and (num := len(file.read(out=block, dtype="int16"))):
        num_read += num
    return num_read


def row_fault(row: Any, pair: Pair, meta: dict[str, Any], categories: list[str]) -> str:
    """Return how a row of utterances.npy differs from the utterance, "" if it fits."""
    if row is None:
        return "no row begins here"
    category = int(row["category"])
    found = {
        "num_bytes": int(row["num_bytes"]),
        "num_samples": int(row["num_samples"]),
        "category": categories[category] if category < len(categories) else category,
    }
    expected = {
        "num_bytes": pair.num_bytes,
        "num_samples": meta["num_samples"],
        "category": meta["category"],
    }
    wrong = [name for name in found if found[name] != expected[name]]
    return ", ".join(f"{name} is {found[name]!r}, here {expected[name]!r}" for name in wrong)
