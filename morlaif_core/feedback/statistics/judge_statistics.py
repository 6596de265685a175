"""What a judge's verdicts say about the judge: bias, consistency, agreement with humans, taste for length."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from morlaif_core.feedback.answers.verdict import TIE
from morlaif_core.feedback.types import Verdict
from morlaif_core.types import Doubles, ResponsePair, label_under

from .agreement import panel_block
from .intervals import Figure, mean_figure, number_prompts, share_figure
from .position_bias import hard_bias

_MEMBERS_OWN = "a {mode}'s members have their own: see `members`"


def judge_statistics(verdicts: Iterable[Verdict], pairs: Iterable[ResponsePair]) -> dict[str, dict[str, Any]]:
    """Return the `judge` block of results.json by principle; what cannot be had is null, its reason in `notes`.

    Counts (`n`, and one per status) are pairs. `position_bias`: log-odds of `p_first` beyond what the answers explain,
    above 0 where the judge names what stands first. `order_consistency`: share of the pairs with a label in both orders
    whose verdict (first, second or neither) names the same answer in both. `agreement_with_human`: share of
    human-labelled pairs where the judge sides with the human, ties half. `prefer_longer`: share of pairs of unequal
    length (characters) where the longer answer is preferred, ties half; `prefer_longer_human` the same of the humans,
    `prefer_longer_excess` the difference on the pairs that both label. `cost_usd`: of the requests behind the verdicts.
    Intervals take the pairs of one prompt for one draw. A panel also has `members` and `panel` (their agreement).
    """
    by_id = {pair.id: pair for pair in pairs}
    grouped: dict[str, list[Verdict]] = {}
    for verdict in verdicts:
        grouped.setdefault(verdict.principle, []).append(verdict)
    return {principle: _block(rows, by_id) for principle, rows in grouped.items()}


def _block(verdicts: Sequence[Verdict], pairs: Mapping[str, ResponsePair]) -> dict[str, Any]:
    counts = Counter(verdict.status for verdict in verdicts)
    notes: dict[str, str] = {}
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
        "position_bias": position_bias(verdicts, pairs, notes),
        "order_consistency": order_consistency(verdicts, notes),
        "agreement_with_human": agreement_with_human(verdicts, pairs, notes),
        "prefer_longer": prefer_longer(verdicts, pairs, notes),
        "prefer_longer_human": prefer_longer_human(verdicts, pairs, notes),
        "prefer_longer_excess": prefer_longer_excess(verdicts, pairs, notes),
        "cost_usd": cost_usd(verdicts, notes),
    }
    return block | {"notes": notes} | _compound(verdicts, pairs)


def position_bias(
    verdicts: Sequence[Verdict], pairs: Mapping[str, ResponsePair], notes: dict[str, str]
) -> dict[str, Any] | None:
    """Return {mean, ci95} of the position bias b, in log-odds of `p_first`.

    From log-odds: the mean over pairs with Student's interval over prompts. From picks, whose log-odds say nothing of
    size: see `hard_bias`; an end of the interval that the data do not bound is null.
    """
    compound = next((verdict.mode for verdict in verdicts if verdict.members), None)
    if compound is not None:
        notes["position_bias"] = _MEMBERS_OWN.format(mode=compound)
        return None
    both = [verdict for verdict in verdicts if verdict.bias is not None]
    if not both:
        notes["position_bias"] = "no pair has a label in both orders"
        return None
    prompts = number_prompts([pairs[verdict.pair].prompt.id for verdict in both])
    # A judge is asked about a principle in one mode, so the first verdict speaks for all.
    if both[0].hard:
        found = hard_bias(picks(both), prompts)
        if found is None:
            notes["position_bias"] = "no verdict flips with the order, so the bias cannot be told from 0"
            return None
        if found.note:
            notes["position_bias"] = found.note
        return _shown(found.figure)
    figure = mean_figure(np.array([verdict.bias for verdict in both], dtype=float), prompts)
    if figure.ci95 is None:
        notes["position_bias"] = "one prompt has no interval"
    return _shown(figure)


def picks(verdicts: Sequence[Verdict]) -> Doubles:
    """Return how often what stands first and second was picked in either order, (n, 2, 2); NaN without a label.

    verdicts: n, read from text.

    >>> from morlaif_core import Verdict
    >>> picks([Verdict("pair", "calm", "a", "ok", mode="text", counts=((1, 0, 0), (0, 1, 0)))]).tolist()
    [[[1.0, 0.0], [0.0, 1.0]]]
    """
    none = (math.nan, math.nan)
    return np.array([[none if count is None else count[:2] for count in verdict.counts] for verdict in verdicts], float)


def order_consistency(verdicts: Sequence[Verdict], notes: dict[str, str]) -> float | None:
    """Return the share of pairs whose two verdicts name the same answer (or both neither), in [0, 1]."""
    if any(verdict.mode == "panel" for verdict in verdicts):
        notes["order_consistency"] = _MEMBERS_OWN.format(mode="panel")
        return None
    signs = [(_sign(ab), _sign(ba)) for ab, ba in (v.first for v in verdicts) if ab is not None and ba is not None]
    if not signs:
        notes["order_consistency"] = "no pair has a label in both orders"
        return None
    # Signs are of what stands first, so one answer named in both orders has opposite ones.
    return sum(ab == -ba for ab, ba in signs) / len(signs)


def agreement_with_human(
    verdicts: Sequence[Verdict], pairs: Mapping[str, ResponsePair], notes: dict[str, str]
) -> dict[str, Any] | None:
    """Return {mean, ci95, n} over labelled pairs that a human labelled; a tie counts half; Wilson's interval.

    verdicts: of one judge. pairs: by id. notes: gets the reason where there is none.

    >>> from morlaif_core import Verdict, make_pair
    >>> pair = make_pair("Hi", "Hello.", "No.", human=1.0)
    >>> verdict = Verdict(pair.id, "calm", "a", "ok", p_a=0.8, q=1.4)
    >>> agreement_with_human([verdict], {pair.id: pair}, {})["mean"]
    1.0
    """
    rows = [
        (side_with(verdict.p_a, human), pairs[verdict.pair].prompt.id)
        for verdict in verdicts
        if verdict.p_a is not None and (human := _human(verdict, pairs)) is not None and human != 0.5
    ]
    if not rows:
        notes["agreement_with_human"] = "no judged pair carries a human label"
        return None
    hits, prompts = zip(*rows, strict=True)
    return {**_shown(share_figure(np.array(hits), number_prompts(prompts))), "n": len(rows)}


def prefer_longer(
    verdicts: Sequence[Verdict], pairs: Mapping[str, ResponsePair], notes: dict[str, str]
) -> float | None:
    """Return P(the longer answer is preferred), ties half; alone it is confounded with quality."""
    labels = [(verdict.p_a, pairs[verdict.pair]) for verdict in verdicts if verdict.p_a is not None]
    return _longer(labels, notes, "prefer_longer", "no labelled pair has answers of different length")


def prefer_longer_human(
    verdicts: Sequence[Verdict], pairs: Mapping[str, ResponsePair], notes: dict[str, str]
) -> float | None:
    """Return the humans' share of longer choices on the same pairs."""
    rows = [(_human(verdict, pairs), pairs[verdict.pair]) for verdict in verdicts]
    labels = [(human, pair) for human, pair in rows if human is not None]
    return _longer(labels, notes, "prefer_longer_human", "no judged pair carries a human label")


