"""What `check_scalarizer` tries scalarizers on: seeded cases, and a `Trial` that calls one and says what went wrong."""

from __future__ import annotations

import contextlib
import io
import pickle
import random
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np

from morlaif_core.plugins.protocols import Scalarizer
from morlaif_core.testing.components import require
from morlaif_core.testing.fakes import make_scores, make_terms
from morlaif_core.types import Floats, Need, ScoreMatrix, Terms

CLIP = 3.0
FEATURES = 6
LARGEST_GROUP = 5
TERMS = ("weight", "threshold", "priority", "lower", "upper")
OLD_AGE = (DeprecationWarning, PendingDeprecationWarning, FutureWarning, ImportWarning)
"""Warnings about a library's own future: they say nothing of the scores."""
T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class Case:
    """Scores (n, k) and the terms of their columns."""

    scores: ScoreMatrix
    terms: Terms

    def __str__(self) -> str:
        terms = (f"{name} {np.round(getattr(self.terms, name), 4).tolist()}" for name in TERMS[:3])
        n, k = self.scores.values.shape
        return f"n = {n}, k = {k}, {', '.join(terms)}"

    def row(self, row: int) -> str:
        """Say what stands in a row."""
        return f"row {row} (scores {np.round(self.scores.values[row], 5).tolist()}) of {self}"

    def with_values(self, values: Floats) -> Case:
        """The same case with other scores (n, k)."""
        return replace(self, scores=replace(self.scores, values=values))

    def rows(self, rows: Any) -> Case:
        """These rows alone, in this order."""
        scores = self.scores
        taken = ScoreMatrix(
            scores.values[rows],
            scores.principles,
            tuple(np.array(scores.prompt_ids)[rows].tolist()),
            None if scores.spread is None else scores.spread[rows],
            None if scores.features is None else scores.features[rows],
        )
        return replace(self, scores=taken)

    def columns(self, order: Any) -> Case:
        """The principles in another order, together with their terms."""
        scores = self.scores
        moved = replace(
            scores,
            values=scores.values[:, order],
            principles=tuple(scores.principles[place] for place in order),
            spread=None if scores.spread is None else scores.spread[:, order],
        )
        fields: dict[str, Any] = {name: getattr(self.terms, name)[order] for name in TERMS}
        return Case(moved, replace(self.terms, **fields))


def make_case(seed: int, n: int, k: int, needs: frozenset[Need], *, size: float = CLIP, group: int = 0) -> Case:
    """Return random scores and terms.

    Args:
        seed: of everything drawn; every third seed draws scores on a coarse grid, so that there are ties.
        n, k: rows and principles, p0, p1, …
        needs: spread and features are there where they are needed.
        size: scores lie in [-size, size]; by default within the clip range.
        group: rows to a group; 0: 1 to 5, as drawn.
    """
    rng = np.random.default_rng(seed)
    values = rng.uniform(-1, 1, (n, k))
    matrix = make_scores(size * (np.round(values * 4) / 4 if seed % 3 == 2 else values))
    sizes = [group] * n if group else rng.integers(1, LARGEST_GROUP + 1, n).tolist()
    groups = np.repeat(np.arange(n), sizes)[:n]
    prompts = rng.normal(size=(n + 1, FEATURES)).astype(np.float32)
    scores = replace(
        matrix,
        prompt_ids=tuple(f"prompt-{number}" for number in groups),
        spread=rng.uniform(0.1, 1.0, (n, k)).astype(np.float32) if "spread" in needs else None,
        features=prompts[groups] if "features" in needs else None,
    )
    return Case(scores, make_random_terms(rng, k))


def make_random_terms(rng: np.random.Generator, k: int) -> Terms:
    """Return terms as a run may have them: weights three decades apart, thresholds all over the clip range."""
    weight = 10 ** rng.uniform(-2, 1, k)
    threshold = rng.uniform(-0.98 * CLIP, 0.98 * CLIP, k)
    priority = rng.choice(np.arange(-k, 2 * k), k, replace=False)
    return make_terms(
        weight=weight.tolist(), threshold=threshold.tolist(), priority=priority.tolist(), lower=-CLIP, upper=CLIP
    )


