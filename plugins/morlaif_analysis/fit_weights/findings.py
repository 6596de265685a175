"""What the numbers of `morlaif fit-weights` say, in plain sentences: who hurts, who adds nothing, who is told apart."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

OFTEN = 0.5
"""A weight of 0 in more of the resamples than this is told."""
STABLE = 0.975
"""Share of the signed refits that must have a coefficient's sign before it is taken for shown: as an interval's end."""
FEW = 30
"""Decided choices a principle below which intervals are rough."""


def findings(found: Mapping[str, Any]) -> list[dict[str, str]]:
    """Return what is worth saying: ``{"kind", "principle", "text"}``.

    Kinds: hurts, lowers, zero, nothing, constant, correlated, worse, no_better, few.

    Args:
        found: what `measure` returned.
    """
    said = _few(found)
    for name, block in found["principles"].items():
        for kind, text in _about(name, block):
            # The worst alone: one sentence a principle.
            said.append({"kind": kind, "principle": name, "text": text})
            break
    for pair in found["correlated"]:
        one, other = pair["principles"]
        same, known = ("the same", "sum") if pair["correlation"] > 0 else ("the opposite", "difference")
        text = (
            f"{one} and {other} measure nearly {same} (correlation {pair['correlation']:.2f}): the {known} of their weights "
            "is known far better than each"
        )
        said.append({"kind": "correlated", "principle": one, "text": text})
    return said + _beside_equal(found)


def recommended(found: Mapping[str, Any]) -> bool:
    """Say whether the fitted weights predict the held-out choices no worse than equal ones.

    By log loss, which shows a difference long before accuracy does; and accuracy does not show the contrary.
    """
    equal = found["held_out"]["equal"]
    # Less is rounding: of a single principle both are the same weights.
    return bool(equal["log_loss_gain"]["mean"] >= -1e-9 and equal["gain"]["ci95"][1] >= 0)


def _few(found: Mapping[str, Any]) -> list[dict[str, str]]:
    """A warning where the choices are few for the number of principles."""
    decided, k = found["choices"]["decided"] - found["choices"]["held_out_decided"], len(found["principles"])
    if decided >= FEW * k:
        return []
    text = (
        f"only {decided:,} decided choices were fitted on for {k} principles, fewer than {FEW} for each: the intervals are "
        "rough"
    )
    return [{"kind": "few", "principle": "", "text": text}]


def _beside_equal(found: Mapping[str, Any]) -> list[dict[str, str]]:
    """How the fit does beside equal weights, where it is not better by any measure or is worse by one."""
    equal = found["held_out"]["equal"]
    gain, saved = equal["gain"], equal["log_loss_gain"]
    worse = [name for name, one in (("accuracy", gain), ("log loss", saved)) if one["ci95"][1] < 0]
    if not worse and (gain["ci95"][0] > 0 or saved["ci95"][0] > 0):
        return []
    said = (
        f"predict worse than equal ones by {' and '.join(worse)}"
        if worse
        else "are not shown to be better than equal ones"
    )
    text = (
        f"on the {found['choices']['held_out']:,} held-out choices the fitted weights {said}: accuracy "
        f"{gain['mean']:+.3f} {_interval(gain['ci95'])}, log loss saved {saved['mean']:+.3f} {_interval(saved['ci95'])}"
    )
    return [{"kind": "worse" if worse else "no_better", "principle": "", "text": text}]


def _about(name: str, block: Mapping[str, Any]) -> list[tuple[str, str]]:
    """All that holds of a principle, the worst first."""
    signed, gain = block["signed"], block["gain"]
    coefficient = f"signed coefficient {signed['coefficient']:+.3f} {_interval(signed['ci95'])}"
    stable = block["sign_stability"] >= STABLE
    if not stable:
        coefficient += f", its sign in {block['sign_stability']:.0%} of the resamples alone"
    said = []
    if signed["coefficient"] == 0 and signed["ci95"] == [0, 0]:
        said.append(("constant", f"{name} never differs between two responses: its weight cannot be determined"))
    if stable and signed["ci95"][1] < 0:
        text = (
            f"{name} hurts: what it prefers, people choose less often, the other principles being equal ({coefficient})"
        )
        said.append(("hurts", f"{text}; its weight is 0"))
    if gain["ci95"][1] < 0:
        changes = f"{gain['mean']:+.3f} {_interval(gain['ci95'])}"
        said.append(("lowers", f"{name} lowers accuracy: with it, cross-validated accuracy changes by {changes}"))
    if block["zero_share"] > OFTEN:
        often = f"its weight is 0 in {block['zero_share']:.0%} of the resamples"
        said.append(("zero", f"{name} adds nothing or hurts, beside the others: {often} ({coefficient})"))
    if not (stable and signed["ci95"][0] > 0) and gain["ci95"][0] <= 0:
        gained = f"gain in accuracy {gain['mean']:+.3f} {_interval(gain['ci95'])}"
        said.append(("nothing", f"{name} is not shown to add anything: {coefficient}, {gained}"))
    return said


def _interval(ends: list[float]) -> str:
    return f"[{ends[0]:+.3f}, {ends[1]:+.3f}]"
