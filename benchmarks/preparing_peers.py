"""The contestants of `benchmarks.preparing`: recordings to shards of 16 kHz mono FLAC.

    python -m benchmarks.preparing_peers NAME

One process each. All but ours get the list of utterances ready: recording, start, end, text.
"""

import io
import itertools
import json
import os
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from benchmarks.contestant import Clocks, serve

RATE_HZ = 16000
NUM_SHARDS = 4


@dataclass(frozen=True)
class Wanted:
    """An utterance of the list.

    Arguments
    ---------
    key, text, speaker : str
        As in our shards.
    path : str
        The recording.
    start_s, end_s : float
        In the recording.
    """

    key: str
    text: str
    speaker: str
    path: str
    start_s: float
    end_s: float


@dataclass(frozen=True)
class Task:
    """What to prepare: "calls" or "short", the raw corpus, the new folder, the list."""

    corpus: str
    raw: Path
    out: Path
    listing: Path


def read_list(path: Path) -> list[Wanted]:
    """Return the utterances of a list, a recording after the other, in time order."""
    lines = path.read_text(encoding="utf-8").splitlines()
    wanted = [Wanted(**json.loads(line)) for line in lines]
    return sorted(wanted, key=lambda item: (item.path, item.start_s))


def prepare_ours(task: Task) -> None:
    """Run the project's preparer as its command does."""
    from data_prepare.bizspeech import prepare_bizspeech
    from data_prepare.spgispeech import prepare_spgispeech

    if task.corpus == "calls":
        prepare_bizspeech(
            task.raw,
            task.out,
            train_share=1.0,
            valid_share=0.0,
            min_duration_s=0.5,
            num_shards={"train": NUM_SHARDS},
            progress=False,
        )
    else:
        prepare_spgispeech(
            task.raw,
            task.out,
            splits=("train",),
            num_shards={"train": NUM_SHARDS},
            progress=False,
        )


def prepare_lhotse(task: Task) -> None:
    """Make manifests, cuts and Shar; of several channels lhotse takes the first."""
    from lhotse import CutSet, Recording, RecordingSet, SupervisionSegment, SupervisionSet

    wanted = read_list(task.listing)
    names = sorted({item.path for item in wanted})
    recordings = RecordingSet.from_recordings(
        Recording.from_file(name, recording_id=name) for name in names
    )
    supervisions = SupervisionSet.from_segments(
        SupervisionSegment(
            id=item.key,
            recording_id=item.path,
            start=item.start_s,
            duration=item.end_s - item.start_s,
            text=item.text,
            speaker=item.speaker,
            channel=0,
        )
        for item in wanted
    )
    cuts = CutSet.from_manifests(recordings=recordings, supervisions=supervisions, tolerance=0.1)
    cuts = cuts.trim_to_supervisions(keep_overlapping=False).resample(RATE_HZ)
    task.out.mkdir()
    cuts.to_shar(task.out, fields={"recording": "flac"}, shard_size=_shard_size(wanted))


def prepare_plain(task: Task) -> None:
    """Decode, mix and convert each recording at once (soundfile, soxr); cut, encode, tar."""
    _cut_and_tar(read_list(task.listing), task.out, _decode_by_soundfile)


def prepare_ffmpeg(task: Task) -> None:
    """Decode, mix and convert each recording at once by one ffmpeg; cut, encode, tar."""
    _cut_and_tar(read_list(task.listing), task.out, _decode_by_ffmpeg)


CONTESTANTS: dict[str, Callable[[Task], None]] = {
    "ours": prepare_ours,
    "lhotse": prepare_lhotse,
    "plain": prepare_plain,
    "ffmpeg": prepare_ffmpeg,
}


def find_ffmpeg() -> str | None:
    """Return the program named by $FFMPEG, or ffmpeg on the path, or None."""
    return os.environ.get("FFMPEG") or shutil.which("ffmpeg")


