"""The judge check on numbers: a judge's figures, from what it said in both orders and to every probe."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from morlaif_core import Doubles, Figure, HardBias, Places, hard_bias, mean_figure, share_figure

from .evidence import MOVING, Evidence, Probe, bias_rows, lift, noise_rows, right, wording_rows

_NOT_BOTH = "no pair has a label with and without it"


@dataclass(frozen=True)
class Measured:
    """A judge's figures, None where they cannot be had, the reason in `notes`.

    accuracy: share of the pairs with a known winner where it is preferred, ties half; a pair without a label does not
    count. bias: log-odds of `p_first` beyond what the answers explain. flips: share of pairs whose two orders name the
    same place. unlabelled: share of pairs without a label. statuses: pairs by status. mass: mean label mass.

    lifts_q, lifts_p: by probe, how much more the changed answer is liked, in log-odds and in probability. changed: by
    probe, share of verdicts that became another. reliability: what two askings of the same have in common,
    1 - mean (x - x')^2 / mean (x^2 + x'^2) with x = 2 p - 1: 1 for the same answers, 0 for a coin. wording: how much
    less another phrasing has in common than the same again, as a share of what verdicts vary by.
    """

    pairs: int
    prompts: int
    known: int
    off_label: int
    hard: bool
    accuracy: Figure | None
    bias: Figure | None
    flips: Figure | None
    unlabelled: Figure
    statuses: Mapping[str, int]
    mass: float | None
    lifts_q: Mapping[Probe, Figure]
    lifts_p: Mapping[Probe, Figure]
    changed: Mapping[Probe, Figure]
    reliability: Figure | None
    wording: Figure | None
    notes: Mapping[str, str]
    evidence: Evidence = field(repr=False, compare=False)
    hard_bias: HardBias | None = field(default=None, repr=False)


def measure(evidence: Evidence) -> Measured:
    """Return a judge's figures. Raises ValueError without a pair."""
    if not len(evidence):
        raise ValueError("there is no pair to check a judge by")
    notes: dict[str, str] = {}
    hard = evidence.counts is not None
    found = _hard_bias(evidence) if hard else None
    labelled = ~np.isnan(evidence.base.p)
    mass = evidence.mass[~np.isnan(evidence.mass)]
    moving = [probe for probe in MOVING if probe in evidence.probes]
    same: list[Probe] = [probe for probe in evidence.probes if probe not in MOVING]
    return Measured(
        pairs=len(evidence),
        prompts=len(np.unique(evidence.prompts)),
        known=int((~np.isnan(evidence.winner) & labelled).sum()),
        off_label=int((evidence.off > 0).sum()),
        hard=hard,
        accuracy=_accuracy(evidence, notes),
        bias=_bias(evidence, found, notes),
        flips=_flips(evidence, notes),
        unlabelled=share_figure((~labelled).astype(float), evidence.prompts),
        statuses=evidence.statuses,
        mass=float(mass.mean()) if len(mass) else None,
        # Log-odds of a few letters say nothing of size.
        lifts_q={} if hard else _figures({probe: lift(evidence, probe, "q") for probe in moving}, notes),
        lifts_p=_figures({probe: lift(evidence, probe, "p") for probe in moving}, notes, 1.0),
        changed={probe: figure for probe in same if (figure := _changed(evidence, probe, notes)) is not None},
        reliability=_reliability(evidence, notes),
        wording=_wording(evidence, notes),
        notes=notes,
        evidence=evidence,
        hard_bias=found,
    )


def _accuracy(evidence: Evidence, notes: dict[str, str]) -> Figure | None:
    hits, prompts = right(evidence)
    if not len(hits):
        unknown = np.isnan(evidence.winner).all()
        notes["accuracy"] = "no pair has a known winner" if unknown else "no pair with a known winner has a label"
        return None
    return share_figure(hits, prompts)


def _hard_bias(evidence: Evidence) -> HardBias | None:
    assert evidence.counts is not None
    both = ~np.isnan(evidence.counts).any(axis=(1, 2))
    return hard_bias(evidence.counts[both], evidence.prompts[both])


def _bias(evidence: Evidence, hard: HardBias | None, notes: dict[str, str]) -> Figure | None:
    values, prompts = bias_rows(evidence)
    if not len(values):
        notes["bias"] = "no pair was answered in both orders, or its members have their own"
        return None
    if evidence.counts is None:
        return mean_figure(values, prompts)
    if hard is None:
        notes["bias"] = "no verdict flips with the order, so the bias cannot be told from 0"
        return None
    if hard.note:
        notes["bias"] = hard.note
    return hard.figure


def _flips(evidence: Evidence, notes: dict[str, str]) -> Figure | None:
    both = ~np.isnan(evidence.first).any(axis=1)
    if not both.any():
        notes["flips"] = notes["bias"]
        return None
    signs = np.sign(evidence.first[both])
    # 0 in both orders is a tie twice, no flip.
    flipped = (signs[:, 0] == signs[:, 1]) & (signs[:, 0] != 0)
    return share_figure(flipped.astype(float), evidence.prompts[both])


def _figures(
    rows: Mapping[Probe, tuple[Doubles, Places]], notes: dict[str, str], reach: float = math.inf
) -> dict[Probe, Figure]:
    """Return the mean of each probe's rows, which lie in [-reach, reach]."""
    notes.update({probe: _NOT_BOTH for probe, (values, _) in rows.items() if not len(values)})
    return {
        probe: mean_figure(values, prompts, within=(-reach, reach))
        for probe, (values, prompts) in rows.items()
        if len(values)
    }


def _changed(evidence: Evidence, probe: Probe, notes: dict[str, str]) -> Figure | None:
    p, again = evidence.base.p, evidence.probes[probe].p
    both = ~np.isnan(p + again)
    if not both.any():
        notes[probe] = _NOT_BOTH
        return None
    other = np.sign(p[both] - 0.5) != np.sign(again[both] - 0.5)
    return share_figure(other.astype(float), evidence.prompts[both])


def _reliability(evidence: Evidence, notes: dict[str, str]) -> Figure | None:
    rows = noise_rows(evidence)
    if rows is None:
        notes["reliability"] = "the same was not asked again, or every verdict is a tie"
        return None
    noise = rows.figure
    assert noise.mean is not None
    if noise.low is None or noise.high is None:
        return Figure(1 - noise.mean)
    # Student's interval knows no bounds, and a reliability above 1 means nothing.
    return Figure(1 - noise.mean, 1 - noise.high, min(1.0, 1 - noise.low))


def _wording(evidence: Evidence, notes: dict[str, str]) -> Figure | None:
    rows = wording_rows(evidence)
    if rows is None:
        notes["wording"] = "there is no other phrasing, or every verdict is a tie"
        return None
    return rows.figure
