"""What a cursor can walk along: the passes over one corpus, or a mixture of several."""

from collections.abc import Iterator
from typing import Any, Protocol


class Walk(Protocol):
    """An endless sequence of batches, cut into epochs; its positions are of a kind of its own."""

    @property
    def start(self) -> Any:
        """Where a new run begins."""

    @property
    def is_fixed(self) -> bool:
        """Whether each iteration is the same whole epoch."""

    def for_ranks(self, position: Any, world_size: int) -> Any:
        """Return the position for a number of ranks."""

    def next_epoch(self, position: Any) -> Any:
        """Return where the epoch after `position` begins."""

    def epoch_length(self, position: Any) -> int:
        """Return the batches of each rank in the present epoch, those already had included."""

    def walk(self, position: Any, *, rank: int) -> Iterator[Any]:
        """Yield what is left of the present epoch for a rank."""

    def state(self, position: Any) -> dict[str, Any]:
        """Return the position with what it belongs to: plain values, ready for JSON."""

    def position(self, state: dict[str, Any]) -> Any:
        """Return the position of a state; a ValueError if it belongs to other data."""
