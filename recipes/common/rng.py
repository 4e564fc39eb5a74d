"""Random state: one stream per rank, saved and restored with the checkpoint."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from speechbrain.utils.distributed import if_main_process
from speechbrain.utils.logger import get_logger

from recipes.common.distributed import gather_list, rank
from recipes.common.recoverable import loader, recoverable_on_all, saver

logger = get_logger(__name__)


def seed_by_rank(seed: int) -> None:
    """Seed Python, NumPy and torch with ``seed + rank``.

    ``seed_everything`` of the YAML gives every rank the same seed, hence the same dropout masks.
    Call this after the model is built, so that models still start alike.

    Arguments
    ---------
    seed : int
        Seed of the run, >= 0.
    """
    seed_streams(seed, rank())


def seed_streams(seed: int, process: int) -> None:
    """Seed Python, NumPy and torch with ``seed + process``."""
    own = seed + process
    random.seed(own)
    np.random.seed(own % 2**32)  # noqa: NPY002 - libraries draw from the global NumPy stream
    torch.manual_seed(own)


@contextmanager
def preserved_rng() -> Iterator[None]:
    """Put torch's CPU stream back at the end: a DataLoader draws from it when its epoch starts."""
    with torch.random.fork_rng(devices=[]):
        yield


def rng_state() -> dict[str, Any]:
    """Return the state of all streams of this process as tensors and numbers."""
    version, words, gauss = random.getstate()
    _, keys, pos, has_gauss, cached = np.random.get_state()  # noqa: NPY002 - the global stream
    state: dict[str, Any] = {
        "torch": torch.get_rng_state(),
        "python": torch.tensor(words, dtype=torch.int64),
        "python_version": version,
        "python_gauss": gauss,
        "numpy": torch.from_numpy(np.asarray(keys).astype(np.int64)),
        "numpy_rest": [int(pos), int(has_gauss), float(cached)],
    }
    if torch.cuda.is_available():
        state["cuda"] = torch.cuda.get_rng_state()
    return state


def set_rng_state(state: dict[str, Any]) -> None:
    """Put all streams of this process back to what :func:`rng_state` returned."""
    torch.set_rng_state(state["torch"])
    words = tuple(state["python"].tolist())
    random.setstate((state["python_version"], words, state["python_gauss"]))
    pos, has_gauss, cached = state["numpy_rest"]
    keys = state["numpy"].numpy().astype(np.uint32)
    np.random.set_state(("MT19937", keys, pos, has_gauss, cached))  # noqa: NPY002 - as above
    if "cuda" in state and torch.cuda.is_available():
        torch.cuda.set_rng_state(state["cuda"])


@recoverable_on_all
class RngStates:
    """Recoverable: the random state of every rank, in one file that rank 0 writes.

    With a larger number of ranks than at the save, the added ranks keep their seeded streams.
    """

    @saver
    def save(self, path: Path) -> None:
        """Gather the states of all ranks and write them on the main process."""
        states = gather_list([rng_state()])
        if if_main_process():
            torch.save(states, path)

    @loader
    def load(self, path: Path, end_of_epoch: bool) -> None:
        """Put this rank's streams back."""
        del end_of_epoch
        states = torch.load(path, weights_only=True)
        if rank() < len(states):
            set_rng_state(states[rank()])
        else:
            logger.warning(
                "rng: %s holds %d ranks; rank %d starts its stream anew", path, len(states), rank()
            )
