"""What scalarizers trade against each other: mean scores of their picks, front, regret, who is sacrificed.

Leaves out: a correction for the number of intervals: each stands alone, and the output says how many chance would show.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from .best_of_n import Grid, differing, of_picks, picks, regrets
from .bootstrap import intervals
from .fronts import hypervolume, on_front

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from morlaif_core import Doubles

FORMAT = 1
ROUNDING = 1e-9
"""A gain that is this near to 0 is 0: the bits that a mean loses sacrifice nobody."""


def trade_offs(
    grid: Grid, rewards: Mapping[str, Doubles], seed: int, unrewarded: Collection[str] = ()
) -> dict[str, Any]:
    """Compare choices by what the best of n responses under each is worth to every principle.

    All means are over prompts, and all intervals are bootstrapped over prompts with the same draws. Prompts are put in
    the order of their ids first, so the order in which they are given changes nothing. The scores of the picks are in
    sample: the preference models that select are those that score, so they are higher than fresh judges would say.

    Rewards are compared within a prompt alone, so scalarizers whose rewards mean nothing across prompts (ranks in the
    group) stand beside the others.

    Args:
        grid: calibrated scores (m, n, k).
        rewards: u (m, n) by the choice's name; higher is better.
        seed: of the intervals.
        unrewarded: principles of weight 0. No choice can pay for them, so they are measured alone: they are not
            sacrificed, and do not count in the front and its hypervolume.

    Returns:
        what preview.json holds, but for ``judged``, ``left_out`` and ``settings``; see docs/preview.md. Scores and gains
        are in calibrated units; ``ci95`` is null with a single prompt, ``hypervolume_share`` where the front has no
        volume, a correlation where a principle never varies within a prompt; ``notes`` say why.

    Raises:
        ValueError: no choice, a wrong shape, or a reward that is not finite (names choice and prompt).
    """
    if not rewards:
        raise ValueError("there is no choice to compare")
    for name, u in rewards.items():
        grid.check(name, u)
    grid, rewards = _in_order(grid, rewards)
    chosen = {name: picks(u) for name, u in rewards.items()}
    table = _Table.of(
        grid, np.stack([of_picks(grid.values, picked) for picked in chosen.values()], axis=1), seed, unrewarded
    )
    # The worst response for each principle: every choice lies above it, whatever it trades.
    worst = grid.values.min(axis=1).mean(axis=0)
    front, places = _front(grid, list(rewards), table.scores.mean(axis=0), worst, unrewarded)
    m, n, _ = grid.values.shape
    return {
        "format": FORMAT,
        "prompts": m,
        "responses": n,
        "principles": list(grid.principles),
        "unrewarded": [name for name in grid.principles if name in unrewarded],
        "in_sample": True,
        "baseline": {
            "worst": table.named(worst),
            "random": table.named(table.random.mean(axis=0)),
            "best": table.named(table.best.mean(axis=0)),
        },
        "scalarizers": {name: {**table.block(c), **places[c]} for c, name in enumerate(rewards)},
        "conflict": conflict(grid),
        "differ": {"names": list(rewards), "share": differing(chosen).tolist()},
        "regret": {"names": list(rewards), "deviations": regrets(rewards, chosen).tolist()},
        "front": front,
    }


def _front(
    grid: Grid, names: Sequence[str], points: Doubles, worst: Doubles, unrewarded: Collection[str]
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Return the front's block, and each choice's place in it, of mean scores (c, k) over those of the worst (k,)."""
    counted = np.array([name not in unrewarded for name in grid.principles])
    # A principle under which nothing varies has no gain, and a product with it no volume.
    moving = counted & _varies(grid)
    volume, added = hypervolume(points[:, moving], worst[moving]) if moving.any() else (0.0, np.zeros(len(points)))
    on = on_front(points[:, counted])
    places = [
        {"on_front": bool(there), "hypervolume_share": float(part) / volume if volume > 0 else None}
        for there, part in zip(on, added, strict=True)
    ]
    flat = "no choice is better than the worst response under every principle that varies"
    front = {
        "names": [name for name, there in zip(names, on, strict=True) if there],
        "hypervolume": volume,
        "reference": {name: float(x) for name, x, of in zip(grid.principles, worst, counted, strict=True) if of},
        "notes": [] if volume > 0 else [flat],
    }
    return front, places


