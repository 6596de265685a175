"""What a judge's verdicts say about the judge: bias, consistency, agreement with humans, taste for length."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from morlaif_core.types import ResponsePair

from .judging import Verdict
from .verdict import TIE

_NORMAL_975 = 1.959963984540054  # the 0.975 quantile of the standard normal


def judge_statistics(verdicts: Iterable[Verdict], pairs: Iterable[ResponsePair]) -> dict[str, dict[str, Any]]:
    """Return the `judge` block of results.json by principle; what cannot be had is null, its reason in `notes`.

    Counts (`n`, and one per status) are pairs. `position_bias`: mean log-odds of `p_first` beyond what the answers
    explain, above 0 where the judge names what stands first. `order_consistency`: share of the pairs with a label in
    both orders whose verdict (first, second or neither) names the same answer in both. `agreement_with_human`: share of
    human-labelled pairs where the judge sides with the human, ties half. `prefer_longer`: share of pairs of unequal
    length (characters) where the longer answer is preferred, ties half; `prefer_longer_human` the same of the humans.
    """
    by_id = {pair.id: pair for pair in pairs}
    grouped: dict[str, list[Verdict]] = {}
    for verdict in verdicts:
        grouped.setdefault(verdict.principle, []).append(verdict)
    return {principle: _block(rows, by_id) for principle, rows in grouped.items()}


def _block(verdicts: Sequence[Verdict], pairs: Mapping[str, ResponsePair]) -> dict[str, Any]:
    counts = Counter(verdict.status for verdict in verdicts)
    notes: dict[str, str] = {"cost_usd": "no price is known for this judge"}
    block: dict[str, Any] = {
        "n": len(verdicts),
        "ok": counts["ok"],
        "ties": counts["tie"],
        "not_applicable": counts["not_applicable"],
        "refused": counts["refused"],
        "filtered": counts["filtered"],
        "off_label": counts["off_label"],
        "parse_error": counts["parse_error"],
        "failed": counts["failed"],
        "position_bias": position_bias(verdicts, notes),
        "order_consistency": order_consistency(verdicts, notes),
        "agreement_with_human": agreement_with_human(verdicts, pairs, notes),
        "prefer_longer": prefer_longer(verdicts, pairs, notes),
        "prefer_longer_human": prefer_longer_human([pairs[verdict.pair] for verdict in verdicts], notes),
        "cost_usd": None,
    }
    return block | {"notes": notes}


def position_bias(verdicts: Sequence[Verdict], notes: dict[str, str]) -> dict[str, Any] | None:
    """Return {mean, ci95} of the position bias b, in log-odds of `p_first`.

    From log-odds: the mean over pairs with Student's interval. From letters, whose log-odds say nothing of size:
    within a pair P(first twice) / P(second twice) = exp(2 b) whatever the answers are, so over the pairs that flip
    b = log(n_first / n_second) / 2, with Jeffreys' interval of that share (Brown, Cai and DasGupta 2001).
    """
    both = [verdict for verdict in verdicts if verdict.bias is not None]
    if not both:
        notes["position_bias"] = "no pair has a label in both orders"
        return None
    if any(verdict.mode == "text" for verdict in both):
        return _bias_of_letters(both, notes)
    values = [verdict.bias for verdict in both if verdict.bias is not None]
    mean = math.fsum(values) / len(values)
    if len(values) < 2:
        notes["position_bias"] = "one pair has no interval"
        return {"mean": mean, "ci95": None}
    return {"mean": mean, "ci95": list(_student(values, mean))}


def _bias_of_letters(verdicts: Sequence[Verdict], notes: dict[str, str]) -> dict[str, Any] | None:
    from scipy import stats

    firsts = [_signs(verdict) for verdict in verdicts]
    n_first, n_second = firsts.count((1, 1)), firsts.count((-1, -1))
    if n_first + n_second == 0:
        notes["position_bias"] = "no verdict flips with the order, so the bias cannot be told from 0"
        return None
    posterior = stats.beta(n_first + 0.5, n_second + 0.5)
    low = _half_logit(float(posterior.ppf(0.025))) if n_first else None
    high = _half_logit(float(posterior.ppf(0.975))) if n_second else None
    if n_first == 0 or n_second == 0:
        always = "second" if n_first == 0 else "first"
        notes["position_bias"] = f"every flip names the {always}: the data only bound the bias from one side"
        return {"mean": None, "ci95": [low, high]}
    return {"mean": 0.5 * math.log(n_first / n_second), "ci95": [low, high]}


def order_consistency(verdicts: Sequence[Verdict], notes: dict[str, str]) -> float | None:
    """Return the share of pairs whose two verdicts name the same answer (or both neither), in [0, 1]."""
    signs = [_signs(verdict) for verdict in verdicts if None not in verdict.first]
    if not signs:
        notes["order_consistency"] = "no pair has a label in both orders"
        return None
    return sum(ab == -ba for ab, ba in signs) / len(signs)


def agreement_with_human(
    verdicts: Sequence[Verdict], pairs: Mapping[str, ResponsePair], notes: dict[str, str]
) -> dict[str, Any] | None:
    """Return {mean, ci95, n} over labelled pairs that a human labelled; a tie counts half; Wilson's interval."""
    hits = [
        _half(verdict.p_a, human)
        for verdict in verdicts
        if verdict.p_a is not None and (human := pairs[verdict.pair].human) is not None and human != 0.5
    ]
    if not hits:
        notes["agreement_with_human"] = "no judged pair carries a human label"
        return None
    mean = math.fsum(hits) / len(hits)
    return {"mean": mean, "ci95": list(wilson(mean, len(hits))), "n": len(hits)}


