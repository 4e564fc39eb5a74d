"""Tiny corpora for the tests of plan and stream: indexes without audio, and whole splits."""

import io
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import soundfile

from data_prepare.batch import BatchReader, BatchRequest, SpeechBatch, Transform
from data_prepare.index import ROW_DTYPE, ShardIndex, ShardPart, write_index
from data_prepare.reading import ShardReader
from data_prepare.shards import encode_pair, open_shard, shard_name

RATE_HZ = 16000


def fake_index(shards: list[list[float]], *, checksum: str = "abc") -> Any:
    """Index without files: the seconds of the utterances of each shard."""
    rows = np.zeros(sum(map(len, shards)), dtype=ROW_DTYPE)
    rows["num_samples"] = np.round([s * RATE_HZ for shard in shards for s in shard])
    rows["shard"] = np.repeat(np.arange(len(shards)), [len(shard) for shard in shards])
    return SimpleNamespace(
        folder=Path("fake"),
        checksum=checksum,
        rate_hz=RATE_HZ,
        utterances=rows,
        shards=[
            SimpleNamespace(name=shard_name(n), num_utterances=len(shard))
            for n, shard in enumerate(shards)
        ],
    )


def audio(number: int, num_samples: int) -> np.ndarray:
    """Utterance `number`: a tone of its own, [num_samples] int16."""
    phase = 2 * np.pi * (100 + 10 * number) / RATE_HZ * np.arange(num_samples)
    return np.round(8000 * np.sin(phase)).astype(np.int16)


def pair(number: int, num_samples: int, meta: dict[str, Any]) -> tuple[bytes, dict[str, Any]]:
    """Members of utterance `number`, and its text row."""
    flac = io.BytesIO()
    soundfile.write(flac, audio(number, num_samples), RATE_HZ, format="FLAC", subtype="PCM_16")
    text = {
        "id": f"utt-{number}",
        "text": f"text {number}",
        "speaker": f"spk-{number % 3}",
        "category": ("clean", "noisy")[number % 2],
        "language": "en",
        "group": "g",
    }
    content = {**text, "num_samples": num_samples, "rate_hz": RATE_HZ, **meta}
    key = f"utt-{number}"
    return encode_pair(key, flac=flac.getvalue(), meta=content), {**text, "key": key}


def write_split(
    folder: Path, shards: list[list[float]], *, texts: list[str] | None = None, **meta: Any
) -> Path:
    """Write a split with the given seconds (and texts) of utterances; numbers run through."""
    folder.mkdir(parents=True, exist_ok=True)
    parts, number = [], 0
    for n, shard in enumerate(shards):
        rows, text_rows = [], []
        with open_shard(folder / shard_name(n)) as writer:
            for seconds in shard:
                num_samples = round(seconds * RATE_HZ)
                own = {"text": texts[number]} if texts else {}
                data, text = pair(number, num_samples, meta | own)
                offset = writer.add(data, num_samples=num_samples)
                rows.append((offset, len(data), num_samples, text["category"]))
                text_rows.append(text | own)
                number += 1
            entry = writer.finish(shard_name(n))
        parts.append(ShardPart(entry, rows, text_rows))
    write_index(
        folder,
        parts,
        split="train",
        rate_hz=RATE_HZ,
        categories=["clean", "noisy"],
        num_utterances=number,
    )
    return folder


def random_shards(num_utterances: int, *, num_shards: int, seed: int = 0) -> list[list[float]]:
    """Seconds between 0.1 and 0.6 of utterances in shards of about equal size."""
    seconds = np.random.default_rng(seed).uniform(0.1, 0.6, num_utterances)
    return [part.tolist() for part in np.array_split(seconds, num_shards)]


def wordless_batch(folder: Path, transform: Transform, *, is_readable: bool) -> SpeechBatch:
    """The loader's batch of an utterance without text, or the one that stands for a lost shard."""
    split = write_split(folder, [[1.0]], texts=[""], notes={"source": ""})
    if not is_readable:
        (split / shard_name(0)).unlink()
    index = ShardIndex.load_texts(split)
    reader = BatchReader(ShardReader(index), transforms=[transform])
    return reader[BatchRequest(index.utterances)].unpack()