def prefer_longer_excess(
    verdicts: Sequence[Verdict], pairs: Mapping[str, ResponsePair], notes: dict[str, str]
) -> dict[str, Any] | None:
    """Return {mean, ci95, n} of the judge's minus the humans' choice of the longer answer, where both have a label."""
    rows = [
        (side_with(verdict.p_a, longer) - side_with(human, longer), pair.prompt.id)
        for verdict, pair in ((verdict, pairs[verdict.pair]) for verdict in verdicts)
        if verdict.p_a is not None
        and (human := _human(verdict, pairs)) is not None
        and (longer := _which_longer(pair)) is not None
    ]
    if not rows:
        notes["prefer_longer_excess"] = "no pair of unequal length is labelled by both judge and human"
        return None
    values, prompts = zip(*rows, strict=True)
    return {**_shown(mean_figure(np.array(values), number_prompts(prompts), within=(-1, 1))), "n": len(rows)}


def cost_usd(verdicts: Sequence[Verdict], notes: dict[str, str]) -> float | None:
    """Return what the requests behind the verdicts cost in USD; None where the price of one is not known."""
    costs = [verdict.cost for verdict in verdicts if verdict.cost is not None]
    # A sum of the known costs alone would look like the whole cost.
    if len(costs) < len(verdicts):
        priced = "name it under `prices`, or as `judging.price`"
        notes["cost_usd"] = f"no price is known for this judge ({priced}), or not the tokens of an answer"
        return None
    return math.fsum(costs)


