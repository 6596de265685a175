"""Human choices between two responses: drawn by hash, held out and resampled by whole prompts.

Leaves out: who chose, because the data sets do not say: people who disagree are one person who is unsure.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from morlaif_core import Doubles, Preference, UserError, content_hash

Places: TypeAlias = NDArray[np.int64]
HELD_OUT = 0.2
LEAST = 50
"""Decided choices without which no weights are fitted."""
LEAST_PER_PRINCIPLE = 10
"""Decided choices for each principle; source: Peduzzi et al. 1996, ten events per variable."""
LEAST_HELD_OUT = 10


@dataclass(frozen=True, eq=False)
class Choices:
    """Human choices between two responses.

    Attributes:
        differences: (m, k) calibrated score of a minus that of b, by principle.
        p_a: (m,) P(a preferred) by the human, in [0, 1].
        prompts: m prompt ids; rows of one prompt hang together, and stay in one fold and one resample.
    """

    differences: Doubles
    p_a: Doubles
    prompts: tuple[str, ...]

    def rows(self, places: Places) -> Choices:
        """Return these rows."""
        return Choices(self.differences[places], self.p_a[places], tuple(self.prompts[place] for place in places))

    def columns(self, places: Sequence[int]) -> Choices:
        """Return all rows under these principles alone."""
        return Choices(self.differences[:, list(places)], self.p_a, self.prompts)

    @cached_property
    def groups(self) -> Places:
        """The number (m,) of each row's prompt, counted from 0."""
        numbers: Places = np.unique(np.array(self.prompts), return_inverse=True)[1].astype(np.int64)
        return numbers

    @cached_property
    def decided(self) -> NDArray[np.bool_]:
        """Which rows (m,) name a winner."""
        named: NDArray[np.bool_] = self.p_a != 0.5
        return named


def draw(preferences: Sequence[Preference], most: int) -> list[Preference]:
    """Return at most so many labels, drawn by hash: the same whatever their order, and whichever response is a."""

    def place(item: Preference) -> tuple[str, str]:
        # By prompt first, so that a prompt's rows are drawn together; sides sorted, as a and b may be swapped.
        return content_hash("fit-weights", item.prompt.id), content_hash(*sorted((item.a, item.b)))

    return sorted(preferences, key=place)[:most]


def split(choices: Choices) -> tuple[Choices, Choices]:
    """Return choices to fit on, and the held-out ones of a fifth of the prompts, drawn by hash."""
    prompts = sorted(set(choices.prompts), key=lambda prompt: content_hash("fit-weights held out", prompt))
    held = set(prompts[: round(HELD_OUT * len(prompts))])
    is_held = np.array([prompt in held for prompt in choices.prompts], dtype=bool)
    return choices.rows(np.flatnonzero(~is_held)), choices.rows(np.flatnonzero(is_held))


def check_enough(train: Choices, test: Choices) -> None:
    """Raise `UserError` with the numbers where there are too few decided choices to say anything."""
    k = train.differences.shape[1]
    fitted, held = int(train.decided.sum()), int(test.decided.sum())
    needed = max(LEAST, LEAST_PER_PRINCIPLE * k)
    if fitted >= needed and held >= LEAST_HELD_OUT:
        return
    raise UserError(
        f"too few human choices: {fitted:,} decided ones to fit on (at least {needed:,} are needed for {k} principles) "
        f"and {held:,} held out (at least {LEAST_HELD_OUT}); raise --pairs or prompts.rl, or take a data set "
        "with more labels"
    )


def resamples(choices: Choices, seed: int, n: int) -> Iterator[Doubles]:
    """Yield n times how often each row (m,) is drawn in a bootstrap resample of whole prompts."""
    generator = np.random.default_rng(seed)
    prompts = int(choices.groups.max()) + 1
    for _ in range(n):
        drawn = np.bincount(generator.integers(0, prompts, prompts), minlength=prompts)
        yield drawn[choices.groups].astype(np.float64)
