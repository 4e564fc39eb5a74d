"""Stream several prepared corpora as one endless mixture with weights.

Each corpus is planned as if it were alone, with its own options; `data_prepare.mixing_sequence`
says which of them the next batch comes from. A batch is of one corpus, named in `batch.corpus`, so
losses can be told by corpus. Every pass of every corpus delivers each of its utterances once.
"""

import inspect
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from data_prepare.accounting import LoaderStatistics
from data_prepare.batch import BatchRequest, SpeechBatch
from data_prepare.batch_loader import BatchLoader
from data_prepare.cursor import Cursor
from data_prepare.mixed_corpus import read_mixture
from data_prepare.mixing_reader import CorpusName, MixedReader
from data_prepare.mixing_sequence import Mixture
from data_prepare.mixing_shares import share_weights
from data_prepare.read_ahead import READ_AHEAD_BYTES
from data_prepare.storage import Storage
from data_prepare.stream import ShardLoader

logger = logging.getLogger(__name__)

Corpora = Mapping[str, str | Path | Storage]

_HOUR_S = 3600.0
_OF_THE_MIXTURE = (
    *("self", "folder", "batches_per_epoch", "rank", "world_size", "num_workers"),
    *("prefetch_factor", "persistent_workers", "multiprocessing_context", "pin_memory"),
    "read_ahead_bytes",
)


