"""What the verdicts and scores on held-out prompts say: win rates and differences, with plain and adjusted intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from morlaif_core.feedback.statistics.intervals import mean_figure, share_figure
from morlaif_core.types import Doubles, Floats, ResponsePair

SAME = 1e-6
"""1 - p of a tie may be off by rounding."""


def p_second(
    pairs: Sequence[ResponsePair], principle: str, preferred: Mapping[tuple[str, str], float | None]
) -> Doubles:
    """P(response b preferred over the frozen reference a) per prompt; NaN where the judge gave no label."""
    # Equal responses are a tie that nobody was asked about.
    values = [0.5 if pair.identical else preferred[pair.id, principle] for pair in pairs]
    return np.array([np.nan if value is None else 1 - value for value in values], dtype=np.float64)


def wins_of(p_after: Doubles) -> Doubles:
    """1 where the policy's response wins, 0 where it loses, half for a tie, NaN without a label."""
    return np.where(np.isnan(p_after), np.nan, (np.sign(_rounded(p_after)) + 1) / 2)


def judge_block(before: Doubles, after: Doubles, judged: int) -> dict[str, Any]:
    """Judge scores before and after with the paired difference, and the win rate.

    judged: principles in the table. The adjusted intervals are Bonferroni's, of level 1 - 0.05 / judged: all of a column
    hold together in 95 % of runs at least, however the principles hang together.
    """
    both = ~(np.isnan(before) | np.isnan(after))
    if not both.any():
        return no_judge("the judge gave no label")
    # Paired by prompt: how hard a prompt is cancels out of the interval.
    difference, wins = after[both] - before[both], wins_of(after[~np.isnan(after)])
    together = 1 - 0.05 / judged
    return {
        "judge_before": float(before[both].mean()),
        "judge_after": float(after[both].mean()),
        "judge_difference": float(difference.mean()),
        "judge_difference_ci95": mean_interval(difference),
        "judge_difference_ci95_adjusted": mean_interval(difference, together),
        "judge_n": int(both.sum()),
        "win_rate": float(wins.mean()),
        "win_rate_ci95": share_interval(wins),
        "win_rate_ci95_adjusted": share_interval(wins, together),
        "n": len(wins),
    }


def no_judge(reason: str) -> dict[str, Any]:
    """The judge's columns where there is nothing to fill them with."""
    intervals = ("judge_difference_ci95", "judge_difference_ci95_adjusted", "win_rate_ci95", "win_rate_ci95_adjusted")
    names = ("judge_before", "judge_after", "judge_difference", "win_rate", *intervals)
    return {**dict.fromkeys(names), "judge_n": 0, "n": 0, "notes": {"judge_before": reason}}


def model_block(p_after: Doubles, reference: Floats, after: Floats) -> dict[str, Any]:
    """How often the preference model sides with the judge on the trained policy's responses against the reference's.

    reference, after: the model's scores of both, per prompt. Majority: the share of the label that the judge gave more
    often, which a model that always names the same side reaches; ties left out.
    """
    side = np.sign(_rounded(p_after))
    decided = (np.abs(side) > 0) & np.isfinite(after - reference)  # NaN, no label or no score, is not
    if not decided.any():
        return dict.fromkeys(("pm_accuracy", "pm_accuracy_ci95", "pm_majority")) | {"pm_n": 0}
    # Half for equal scores, as on the held-out pairs.
    right = (np.sign(after - reference)[decided] * side[decided] + 1) / 2
    won = float((side[decided] > 0).mean())
    return {
        "pm_accuracy": float(right.mean()),
        "pm_accuracy_ci95": share_interval(right),
        "pm_majority": max(won, 1 - won),
        "pm_n": int(decided.sum()),
    }


def overall_block(wins: Mapping[str, Doubles], weights: Mapping[str, float]) -> dict[str, Any]:
    """The weighted mean of the principles' win rates, as printed, with Wilson's interval over prompts.

    A prompt without a label under one principle counts under the others. n: prompts with a label at all.
    """
    names = [name for name in wins if weights[name] > 0]
    if not names:
        return _no_overall("no judged principle has a weight")
    matrix = np.stack([wins[name] for name in names], axis=1)
    unlabelled = [name for name, column in zip(names, matrix.T, strict=True) if np.isnan(column).all()]
    if unlabelled:
        return _no_overall(f"no label under {', '.join(unlabelled)}")
    weight = np.array([weights[name] for name in names])
    weight = weight / weight.sum()
    labelled = matrix[~np.isnan(matrix).all(axis=1)]
    known = ~np.isnan(labelled)
    rates = np.nanmean(labelled, axis=0)
    overall = float(rates @ weight)
    # What each prompt adds to the mean of ratios, linearised: a column with few labels weighs more in each of them.
    share = weight / known.mean(axis=0)
    # Rounded: a win is a win, whatever is left of the arithmetic, and Wilson's interval tells wins from other values.
    rows = np.round(overall + np.where(known, labelled - rates, 0.0) @ share, 12)
    return {"overall": overall, "ci95": share_interval(rows), "n": len(labelled)}


def mean_interval(values: Doubles, level: float = 0.95) -> list[float | None] | None:
    """Return Student's interval of the mean of one value in [-1, 1] a prompt, (n,); None where they do not vary."""
    return mean_figure(values, np.arange(len(values)), level, within=(-1, 1)).ci95 if np.ptp(values) > SAME else None


def share_interval(hits: Doubles, level: float = 0.95) -> list[float | None] | None:
    """Return Wilson's interval of the mean of one value a prompt, (n,), in [0, 1]."""
    return share_figure(hits, np.arange(len(hits)), level).ci95


def _no_overall(reason: str) -> dict[str, Any]:
    return {"overall": None, "ci95": None, "n": 0, "notes": {"overall": reason}}


def _rounded(p: Doubles) -> Doubles:
    """P - 1/2, 0 for a tie."""
    return np.where(np.abs(p - 0.5) < SAME, 0.0, p - 0.5)