def count(out: Path) -> dict[str, float]:
    """Return the utterances, seconds and bytes of all FLAC members under a folder."""
    num_utterances = num_samples = num_bytes = 0
    for path in sorted(out.rglob("*.tar")):
        num_bytes += path.stat().st_size
        with tarfile.open(path) as tar:
            for member in tar:
                if member.name.endswith(".flac"):
                    file = tar.extractfile(member)
                    assert file is not None
                    num_samples += soundfile.info(io.BytesIO(file.read())).frames
                    num_utterances += 1
    seconds = num_samples / RATE_HZ
    return {"utterances": num_utterances, "audio_s": seconds, "mib": num_bytes / 2**20}


def _decode_by_soundfile(path: str) -> NDArray[np.int16]:
    samples, rate_hz = soundfile.read(path, dtype="float32", always_2d=True)
    mono = samples.mean(axis=1)
    if rate_hz != RATE_HZ:
        mono = soxr.resample(mono, rate_hz, RATE_HZ, "HQ")
    return np.clip(np.rint(mono * 32768), -32768, 32767).astype(np.int16)


def _decode_by_ffmpeg(path: str) -> NDArray[np.int16]:
    command = [str(find_ffmpeg()), "-v", "error", "-nostdin", "-threads", "1", "-i", path]
    command += ["-ac", "1", "-ar", str(RATE_HZ), "-f", "s16le", "-"]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True)
    return np.frombuffer(done.stdout, np.int16)


def _cut_and_tar(
    wanted: Sequence[Wanted], out: Path, decode: Callable[[str], NDArray[np.int16]]
) -> None:
    out.mkdir()
    pieces = _pieces(wanted, decode)
    for number in itertools.count():
        part = list(itertools.islice(pieces, _shard_size(wanted)))
        if not part:
            return
        with tarfile.open(out / f"shard-{number:06d}.tar", "w") as tar:
            for item, samples in part:
                flac = io.BytesIO()
                soundfile.write(flac, samples, RATE_HZ, format="FLAC", subtype="PCM_16")
                meta = {"text": item.text, "speaker": item.speaker, "num_samples": len(samples)}
                _add(tar, f"{item.key}.flac", flac.getvalue())
                _add(tar, f"{item.key}.json", json.dumps(meta).encode())


def _shard_size(wanted: Sequence[Wanted]) -> int:
    return -(-len(wanted) // NUM_SHARDS)


def _pieces(
    wanted: Sequence[Wanted], decode: Callable[[str], NDArray[np.int16]]
) -> Iterator[tuple[Wanted, NDArray[np.int16]]]:
    for path, items in itertools.groupby(wanted, lambda item: item.path):
        samples = decode(path)
        for item in items:
            first, last = round(item.start_s * RATE_HZ), round(item.end_s * RATE_HZ)
            yield item, samples[first:last]


def _add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    info = tarfile.TarInfo(name)
    info.size = len(content)
    tar.addfile(info, io.BytesIO(content))


def _sync(out: Path) -> None:
    """Bring all that was written to the disk; what a contestant has synced itself costs nothing."""
    for path in out.rglob("*"):
        if path.is_file():
            with path.open("rb") as file:
                os.fsync(file.fileno())


def run(name: str, request: dict[str, Any]) -> dict[str, Any]:
    """Prepare once into a new folder; returns seconds and what came out."""
    paths = {key: Path(request[key]) for key in ("raw", "out", "listing")}
    task = Task(request["corpus"], **paths)
    shutil.rmtree(task.out, ignore_errors=True)
    clocks = Clocks()
    CONTESTANTS[name](task)
    _sync(task.out)
    seconds = clocks.read()
    return {**seconds, **count(task.out)}


def main(name: str) -> int:
    """Serve runs of one contestant."""
    if name == "lhotse":
        import torch

        torch.set_num_threads(1)
    serve(lambda request: run(name, request))
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