def _compound(verdicts: Sequence[Verdict], pairs: Mapping[str, ResponsePair]) -> dict[str, Any]:
    """The members' own blocks, and of a panel how far they agree."""
    grouped: dict[str, list[Verdict]] = {}
    for member in (member for verdict in verdicts for member in verdict.members):
        grouped.setdefault(member.judge, []).append(member)
    if not grouped:
        return {}
    found: dict[str, Any] = {"members": {name: _block(rows, pairs) for name, rows in grouped.items()}}
    if verdicts[0].mode == "panel":
        found["panel"] = panel_agreement(verdicts, pairs)
    return found


def panel_agreement(verdicts: Sequence[Verdict], pairs: Mapping[str, ResponsePair]) -> dict[str, Any]:
    """Return how far the members of a panel agree: see `panel_block`.

    verdicts: the panel's own, with their members'. pairs: by id.

    >>> from morlaif_core import Verdict, make_pair
    >>> pair = make_pair("Hi", "Hello.", "No.")
    >>> both = tuple(Verdict(pair.id, "calm", name, "ok", p_a=0.8) for name in "ab")
    >>> verdict = Verdict(pair.id, "calm", "panel", "ok", p_a=0.8, members=both)
    >>> list(panel_agreement([verdict], {pair.id: pair}))
    ['kappa', 'alpha', 'effective_judges', 'notes']
    """
    names = list(dict.fromkeys(member.judge for verdict in verdicts for member in verdict.members))
    said = [{member.judge: member.p_a for member in verdict.members} for verdict in verdicts]
    p = np.array([[row.get(name) for name in names] for row in said], dtype=float)
    labels = np.where(np.isnan(p), -1, 1 + np.sign(np.where(np.isnan(p), 0.5, p) - 0.5)).astype(np.intp)
    return panel_block(names, labels, p, number_prompts([pairs[verdict.pair].prompt.id for verdict in verdicts]))


def _human(verdict: Verdict, pairs: Mapping[str, ResponsePair]) -> float | None:
    """Return what people chose under the verdict's principle."""
    pair = pairs[verdict.pair]
    return label_under(verdict.principle, pair.human, pair.labels)


def _longer(labels: Sequence[tuple[float, ResponsePair]], notes: dict[str, str], name: str, why: str) -> float | None:
    hits = [side_with(p_a, longer) for p_a, pair in labels if (longer := _which_longer(pair)) is not None]
    if not hits:
        notes[name] = why
        return None
    return math.fsum(hits) / len(hits)


def _which_longer(pair: ResponsePair) -> float | None:
    """Return 1 where a is the longer answer, 0 where b is, None where neither."""
    return None if len(pair.a) == len(pair.b) else float(len(pair.a) > len(pair.b))


def side_with(p_a: float, truth: float) -> float:
    """Return 1 where both name the same answer, 1/2 for a tie, else 0."""
    return 0.5 if p_a == 0.5 else float((p_a > 0.5) == (truth > 0.5))


def _sign(logit: float) -> int:
    return 0 if abs(logit) < TIE else 1 if logit > 0 else -1


def _shown(figure: Figure) -> dict[str, Any]:
    return {"mean": figure.mean, "ci95": figure.ci95}
