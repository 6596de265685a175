"""How well weights predict held-out human choices, beside what one would use without fitting.

Leaves out: predictions that are no weighted sum (trees, interactions), because weights are what is fitted.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from morlaif_core import Doubles

from .choices import Choices, resamples
from .logistic_weights import UNSHRUNK, accuracy as accuracy_of, fit, log_losses, named_right


def best_single(train: Choices) -> int:
    """Return the place of the principle that alone names the most choices to fit on; the first of equals."""
    k = train.differences.shape[1]
    return int(np.argmax([accuracy_of(train, unit) for unit in np.eye(k)]))


def compare(
    train: Choices, test: Choices, beta: Doubles, rivals: Mapping[str, Doubles], seed: int, n: int
) -> dict[str, Any]:
    """Return accuracy, log loss and what the fit is better by than each rival, on held-out choices.

    Log loss shows a small difference long before accuracy does: it counts how sure a prediction is, and soft labels. It
    needs a slope, which weights do not have. All get theirs in the same way, the fit too: refitted on `train` along their
    direction, hardly penalised. With the fit's own penalised coefficients its penalty would be compared.

    Args:
        train: what the slopes are fitted on.
        test: the held-out choices, some of them decided.
        beta: (k,) the fitted coefficients; only their direction counts.
        rivals: name -> weights (k,) of any scale.
        n: bootstrap resamples of whole prompts, for the 95 % intervals.

    Returns:
        ``{"fitted": {"accuracy": {"mean", "ci95"}, "log_loss": {…}}, rival: {…, "gain": {…}, "log_loss_gain": {…}}}``; a
        gain is above 0 where the fit is better: accuracy gained, log loss saved, on the same choices.
    """
    # or 1.0: without a coefficient there is no direction, and its slope is that of knowing nothing.
    directions = {"fitted": beta / (float(np.abs(beta).sum()) or 1.0), **rivals}
    coefficients = {name: _slope(train, weights) * weights for name, weights in directions.items()}
    counts = np.array(list(resamples(test, seed, n)))
    right = np.stack([named_right(test, direction) for direction in directions.values()])
    losses = np.stack([log_losses(test, each) for each in coefficients.values()])
    accuracy, loss = _means(right, counts[:, test.decided]), _means(losses, counts)
    found: dict[str, Any] = {}
    for place, name in enumerate(coefficients):
        found[name] = {"accuracy": _figure(accuracy[:, place]), "log_loss": _figure(loss[:, place])}
        if place:
            found[name]["gain"] = _figure(accuracy[:, 0] - accuracy[:, place])
            found[name]["log_loss_gain"] = _figure(loss[:, place] - loss[:, 0])
    return found


def _means(values: Doubles, counts: Doubles) -> Doubles:
    """Return the mean of each row of values (r, m): first of all, then of each resample that holds any (n + 1, r)."""
    # A resample may hold no decided choice: it has no accuracy.
    counts = counts[counts.sum(axis=1) > 0]
    means: Doubles = np.vstack([values.mean(axis=1), counts @ values.T / counts.sum(axis=1, keepdims=True)])
    return means


def _slope(train: Choices, direction: Doubles) -> float:
    """Logits for each unit of a weighted score, at least 0."""
    weighted = Choices((train.differences @ direction)[:, None], train.p_a, train.prompts)
    return float(fit(weighted, UNSHRUNK)[0])


def _figure(draws: Doubles) -> dict[str, Any]:
    """The estimate, first of the draws, with the interval of the others."""
    return {"mean": float(draws[0]), "ci95": np.quantile(draws[1:], [0.025, 0.975]).tolist()}
