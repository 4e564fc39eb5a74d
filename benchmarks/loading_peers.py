"""The contestants of `benchmarks.loading`: one pass over the corpus, each by its own means.

    python -m benchmarks.loading_peers NAME WORK_FOLDER

Each yields batches as (wavs, lengths): [B, S] float32 right-padded with zeros, and [B] relative
lengths, in a shuffled order, each utterance once. All decode FLAC with soundfile.
"""

import io
import multiprocessing
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import soundfile
import torch
from torch import Tensor

from benchmarks.contestant import Clocks, serve
from benchmarks.loading_corpus import ANNOTATION, LOOSE, SHAR, TAR, stored_utterances
from data_prepare.index import ShardIndex

RATE_HZ = 16000
SHUFFLE_UTTERANCES = 1000  # what webdataset and lhotse hold to shuffle and sort
NUM_BUCKETS = 30
Batch = tuple[Tensor, Tensor]
Loader = Any


class Ours:
    """The project's loader."""

    def __init__(self, work: Path) -> None:
        self.folder = work / TAR / "train"

    def loader(self, *, batch_s: float, workers: int, seed: int) -> Loader:
        """Return an object to iterate over."""
        from data_prepare.stream import ShardLoader

        return ShardLoader(
            self.folder,
            max_batch_s=batch_s,
            shuffle=True,
            seed=seed,
            num_workers=workers,
            rank=0,
            world_size=1,
        )

    def batches(self, loader: Loader) -> Iterator[Batch]:
        """Yield padded audio and lengths."""
        for batch in loader:
            yield batch.wavs.data, batch.wavs.lengths


class WebDataset:
    """Stock webdataset on our shards; as many utterances a batch as fill it on average."""

    def __init__(self, work: Path) -> None:
        index = ShardIndex.load(work / TAR / "train")
        self.paths = [str(index.shard_path(number)) for number in range(len(index.shards))]
        self.mean_s = index.num_samples / index.num_utterances / index.rate_hz

    def loader(self, *, batch_s: float, workers: int, seed: int) -> Loader:
        """Return an object to iterate over."""
        import webdataset

        dataset = (
            webdataset.WebDataset(self.paths, shardshuffle=len(self.paths), seed=seed)
            .shuffle(SHUFFLE_UTTERANCES)
            .decode(webdataset.handle_extension("flac", _read_flac))
            .batched(max(1, round(batch_s / self.mean_s)), collation_fn=_pad_samples)
        )
        return webdataset.WebLoader(dataset, batch_size=None, num_workers=workers)

    def batches(self, loader: Loader) -> Iterator[Batch]:
        """Yield padded audio and lengths."""
        for batch in loader:
            yield batch["wavs"], batch["lengths"]


class Lhotse:
    """Lhotse Shar, dynamic bucketing in each loader worker over its share of the shards."""

    def __init__(self, work: Path) -> None:
        self.folder = work / SHAR

    def loader(self, *, batch_s: float, workers: int, seed: int) -> Loader:
        """Return an object to iterate over."""
        from lhotse import CutSet
        from lhotse.dataset import DynamicBucketingSampler
        from lhotse.dataset.iterable_dataset import IterableDatasetWrapper

        cuts = CutSet.from_shar(
            in_dir=self.folder, shuffle_shards=True, split_for_dataloading=True, seed=seed
        )
        sampler = DynamicBucketingSampler(
            cuts,
            max_duration=batch_s,
            num_buckets=NUM_BUCKETS,
            buffer_size=SHUFFLE_UTTERANCES,
            num_cuts_for_bins_estimate=SHUFFLE_UTTERANCES,
            shuffle=True,
            seed=seed,
            rank=0,
            world_size=1,
        )
        dataset = IterableDatasetWrapper(_LhotseBatches(), sampler)
        return torch.utils.data.DataLoader(dataset, batch_size=None, num_workers=workers)

    def batches(self, loader: Loader) -> Iterator[Batch]:
        """Yield padded audio and lengths."""
        for batch in loader:
            yield batch["wavs"], batch["lengths"]


class SpeechBrain:
    """SpeechBrain's datasets on loose files, batches cut by length."""

    def __init__(self, work: Path) -> None:
        self.folder = work / LOOSE

    def loader(self, *, batch_s: float, workers: int, seed: int) -> Loader:
        """Return an object to iterate over."""
        from speechbrain.dataio.batch import PaddedBatch
        from speechbrain.dataio.dataio import read_audio
        from speechbrain.dataio.dataloader import SaveableDataLoader
        from speechbrain.dataio.dataset import DynamicItemDataset
        from speechbrain.dataio.sampler import DynamicBatchSampler

        dataset = DynamicItemDataset.from_json(
            self.folder / ANNOTATION, replacements={"data_root": str(self.folder)}
        )
        dataset.add_dynamic_item(read_audio, takes="wav", provides="signal")
        dataset.set_output_keys(["id", "signal", "text", "speaker", "category"])
        sampler = DynamicBatchSampler(
            dataset, max_batch_length=batch_s, num_buckets=NUM_BUCKETS, seed=seed
        )
        return SaveableDataLoader(
            dataset, batch_sampler=sampler, collate_fn=PaddedBatch, num_workers=workers
        )

    def batches(self, loader: Loader) -> Iterator[Batch]:
        """Yield padded audio and lengths."""
        for batch in loader:
            yield batch.signal.data, batch.signal.lengths