class MixedLoader(BatchLoader):
    """Loads a mixture of prepared splits as SpeechBrain batches.

    The interface is that of `data_prepare.stream.ShardLoader`. One iteration is one epoch:
    `batches_per_epoch` batches, or as many as give one pass's worth of audio; the next one goes on
    where it ended. A batch has `corpus`, a list with the corpus's name for each utterance.

    Arguments
    ---------
    corpora : Corpora | str | Path
        Name of each corpus -> folder, address or storage of its split; or the folder of a
        mixture that `data_prepare.mixed_corpus.prepare_mixture` wrote.
    weights : Mapping[str, float] | None
        Relative share of each corpus in seconds of audio.
    temperature : float | None
        Without weights: the share of a corpus of h hours is as h ** (1 / temperature); 1 takes
        the corpora as they are, more raises the small ones.
    options : Mapping[str, Mapping[str, Any]] | None
        Name of a corpus -> its own values of what is in `common`.
    seed : int
        Of the shuffled orders and of the mixture.
    batches_per_epoch : int | None
        Length of a nominal epoch, in batches of each rank.
    rank : int | None
        Which part to load; by default from torch.distributed, or all where it is not in use.
    world_size : int | None
        Number of parts.
    num_workers : int
        Loader worker processes; 0 loads in the calling process.
    prefetch_factor : int | None
        Batches that each worker reads ahead (PyTorch: 2).
    persistent_workers : bool
        Workers live as long as the loader, not one epoch.
    multiprocessing_context : str | None
        "fork", "spawn" or "forkserver"; the platform's own by default.
    pin_memory : bool
        Batches in page-locked memory, for faster copies to a GPU.
    read_ahead_bytes : int
        What each loader worker reads ahead, of all corpora together.
    **common : Any
        Options of `ShardLoader` that are not named here, for all corpora: `max_batch_s` (needed),
        `shuffle`, `min_utterance_s`, `shards`, `transforms`, `max_bad_share` (of each corpus), ...

    Attributes
    ----------
    parts : dict[str, ShardLoader]
        What each corpus is planned and read with; `parts[name].statistics` are those of the
        running or last epoch.
    statistics : LoaderStatistics
        The same for all of them together.

    Raises
    ------
    ValueError
        If options, weights or names are wrong, or the sampling rates differ.
    """

    def __init__(  # noqa: PLR0913 - the options of a YAML block, all by keyword
        self,
        corpora: Corpora | str | Path,
        *,
        weights: Mapping[str, float] | None = None,
        temperature: float | None = None,
        options: Mapping[str, Mapping[str, Any]] | None = None,
        seed: int = 0,
        batches_per_epoch: int | None = None,
        rank: int | None = None,
        world_size: int | None = None,
        num_workers: int = 0,
        prefetch_factor: int | None = None,
        persistent_workers: bool = True,
        multiprocessing_context: str | None = None,
        pin_memory: bool = False,
        read_ahead_bytes: int = READ_AHEAD_BYTES,
        **common: Any,
    ):
        folders = read_mixture(corpora) if isinstance(corpora, str | Path) else dict(corpora)
        own = {name: dict(values) for name, values in (options or {}).items()}
        _check_options(folders, own, common, batches_per_epoch=batches_per_epoch)
        ranks = {"rank": rank, "world_size": world_size}
        self.parts = {
            name: _part(name, folder, {"seed": seed, **common, **own.get(name, {}), **ranks})
            for name, folder in folders.items()
        }
        self.rate_hz = _common_rate_hz(self.parts)
        samples = {name: p.sequence.planner.num_samples for name, p in self.parts.items()}
        self.sequence = Mixture(
            {name: part.sequence for name, part in self.parts.items()},
            weights=share_weights(samples, weights=weights, temperature=temperature),
            seed=seed,
            batches_per_epoch=batches_per_epoch,
        )
        self.indexes = [part.index for part in self.parts.values()]
        readers: list[Any] = [part.dataset for part in self.parts.values()]
        super().__init__(
            MixedReader(readers),
            Cursor(self.indexes, self.sequence, rank=rank, world_size=world_size),
            num_workers=num_workers,
            prefetch_factor=prefetch_factor,
            persistent_workers=persistent_workers,
            multiprocessing_context=multiprocessing_context,
            pin_memory=pin_memory,
            read_ahead_bytes=read_ahead_bytes,
        )
        self.begin_statistics()
        shares = zip(self.sequence.names, self.sequence.weights, strict=True)
        total = sum(self.sequence.weights)
        for name, weight in shares:
            hours = samples[name] / self.rate_hz / _HOUR_S
            logger.info("mixture: %.2f %% of %s (%.2f h a pass)", 100 * weight / total, name, hours)

    def begin_statistics(self) -> None:
        """Count anew: an epoch begins, or goes on after a resume."""
        self.statistics = LoaderStatistics()
        for part in self.parts.values():
            part.statistics = LoaderStatistics()

    def note(self, batch: SpeechBatch, *, wait_s: float) -> None:
        """Count a batch; an error if its corpus has too many bad utterances."""
        part = self.part_of(batch)
        for statistics in (self.statistics, part.statistics):
            statistics.add(batch, wait_s=wait_s, rate_hz=self.rate_hz)
        part.check_faults(batch)
        for part in self.parts.values() if batch.ends_epoch else ():
            part.fault_budget.end_epoch()

    def fetch(self, number: int, *, pass_number: int = 0) -> SpeechBatch:
        """Return a batch, read here and now; the position does not change.

        For trainers that hand out batch numbers themselves; `num_batches` says how many there are.

        Arguments
        ---------
        number : int
            Of the batch, from 0.
        pass_number : int
            Which stretch of one pass's worth of audio, from 0: what one rank would have in its
            epoch of that number without `batches_per_epoch`.

        Returns
        -------
        SpeechBatch
            As the epoch has it.
        """
        started_s = time.perf_counter()
        batch = self.read(number, pass_number=pass_number)
        self.note(batch, wait_s=time.perf_counter() - started_s)
        return batch

    def read(self, number: int, *, pass_number: int = 0) -> SpeechBatch:
        """Return the batch of `fetch`, but neither count it nor refuse its faults."""
        step = self.sequence.epoch(pass_number)[number]
        rows = self.indexes[step.corpus].utterances[step.rows]
        request = BatchRequest(rows, position=step.position, corpus=step.corpus)
        batch: SpeechBatch = self.dataset[request].unpack()
        return batch

    def num_batches(self, pass_number: int = 0) -> int:
        """Return the batches of one pass's worth of audio, of all ranks together."""
        return len(self.sequence.epoch(pass_number))

    def report(self) -> dict[str, Any]:
        """Return what each corpus has given up to now, of all ranks: plain numbers, for JSON.

        Under "corpora", by name: the figures of the present pass's plan (`BatchPlan.report`); its
        hours; `passes`, complete ones and the share of the present one in batches; what was had in
        all: `utterances_had`, `hours_had`; and `share_wanted` and `share_had` of the mixture's
        audio.
        """
        mixture, position = self.sequence, self.cursor.present()
        had = [mixture.samples_had(place, n) for n, place in enumerate(position.places)]
        corpora = {
            name: {
                **_figures(part, position.places[n]),
                "hours_had": had[n] / self.rate_hz / _HOUR_S,
                "share_wanted": mixture.weights[n] / sum(mixture.weights),
                "share_had": had[n] / max(1, sum(had)),
            }
            for n, (name, part) in enumerate(self.parts.items())
        }
        return {"corpora": corpora, "hours_had": sum(had) / self.rate_hz / _HOUR_S}

    def part_of(self, batch: Any) -> ShardLoader:
        """Return the loader of the corpus that a batch is of."""
        position: Any = batch.position
        return self.parts[self.sequence.names[position.corpus]]


