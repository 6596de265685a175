"""Grids of scores with choices over them, and how two results of a preview are compared."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import settings, strategies as st
from numpy.typing import NDArray

from morlaif_analysis.preview.best_of_n import Grid

Doubles = NDArray[np.float64]
LETTERS = "abcdefghijkl"
SLOW = settings(max_examples=40, deadline=None)


def grid_of(values: Any) -> Grid:
    """A grid of prompts x0, x1, … and principles a, b, …."""
    array = np.asarray(values, dtype=np.float64)
    m, _, k = array.shape
    return Grid(array, tuple(LETTERS[:k]), tuple(f"x{i:05d}" for i in range(m)))


def alone(grid: Grid) -> dict[str, Doubles]:
    """Each principle as a choice."""
    return {f"single: {name}": grid.values[:, :, i] for i, name in enumerate(grid.principles)}


def random_case(seed: int, m: int = 30, n: int = 4, k: int = 3) -> tuple[Grid, dict[str, Doubles]]:
    """Normal scores, and the choices single, sum, minimum and one at random."""
    rng = np.random.default_rng(seed)
    grid = grid_of(rng.normal(size=(m, n, k)))
    v = grid.values
    return grid, {**alone(grid), "sum": v.sum(axis=2), "minimum": v.min(axis=2), "noise": rng.normal(size=(m, n)) * 1e6}


@st.composite
def cases(draw: st.DrawFn) -> tuple[Grid, dict[str, Doubles], np.random.Generator]:
    seed, m, n = draw(st.integers(0, 2**32 - 1)), draw(st.integers(1, 12)), draw(st.integers(1, 4))
    grid, rewards = random_case(seed, m, n, draw(st.integers(1, 4)))
    return grid, rewards, np.random.default_rng(seed + 1)


def reordered(table: list[list[Any]], order: NDArray[np.int64]) -> list[list[Any]]:
    return [[table[i][j] for j in order] for i in order]


def as_sets(found: Any) -> Any:
    """With sorted lists of names."""
    if isinstance(found, dict):
        return {key: sorted(value) if key == "sacrificed" else as_sets(value) for key, value in found.items()}
    return found


def assert_close(found: Any, expected: Any) -> None:
    """Equal, numbers to rounding, through dictionaries and lists."""
    if isinstance(expected, dict):
        assert found.keys() == expected.keys()
        for key, value in expected.items():
            assert_close(found[key], value)
    elif isinstance(expected, list):
        assert len(found) == len(expected)
        for one, other in zip(found, expected, strict=True):
            assert_close(one, other)
    elif isinstance(expected, float):
        assert found == pytest.approx(expected, rel=1e-7, abs=1e-9)
    else:
        assert found == expected