class Bare:
    """Only soundfile on FLAC files in memory, divided among as many processes as workers."""

    def __init__(self, work: Path) -> None:
        index = ShardIndex.load(work / TAR / "train")
        self.files = [stored.flac for stored in stored_utterances(index)]

    def run(self, request: dict[str, Any]) -> dict[str, Any]:
        """Decode all files once."""
        clocks, num_processes = Clocks(), max(1, request["workers"])
        if num_processes == 1:
            samples = _decode_all(self.files)
        else:
            context = multiprocessing.get_context("fork")
            total = context.Value("q", 0)
            parts = [self.files[number::num_processes] for number in range(num_processes)]
            processes = [context.Process(target=_decode_part, args=(p, total)) for p in parts]
            for process in processes:
                process.start()
            for process in processes:
                process.join()
            samples = total.value
        return clocks.read() | {"utterances": len(self.files), "audio_s": samples / RATE_HZ}


CONTESTANTS: dict[str, Callable[[Path], Any]] = {
    "ours": Ours,
    "webdataset": WebDataset,
    "lhotse": Lhotse,
    "speechbrain": SpeechBrain,
    "bare": Bare,
}


def run_pass(contestant: Any, request: dict[str, Any]) -> dict[str, Any]:
    """Make a loader and take one pass; returns counts, seconds and what ours says of itself.

    The clocks of the pass start when the loader is made and it is asked for its first batch: they
    hold the start of loader workers, not the reading of an index or manifest.
    """
    started_s = time.perf_counter()
    loader = contestant.loader(**{name: request[name] for name in ("batch_s", "workers", "seed")})
    made_s = time.perf_counter() - started_s
    counts = {"utterances": 0, "batches": 0}
    samples = padded = 0.0
    first_s, clocks = None, Clocks()
    for wavs, lengths in contestant.batches(loader):
        if first_s is None:
            first_s = clocks.read()["wall_s"]
        counts["batches"] += 1
        counts["utterances"] += len(lengths)
        samples += float(lengths.sum()) * wavs.shape[1]
        padded += wavs.numel()
    statistics = loader.statistics.summary() if hasattr(loader, "statistics") else {}
    del loader, wavs, lengths  # ends the loader workers, so that their processor time counts
    return {
        **clocks.read(),
        **counts,
        "made_s": made_s,
        "first_batch_s": first_s,
        "audio_s": samples / RATE_HZ,
        "padding_share": 1 - samples / padded,
        "statistics": statistics,
    }


class _LhotseBatches(torch.utils.data.Dataset[Any]):
    """Collates cuts: audio, and the text that goes with it."""

    def __getitem__(self, cuts: Any) -> dict[str, Any]:
        from lhotse.dataset.collation import collate_audio

        wavs, lengths = collate_audio(cuts)
        supervisions = [cut.supervisions[0] for cut in cuts]
        return {
            "wavs": wavs,
            "lengths": lengths / wavs.shape[1],
            "text": [supervision.text for supervision in supervisions],
            "speaker": [supervision.speaker for supervision in supervisions],
        }


def _read_flac(data: bytes) -> Tensor:
    return torch.from_numpy(soundfile.read(io.BytesIO(data), dtype="float32")[0])


def _pad_samples(samples: list[dict[str, Any]]) -> dict[str, Any]:
    wavs = [sample["flac"] for sample in samples]
    padded = torch.nn.utils.rnn.pad_sequence(wavs, batch_first=True)
    lengths = torch.tensor([len(wav) for wav in wavs]) / padded.shape[1]
    metas = [sample["json"] for sample in samples]
    texts = {name: [meta[name] for meta in metas] for name in ("id", "text", "speaker", "category")}
    return {"wavs": padded, "lengths": lengths, **texts}


def _decode_all(files: list[bytes]) -> int:
    return sum(len(soundfile.read(io.BytesIO(file), dtype="float32")[0]) for file in files)


def _decode_part(files: list[bytes], total: Any) -> None:
    num_samples = _decode_all(files)
    with total.get_lock():
        total.value += num_samples


def main(name: str, work: str) -> int:
    """Serve passes of one contestant."""
    torch.set_num_threads(1)
    contestant = CONTESTANTS[name](Path(work))
    run = getattr(contestant, "run", None) or (lambda request: run_pass(contestant, request))
    serve(run)
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