def conflict(grid: Grid) -> dict[str, Any]:
    """Return the correlation of the principles' scores within prompts.

    Pearson's, of the scores less their prompt's mean, all prompts pooled: what a prompt is like as a whole does not
    enter, since a pick cannot change it. -1: what helps one principle harms the other.

    Args:
        grid: calibrated scores (m, n, k).

    Returns:
        ``{"correlation": k lists of k numbers in [-1, 1] or null, "notes": [sentences that say why null]}``.
    """
    varies = _varies(grid)
    centred = (grid.values - grid.values.mean(axis=1, keepdims=True)).reshape(-1, len(grid.principles))
    # To a largest deviation of 1 first, so that no square vanishes.
    centred = centred / np.where(varies, np.abs(centred).max(axis=0), 1.0)
    unit = centred / np.where(varies, np.sqrt((centred**2).sum(axis=0)), 1.0)
    # Rounding may pass 1 by a digit.
    matrix = np.clip(unit.T @ unit, -1.0, 1.0)
    np.fill_diagonal(matrix, 1.0)
    known = varies[:, None] & varies[None, :]
    correlation = [
        [float(value) if there else None for value, there in zip(row, ok, strict=True)]
        for row, ok in zip(matrix, known, strict=True)
    ]
    return {"correlation": correlation, "notes": _constant(grid, varies)}


def _varies(grid: Grid) -> NDArray[np.bool_]:
    """Say of each principle whether the responses to some prompt differ under it: (k,)."""
    varies: NDArray[np.bool_] = np.ptp(grid.values, axis=1).max(axis=0) > 0
    return varies


def _constant(grid: Grid, varies: NDArray[np.bool_]) -> list[str]:
    """Say which principles have no correlation."""
    if grid.values.shape[1] == 1:
        return ["one response a prompt: nothing varies within prompts"]
    same = [name for name, there in zip(grid.principles, varies, strict=True) if not there]
    return [f"no response to a prompt differs from another under {', '.join(same)}"] if same else []


def _in_order(grid: Grid, rewards: Mapping[str, Doubles]) -> tuple[Grid, dict[str, Doubles]]:
    """Sort prompts by id, and everything with them; in float64."""
    order = sorted(range(len(grid.prompt_ids)), key=grid.prompt_ids.__getitem__)
    ids = tuple(grid.prompt_ids[i] for i in order)
    values = grid.values[order].astype(np.float64)
    return Grid(values, grid.principles, ids), {name: u[order].astype(np.float64) for name, u in rewards.items()}


@dataclass(frozen=True, eq=False)
class _Table:
    """Scores of the picks (m, c, k), of a random response and of the best one for each principle (m, k), with intervals
    of the picks' mean scores and gains (c, 2, k, 2) where there are any."""

    principles: Sequence[str]
    scores: Doubles
    random: Doubles
    best: Doubles
    ends: Doubles | None
    unrewarded: Collection[str]

    @classmethod
    def of(cls, grid: Grid, scores: Doubles, seed: int, unrewarded: Collection[str]) -> _Table:
        m, c, k = scores.shape
        random = grid.values.mean(axis=1)
        both = np.stack([scores, scores - random[:, None, :]], axis=2)
        ends = intervals(both.reshape(m, -1), seed)
        reshaped = None if ends is None else ends.reshape(c, 2, k, 2)
        return cls(grid.principles, scores, random, grid.values.max(axis=1), reshaped, unrewarded)

    def block(self, c: int) -> dict[str, Any]:
        """Scores, gains, the sacrificed and the regret by principle of choice c."""
        scores = self.scores[:, c]
        gain = self._figures((scores - self.random).mean(axis=0), c, 1)
        return {
            "scores": self._figures(scores.mean(axis=0), c, 0),
            "gain": gain,
            "sacrificed": [
                name
                for name, row in gain.items()
                if name not in self.unrewarded and row["ci95"] and row["ci95"][1] < -ROUNDING
            ],
            "regret": self.named((self.best - scores).mean(axis=0)),
        }

    def _figures(self, means: Doubles, c: int, which: int) -> dict[str, dict[str, Any]]:
        return {
            name: {"mean": float(means[i]), "ci95": None if self.ends is None else self.ends[c, which, i].tolist()}
            for i, name in enumerate(self.principles)
        }

    def named(self, values: Doubles) -> dict[str, float]:
        """Values (k,) by principle."""
        return {name: float(value) for name, value in zip(self.principles, values, strict=True)}
