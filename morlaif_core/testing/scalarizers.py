"""What a scalarizer must do: `check_scalarizer`."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from morlaif_core.options import Component
from morlaif_core.protocols import Scalarizer
from morlaif_core.types import Floats, ScoreMatrix, Terms

from .components import check_component, require
from .fakes import make_scores, make_terms

CLIP = 3.0
GROUP = 4
FEATURES = 6


def check_scalarizer(component: Component[Scalarizer], options: Mapping[str, object] | None = None) -> None:
    """Check a scalarizer against the contract, on seeded random scores.

    Shape for n = 0, 1 and many; a row's reward depends on that row alone (where it needs groups, the order of rows
    means nothing); permuting principles with their terms changes nothing; finite at scores of 1e4; non-decreasing in
    every score within the clip range where declared monotone; k = 1 keeps the order within the clip range; it pickles;
    it does not change its arguments.

    Args:
        component: what the plugin's hook returned.
        options: options other than the defaults; for those that have none.

    Raises:
        ContractError: what does not hold.
    """
    check_component("scalarizer", component)
    scalarizer = component.build(component.options.model_validate(dict(options or {})))
    probe = _Probe(component, scalarizer)
    probe.shapes()
    probe.rows()
    probe.permutation()
    probe.finite()
    probe.order()
    probe.arguments()
    if component.monotone:
        probe.monotone()


class _Probe:
    """One scalarizer and the random scores that it is tried on."""

    def __init__(self, component: Component[Scalarizer], scalarizer: Scalarizer) -> None:
        self.name, self.grouped = component.name, "groups" in component.needs
        self.needs, self.scalarizer = component.needs, scalarizer

    def scores(self, n: int, k: int, seed: int, scale: float = 1.0) -> ScoreMatrix:
        """Scores within the clip range at scale 1, with the spread and features that the scalarizer needs."""
        rng = np.random.default_rng(seed)
        matrix = make_scores(rng.uniform(-CLIP, CLIP, (n, k)) * scale, group=GROUP)
        spread = rng.uniform(0.1, 1.0, (n, k)).astype(np.float32) if "spread" in self.needs else None
        groups = np.arange(n) // GROUP
        features = rng.normal(size=(n // GROUP + 1, FEATURES)).astype(np.float32)[groups]
        return replace(matrix, spread=spread, features=features if "features" in self.needs else None)

    def terms(self, k: int, seed: int) -> Terms:
        """Unequal weights, thresholds in the middle of the clip range, distinct priorities."""
        rng = np.random.default_rng(seed)
        weight, threshold = rng.uniform(0.2, 1.0, k), rng.uniform(-1.0, 1.0, k)
        priority = (rng.permutation(k) + 1).tolist()
        return make_terms(
            weight=weight.tolist(), threshold=threshold.tolist(), priority=priority, lower=-CLIP, upper=CLIP
        )

    def call(self, scores: ScoreMatrix, terms: Terms) -> Floats:
        """Call the scalarizer and check shape and dtype."""
        rewards = self.scalarizer(scores, terms)
        n, k = scores.values.shape
        require(isinstance(rewards, np.ndarray), f"{self.name}: returned {type(rewards).__name__}, not a numpy array")
        require(rewards.shape == (n,), f"{self.name}: scores ({n}, {k}) gave shape {rewards.shape}, not ({n},)")
        require(np.issubdtype(rewards.dtype, np.floating), f"{self.name}: rewards are {rewards.dtype}, not floats")
        return rewards

    def shapes(self) -> None:
        """Any n, 0 and 1 among them, and any k."""
        for n in (0, 1, 2, 4, 33):
            for k in (1, 2, 3, 12):
                rewards = self.call(self.scores(n, k, seed=n), self.terms(k, seed=k))
                require(bool(np.isfinite(rewards).all()), f"{self.name}: not finite at n = {n}, k = {k}")

    def rows(self) -> None:
        """A row alone gets what it gets in a batch; where groups are needed, shuffled rows keep their rewards."""
        scores, terms = self.scores(16, 5, seed=1), self.terms(5, seed=1)
        whole = self.call(scores, terms)
        if self.grouped:
            order = np.random.default_rng(1).permutation(16)
            _same(self.call(_take(scores, order), terms), whole[order], f"{self.name}: the order of rows matters")
            return
        for row in range(16):
            alone = self.call(_take(scores, np.array([row])), terms)
            _same(alone, whole[row : row + 1], f"{self.name}: the reward of row {row} depends on other rows")

    def permutation(self) -> None:
        """The order in which principles are listed means nothing."""
        scores, terms = self.scores(16, 5, seed=2), self.terms(5, seed=2)
        order = np.random.default_rng(2).permutation(5)
        moved = replace(
            scores,
            values=scores.values[:, order],
            principles=tuple(scores.principles[i] for i in order),
            spread=None if scores.spread is None else scores.spread[:, order],
        )
        fields: dict[str, Any] = {
            name: getattr(terms, name)[order] for name in ("weight", "threshold", "priority", "lower", "upper")
        }
        message = f"{self.name}: permuting principles together with their terms changes the reward"
        _same(self.call(moved, replace(terms, **fields)), self.call(scores, terms), message)

    def finite(self) -> None:
        """No overflow far outside the clip range."""
        for sign in (1.0, -1.0):
            scores = self.scores(8, 4, seed=3, scale=sign * 1e4 / CLIP)
            extreme = replace(scores, values=np.where(scores.values > 0, np.float32(1e4), np.float32(-1e4)))
            for matrix in (scores, extreme):
                rewards = self.call(matrix, self.terms(4, seed=3))
                require(bool(np.isfinite(rewards).all()), f"{self.name}: not finite at scores of 1e4")

    def order(self) -> None:
        """With one principle, a better score is a better reward (within a group where it needs groups)."""
        grid = np.linspace(-CLIP, CLIP, GROUP if self.grouped else 25)[:, None]
        template = self.scores(len(grid), 1, seed=4)
        rewards = self.call(replace(template, values=grid.astype(np.float32)), make_terms(k=1, lower=-CLIP, upper=CLIP))
        require(bool((np.diff(rewards) > 0).all()), f"{self.name}: with one principle the order is not kept: {rewards}")

    def arguments(self) -> None:
        """Arguments stay as they were, and a copy by pickle gives the same."""
        scores, terms = self.scores(8, 3, seed=5), self.terms(3, seed=5)
        before = pickle.dumps((scores, terms))
        rewards = self.call(scores, terms)
        require(pickle.dumps((scores, terms)) == before, f"{self.name}: it changed its arguments")
        copy = pickle.loads(pickle.dumps(self.scalarizer))
        _same(copy(scores, terms), rewards, f"{self.name}: a pickled copy gives another reward")

    def monotone(self) -> None:
        """Raising one score never lowers the row's reward, within the clip range; of one row in each group."""
        raised = slice(None, None, GROUP if self.grouped else 1)
        for k in (1, 2, 3, 12):
            scores, terms = self.scores(64, k, seed=6), self.terms(k, seed=6)
            before = self.call(scores, terms)[raised]
            for column in range(k):
                values = scores.values.copy()
                room = CLIP - values[raised, column]
                values[raised, column] += np.random.default_rng(column).uniform(0, 1, len(room)) * room
                change = self.call(replace(scores, values=values), terms)[raised] - before
                worst = int(np.argmin(change))
                require(
                    bool(change[worst] >= -1e-5 * max(1.0, abs(float(before[worst])))),
                    f"{self.name}: declared monotone, but raising principle {column} of {scores.values[raised][worst]} "
                    f"to {values[raised][worst][column]} changed the reward by {change[worst]}",
                )


def _take(scores: ScoreMatrix, rows: Any) -> ScoreMatrix:
    return ScoreMatrix(
        scores.values[rows],
        scores.principles,
        tuple(scores.prompt_ids[row] for row in rows),
        None if scores.spread is None else scores.spread[rows],
        None if scores.features is None else scores.features[rows],
    )


def _same(seen: Floats, expected: Floats, message: str) -> None:
    require(bool(np.allclose(seen, expected, rtol=1e-4, atol=1e-5)), f"{message}: {seen}, not {expected}")
