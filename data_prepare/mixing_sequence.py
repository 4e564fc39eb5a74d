"""The endless mixture of several corpora, and where a run stands in it.

A mixture is one global sequence of batches, each of one corpus, taken from the corpus's endless
passes in their order. Next comes the corpus that lacks most audio:

    argmax_i  w_i * T - t_i,        T = t_1 + ... + t_K,

with t_i the audio given so far and w_i its share of one; ties are decided by the seed. Then no
corpus is ever ahead of its share by more than one batch (of the largest audio that occurs), nor
behind by more than 1 + 1/2 + ... + 1/(K - 1) batches: by one batch for two corpora. (Proof: the
mean lack of the k corpora that lack most is at most 1/k batch above that of k + 1, and that of all
K is 0. In scheduling this is the game of cups of which the fullest is emptied.)

Round k gives batch k x W + r to rank r of W. The sequence has no end, so no round lacks a batch:
nothing is split, dropped or padded, and ranks only decide who takes which batch. The position is
the number of batches used of each corpus's present pass, whatever the ranks are.
"""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from data_prepare.sequence import BatchSequence, Position, Step

FORMAT = "stampede-mixture-position-1"


@dataclass(frozen=True)
class MixedPosition:
    """Where a run stands in a mixture.

    Arguments
    ---------
    places : tuple[tuple[int, int], ...]
        Of each corpus: passes that are complete, batches used of the present one.
    world_size : int
        Number of ranks.
    epoch_batches : int
        Batches that each rank has had in the present epoch.
    epoch_left : int | None
        Batches of all ranks until the epoch has given one pass's worth of audio; None before the
        first.
    corpus, pass_number : int, int
        Of the batch that comes with the position: whose it is, and of which of its passes. They
        are no part of the state.
    """

    places: tuple[tuple[int, int], ...]
    world_size: int = 1
    epoch_batches: int = 0
    epoch_left: int | None = None
    corpus: int = field(default=0, compare=False)
    pass_number: int = field(default=0, compare=False)


