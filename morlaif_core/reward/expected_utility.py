"""The utility of the expectation: a step's scores weighed by the gradient of the scalarizer at the running means."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Protocol, cast, runtime_checkable

from morlaif_core.plugins.protocols import Scalarizer
from morlaif_core.types import Doubles, Floats, ScoreMatrix, Terms

from .explanation import gradient

if TYPE_CHECKING:
    pass


MOMENTUM = 0.9
"""Share of the running means that a step keeps: they look back over about ten steps."""


@runtime_checkable
class Stateful(Protocol):
    """A scalarizer that learns between steps."""

    def end_step(self, means: ScoreMatrix, terms: Terms) -> None: ...

    def state(self) -> Mapping[str, object]: ...

    def restore(self, state: Mapping[str, object]) -> None: ...


@runtime_checkable
class Differentiable(Protocol):
    """A scalarizer that knows its gradient: du / dr (k,) at one row of mean scores (1, k)."""

    def gradient(self, mean: ScoreMatrix, terms: Terms) -> Floats: ...


class Expected:
    """A scalarizer made one of mean scores (SER in place of ESR).

    Formula, with m the running mean scores and u the scalarizer::

        reward_i = sum_k g_k r_ik,  g = du/dr (m), scaled to sum 1

    To follow it is to climb ``u(E r)``: under `max_min` the worst MEAN gets all the weight, as in MaxMin-RLHF
    (Chakraborty et al., arXiv 2402.08925), where the minimum of each response weighs every response by its own worst.
    Scaled to sum 1, so that the trade with KL stays as it is. The means are state: a checkpoint keeps them. A gradient
    that says nothing, whose sum is not above 0 or not finite, is replaced by weights: the terms', or equal ones. Leaves out:
    a correction for the older policies that the running means remember, since they look back about ten steps only.

    Args:
        scalarizer: row-wise.
        start: mean score of the reference responses by the scalarizer's columns: where the means begin.
        uses_weight: the scalarizer uses the terms' weights, so they may stand in for a flat gradient.
    """

    def __init__(self, scalarizer: Scalarizer, start: Mapping[str, float], *, uses_weight: bool = True) -> None:
        self.scalarizer, self.uses_weight = scalarizer, uses_weight
        self._means = {name: float(value) for name, value in start.items()}

    def __call__(self, scores: ScoreMatrix, terms: Terms) -> Floats:
        """Return (n,) float32 for calibrated scores (n, t) float32."""
        import numpy as np

        weights = self.weights(scores, terms)
        # A sum along each row, not a matrix product: see `ResolvedTerms.view`.
        u: Floats = np.sum(scores.values.astype(np.float64) * weights, axis=1).astype(np.float32)
        return u

    def weights(self, scores: ScoreMatrix, terms: Terms) -> Doubles:
        """Return g (t,), the weights of this step; scores say which columns there are, and spread and features."""
        import numpy as np

        means = replace(
            scores,
            values=np.array([[self._means[name] for name in scores.principles]], dtype=np.float32),
            prompt_ids=("means",),
            spread=_mean_row(scores.spread),
            features=_mean_row(scores.features),
        )
        if isinstance(self.scalarizer, Differentiable):
            slopes = self.scalarizer.gradient(means, terms).astype(np.float64)
        else:
            slopes = gradient(self.scalarizer, means, terms)[0].astype(np.float64)
        total = float(slopes.sum())
        if total > 0 and math.isfinite(total):
            return slopes / total
        return terms.weight.astype(np.float64) if self.uses_weight else np.full(len(slopes), 1 / len(slopes))

    def end_step(self, means: ScoreMatrix, terms: Terms) -> None:
        """Move the running means towards the step's (1, t)."""
        step = dict(zip(means.principles, means.values[0].tolist(), strict=True))
        # No bias correction as in Adam: the means begin at the reference's, not at 0.
        self._means = {name: MOMENTUM * old + (1 - MOMENTUM) * step[name] for name, old in self._means.items()}
        if isinstance(self.scalarizer, Stateful):
            self.scalarizer.end_step(means, terms)

    def state(self) -> Mapping[str, object]:
        """Return the running means by column, and the scalarizer's own state, as JSON."""
        inner = dict(self.scalarizer.state()) if isinstance(self.scalarizer, Stateful) else {}
        return {"means": dict(self._means), "inner": inner}

    def restore(self, state: Mapping[str, object]) -> None:
        """Go on from what `state` returned; means without names, as older states have them, are in the columns' order."""
        saved = cast("Mapping[str, float] | Sequence[float]", state["means"])
        named = saved if isinstance(saved, Mapping) else dict(zip(self._means, saved, strict=True))
        self._means = {name: float(named[name]) for name in self._means}
        if isinstance(self.scalarizer, Stateful):
            self.scalarizer.restore(cast("Mapping[str, object]", state["inner"]))


def _mean_row(values: Floats | None) -> Floats | None:
    import numpy as np

    return None if values is None else values.mean(axis=0, keepdims=True).astype(np.float32)


def numbers_in(state: object, path: str) -> Iterator[tuple[str, float]]:
    """Yield the numbers in a JSON value, such as a scalarizer's state, each under its path."""
    if isinstance(state, Mapping):
        for key, value in state.items():
            yield from numbers_in(value, f"{path}/{key}")
    elif isinstance(state, (list, tuple)):
        for place, value in enumerate(state):
            yield from numbers_in(value, f"{path}/{place}")
    elif isinstance(state, (int, float)) and not isinstance(state, bool):  # True is an int
        yield path, float(state)