def prefer_longer(
    verdicts: Sequence[Verdict], pairs: Mapping[str, ResponsePair], notes: dict[str, str]
) -> float | None:
    """Return P(the longer answer is preferred), ties half; alone it is confounded with quality."""
    labels = [(verdict.p_a, pairs[verdict.pair]) for verdict in verdicts if verdict.p_a is not None]
    return _longer(labels, notes, "prefer_longer", "no labelled pair has answers of different length")


def prefer_longer_human(pairs: Sequence[ResponsePair], notes: dict[str, str]) -> float | None:
    """Return the humans' share of longer choices on the same pairs."""
    labels = [(pair.human, pair) for pair in pairs if pair.human is not None]
    return _longer(labels, notes, "prefer_longer_human", "no judged pair carries a human label")


def wilson(mean: float, n: int) -> tuple[float, float]:
    """Return the 95 % interval of a share of n (Wilson 1927). With halves among the hits it is wider than need be."""
    z2 = _NORMAL_975**2
    centre = (mean + z2 / (2 * n)) / (1 + z2 / n)
    half = _NORMAL_975 * math.sqrt(mean * (1 - mean) / n + z2 / (4 * n * n)) / (1 + z2 / n)
    return max(0.0, centre - half), min(1.0, centre + half)


def _longer(labels: Sequence[tuple[float, ResponsePair]], notes: dict[str, str], name: str, why: str) -> float | None:
    hits = [_half(p_a, float(len(p.a) > len(p.b))) for p_a, p in labels if len(p.a) != len(p.b)]
    if not hits:
        notes[name] = why
        return None
    return math.fsum(hits) / len(hits)


def _half(p_a: float, truth: float) -> float:
    """Return 1 where both name the same answer, 1/2 for a tie, else 0."""
    return 0.5 if p_a == 0.5 else float((p_a > 0.5) == (truth > 0.5))


def _signs(verdict: Verdict) -> tuple[int, int]:
    ab, ba = verdict.first
    assert ab is not None
    assert ba is not None
    return _sign(ab), _sign(ba)


def _sign(logit: float) -> int:
    return 0 if abs(logit) < TIE else 1 if logit > 0 else -1


def _half_logit(p: float) -> float:
    return 0.5 * (math.log(p) - math.log1p(-p))


def _student(values: Sequence[float], mean: float) -> tuple[float, float]:
    from scipy import stats

    spread = math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (len(values) - 1) / len(values))
    reach = float(stats.t.ppf(0.975, len(values) - 1)) * spread
    return mean - reach, mean + reach
