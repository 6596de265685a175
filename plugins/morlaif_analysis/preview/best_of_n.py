"""Best of n: several scored responses to each prompt, and the one that a reward picks.

Leaves out: the KL that best of n costs, because its bound, log n - (n - 1) / n, is the same for all choices.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from morlaif_core import Doubles

if TYPE_CHECKING:
    from morlaif_core import Ints


@dataclass(frozen=True, eq=False)
class Grid:
    """Calibrated scores of n responses to each of m prompts.

    Raises:
        ValueError: the shape does not fit, nothing is there, a name or a prompt id stands twice, or a score is not
            finite (the message names principle and prompt).
    """

    values: Doubles
    """(m, n, k) float64, higher is better."""
    principles: tuple[str, ...]
    """k names."""
    prompt_ids: tuple[str, ...]
    """m ids."""

    def __post_init__(self) -> None:
        m, k = len(self.prompt_ids), len(self.principles)
        if self.values.ndim != 3 or self.values.shape[::2] != (m, k) or not self.values.size:
            raise ValueError(
                f"scores (prompts, responses, principles) have shape {self.values.shape}, but there are {m} prompt ids "
                f"and {k} principles; none of them may be 0"
            )
        for what, names in (("principle", self.principles), ("prompt id", self.prompt_ids)):
            # Counted only where there is one: counting all takes the square of their number.
            twice = sorted({name for name in names if names.count(name) > 1}) if len(set(names)) < len(names) else []
            if twice:
                raise ValueError(f"{what} {twice[0]} is there twice")
        bad = np.argwhere(~np.isfinite(self.values))
        if len(bad):
            prompt, response, column = bad[0]
            raise ValueError(
                f"the score of principle {self.principles[column]} for response {response} to prompt "
                f"{self.prompt_ids[prompt]} is {self.values[prompt, response, column]}"
            )

    def check(self, name: str, rewards: Doubles) -> None:
        """Raise ValueError, naming choice and prompt, where rewards are not (m, n) or one of them is not finite."""
        if rewards.shape != self.values.shape[:2]:
            raise ValueError(f"the rewards of {name} have shape {rewards.shape}, not {self.values.shape[:2]}")
        bad = np.argwhere(~np.isfinite(rewards))
        if len(bad):
            prompt, response = bad[0]
            raise ValueError(
                f"the reward of {name} for response {response} to prompt {self.prompt_ids[prompt]} is "
                f"{rewards[prompt, response]}"
            )


def picks(rewards: Doubles) -> Ints:
    """Return the best response of each prompt, the first of equals.

    Args:
        rewards: u (m, n); only its order within a prompt counts.

    Returns:
        (m,) int64 in [0, n).

    Raises:
        ValueError: a reward is NaN, or there is no response.

    >>> picks(np.array([[0.0, 2.0, 1.0], [1.0, 1.0, 0.0]])).tolist()
    [1, 0]
    """
    if np.isnan(rewards).any():
        row = int(np.flatnonzero(np.isnan(rewards).any(axis=1))[0])
        raise ValueError(f"a reward in row {row} is NaN: no response is the best")
    best: Ints = np.argmax(rewards, axis=1).astype(np.int64)
    return best


def of_picks(values: Doubles, chosen: Ints) -> Doubles:
    """Return what belongs to the picked responses: (m, …) of values (m, n, …) for picks (m,)."""
    picked: Doubles = values[np.arange(len(chosen)), chosen]
    return picked


def differing(chosen: Mapping[str, Ints]) -> Doubles:
    """Return the share of prompts on which two choices pick different responses: (c, c), symmetric, diagonal 0."""
    stacked = np.stack(list(chosen.values()))
    shares: Doubles = (stacked[:, None, :] != stacked[None, :, :]).mean(axis=2)
    return shares


def regrets(rewards: Mapping[str, Doubles], chosen: Mapping[str, Ints]) -> Doubles:
    """Return what each choice's picks lose when another one measures.

    Formula: ``R_ij = mean_p (max_a u_i(p, a) - u_i(p, pick_j(p))) / std(u_i)``, the deviation over all responses of all
    prompts (population), so that rewards of different scales can stand side by side.

    A reward that means something within a prompt alone (ranks in the group, scores standardised there) can be used:
    differences are taken within prompts, and the deviation only sets the unit.

    Args:
        rewards: u (m, n) by choice.
        chosen: picks (m,) by choice, in the same order.

    Returns:
        (c, c), >= 0; row i: the measure, column j: who picks. Diagonal 0; a row of a constant u is 0.

    >>> u = {"a": np.array([[0.0, 2.0]]), "b": np.array([[3.0, 1.0]])}
    >>> regrets(u, {name: picks(values) for name, values in u.items()}).tolist()
    [[0.0, 2.0], [2.0, 0.0]]
    """
    return np.array([_row(u, chosen) for u in rewards.values()])


def _row(u: Doubles, chosen: Mapping[str, Ints]) -> list[float]:
    low, high = float(u.min()), float(u.max())
    if low == high:
        return [0.0] * len(chosen)
    # To [0, 1] first: the deviation of tiny or huge rewards neither vanishes nor overflows.
    unit = (u - low) / (high - low)
    best, deviation = unit.max(axis=1), float(unit.std())
    return [float((best - of_picks(unit, picked)).mean()) / deviation for picked in chosen.values()]