def _part(name: str, folder: str | Path | Storage, options: dict[str, Any]) -> ShardLoader:
    transforms: Callable[..., Any] | Sequence[Any] = options.pop("transforms", ())
    transforms = [transforms] if callable(transforms) else transforms
    try:
        return ShardLoader(folder, transforms=[CorpusName(name), *transforms], **options)
    except (ValueError, FileNotFoundError) as error:
        error.add_note(f"It is corpus {name!r} of a mixture.")
        raise


def _figures(part: ShardLoader, place: tuple[int, int]) -> dict[str, Any]:
    pass_number, batch = place
    plan = part.sequence.plan(pass_number)
    return {
        **plan.report(),
        "hours": part.sequence.planner.num_samples / plan.rate_hz / _HOUR_S,
        "passes": pass_number + batch / plan.num_batches,
        "utterances_had": pass_number * plan.num_utterances + int(plan.starts[batch]),
    }


def _check_options(
    folders: Mapping[str, Any],
    own: Mapping[str, Mapping[str, Any]],
    common: Mapping[str, Any],
    *,
    batches_per_epoch: int | None,
) -> None:
    known = set(inspect.signature(ShardLoader).parameters) - set(_OF_THE_MIXTURE)
    faults = [f"there is no option {name!r}" for name in common if name not in known]
    for corpus, values in own.items():
        if corpus not in folders:
            faults.append(f"options are for {corpus!r}, which is none of {', '.join(folders)}")
        faults += [f"options of {corpus!r}: there is no {n!r}" for n in values if n not in known]
    faults += [
        f"corpus {name!r} has no max_batch_s"
        for name in folders
        if "max_batch_s" not in {**common, **own.get(name, {})}
    ]
    if not folders:
        faults.append("there is no corpus; expected at least one")
    if batches_per_epoch is not None and batches_per_epoch < 1:
        faults.append(f"batches_per_epoch is {batches_per_epoch}; expected >= 1 or null")
    if faults:
        raise ValueError("mixture: " + "; ".join(faults) + ".")


def _common_rate_hz(parts: Mapping[str, ShardLoader]) -> int:
    rates = {name: part.index.rate_hz for name, part in parts.items()}
    if len(set(rates.values())) > 1:
        listed = ", ".join(f"{name} {rate} Hz" for name, rate in rates.items())
        raise ValueError(
            f"mixture: the sampling rates differ: {listed}; expected one rate; prepare the corpora "
            "with the same rate_hz."
        )
    return next(iter(rates.values()))
