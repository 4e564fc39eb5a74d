"""The options that shape the batches of a pass."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class PlanOptions:
    """What shapes the batches of a pass.

    Arguments
    ---------
    max_batch_s : float
        Bound of a batch in padded seconds (number of utterances x longest of them); > 0.
    max_utterances : int, optional
        Bound of a batch in utterances; >= 1.
    multiple : int
        Batches that hold at least so many utterances hold a multiple of it; >= 1.
    shuffle : bool
        False gives one fixed order, sorted by length (see `order`).
    seed : int
        Of the shuffled order.
    window_shards : int
        Shards that are shuffled and bucketed together; >= 1.
    jitter : float
        Relative random change of the lengths before sorting, so that batches differ between
        passes; in [0, 1). Costs about as much padding.
    keep_batches : bool
        True: batches are formed once, of utterances sorted by length over the whole split, and a
        shuffled pass changes their order only. Reading then jumps over all shards.
    group_batches : int
        Neighbouring batches (of about equal length) that stay together when batches are shuffled;
        a multiple of the number of ranks balances their work. What is left of a window comes last.
    order : str
        "descending" or "ascending" length, where not shuffled.
    min_utterance_s, max_utterance_s : float, float or None
        Utterances outside are left out and counted.
    too_long : str
        "error" or "skip": what to do with an utterance longer than `max_batch_s`.
    shards : tuple of int, optional
        [first, last) range of shards to use, so that smaller sets are prefixes of one corpus.
    """

    max_batch_s: float
    max_utterances: int | None = None
    multiple: int = 1
    shuffle: bool = False
    seed: int = 0
    window_shards: int = 8
    jitter: float = 0.03
    keep_batches: bool = False
    group_batches: int = 1
    order: Literal["descending", "ascending"] = "descending"
    min_utterance_s: float = 0.0
    max_utterance_s: float | None = None
    too_long: Literal["error", "skip"] = "error"
    shards: tuple[int, int] | None = None

    def faults(self) -> list[str]:
        """Return what is wrong with the values, one line a fault."""
        rules = {
            f"max_batch_s is {self.max_batch_s}; expected > 0": self.max_batch_s > 0,
            f"max_utterances is {self.max_utterances}; expected >= 1 or null": (
                self.max_utterances is None or self.max_utterances >= 1
            ),
            f"multiple is {self.multiple}; expected >= 1": self.multiple >= 1,
            f"window_shards is {self.window_shards}; expected >= 1": self.window_shards >= 1,
            f"jitter is {self.jitter}; expected [0, 1)": 0 <= self.jitter < 1,
            f"group_batches is {self.group_batches}; expected >= 1": self.group_batches >= 1,
            f"order is {self.order!r}; expected descending or ascending": (
                self.order in ("descending", "ascending")
            ),
            f"too_long is {self.too_long!r}; expected error or skip": (
                self.too_long in ("error", "skip")
            ),
            f"max_utterance_s is {self.max_utterance_s}; expected more than min_utterance_s, "
            f"which is {self.min_utterance_s}": (
                self.max_utterance_s is None or self.max_utterance_s > self.min_utterance_s
            ),
        }
        return [fault for fault, holds in rules.items() if not holds]

    def shard_range(self, num_shards: int, *, where: str) -> tuple[int, int]:
        """Return the range of shards in use, with all options checked.

        Arguments
        ---------
        num_shards : int
            Shards of the corpus.
        where : str
            The corpus, for messages.

        Returns
        -------
        tuple[int, int]
            First shard, and the one after the last.

        Raises
        ------
        ValueError
            Names all options that are out of range.
        """
        first, last = self.shards if self.shards is not None else (0, num_shards)
        faults = self.faults()
        if not 0 <= first < last <= num_shards:
            faults.append(
                f"shards is [{first}, {last}); expected a range within [0, {num_shards}) that is "
                "not empty"
            )
        if faults:
            raise ValueError(f"plan of {where}: " + "; ".join(faults) + ".")
        return first, last
