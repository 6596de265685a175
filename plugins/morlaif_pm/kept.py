"""Models of `full` in memory: as many as fit stay loaded, the others take turns in one place."""

from __future__ import annotations

import gc
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any


class Kept:
    """Models loaded as they are asked for, of which so many stay in memory.

    count: says how many, at least 1; asked when the first is loaded.
    """

    def __init__(self, load: Callable[[Path], Any], count: Callable[[], int]) -> None:
        self.load, self.count, self.loaded = load, count, dict[Path, Any]()

    @cached_property
    def most(self) -> int:
        """How many stay."""
        return self.count()

    def get(self, folder: Path) -> Any:
        """Return the model of this folder."""
        import torch

        if folder not in self.loaded:
            if len(self.loaded) >= self.most:
                # The one loaded last: models are asked for in turn, so that to drop the oldest would keep none in time.
                self.loaded.popitem()
                # Its forward is bound to it: a circle that counting references does not free.
                gc.collect()
            # Amid a training, whose random numbers loading must not move.
            with torch.random.fork_rng(devices=[]):
                self.loaded[folder] = self.load(folder)
        return self.loaded[folder]


def fitting(size: int, free: int) -> int:
    """Return how many models of a size (bytes) fit in a third of the free memory, at least 1."""
    # The rest is the policy's, which comes after: weights, gradients, the optimizer's two copies, activations.
    return max(1, free // 3 // max(size, 1))


def free_memory(device: str) -> int:
    """Return the bytes that are free on a device (``cpu``, ``cuda``, ``cuda:N``)."""
    import psutil
    import torch

    if device.startswith("cuda"):
        # torch holds on to what it no longer uses.
        idle = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return int(torch.cuda.mem_get_info(device)[0] + idle)
    return min([int(psutil.virtual_memory().available), *_left_to_container()])


def _left_to_container(root: Path = Path("/sys/fs/cgroup")) -> list[int]:
    """Return the bytes left of a container's own limit (Linux, cgroup v2); nothing where there is none."""
    try:
        return [int((root / "memory.max").read_text()) - int((root / "memory.current").read_text())]
    except (OSError, ValueError):  # no such file, or the limit is "max"
        return []
