"""The soft clip of calibrated scores, ``r = c tanh(z / c)``, and its inverse.

It keeps every order, and bounds what one over-optimised preference model can add to the reward.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from morlaif_core.types import Doubles, Floats

if TYPE_CHECKING:
    pass


def soft_clip(z: Doubles, clip: float) -> Doubles:
    """Return scores in [-clip, clip], of any shape."""
    import numpy as np

    return clip * np.tanh(z / clip)


def undo_soft_clip(clipped: Floats, clip: float) -> Doubles:
    """Return z for soft-clipped scores of any shape."""
    import numpy as np

    # A float32 score at the very clip reads as 1, whose arctanh is infinite.
    bounded = np.clip(clipped.astype(np.float64) / clip, -1 + 1e-7, 1 - 1e-7)
    return clip * np.arctanh(bounded)