class Mixture:
    """Walks through a mixture, epoch by epoch; a `data_prepare.walking.Walk`.

    Arguments
    ---------
    sequences : Mapping[str, BatchSequence]
        The passes of each corpus.
    weights : Mapping[str, int]
        Of each corpus, see `data_prepare.mixing_shares`.
    seed : int
        Decides between corpora that lack equally much, as at the start.
    batches_per_epoch : int | None
        Length of an epoch in batches of each rank. Without it an epoch is as many batches as give
        one pass's worth of audio: where shares are as the hours, one pass over each corpus.
    """

    is_fixed = False

    def __init__(
        self,
        sequences: Mapping[str, BatchSequence],
        *,
        weights: Mapping[str, int],
        seed: int = 0,
        batches_per_epoch: int | None = None,
    ):
        self.names = list(sequences)
        self.sequences = list(sequences.values())
        self.weights = [weights[name] for name in self.names]
        self.batches_per_epoch = batches_per_epoch
        self.start = MixedPosition(places=((0, 0),) * len(self.names))
        self._ties = [
            hashlib.sha256(f"{FORMAT} {seed} {name} {s.planner.index_checksum}".encode()).digest()
            for name, s in sequences.items()
        ]
        self._epochs: dict[int, list[Step]] = {}
        self._epoch_starts = [self.start]

    def for_ranks(self, position: MixedPosition, world_size: int) -> MixedPosition:
        """Return the position for a number of ranks, with the length of its epoch known."""
        left = position.epoch_left
        return replace(
            position,
            world_size=world_size,
            epoch_left=self._pass_batches(position) if left is None else left,
        )

    def next_epoch(self, position: MixedPosition) -> MixedPosition:
        """Return where the epoch after `position` begins; what was had too much is taken off."""
        surplus = max(min(position.epoch_left or 0, 0), 1 - position.world_size)
        left = max(1, self._pass_batches(position) + surplus)
        return replace(position, epoch_batches=0, epoch_left=left)

    def epoch_length(self, position: MixedPosition) -> int:
        """Return the batches of each rank in the present epoch, those already had included."""
        if self.batches_per_epoch is not None:
            return max(self.batches_per_epoch, position.epoch_batches)
        left = position.epoch_left or 0
        return position.epoch_batches + max(0, -(-left // position.world_size))

    def walk(self, position: MixedPosition, *, rank: int) -> Iterator[Step]:
        """Yield what is left of the present epoch for a rank."""
        return self._steps(position, rank=rank, end=self.epoch_length(position))

    def epoch(self, number: int) -> list[Step]:
        """Return the batches of epoch `number` of one pass's worth of audio, as one rank has them.

        It is found from the epochs before it, whose plans are made where they are not known yet.
        """
        if number not in self._epochs:
            while len(self._epoch_starts) <= number:
                before = self.epoch(len(self._epoch_starts) - 1)
                self._epoch_starts.append(self.next_epoch(before[-1].position))
            start = self.for_ranks(self._epoch_starts[number], 1)
            while len(self._epochs) > 1:
                del self._epochs[min(self._epochs)]
            self._epochs[number] = list(self._steps(start, rank=0, end=start.epoch_left or 0))
        return self._epochs[number]

    def _steps(self, position: MixedPosition, *, rank: int, end: int) -> Iterator[Step]:
        taker = _Taker(self, position)
        while position.epoch_batches < end:
            taken = [taker.take() for _ in range(position.world_size)]
            number, pass_number, batch = taken[rank]
            position = replace(
                position,
                places=tuple(taker.places),
                epoch_batches=position.epoch_batches + 1,
                epoch_left=(position.epoch_left or 0) - position.world_size,
                corpus=number,
                pass_number=pass_number,
            )
            plan = self.sequences[number].plan(pass_number)
            rows = plan.order[plan.starts[batch] : plan.starts[batch + 1]]
            yield Step(rows, False, position.epoch_batches == end, position, number)

    def samples_had(self, place: tuple[int, int], number: int) -> int:
        """Return the audio that a corpus has given up to a place."""
        pass_number, batch = place
        sequence = self.sequences[number]
        had = pass_number * sequence.planner.num_samples
        return had + (int(sequence.plan(pass_number).batch_samples[:batch].sum()) if batch else 0)

    def state(self, position: MixedPosition) -> dict[str, Any]:
        """Return the position with what it belongs to: plain values, ready for JSON."""
        corpora = {}
        for name, sequence, place, weight in zip(
            self.names, self.sequences, position.places, self.weights, strict=True
        ):
            plan = sequence.state(Position(pass_number=place[0]))
            corpora[name] = {**plan, "weight": weight, "place": list(place)}
        names = ("world_size", "epoch_batches", "epoch_left")
        return {
            "format": FORMAT,
            "corpora": corpora,
            **{name: getattr(position, name) for name in names},
        }

    def position(self, state: dict[str, Any]) -> MixedPosition:
        """Return the position of a state.

        Arguments
        ---------
        state : dict[str, Any]
            As `state` returned it, also by way of JSON.

        Returns
        -------
        MixedPosition
            Where to go on.

        Raises
        ------
        ValueError
            If the state belongs to another mixture; names all differences of all corpora.
        """
        faults = self._state_faults(state)
        if faults:
            raise ValueError(
                "position of a mixture: " + "; ".join(faults) + "; expected a checkpoint of the "
                "same corpora, weights and plans; put them back, or start the run in a new output "
                "folder."
            )
        places = [tuple(state["corpora"][name]["place"]) for name in self.names]
        return MixedPosition(
            places=tuple(places),
            world_size=state["world_size"],
            epoch_batches=state["epoch_batches"],
            epoch_left=state["epoch_left"],
        )

    def _state_faults(self, state: dict[str, Any]) -> list[str]:
        if state.get("format") != FORMAT:
            return [f"format is {state.get('format')!r}, not {FORMAT!r}"]
        then = state["corpora"]
        faults = [f"corpus {name!r} is gone" for name in then if name not in self.names]
        faults += [f"corpus {name!r} is new" for name in self.names if name not in then]
        for name, sequence in zip(self.names, self.sequences, strict=True):
            if name in then:
                faults += [f"{name}: {fault}" for fault in sequence.state_faults(then[name])]
        return faults or self._share_faults({name: then[name]["weight"] for name in self.names})

    def _share_faults(self, then: dict[str, int]) -> list[str]:
        now = dict(zip(self.names, self.weights, strict=True))
        if now == then:
            return []
        share, former = ({n: w / sum(of.values()) for n, w in of.items()} for of in (now, then))
        return [
            f"the share of {name!r} is {share[name]:.6g}, was {former[name]:.6g}"
            for name in self.names
            if share[name] != former[name]
        ]

    def _pass_batches(self, position: MixedPosition) -> int:
        """Return how many batches of the mixture give one pass's worth of audio."""
        all_samples = sum(sequence.planner.num_samples for sequence in self.sequences)
        num_batches = 0.0
        for sequence, weight, place in zip(
            self.sequences, self.weights, position.places, strict=True
        ):
            wanted = all_samples * weight / sum(self.weights)
            num_batches += (
                wanted / sequence.planner.num_samples * (sequence.plan(place[0]).num_batches)
            )
        return max(1, round(num_batches))


class _Taker:
    """Takes one batch after the other out of a mixture."""

    def __init__(self, mixture: Mixture, position: MixedPosition):
        self.places = list(position.places)
        self._mixture = mixture
        self._had = [mixture.samples_had(place, n) for n, place in enumerate(self.places)]

    def take(self) -> tuple[int, int, int]:
        """Return the next batch: number of its corpus, of the corpus's pass, of the batch in it."""
        number = self._neediest()
        pass_number, batch = self.places[number]
        plan = self._mixture.sequences[number].plan(pass_number)
        self._had[number] += int(plan.batch_samples[batch])
        is_last = batch + 1 == plan.num_batches
        self.places[number] = (pass_number + 1, 0) if is_last else (pass_number, batch + 1)
        return number, pass_number, batch

    def _neediest(self) -> int:
        weights, ties = self._mixture.weights, self._mixture._ties
        total, weight = sum(self._had), sum(weights)
        # Whole numbers, so that every machine decides alike.
        needs = [(w * total - had * weight) for w, had in zip(weights, self._had, strict=True)]
        return max(range(len(needs)), key=lambda n: (needs[n], ties[n]))
