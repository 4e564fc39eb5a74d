"""Compare precisions on one recipe so that the result can be believed.

A unit is a seed. In a unit every arm has the same first weights, the same batches in the same
order, the same random streams and the same number of applied updates; the arms take turns in the
order A B B A (then B A A B), each warmed up before it is timed. The statistic of a unit is an arm's
median time of an update; units are compared by their ratios. Quality is that of validation data,
computed in float32, after equal numbers of applied updates.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from speechbrain.utils.logger import get_logger

from comparing.arms import Arm, check_device, order_of
from comparing.protocol import Protocol
from comparing.trajectory import Clock, Trajectory
from recipes.common import job
from recipes.common.asynchronous import NoLog
from recipes.common.brain import StampedeBrain
from recipes.common.distributed import own_cores
from recipes.common.hparams import Run, load_run

logger = get_logger(__name__)


def compare(
    run_file: str,
    arms: Sequence[Arm],
    protocol: Protocol,
    *,
    options: Sequence[str] = (),
    folder: Path,
    clock: Clock | None = None,
) -> dict[str, Any]:
    """Train all units and return what was measured.

    Arguments
    ---------
    run_file : str
        YAML of train.py.
    arms : Sequence[Arm]
        The first is the baseline.
    protocol : Protocol
        How.
    options : Sequence[str]
        Command line of the runs: `--key value`, ...
    folder : Path
        What Brains write while they validate goes to `runs` in it.
    clock : Clock | None
        Measures; None: the machine's.

    Returns
    -------
    dict
        "device", "threads", "arms", "protocol", "valid_metric", "units": plain JSON values.

    Raises
    ------
    ValueError
        If the device lacks an arm, or options are wrong.
    RuntimeError
        If arms of a unit do not start alike.
    """
    units = []
    about: dict[str, Any] = {}
    for number in range(protocol.units):
        seed = protocol.first_seed + number
        unit = Unit(run_file, arms, options=options, folder=folder, seed=seed)
        about = unit.about()
        units.append(unit.measure(protocol, order_of(arms, number), clock=clock or Clock()))
        logger.info("unit %d of %d (seed %d) is done", number + 1, protocol.units, seed)
    return {
        **about,
        "arms": [asdict(arm) for arm in arms],
        "protocol": asdict(protocol),
        "units": units,
    }


class Unit:
    """One seed: a Brain for each arm, from the same YAML.

    Arguments
    ---------
    run_file : str
        YAML of train.py.
    arms : Sequence[Arm]
        All arms.
    options : Sequence[str]
        Command line of the runs.
    folder : Path
        Of the comparison.
    seed : int
        Of weights, batches and random streams.
    """

    def __init__(
        self,
        run_file: str,
        arms: Sequence[Arm],
        *,
        options: Sequence[str],
        folder: Path,
        seed: int,
    ) -> None:
        self.seed = seed
        self.runs: dict[str, Run] = {}
        self.brains: dict[str, StampedeBrain] = {}
        for place, arm in enumerate(arms):
            own = folder / "runs" / f"{seed}-{place}"
            words = [run_file, *options, "--seed", str(seed), "--output_folder", str(own)]
            words += ["--precision", arm.precision, "--eval_precision", "fp32"]
            run = load_run(words)
            run.hparams["checkpointer"] = None
            if place == 0:
                torch.set_num_threads(run.hparams["num_threads"] or own_cores())
            device = str(run.run_opts.device or ("cuda" if torch.cuda.is_available() else "cpu"))
            check_device(arms, device)
            self.runs[arm.name] = run
            self.brains[arm.name] = job.build_brain(run, run.run_opts, run_log=NoLog(own))
        self.hparams = next(iter(self.runs.values())).hparams
        check_same_start(self.brains)

    def about(self) -> dict[str, Any]:
        """Return what holds for all units."""
        brain = next(iter(self.brains.values()))
        return {
            "device": str(brain.device),
            "device_name": (
                torch.cuda.get_device_name(brain.device)
                if str(brain.device).startswith("cuda")
                else None
            ),
            "threads": torch.get_num_threads(),
            "cudnn": torch.backends.cudnn.version(),
            "cudnn_benchmark": torch.backends.cudnn.benchmark,
            "parameters": sum(p.numel() for p in brain.raw_modules.parameters()),
            "accumulation": brain.grad_accumulation_factor,
            "valid_metric": brain.options.valid_metric,
            "valid_mode": brain.options.valid_mode,
        }

    def measure(self, protocol: Protocol, order: Sequence[Arm], *, clock: Clock) -> dict[str, Any]:
        """Train the arms in turns, then validate each.

        Arguments
        ---------
        protocol : Protocol
            How.
        order : Sequence[Arm]
            Of the turns; every arm twice.
        clock : Clock
            Measures.

        Returns
        -------
        dict
            Seed, order, load of the machine, and the figures of each arm.
        """
        load_before = os.getloadavg()[0]
        batches, valid_set = self._load(protocol)
        names = list(self.brains)
        trained = {
            arm.name: Trajectory(arm, self.brains[arm.name], batches, clock=clock)
            for arm in sorted(dict.fromkeys(order), key=lambda arm: names.index(arm.name))
        }
        seen: set[str] = set()
        for arm in order:
            trajectory, turn = trained[arm.name], int(arm.name in seen)
            seen.add(arm.name)
            if not turn:
                trajectory.weigh()
            trajectory.run(protocol.warmups[turn] - (not turn), is_timed=False)
            trajectory.run(protocol.turns[turn], is_timed=True)
        found = {}
        for name, trajectory in trained.items():
            self._finish(trajectory, protocol, valid_set)
            found[name] = trajectory.figures() | {"valid": trajectory.evaluate(valid_set)}
        return {
            "seed": self.seed,
            "order": [arm.name for arm in order],
            "load_average": [load_before, os.getloadavg()[0]],
            "arms": found,
        }

    def _finish(self, trajectory: Trajectory, protocol: Protocol, valid_set: Any) -> None:
        """Train an arm to the updates after which quality is measured."""
        num_updates, target = protocol.updates or protocol.attempts, protocol.target
        if target is None:
            trajectory.run_until(num_updates)
            return
        options = trajectory.brain.options
        sign = 1.0 if options.valid_mode == "min" else -1.0
        trajectory.run_to_target(
            valid_set,
            num_updates=num_updates,
            every=protocol.target_every,
            is_reached=lambda figures: sign * (figures[options.valid_metric] - target) <= 0.0,
        )

    def _load(self, protocol: Protocol) -> tuple[list[Any], Any]:
        """Return training batches on the device, and validation data."""
        hparams = self.hparams
        corpus = hparams["corpus"]
        prepared = job.prepare_corpus(corpus)
        tokenizer, transforms = job.prepare_targets(hparams, prepared)
        device = next(iter(self.brains.values())).device
        train = hparams["train_loader"](
            prepared.split(corpus["train_split"]), transforms=transforms
        )
        valid = hparams["valid_loader"](
            prepared.split(corpus["valid_split"]), transforms=transforms
        )
        for brain in self.brains.values():
            brain.tokenizer = tokenizer
            brain.take_loader(train)
        batches = [batch.to(device) for batch in itertools.islice(train, protocol.num_batches)]
        if protocol.valid_batches is None:
            return batches, valid
        return batches, list(itertools.islice(valid, protocol.valid_batches))


def check_same_start(brains: dict[str, StampedeBrain]) -> None:
    """Refuse arms that do not start with the same weights, bit for bit.

    Arguments
    ---------
    brains : dict[str, StampedeBrain]
        Of all arms by name.

    Raises
    ------
    RuntimeError
        Names the first tensors that differ.
    """
    (first, baseline), *others = brains.items()
    wanted = baseline.raw_modules.state_dict()
    for name, brain in others:
        found = brain.raw_modules.state_dict()
        wrong = [key for key in wanted if not torch.equal(wanted[key], found[key])]
        if wrong:
            raise RuntimeError(
                f"comparison of precisions: {name} starts with other weights than {first}: "
                f"{', '.join(wrong[:5])}; expected the same; let the YAML seed before it builds."
            )
