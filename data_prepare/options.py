"""Options of the preparers: declared once, checked at once, told to the command line.

Each preparer has one frozen dataclass; its fields are the keyword arguments of its `prepare_*`
function and, read by `data_prepare.command_line`, the flags of its command.
"""

import inspect
import typing
from collections.abc import Callable
from dataclasses import MISSING, Field, dataclass, field, fields
from pathlib import Path
from typing import Any, ClassVar, Literal, TypeVar

from data_prepare.conversion import convert
from data_prepare.filters import Filters
from data_prepare.slices import Slice

MAX_UTTERANCE_S = 600.0


@dataclass(frozen=True, kw_only=True)
class CommonOptions:
    """Options of every preparer.

    Arguments
    ---------
    min_duration_s : float
        Shortest utterance kept, in seconds.
    max_duration_s : float
        Longest utterance kept, in seconds; at most 600, as utterances are held in memory.
    min_chars_per_s : float
        Fewest characters of text a second.
    max_chars_per_s : float
        Most characters of text a second.
    reject_texts : tuple[str, ...]
        Utterances whose text holds one of these phrases, in any case, are left out.
    allow_empty_text : bool
        Keep utterances without text, such as noise.
    rate_hz : int
        Sampling rate of the prepared audio, mono.
    sorting : str
        Order over the shards: "random" shuffles groups (calls, chapters) over the shards and
        utterances within a shard, so that a shard opens few recordings and the first shards are
        a fair sample; "ascending" and "descending" go by duration over the whole split, so that
        every shard opens nearly every recording (slow for long MP3s).
    seed : int
        Seed of shuffles and splits.
    num_shards : dict[str, int]
        Shards of a split, such as train=100; splits not named get as many as fit their size.
    shard_bytes : int
        Size of a shard where the number is not given; small corpora get smaller ones.
    max_rejected_share : float
        Stop if more than this share of the utterances is rejected, 0 to 1.
    local_folder : Path | None
        Copy the finished corpus to this folder, such as a node's scratch disk, and use it there.
    num_jobs : int
        Processes.
    scheduler : str | None
        Let the workers of a Dask cluster do the work: the address of its scheduler, such as
        tcp://node7:8786, or its scheduler file (.json). All nodes must see the same folders.
    slice : str | None
        Make only a part of the shards: I/N for part I of N, from 0, such as 0/8 in a Slurm array.
        The first part to run makes the plan, the last one to end (or a run without slice) writes
        the index.
    plan_only : bool
        Stop when the plan is made.
    overwrite : bool
        Delete what another preparation left in the output folder and start over.
    progress : bool
        Show progress bars.
    """

    example: ClassVar[str] = """\
On a Slurm cluster, as an array; the task that ends last writes the index:
  #!/bin/bash
  #SBATCH --array=0-31 --cpus-per-task=8 --time=08:00:00
  srun {command} CORPUS OUT --num_jobs 8 --slice $SLURM_ARRAY_TASK_ID/32"""

    min_duration_s: float = 0.1
    max_duration_s: float = 60.0
    min_chars_per_s: float = 0.5
    max_chars_per_s: float = 40.0
    reject_texts: tuple[str, ...] = ()
    allow_empty_text: bool = False
    rate_hz: int = 16000
    sorting: Literal["random", "ascending", "descending"] = "random"
    seed: int = 1234
    num_shards: dict[str, int] = field(default_factory=dict)
    shard_bytes: int = 700_000_000
    max_rejected_share: float = 0.2
    local_folder: Path | None = None
    num_jobs: int = 1
    scheduler: str | None = None
    slice: str | None = None
    plan_only: bool = False
    overwrite: bool = False
    progress: bool = True

    @property
    def filters(self) -> Filters:
        """Bounds for utterances."""
        return Filters(
            min_duration_s=self.min_duration_s,
            max_duration_s=self.max_duration_s,
            min_chars_per_s=self.min_chars_per_s,
            max_chars_per_s=self.max_chars_per_s,
            reject_texts=self.reject_texts,
            allow_empty_text=self.allow_empty_text,
        )

    @property
    def part(self) -> Slice | None:
        """The part of the shards that is wanted; None for all."""
        return None if self.slice is None else Slice.parse(self.slice)

    def faults(self) -> list[str]:
        """Return what is wrong with the values, one line a fault."""
        rules = (
            (self.min_duration_s >= 0, "min_duration_s must be 0 or more"),
            (self.min_duration_s < self.max_duration_s, "max_duration_s must be > min_duration_s"),
            (self.max_duration_s <= MAX_UTTERANCE_S, f"max_duration_s is > {MAX_UTTERANCE_S:.0f}"),
            (self.min_chars_per_s >= 0, "min_chars_per_s must be 0 or more"),
            (self.min_chars_per_s < self.max_chars_per_s, "max_chars_per_s must be > the minimum"),
            (1000 <= self.rate_hz <= 192_000, "rate_hz must lie in 1000 to 192000"),
            (self.shard_bytes > 0, "shard_bytes must be positive"),
            (all(n > 0 for n in self.num_shards.values()), "num_shards must be positive"),
            (0 <= self.max_rejected_share <= 1, "max_rejected_share must lie in 0 to 1"),
            (self.num_jobs > 0, "num_jobs must be positive"),
            ("" not in self.reject_texts, "reject_texts holds an empty phrase"),
            (self.scheduler != "", "scheduler is empty"),
            (not (self.slice and self.plan_only), "slice and plan_only exclude each other"),
            (
                not (self.slice and self.overwrite),
                "slice with overwrite would delete other slices; first run plan_only with it",
            ),
        )
        faults = [message for is_kept, message in rules if not is_kept]
        try:
            _ = self.part
        except ValueError as error:
            faults.append(str(error))
        return faults


