"""What a preference model's accuracy does not say: calibration, easy and hard pairs, pairs of like length, and how far its
scores of the model's own answers differ."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from morlaif_core.reward.calibration import MIN_PAIRS, fit_slope
from morlaif_core.types import Doubles, Floats, Preference, ScoreMatrix

from .pm_accuracy import CHANCE, accuracy

BINS = 5
"""Of equal numbers of pairs, for the calibration error."""
LIKE = 0.8
"""Words of the shorter response over those of the longer one, from which on two responses are of like length."""
FLAT = 0.1
"""Logits that a deviation of the scores is worth, below which a model hardly tells the policy's own answers apart."""


def quality(
    held_out: tuple[Floats, Sequence[Preference]], calibration: tuple[Floats, Sequence[Preference]], reference: Floats
) -> dict[str, Any]:
    """Measure one preference model beside its accuracy.

    The probability that a is better is ``sigma(b (s_a - s_b))``, with the slope b fitted to the judged calibration pairs
    (Platt, 1999), so that it is none of the held-out pairs' own.

    Args:
        held_out: score of a minus score of b (m,), NaN where a score failed, and the pairs with soft labels.
        calibration: the same of the calibration pairs.
        reference: raw scores (n,) of the reference responses.

    Returns:
        brier: mean squared difference of that probability and the label, 0.25 for one that always says 0.5; ece: expected
        calibration error (Guo et al., arXiv 1706.04599) over `BINS` bins; spread: logits that one deviation of the
        reference's scores is worth; by_margin: accuracy on the third of the pairs where the judge is least and most sure;
        length_matched: accuracy on pairs of like length. None where the pairs do not tell.
    """
    d, pairs = _known(*held_out)
    slope = _slope(*_known(*calibration))
    p_a = np.array([item.p_a for item in pairs], dtype=np.float64)
    known = reference[~np.isnan(reference)].astype(np.float64)
    found: dict[str, Any] = {"brier": None, "ece": None, "spread": None}
    if slope is not None:
        found["spread"] = slope * float(known.std()) if len(known) > 1 else None
        if len(d):
            p = 1 / (1 + np.exp(-np.clip(slope * d, -60, 60)))
            found["brier"], found["ece"] = float(np.mean((p - p_a) ** 2)), _ece(p, p_a)
    matched = np.array([_alike(item) for item in pairs], dtype=bool)
    return {
        **found,
        "by_margin": _by_margin(d, pairs, np.abs(p_a - CHANCE)),
        "length_matched": accuracy(
            d[matched].astype(np.float32), [item for item, like in zip(pairs, matched, strict=True) if like]
        ),
    }


def flat(blocks: Mapping[str, Mapping[str, Any]]) -> str:
    """Name the preference models whose scores of the model's own answers hardly differ; empty where there is none."""
    named = [
        f"{name} ({block['spread']:.2f})"
        for name, block in blocks.items()
        if block.get("spread") is not None and block["spread"] < FLAT
    ]
    if not named:
        return ""
    return (
        f"scores of the untrained model's own answers hardly differ, in logits a deviation: {', '.join(named)}; however "
        "accurate, they teach the policy little: judge more pairs of its own answers, or take another base"
    )


def correlations(reference: ScoreMatrix) -> dict[str, dict[str, float | None]]:
    """Return Pearson's correlation of the principles' scores over the reference responses; None where one is constant."""
    values = reference.values.astype(np.float64)
    values = values[~np.isnan(values).any(axis=1)]
    if len(values) < 2:
        return {}
    centred = values - values.mean(axis=0)
    size = np.sqrt((centred**2).sum(axis=0))
    names = reference.principles
    return {
        one: {
            other: float(centred[:, i] @ centred[:, j] / (size[i] * size[j])) if size[i] * size[j] > 0 else None
            for j, other in enumerate(names)
            if j != i
        }
        for i, one in enumerate(names)
    }


def _known(differences: Floats, pairs: Sequence[Preference]) -> tuple[Doubles, list[Preference]]:
    """Leave out the pairs with a score that failed."""
    d = np.asarray(differences, dtype=np.float64)
    kept = ~np.isnan(d)
    return d[kept], [item for item, keep in zip(pairs, kept, strict=True) if keep]


def _slope(d: Doubles, pairs: Sequence[Preference]) -> float | None:
    if np.count_nonzero(d) < MIN_PAIRS:
        return None
    # Below 0 the probability would be that of the scores turned round, which the reward never is: a model that is always
    # wrong would look perfectly calibrated.
    return max(0.0, fit_slope(d, np.array([item.p_a for item in pairs], dtype=np.float64))[0])


def _ece(p: Doubles, p_a: Doubles) -> float:
    """Return the mean of |mean probability - mean label| over bins of equal size, weighted by it.

    A pair the other way round says the same, so each is turned to a probability of 0.5 or more.
    """
    turned = p < CHANCE
    p, p_a = np.where(turned, 1 - p, p), np.where(turned, 1 - p_a, p_a)
    parts = np.array_split(np.argsort(p, kind="stable"), BINS)
    return float(sum(len(part) * abs(p[part].mean() - p_a[part].mean()) for part in parts if len(part)) / len(p))


def _by_margin(d: Doubles, pairs: Sequence[Preference], margin: Doubles) -> dict[str, Any] | None:
    decided = np.flatnonzero(margin > 0)
    # Verdicts that are letters alone have one margin: none is surer than another.
    if len(decided) < 3 or np.ptp(margin[decided]) < 1e-9:
        return None
    order = decided[np.argsort(margin[decided], kind="stable")]
    third = len(order) // 3
    least, most = order[:third], order[-third:]
    return {
        name: {"from": float(margin[rows].min()), "to": float(margin[rows].max())}
        | accuracy(d[rows].astype(np.float32), [pairs[row] for row in rows])
        for name, rows in (("least_sure", least), ("most_sure", most))
    }


def _alike(item: Preference) -> bool:
    a, b = (max(1, len(text.split())) for text in (item.a, item.b))
    return min(a, b) >= LIKE * max(a, b)
