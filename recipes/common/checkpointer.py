"""Checkpoints that a kill cannot spoil: written aside and renamed, checked before they are read.

A checkpoint is SpeechBrain's: one folder, one file per recoverable, ``CKPT.yaml``; and
``files.json`` with sizes and checksums. It appears under its name only when complete.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from speechbrain.utils.checkpoints import (
    DEFAULT_LOAD_HOOKS,
    METAFNAME,
    PARAMFILE_EXT,
    Checkpoint,
    get_default_hook,
    torch_recovery,
)
from speechbrain.utils.distributed import ddp_barrier, main_process_only
from speechbrain.utils.logger import get_logger

from recipes.common.checkpoint_files import fault_of
from recipes.common.checkpoint_store import CheckpointStore
from recipes.common.module_states import load_modules, read_state

logger = get_logger(__name__)


class StampedeCheckpointer(CheckpointStore):
    """Atomic, self-healing checkpoints; the main process writes and chooses, all ranks load.

    Arguments
    ---------
    checkpoints_dir : str or Path
        Folder of the checkpoints, on a disk that all ranks see; made if absent.
    recoverables : mapping or None
        Names and objects to save.
    **options : Any
        ``custom_load_hooks``, ``custom_save_hooks``, ``allow_partial_load`` of SpeechBrain.
    """

    def find_good(self, *, names: Iterable[str] | None = None, **how: Any) -> list[Checkpoint]:
        """Return the checkpoints that can be loaded, best first; log what is wrong with others.

        Every file that is needed is read once, by each rank that calls it; ranks exchange nothing.

        Arguments
        ---------
        names : Iterable[str] | None
            Recoverables that are needed; None: all of them.
        **how : Any
            Arguments of :meth:`find_checkpoints`, and ``limit``: enough is found with so many.

        Returns
        -------
        list of Checkpoint
            Best first.

        Raises
        ------
        RuntimeError
            If there are checkpoints, but none is good.
        """
        limit = how.pop("limit", None)
        files = [n + PARAMFILE_EXT for n in (self._required() if names is None else names)]
        candidates, good, faults = self.find_checkpoints(**how), [], []
        for ckpt in candidates:
            fault = fault_of(ckpt.path, [METAFNAME, *files])
            if fault is None:
                good.append(ckpt)
                if len(good) == limit:
                    break
            else:
                faults.append(f"{ckpt.path.name}: {fault}")
                logger.warning("checkpointer: skipped %s: %s", ckpt.path, fault)
        if candidates and not good:
            raise RuntimeError(
                f"checkpointer: none of {len(candidates)} checkpoints in {self.checkpoints_dir} "
                f"can be loaded ({'; '.join(faults)}); expected a complete one; restore one from "
                "a backup, or move them away to start anew."
            )
        return good

    def module_names(self) -> list[str]:
        """Return the names of the recoverables that are modules with parameters or buffers."""
        return [n for n, o in self.recoverables.items() if isinstance(o, torch.nn.Module)]

    # --- loading -----------------------------------------------------------------------------

    def recover_if_possible(
        self,
        importance_key: Callable[[Checkpoint], Any] | None = None,
        max_key: str | None = None,
        min_key: str | None = None,
        ckpt_predicate: Callable[[Checkpoint], bool] | None = None,
    ) -> Checkpoint | None:
        """Load the newest (or, by key, best) good checkpoint into all recoverables.

        Every rank must call it.

        Arguments
        ---------
        importance_key : Callable[[Checkpoint], Any] | None
            From a checkpoint to its rank; the highest is loaded.
        max_key : str | None
            Statistic whose highest value is loaded.
        min_key : str | None
            Statistic whose lowest value is loaded; nothing given: the newest.
        ckpt_predicate : Callable[[Checkpoint], bool] | None
            Which checkpoints may be loaded.

        Returns
        -------
        Checkpoint or None
            None if there is none at all.

        Raises
        ------
        RuntimeError
            If there are checkpoints, but none is good.
        ValueError
            If the checkpoint is of another model.
        """
        how = {"max_key": max_key, "min_key": min_key, "importance_key": importance_key}
        chosen = self._choose(ckpt_predicate=ckpt_predicate, **how)
        if chosen is not None:
            self.load_checkpoint(chosen)
        return chosen

    def recover_modules(
        self, *, max_key: str | None = None, min_key: str | None = None
    ) -> Checkpoint | None:
        """Load only the modules of the best good checkpoint, for evaluation; else as above."""
        names = self.module_names()
        chosen = self._choose(max_key=max_key, min_key=min_key, names=names)
        if chosen is not None:
            logger.info("Loading the modules of %s", chosen.path)
            self._load(chosen, names)
        return chosen

    def load_checkpoint(self, checkpoint: Checkpoint) -> None:
        """Load one checkpoint; every rank must call it.

        Arguments
        ---------
        checkpoint : Checkpoint
            Which.

        Raises
        ------
        ValueError
            If it is of another model; all differences are named, nothing is loaded.
        RuntimeError
            If it lacks a recoverable that is not optional.
        """
        logger.info("Loading a checkpoint from %s", checkpoint.path)
        lacking = [name for name in self._required() if name not in checkpoint.paramfiles]
        if lacking:
            raise RuntimeError(
                f"checkpoint {checkpoint.path}: holds no {', '.join(lacking)}; expected the "
                "recoverables of this run; register them with optional_load, or start anew."
            )
        self._load(checkpoint, list(self.recoverables))

    def _load(self, checkpoint: Checkpoint, names: Sequence[str]) -> None:
        plain = [name for name in self.plain_modules() if name in names]
        load_modules(checkpoint, {name: self.recoverables[name] for name in plain})
        for name in names:
            if name in checkpoint.paramfiles and name not in plain:
                self._load_one(name, self.recoverables[name], checkpoint)
            elif name not in checkpoint.paramfiles:
                logger.warning("checkpoint %s holds no %s: it starts anew", checkpoint.path, name)
        ddp_barrier()

    def _choose(self, **how: Any) -> Checkpoint | None:
        # The main process reads the folder, so that all ranks load the same checkpoint; its error
        # travels as a value, or the others would wait for it.
        def choose() -> Checkpoint | RuntimeError | None:
            try:
                return next(iter(self.find_good(limit=1, **how)), None)
            except RuntimeError as error:
                return error

        chosen = main_process_only(choose)()
        if isinstance(chosen, RuntimeError):
            raise chosen
        if chosen is None:
            logger.info("No checkpoint in %s yet.", self.checkpoints_dir)
        return chosen

    def _required(self) -> list[str]:
        if self.allow_partial_load:
            return []
        return [n for n in self.recoverables if not self.optional_recoverables.get(n, False)]

    def plain_modules(self) -> list[str]:
        """Return the names of the modules saved as state dicts, not by hooks of their own."""
        return [
            name
            for name in self.module_names()
            if name not in self.custom_load_hooks
            and get_default_hook(self.recoverables[name], DEFAULT_LOAD_HOOKS) is torch_recovery
        ]

    def _load_one(self, name: str, obj: Any, checkpoint: Checkpoint) -> None:
        path, end_of_epoch = checkpoint.paramfiles[name], checkpoint.meta["end-of-epoch"]
        if name in self.custom_load_hooks:
            self.custom_load_hooks[name](obj, path, end_of_epoch)
            return
        hook = get_default_hook(obj, DEFAULT_LOAD_HOOKS)
        if hook is None:
            raise RuntimeError(f"checkpointer: {name} is a {type(obj)}; expected a load hook.")
        if hook is torch_recovery:
            obj.load_state_dict(read_state(path))
        else:
            hook(obj, path, end_of_epoch)