@dataclass(frozen=True, eq=False)
class Trial:
    """One scalarizer under one choice of options.

    Attributes:
        name: the scalarizer's name and its options, as messages say them.
        build: makes a fresh one.
        scalarizer: a built one.
        needs: of these options.
        monotone: a better score must never lower the reward.
        strict: the order of one principle's scores must be kept without ties.
        linear: the reward must be linear in the scores.
        step: of the terms of all its cases.
    """

    name: str
    build: Callable[[], Scalarizer]
    scalarizer: Scalarizer
    needs: frozenset[Need]
    monotone: bool
    strict: bool
    linear: bool
    step: int = 0

    @property
    def grouped(self) -> bool:
        """Rewards compare the responses of a group."""
        return "groups" in self.needs

    def case(self, seed: int, n: int, k: int, *, size: float = CLIP, group: int = 0) -> Case:
        """Return a random case: see `make_case`."""
        case = make_case(seed, n, k, self.needs, size=size, group=group)
        return replace(case, terms=replace(case.terms, step=self.step))

    def call(self, case: Case, scalarizer: Scalarizer | None = None) -> Floats:
        """Call the scalarizer (or a given one) and check what every call must keep."""
        before = pickle.dumps((case.scores, case.terms))
        rewards: Floats = quietly(lambda: (scalarizer or self.scalarizer)(case.scores, case.terms), self.name, case)
        n = len(case.scores.prompt_ids)
        changed = pickle.dumps((case.scores, case.terms)) != before
        require(not changed, lambda: f"{self.name}: it changed its arguments; {case}")
        seen = f"returned {type(rewards).__name__}, not a numpy array"
        require(isinstance(rewards, np.ndarray), lambda: f"{self.name}: {seen}; {case}")
        require(rewards.shape == (n,), lambda: f"{self.name}: returned shape {rewards.shape}, not ({n},); {case}")
        floats = np.issubdtype(rewards.dtype, np.floating)
        require(floats, lambda: f"{self.name}: rewards are {rewards.dtype}, not floats; {case}")
        for row in np.flatnonzero(~np.isfinite(rewards)):
            require(False, f"{self.name}: the reward is not finite but {rewards[row]}; {case.row(int(row))}")
        return rewards

    def same(self, seen: Floats, expected: Floats, what: str, case: Case, *, exact: bool = False) -> None:
        """Require equal rewards, up to the rounding of float32 or to the last bit."""
        near = seen == expected if exact else np.isclose(seen, expected, rtol=1e-4, atol=1e-5)
        for row in np.flatnonzero(~near):
            require(False, f"{self.name}: {what}: {seen[row]}, not {expected[row]}; {case.row(int(row))}")


def quietly(call: Callable[[], T], name: str, case: object) -> T:
    """Return what a call returns; it may neither raise nor print nor warn nor draw from a global generator."""
    # The kind, keys and place of numpy's generator; an array among them compares entry by entry.
    drawn = (random.getstate(), pickle.dumps(np.random.get_state()))
    with _listening() as (printed, warned):
        try:
            result = call()
        except Exception as error:
            require(False, f"{name}: raised {type(error).__name__}: {error}; {case}")
    for warning in warned:
        old = issubclass(warning.category, OLD_AGE)
        require(old, f"{name}: it warns ({warning.category.__name__}: {warning.message}); {case}")
    require(not printed.getvalue(), lambda: f"{name}: it prints {printed.getvalue()[:80]!r}; {case}")
    untouched = drawn == (random.getstate(), pickle.dumps(np.random.get_state()))
    require(untouched, lambda: f"{name}: it draws from a global random generator; {case}")
    return result


@contextlib.contextmanager
def _listening() -> Iterator[tuple[io.StringIO, list[warnings.WarningMessage]]]:
    """Collect what is printed and warned; numpy says every overflow, division by 0 and invalid value."""
    printed = io.StringIO()
    with (
        contextlib.redirect_stdout(printed),
        contextlib.redirect_stderr(printed),
        np.errstate(over="warn", divide="warn", invalid="warn", under="ignore"),
        warnings.catch_warnings(record=True) as warned,
    ):
        warnings.simplefilter("always")
        yield printed, warned
