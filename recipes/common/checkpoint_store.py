"""Writing, listing and ranking checkpoints.

A checkpoint is written into a folder whose name no listing takes for one, made durable on disk,
and renamed at the end: a kill at any moment leaves the older checkpoints and some rubbish, which
the next save removes.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from logging import INFO
from pathlib import Path
from typing import Any

import yaml
from speechbrain.utils.checkpoints import (
    METAFNAME,
    Checkpoint,
    Checkpointer,
    ckpt_recency,
)
from speechbrain.utils.distributed import ddp_barrier, if_main_process, main_process_only
from speechbrain.utils.logger import get_logger

from recipes.common.checkpoint_files import (
    UNFINISHED,
    clean_leftovers,
    is_rankable,
    move_into_place,
    plain_meta,
    write_checksums,
)

logger = get_logger(__name__)


class CheckpointStore(Checkpointer):
    """Writes checkpoints atomically, and lists those whose metadata can be read.

    Arguments
    ---------
    checkpoints_dir : str | Path
        Folder of the checkpoints, on a disk that all ranks see; made if absent.
    recoverables : Mapping[str, Any] | None
        Names and objects to save.
    **options : Any
        ``custom_load_hooks``, ``custom_save_hooks``, ``allow_partial_load`` of SpeechBrain.
    """

    def __init__(
        self,
        checkpoints_dir: str | Path,
        recoverables: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> None:
        super().__init__(checkpoints_dir, None, **options)
        for name, obj in (recoverables or {}).items():
            self.add_recoverable(name, obj)
        self._is_clean = False

    # --- saving ------------------------------------------------------------------------------

    def save_checkpoint(
        self,
        meta: Mapping[str, Any] | None = None,
        end_of_epoch: bool = True,
        name: str | None = None,
        verbosity: int = INFO,
    ) -> Checkpoint | None:
        """Save all recoverables; the checkpoint appears complete or not at all.

        Every rank must call it.

        Arguments
        ---------
        meta : Mapping[str, Any] | None
            Plain values, or scalars that can be made plain.
        end_of_epoch : bool
            False if the epoch goes on after a load.
        name : str | None
            Instead of the time; a checkpoint of that name is replaced.
        verbosity : int
            Level of the log line.

        Returns
        -------
        Checkpoint or None
            On the main process.

        Raises
        ------
        TypeError
            If metadata cannot be made plain.
        """
        plain = plain_meta(meta or {})
        if if_main_process() and not self._is_clean:
            for found in clean_leftovers(self.checkpoints_dir):
                logger.warning("checkpointer: removed %s, left by a save that was killed", found)
        self._is_clean = True
        saved = super().save_checkpoint(plain, end_of_epoch, name, verbosity)
        ddp_barrier()  # savers that run on all ranks have ended
        if saved is not None:
            saved = _publish(saved)
        ddp_barrier()
        return saved

    def save_and_keep_only(
        self,
        meta: Mapping[str, Any] | None = None,
        end_of_epoch: bool = True,
        name: str | None = None,
        num_to_keep: int = 1,
        keep_recent: bool = True,
        importance_keys: Sequence[Callable[[Checkpoint], Any]] = (),
        **options: Any,
    ) -> None:
        """Save, then delete what is neither among the best nor the newest ``num_to_keep``.

        Arguments and meaning are SpeechBrain's, without its default list that grows.
        """
        verbosity = options.get("verbosity", INFO)
        self.save_checkpoint(meta, end_of_epoch, name, verbosity)
        keys = [*importance_keys, *([ckpt_recency] if keep_recent else [])]
        self.delete_checkpoints(num_to_keep=num_to_keep, importance_keys=keys, **options)

    def delete_checkpoints(  # noqa: PLR0913 - SpeechBrain's signature
        self,
        *,
        num_to_keep: int = 1,
        min_keys: Sequence[str] | None = None,
        max_keys: Sequence[str] | None = None,
        importance_keys: Sequence[Callable[[Checkpoint], Any]] = (ckpt_recency,),
        ckpt_predicate: Callable[[Checkpoint], bool] | None = None,
        verbosity: int = INFO,
    ) -> None:
        """Delete all but the best ``num_to_keep`` by each key; the main process does it for all.

        Arguments and meaning are SpeechBrain's; a kill leaves no checkpoint that is half deleted.
        """
        ways: list[dict[str, Any]] = [
            *({"min_key": key} for key in min_keys or ()),
            *({"max_key": key} for key in max_keys or ()),
            *({"importance_key": key} for key in importance_keys),
        ]

        def delete() -> None:
            ranked = [self.find_checkpoints(ckpt_predicate=ckpt_predicate, **way) for way in ways]
            kept = {ckpt.path for best_first in ranked for ckpt in best_first[:num_to_keep]}
            for path in {ckpt.path for best_first in ranked for ckpt in best_first} - kept:
                _delete(path)
                logger.log(verbosity, "Deleted checkpoint in %s", path)

        ddp_barrier()
        main_process_only(delete)()

    def _new_checkpoint_dirpath(self) -> Path:
        # Names sort in the order of the saves, also where a deleted one frees an earlier number.
        first = super()._new_checkpoint_dirpath()
        stamp = first.name[: -len("00")]
        others = [path.name.rpartition("+")[2] for path in self.checkpoints_dir.glob(f"*{stamp}*")]
        number = max((int(other) + 1 for other in others if other.isdecimal()), default=0)
        return _aside(first.with_name(f"{stamp}{number:02d}"))

    def _custom_checkpoint_dirpath(self, name: str) -> Path:
        return _aside(super()._custom_checkpoint_dirpath(name))

    def _save_checkpoint_metafile(
        self, fpath: Path, meta_to_include: Mapping[str, Any], end_of_epoch: bool = True
    ) -> dict[str, Any]:
        # Newest means saved last, also when the clock was put back or another node's is behind.
        others = [float(ckpt.meta["unixtime"]) for ckpt in self.list_checkpoints()]
        unixtime = max([time.time(), *(other + 1e-3 for other in others)])
        meta = {"unixtime": unixtime, "end-of-epoch": end_of_epoch, **meta_to_include}
        fpath.write_text("# yamllint disable\n" + yaml.safe_dump(meta), encoding="utf-8")
        return meta

    @staticmethod
    def _construct_checkpoint_objects(checkpoint_dirs: Iterable[Path]) -> list[Checkpoint]:
        found = []
        for folder in checkpoint_dirs:
            try:
                ckpt = Checkpointer._construct_checkpoint_objects([folder])[0]
            except (OSError, yaml.YAMLError) as error:
                logger.warning("checkpointer: skipped %s: %s: %s", folder, METAFNAME, error)
                continue
            if isinstance(ckpt.meta, dict) and {"unixtime", "end-of-epoch"} <= ckpt.meta.keys():
                found.append(ckpt)
            else:
                logger.warning("checkpointer: skipped %s: %s is incomplete", folder, METAFNAME)
        return found

    def find_checkpoints(
        self,
        importance_key: Callable[[Checkpoint], Any] | None = None,
        max_key: str | None = None,
        min_key: str | None = None,
        ckpt_predicate: Callable[[Checkpoint], bool] | None = None,
        max_num_checkpoints: int | None = None,
    ) -> list[Checkpoint]:
        """Return checkpoints, best first, as SpeechBrain does; one with a NaN is never best."""
        key = max_key or min_key

        def may_rank(ckpt: Checkpoint) -> bool:
            return (key is None or is_rankable(ckpt.meta, key)) and (
                ckpt_predicate is None or ckpt_predicate(ckpt)
            )

        return super().find_checkpoints(
            importance_key, max_key, min_key, may_rank, max_num_checkpoints
        )


def _aside(final: Path) -> Path:
    return final.with_name(UNFINISHED + final.name)


def _delete(path: Path) -> None:
    # Renamed first: a kill half-way leaves rubbish known as such, not half a checkpoint.
    aside = _aside(path)
    shutil.rmtree(aside, ignore_errors=True)
    path.rename(aside)
    shutil.rmtree(aside)


def _publish(saved: Checkpoint) -> Checkpoint:
    final = saved.path.with_name(saved.path.name.removeprefix(UNFINISHED))
    write_checksums(saved.path)
    move_into_place(saved.path, final)
    paramfiles = {name: final / path.name for name, path in saved.paramfiles.items()}
    return Checkpoint(final, saved.meta, paramfiles)
