"""The endless sequence of passes over a corpus, and where a run stands in it.

A position is global: the same for all ranks, because what W ranks have used after k rounds is the
beginning of the pass's order. It goes into checkpoints as JSON text.
"""

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any

from data_prepare.deal import Deal, deal
from data_prepare.plan import BatchPlan, Planner, Rows

FORMAT = "stampede-position-1"


@dataclass(frozen=True)
class Position:
    """Where a run stands.

    Arguments
    ---------
    pass_number : int
        Passes over the corpus that are complete.
    num_utterances : int
        Utterances of the present pass used up by all ranks together.
    dealt_from, world_size : int, int
        The present deal: how many utterances were used up when it was made, and for how many
        ranks. The same deal again makes a resumed run equal to one that was never stopped.
    epoch_batches : int
        Batches that each rank has had in the present (nominal) epoch.
    """

    pass_number: int = 0
    num_utterances: int = 0
    dealt_from: int = 0
    world_size: int = 1
    epoch_batches: int = 0


@dataclass(frozen=True)
class Step:
    """One batch of one rank: rows of an index, and the position once its round is done."""

    rows: Rows
    is_padding: bool
    ends_epoch: bool
    position: Any
    corpus: int = 0


class BatchSequence:
    """Walks through the passes of a planner, epoch by epoch.

    Arguments
    ---------
    planner : Planner
        Of the corpus.
    batches_per_epoch : int | None
        Length of a nominal epoch in batches of each rank: a cut of the endless sequence of exact
        passes. Without it an epoch is what is left of a pass.
    """

    def __init__(self, planner: Planner, *, batches_per_epoch: int | None = None):
        self.planner = planner
        self.batches_per_epoch = batches_per_epoch
        self._plans: dict[int, BatchPlan] = {}
        self._deals: dict[tuple[int, int, int], Deal] = {}
        self.start = Position()

    @property
    def is_fixed(self) -> bool:
        """Whether each iteration is the same whole pass, as validation wants it."""
        return not self.planner.options.shuffle and self.batches_per_epoch is None

    def plan(self, pass_number: int) -> BatchPlan:
        """Return the plan of a pass; the two last asked for are kept."""
        number = pass_number if self.planner.options.shuffle else 0
        if number not in self._plans:
            while len(self._plans) > 1:
                del self._plans[min(self._plans)]
            self._plans[number] = self.planner.plan(number)
        return self._plans[number]

    def for_ranks(self, position: Position, world_size: int) -> Position:
        """Return the position with what is left dealt anew, if the number of ranks differs."""
        if position.world_size == world_size:
            return position
        return replace(position, dealt_from=position.num_utterances, world_size=world_size)

    def next_epoch(self, position: Position) -> Position:
        """Return where the epoch after `position` begins."""
        if position.num_utterances == self.planner.num_utterances:
            return Position(position.pass_number + 1, world_size=position.world_size)
        return replace(position, epoch_batches=0)

    def epoch_length(self, position: Position) -> int:
        """Return the batches of each rank in the present epoch, those already had included."""
        if self.batches_per_epoch is not None:
            return max(self.batches_per_epoch, position.epoch_batches)
        dealt = self._deal(position)
        left = dealt.num_rounds - dealt.rounds_done(position.num_utterances)
        return position.epoch_batches + left

    def walk(self, position: Position, *, rank: int) -> Iterator[Step]:
        """Yield what is left of the present epoch for a rank."""
        end = self.epoch_length(position)
        while position.epoch_batches < end:
            if position.num_utterances == self.planner.num_utterances:
                batches = position.epoch_batches
                position = replace(self.next_epoch(position), epoch_batches=batches)
            plan, dealt = self.plan(position.pass_number), self._deal(position)
            first = dealt.rounds_done(position.num_utterances)
            for number in range(first, min(dealt.num_rounds, first + end - position.epoch_batches)):
                part, is_padding = dealt.batch(number, rank)
                position = replace(
                    position,
                    num_utterances=dealt.done_after(number + 1),
                    epoch_batches=position.epoch_batches + 1,
                )
                ends_epoch = position.epoch_batches == end
                yield Step(plan.order[part], is_padding, ends_epoch, position)

    def state(self, position: Position) -> dict[str, Any]:
        """Return the position with what it belongs to: plain values, ready for JSON."""
        return {
            "format": FORMAT,
            "index": self.planner.index_checksum,
            "options": _plain(asdict(self.planner.options)),
            "plan": self.plan(position.pass_number).checksum,
            "position": asdict(position),
        }

    def position(self, state: dict[str, Any]) -> Position:
        """Return the position of a state.

        Arguments
        ---------
        state : dict[str, Any]
            As `state` returned it, also by way of JSON.

        Returns
        -------
        Position
            Where to go on.

        Raises
        ------
        ValueError
            If the state belongs to another corpus or plan; names all differences.
        """
        faults = self.state_faults(state)
        if faults:
            raise ValueError(
                "position of a data loader: " + "; ".join(faults) + "; expected a checkpoint of "
                "the same corpus and plan; put the options back, or start the run in a new output "
                "folder."
            )
        return Position(**state["position"])

    def state_faults(self, state: dict[str, Any]) -> list[str]:
        """Return what in a state is not of this corpus and plan, one line a difference."""
        if state.get("format") != FORMAT:
            return [f"format is {state.get('format')!r}, not {FORMAT!r}"]
        faults = []
        if state["index"] != self.planner.index_checksum:
            faults.append(
                f"the checkpoint is of the index {state['index'][:12]}, "
                f"the corpus is {self.planner.index_checksum[:12]}"
            )
        changed = self.changed_options(state).items()
        faults += [f"{name} is {now}, was {then}" for name, (now, then) in changed]
        if not faults and state["plan"] != self.plan(state["position"]["pass_number"]).checksum:
            return ["the plan computed here differs although its options agree (other versions?)"]
        return faults

    def changed_options(self, state: dict[str, Any]) -> dict[str, tuple[Any, Any]]:
        """Return the names of options that differ in a state, with the values now and then."""
        now, then = _plain(asdict(self.planner.options)), state["options"]
        names = sorted(now.keys() | then.keys())
        return {n: (now.get(n), then.get(n)) for n in names if now.get(n) != then.get(n)}

    def _deal(self, position: Position) -> Deal:
        key = (position.pass_number, position.dealt_from, position.world_size)
        if key not in self._deals:
            while len(self._deals) > 1:
                del self._deals[min(self._deals)]
            plan = self.plan(position.pass_number)
            self._deals[key] = deal(plan, world_size=position.world_size, first=position.dealt_from)
        return self._deals[key]


def _plain(options: dict[str, Any]) -> dict[str, Any]:
    """Return options as JSON gives them back."""
    return json.loads(json.dumps(options))
