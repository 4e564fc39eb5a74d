"""The loops of the common Brain: an epoch of training, a stage of validation or test."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import torch
from speechbrain import Stage
from speechbrain.utils.distributed import ddp_barrier, if_main_process
from speechbrain.utils.logger import get_logger
from tqdm import tqdm

from recipes.common.distributed import broadcast_buffers, world_size
from recipes.common.loss import LossMeter
from recipes.common.recoverable import is_recoverable
from recipes.common.rng import preserved_rng
from recipes.common.stop_file import RunStopped
from recipes.common.throughput import Throughput

if TYPE_CHECKING:
    from recipes.common.brain import StampedeBrain

logger = get_logger(__name__)
ASK_EVERY = 10  # updates


def add_recoverables(brain: StampedeBrain) -> None:
    """Register what a resumed run needs besides model, optimizer and epoch counter."""
    if brain.checkpointer is None:
        return
    options = brain.options
    owned = {
        "rng": brain.rng_states,
        "clock": brain.clock,
        "early_stopping": options.early_stopping,
        "update_schedule": options.update_schedule,
        "valid_schedule": options.valid_schedule,
    }
    known = {id(obj) for obj in brain.checkpointer.recoverables.values()}
    for name, obj in owned.items():
        if id(obj) not in known and is_recoverable(obj):
            brain.checkpointer.add_recoverable(name, obj, optional_load=True)


def add_loader(brain: StampedeBrain, train_set: Any) -> None:
    """Register the train loader, if it can be saved and is not registered yet."""
    if brain.checkpointer is None or not is_recoverable(train_set):
        return
    others = {n: o for n, o in brain.checkpointer.recoverables.items() if n != "train_loader"}
    if id(train_set) not in {id(obj) for obj in others.values()}:
        brain.checkpointer.add_recoverable("train_loader", train_set)


def open_epochs(brain: StampedeBrain, epoch_counter: Iterable[int]) -> Iterator[int]:
    """Yield epochs until the Brain is finished; asked only after it has recovered."""
    epochs = iter(epoch_counter)
    while not brain.is_finished:
        epoch = next(epochs, None)
        if epoch is None:
            return
        yield epoch


def train_epoch(brain: StampedeBrain, train_set: Any, *, epoch: int, show: bool) -> None:
    """Train one epoch, or the rest of it; leaves the epoch open if the update limit cuts it."""
    brain.on_stage_start(Stage.TRAIN, epoch)
    brain.modules.train()
    brain.modules.zero_grad(set_to_none=True)
    brain.start_epoch(num_batches=_length(train_set))
    if hasattr(brain.train_sampler, "set_epoch"):
        brain.train_sampler.set_epoch(epoch)
    saved_at, steps_since_save = time.time(), 0
    if brain.profiler is not None:
        brain.profiler.start()
    with _bar(_train_batches(brain, train_set), brain, Stage.TRAIN, show=show) as bar:
        progress = Progress(brain, train_set, bar)
        for batch in bar:
            brain.step += 1
            steps_since_save += 1
            brain.epoch_is_open = not brain.ends_epoch(batch)
            brain.fit_batch(batch)
            _profile(brain)
            progress.note()
            if brain.epoch_is_open and brain._should_save_intra_epoch_ckpt(
                saved_at, steps_since_save
            ):
                brain._save_intra_epoch_ckpt()
                saved_at, steps_since_save = time.time(), 0
            if brain.must_stop and brain.epoch_is_open and may_save_within_epoch(brain):
                stop_in_mid_epoch(brain)
    brain.end_epoch(epoch)


def may_save_within_epoch(brain: StampedeBrain) -> bool:
    """Whether a checkpoint could be taken now: no gradients wait, and the run goes on.

    One that is finished is validated first: it would not be when started again.
    """
    return not (brain.has_open_group or brain.is_finished)


def may_ask_for_save(brain: StampedeBrain, steps_since_save: int) -> bool:
    """Whether to ask now if a save within the epoch is due: ranks then wait for rank 0's clock.

    Hence they ask every ``ASK_EVERY`` updates, and when it is due by the number of batches.
    """
    is_due = 0 < brain.ckpt_interval_steps <= steps_since_save
    is_time = world_size() == 1 or brain.optimizer_step % ASK_EVERY == 0
    return (is_due or is_time) and may_save_within_epoch(brain)


class Progress:
    """Tells the speed every ``log_every`` updates: to the Brain, and beside the bar.

    Arguments
    ---------
    brain : StampedeBrain
        Its updates are counted.
    train_set : Any
        Training data.
    bar : Any
        Progress bar.
    """

    def __init__(self, brain: StampedeBrain, train_set: Any, bar: Any) -> None:
        self._brain, self._bar = brain, bar
        self._told = brain.optimizer_step
        self._throughput = Throughput(train_set, str(brain.device))
        self._throughput.start(updates=brain.optimizer_step, utterances=brain.num_utterances)

    def note(self) -> None:
        """Tell the speed if an update was applied and it is time."""
        brain, number = self._brain, self._brain.optimizer_step
        if number == self._told or number % brain.options.log_every:
            return
        self._told = number
        figures = self._throughput.lap(updates=number, utterances=brain.num_utterances)
        brain.on_progress(figures)
        shown = {"utt/s": f"{figures['utterances_per_s']:.1f}"}
        if "loader_wait_share" in figures:
            shown["wait"] = f"{100 * figures['loader_wait_share']:.0f}%"
        if brain.last_update is not None:
            shown["grad"] = f"{brain.last_update.grad_norm:.3g}"
        self._bar.set_postfix(loss=f"{brain.mean_train_loss():.3f}", **shown)


def stop_in_mid_epoch(brain: StampedeBrain) -> None:
    """Save and end the process: the run was asked to stop, and goes on when started again."""
    if brain.checkpointer is not None:
        brain._save_intra_epoch_ckpt()
    end_run(brain)


def end_run(brain: StampedeBrain) -> None:
    """End the process, on all ranks together: none is ended while another one saves."""
    ddp_barrier()
    logger.info(
        "%s is there: the run stops after update %d; the same command goes on.",
        brain.stop_file.path,
        brain.optimizer_step,
    )
    raise RunStopped


def _train_batches(brain: StampedeBrain, train_set: Any) -> Iterator[Any]:
    # The limit is looked at before a batch is taken, so that the loader's position stays right;
    # after the last batch of an epoch the loader is asked once more, so that it knows its end.
    with preserved_rng():
        batches = iter(train_set)
    brain.epoch_is_open = True
    while not (brain.epoch_is_open and brain.is_finished):
        if brain.debug and not brain.epoch_is_open:
            return
        try:
            batch = next(batches)
        except StopIteration:
            brain.epoch_is_open = False
            return
        yield batch


def run_stage(
    brain: StampedeBrain, data: Any, stage: Stage, *, epoch: int | None, show: bool
) -> float:
    """Run validation or test on this rank's share; return the mean loss over all ranks.

    No exchange between ranks happens in the forward passes, so the shares may be unequal. Batches
    without a finite loss are left out and counted; the mean is NaN where they are many.
    """
    brain.on_stage_start(stage, epoch)
    brain.modules.eval()
    broadcast_buffers(brain.modules)
    for module in brain.modules.values():
        if hasattr(module, "require_forward_param_sync"):
            module.require_forward_param_sync = False
    meter = LossMeter(brain.device)
    with torch.no_grad():
        with preserved_rng():
            batches = iter(data)
        with _bar(batches, brain, stage, show=show, total=_length(data)) as bar:
            for number, batch in enumerate(bar, 1):
                meter.add(brain.evaluate_batch(batch, stage=stage))
                if brain.debug and number == brain.debug_batches:
                    break
        mean, brain.num_nonfinite_batches = meter.merge()
        if brain.num_nonfinite_batches:
            logger.warning(
                "%s: %d of its batches had no finite loss and are not in the mean, %.4g.",
                stage.name.lower(),
                brain.num_nonfinite_batches,
                mean,
            )
        brain.on_stage_end(stage, mean, epoch)
    return mean


def _bar(
    batches: Iterable[Any],
    brain: StampedeBrain,
    stage: Stage,
    *,
    show: bool,
    total: int | None = None,
) -> Any:
    is_training = stage == Stage.TRAIN
    return tqdm(
        batches,
        total=brain.num_batches if is_training else total,
        initial=brain.step if is_training else 0,
        dynamic_ncols=True,
        disable=not (show and if_main_process()),
        colour=brain.tqdm_barcolor[stage.name.lower()],
    )


def _length(data: Any) -> int | None:
    try:
        return len(data)
    except TypeError:
        return None


def _profile(brain: StampedeBrain) -> None:
    # SpeechBrain's own loop ends the process after profiling; here training goes on.
    if brain.profiler is None:
        return
    brain.profiler.step()
    if brain.profiler.step_num > brain.tot_prof_steps:
        brain.profiler.stop()
        brain.profiler = None
        logger.info("The profiler has finished; training goes on.")
