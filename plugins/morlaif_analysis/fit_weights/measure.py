"""All numbers of `morlaif fit-weights` from human choices, as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from morlaif_core import Doubles

from .ablation import Ablation, ablate
from .choices import Choices, check_enough, split
from .collinearity import correlated, variance_inflation
from .held_out import best_single, compare
from .logistic_weights import UNSHRUNK, Advance, cross_validated, fit, interval, resampled

LEAST_WEIGHT = 1e-6
"""A weight below this is 0 in what a run reads."""


class Bars(Protocol):
    """What draws a bar while a block runs."""

    def __call__(self, label: str) -> AbstractContextManager[Advance]: ...


@dataclass(frozen=True)
class Plan:
    """How weights are fitted. signed: coefficients below 0 are allowed; own: the run's weights (k,), None for none."""

    seed: int
    resamples: int = 1000
    orders: int = 200
    signed: bool = False
    own: Doubles | None = None


def no_bars(label: str) -> AbstractContextManager[Advance]:
    """Draw nothing."""
    return nullcontext(lambda done, total: None)


def measure(choices: Choices, names: Sequence[str], plan: Plan, bars: Bars = no_bars) -> dict[str, Any]:
    """Fit weights to choices and return all that is known of them; see docs/weights.md for the keys.

    Args:
        choices: differences (m, k) in calibrated units.
        names: k principles.

    Raises:
        UserError: too few decided choices.
    """
    train, test = split(choices)
    check_enough(train, test)
    losses = cross_validated(train, plan.seed, signed=plan.signed)
    penalty = min(losses, key=losses.__getitem__)
    beta, signed = fit(train, penalty, signed=plan.signed), fit(train, UNSHRUNK, signed=True)
    with bars("resamples") as bar:
        draws = resampled(train, penalty, plan.seed, plan.resamples, signed=plan.signed, advance=bar)
    with bars("signed") as bar:
        signed_draws = resampled(train, UNSHRUNK, plan.seed, plan.resamples, signed=True, advance=bar)
    with bars("ablation") as bar:
        ablation = ablate(train, penalty, plan.seed, plan.orders, signed=plan.signed, advance=bar)
    above = np.maximum(beta, 0.0)
    single = best_single(train)
    rivals = {"equal": np.full(len(names), 1 / len(names)), "best_single": np.eye(len(names))[single]}
    if plan.own is not None:
        rivals["own"] = plan.own
    # Last: the held-out choices choose nothing.
    held_out = compare(train, test, beta, rivals, plan.seed, plan.resamples)
    held_out["best_single"]["principle"] = names[single]
    return {
        "choices": _sizes(choices, train, test),
        "signed": plan.signed,
        "penalty": {"chosen": penalty, "log_loss": {f"{key:g}": loss for key, loss in losses.items()}},
        "slope": {"mean": float(above.sum()), "ci95": interval(np.maximum(draws, 0).sum(axis=1)[:, None])[0]},
        "principles": _principles(
            names, beta, draws, signed, signed_draws, variance_inflation(train.differences), ablation
        ),
        "correlated": [
            {"principles": [names[one], names[other]], "correlation": r}
            for one, other, r in correlated(train.differences)
        ],
        "held_out": held_out,
        "curve": ablation.curve.tolist(),
        "orders": ablation.orders,
    }


def _sizes(choices: Choices, train: Choices, test: Choices) -> dict[str, int]:
    return {
        "n": len(choices.p_a),
        "decided": int(choices.decided.sum()),
        "prompts": len(set(choices.prompts)),
        "fitted_on": len(train.p_a),
        "held_out": len(test.p_a),
        "held_out_decided": int(test.decided.sum()),
    }


def _principles(
    names: Sequence[str],
    beta: Doubles,
    draws: Doubles,
    signed: Doubles,
    signed_draws: Doubles,
    inflation: Sequence[float | None],
    ablation: Ablation,
) -> dict[str, Any]:
    """The block of each principle."""
    weights, ends, signed_ends = weights_of(beta), interval(draws), interval(signed_draws, signed)
    found = {}
    for k, name in enumerate(names):
        gain, reach = float(ablation.gains[k]), float(ablation.reach[k])
        found[name] = {
            "weight": float(weights[k]),
            "coefficient": float(beta[k]),
            "ci95": ends[k],
            "zero_share": float(np.mean(draws[:, k] <= 0)),
            "signed": {"coefficient": float(signed[k]), "ci95": signed_ends[k]},
            "sign_stability": float(np.mean(np.sign(signed_draws[:, k]) == np.sign(signed[k]))),
            "vif": inflation[k],
            "gain": {"mean": gain, "ci95": [gain - reach, gain + reach]},
        }
    return found


def weights_of(beta: Doubles) -> Doubles:
    """Return weights (k,) >= 0 of sum 1, all 0 where no coefficient is above 0."""
    above = np.maximum(beta, 0.0)
    if not above.any():
        return above
    weights: Doubles = np.where(above / above.sum() < LEAST_WEIGHT, 0.0, above)
    weights /= weights.sum()
    return weights
