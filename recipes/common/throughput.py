"""How fast a run is, and what it waits for: figures of the updates since the last look."""

from __future__ import annotations

import time
from typing import Any

import torch
from speechbrain.utils.logger import get_logger

logger = get_logger(__name__)

MIB = 1 << 20
COUNTED = ("audio_s", "padded_s", "wait_s")
_silent: set[str] = set()  # devices that did not tell their use; they are not asked again


class Throughput:
    """Looks at counts now and then, and tells what has changed.

    Arguments
    ---------
    loader : Any
        Training data; its ``statistics`` (`data_prepare.accounting.LoaderStatistics`) are looked
        at if it has any. They begin anew with each epoch.
    device : str
        Where the Brain computes.
    """

    def __init__(self, loader: Any, device: str) -> None:
        self._loader, self._device = loader, str(device)
        self._statistics: Any = None
        self._before = dict.fromkeys(COUNTED, 0.0)
        self._updates = self._utterances = 0
        self._at_s = 0.0

    def start(self, *, updates: int, utterances: int) -> None:
        """Begin: what came before does not count."""
        self._updates, self._utterances = updates, utterances
        self._at_s = time.monotonic()
        self._loader_counts()

    def lap(self, *, updates: int, utterances: int) -> dict[str, float]:
        """Return the figures since the last call, and begin anew.

        Arguments
        ---------
        updates : int
            Applied so far.
        utterances : int
            Trained on so far, by all ranks.

        Returns
        -------
        dict of str to float
            ``updates_per_s``, ``utterances_per_s`` of all ranks; of this rank ``audio_s_per_s``
            (times real time), ``loader_wait_share`` (of the time), ``padding_share`` (of what was
            computed); on a GPU ``gpu_memory_peak_mib`` and ``gpu_use_percent``.
        """
        now_s = time.monotonic()
        passed_s = max(now_s - self._at_s, 1e-9)
        found = {
            "updates_per_s": (updates - self._updates) / passed_s,
            "utterances_per_s": (utterances - self._utterances) / passed_s,
        }
        counts = self._loader_counts()
        if counts:
            found["audio_s_per_s"] = counts["audio_s"] / passed_s
            found["loader_wait_share"] = min(1.0, counts["wait_s"] / passed_s)
            padded_s = counts["padded_s"]
            found["padding_share"] = 1 - counts["audio_s"] / padded_s if padded_s else 0.0
        self._updates, self._utterances, self._at_s = updates, utterances, now_s
        return found | gpu_figures(self._device)

    def _loader_counts(self) -> dict[str, float]:
        statistics = getattr(self._loader, "statistics", None)
        if statistics is None:
            return {}
        if statistics is not self._statistics:  # a new epoch
            self._statistics, self._before = statistics, dict.fromkeys(COUNTED, 0.0)
        now = {name: float(getattr(statistics, name)) for name in COUNTED}
        changed = {name: now[name] - self._before[name] for name in COUNTED}
        self._before = now
        return changed


def gpu_figures(device: str) -> dict[str, float]:
    """Return use and peak memory of a GPU; nothing on the CPU.

    Arguments
    ---------
    device : str
        Such as "cuda:0" or "cpu".

    Returns
    -------
    dict of str to float
        ``gpu_memory_peak_mib`` since the last call; ``gpu_use_percent`` where NVML tells it.
    """
    if not device.startswith("cuda"):
        return {}
    found = {"gpu_memory_peak_mib": torch.cuda.max_memory_allocated(device) / MIB}
    torch.cuda.reset_peak_memory_stats(device)
    if device not in _silent:
        try:
            found["gpu_use_percent"] = float(torch.cuda.utilization(device))
        except Exception as error:  # noqa: BLE001 - reason: NVML has errors of its own (a MIG slice,
            # a container without its library), nvidia-ml-py may be absent; a run needs neither.
            _silent.add(device)
            logger.warning("%s does not tell its use, which is left out: %s", device, error)
    return found