@dataclass(frozen=True, kw_only=True)
class SplitOptions(CommonOptions):
    """Options of preparers that divide a corpus themselves.

    Arguments
    ---------
    split_by : str
        "group" puts no group (call) and no speaker into two splits; "utterance" draws each
        utterance by itself, so that splits share calls and speakers.
    train_share : float
        Share of the hours for the split "train".
    valid_share : float
        Share of the hours for the split "valid"; the rest is "test".
    """

    split_by: Literal["group", "utterance"] = "group"
    train_share: float = 0.96
    valid_share: float = 0.02

    @property
    def split_shares(self) -> dict[str, float]:
        """Share of each split, without empty ones."""
        test_share = round(1.0 - self.train_share - self.valid_share, 9)
        shares = {"train": self.train_share, "valid": self.valid_share, "test": test_share}
        return {split: share for split, share in shares.items() if share > 0}

    def faults(self) -> list[str]:
        """Return what is wrong with the values, one line a fault."""
        faults = super().faults()
        if min(self.train_share, self.valid_share) < 0 or self.train_share == 0:
            faults.append("train_share must be positive, valid_share 0 or more")
        if self.train_share + self.valid_share > 1 + 1e-9:
            faults.append("train_share + valid_share must be at most 1")
        return faults


# These change how a corpus is made, not what comes out. What the files of the first line say is in
# the source's fingerprint; where they lie may change.
NEUTRAL_OPTIONS = (
    *("metadata", "include_file", "exclude_files"),
    *(
        "max_rejected_share",
        "allow_incomplete",
        "local_folder",
        "num_jobs",
        "overwrite",
        "progress",
    ),
    *("scheduler", "slice", "plan_only"),
)

# These came later: at their default they stay out of what a prepared corpus is compared with, so
# that one that was prepared before is still found finished.
LATER_OPTIONS = ("keep",)

Options = TypeVar("Options", bound=CommonOptions)
Prepare = TypeVar("Prepare", bound=Callable[..., Any])


def make_options(kind: type[Options], values: dict[str, Any], *, where: str) -> Options:
    """Build checked options; lists become tuples and strings become paths.

    Arguments
    ---------
    kind : type[Options]
        The dataclass of the options.
    values : dict[str, Any]
        Name to value, as given by a caller or a YAML file.
    where : str
        Start of the message, such as "prepare_bizspeech".

    Returns
    -------
    CommonOptions
        An object of that kind.

    Raises
    ------
    ValueError
        If names are unknown or values do not fit; names all of them.
    """
    hints = typing.get_type_hints(kind)
    faults = [f"no option {name!r}" for name in values if name not in hints]
    known: dict[str, Any] = {}
    for name in hints.keys() & values.keys():
        try:
            known[name] = convert(values[name], hints[name])
        except TypeError as error:
            faults.append(f"{name} is {values[name]!r}, not {error}")
    if not faults:
        options = kind(**known)
        faults = options.faults()
    if faults:
        names = ", ".join(hints)
        raise ValueError(
            f"{where}: {'; '.join(sorted(faults))}; expected options among {names}; correct them."
        )
    return options


def takes_options(kind: type[CommonOptions]) -> Callable[[Prepare], Prepare]:
    """Decorate a `prepare_*` function so that signature and help show the options.

    Arguments
    ---------
    kind : type[CommonOptions]
        Dataclass of the options that the function takes as ``**options``.

    Returns
    -------
    callable
        The decorator.
    """

    def decorate(function: Prepare) -> Prepare:
        signature = inspect.signature(function)
        plain = [p for p in signature.parameters.values() if p.kind is not p.VAR_KEYWORD]
        hints = typing.get_type_hints(kind)
        named = [
            inspect.Parameter(
                option.name,
                inspect.Parameter.KEYWORD_ONLY,
                default=_default(option),
                annotation=hints[option.name],
            )
            for option in fields(kind)
        ]

        function.__signature__ = signature.replace(parameters=plain + named)  # type: ignore[attr-defined]
        function.options_kind = kind  # type: ignore[attr-defined]
        return function

    return decorate


def _default(option: "Field[Any]") -> Any:
    return option.default if option.default_factory is MISSING else option.default_factory()
