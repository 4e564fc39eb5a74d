"""The corpus of `benchmarks.loading`, and the same utterances in the form each peer reads.

All hold the same FLAC files. An export is made under another name and renamed when it is whole.
"""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from data_prepare.bizspeech import prepare_bizspeech
from data_prepare.index import ShardIndex
from data_prepare.shards import decode_pair
from data_prepare.synthetic_prepare import prepare_synthetic

MINUTES_PER_CALL = 20.0
NUM_SHARDS_SMALL = 4
TAR, SHAR, LOOSE = "shards", "shar", "loose"
ANNOTATION = "annotation.json"


class Stored(NamedTuple):
    """An utterance as it lies in a shard."""

    shard: int
    key: str
    flac: bytes
    meta: dict[str, Any]


def make_corpus(work: Path, *, hours: float, num_jobs: int) -> Path:
    """Speak a corpus, prepare it and export it, or find all that; returns the split's folder."""
    minutes = min(MINUTES_PER_CALL, 60 * hours / 6)
    raw = prepare_synthetic(
        work / "raw",
        hours=hours,
        layouts=("bizspeech",),
        minutes_per_call=minutes,
        dirt=0.0,
        num_jobs=num_jobs,
        progress=False,
    )
    split = prepare_bizspeech(
        raw["bizspeech"],
        work / TAR,
        train_share=1.0,
        valid_share=0.0,
        min_duration_s=0.5,
        # webdataset needs a shard for each loader worker.
        num_shards={"train": NUM_SHARDS_SMALL} if hours < 1 else {},
        num_jobs=num_jobs,
        progress=False,
    ).split("train")
    for name, export in ((SHAR, export_shar), (LOOSE, export_loose)):
        if not (work / name).is_dir():
            shutil.rmtree(work / f"{name}.begun", ignore_errors=True)
            (work / f"{name}.begun").mkdir()
            export(ShardIndex.load(split), work / f"{name}.begun")
            (work / f"{name}.begun").rename(work / name)
    return split


def stored_utterances(index: ShardIndex) -> Iterator[Stored]:
    """Yield the utterances of a split, shard by shard."""
    for number in range(len(index.shards)):
        content = memoryview(index.shard_path(number).read_bytes())
        for row in index.utterances[index.utterances["shard"] == number]:
            offset = int(row["offset"])
            yield Stored(number, *decode_pair(content[offset : offset + int(row["num_bytes"])]))


def export_shar(index: ShardIndex, folder: Path) -> None:
    """Write the utterances as lhotse Shar with FLAC, as many in a shard as in ours."""
    from lhotse import Recording, SupervisionSegment
    from lhotse.shar import SharWriter

    shard_size = max(1, round(index.num_utterances / len(index.shards)))
    with SharWriter(str(folder), fields={"recording": "flac"}, shard_size=shard_size) as writer:
        for stored in stored_utterances(index):
            cut = Recording.from_bytes(stored.flac, recording_id=stored.key).to_cut()
            cut.id = stored.key
            names = {name: stored.meta[name] for name in ("id", "text", "speaker", "language")}
            cut.supervisions = [
                SupervisionSegment(recording_id=stored.key, start=0, duration=cut.duration, **names)
            ]
            writer.write(cut)


def export_loose(index: ShardIndex, folder: Path) -> None:
    """Write each utterance as a file, and a SpeechBrain annotation beside them."""
    annotation = {}
    for stored in stored_utterances(index):
        place = f"{stored.shard:06d}/{stored.key}.flac"
        (folder / place).parent.mkdir(exist_ok=True)
        (folder / place).write_bytes(stored.flac)
        annotation[stored.key] = {
            "wav": "{data_root}/" + place,
            "duration": stored.meta["num_samples"] / index.rate_hz,
            **{name: stored.meta[name] for name in ("text", "speaker", "category")},
        }
    (folder / ANNOTATION).write_text(json.dumps(annotation, indent=1), encoding="utf-8")


def files_of(contestant: str, work: Path) -> list[Path]:
    """Return the files that a contestant reads."""
    folder = {"lhotse": SHAR, "speechbrain": LOOSE}.get(contestant, TAR)
    kinds = ("*.flac", "*.tar", "*.gz", "*.npy", "*.jsonl", "*.json")
    return sorted(path for kind in kinds for path in (work / folder).rglob(kind))
