"""What the numbers of `morlaif fit-weights` say, in plain sentences: who hurts, who adds nothing, who is told apart."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

OFTEN = 0.5
"""A weight of 0 in more of the resamples than this is told."""


def findings(found: Mapping[str, Any]) -> list[dict[str, str]]:
    """Return what is worth saying: ``{"kind", "principle", "text"}``.

    Kinds: hurts, zero, nothing, constant, correlated, no_better.

    Args:
        found: what `measure` returned.
    """
    said = []
    for name, block in found["principles"].items():
        for kind, text in _about(name, block):
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
    equal = found["held_out"]["equal"]
    gain, saved = equal["gain"], equal["log_loss_gain"]
    if gain["ci95"][0] <= 0 and saved["ci95"][0] <= 0:
        text = (
            f"on the {found['choices']['held_out']:,} held-out choices the fitted weights are not shown to be better than "
            f"equal ones: accuracy {gain['mean']:+.3f} {_interval(gain['ci95'])}, log loss saved {saved['mean']:+.3f} "
            f"{_interval(saved['ci95'])}"
        )
        said.append({"kind": "no_better", "principle": "", "text": text})
    return said


def _about(name: str, block: Mapping[str, Any]) -> list[tuple[str, str]]:
    """All that holds of a principle, the worst first."""
    signed, gain = block["signed"], block["gain"]
    coefficient = f"signed coefficient {signed['coefficient']:+.3f} {_interval(signed['ci95'])}"
    said = []
    if signed["coefficient"] == 0 and signed["ci95"] == [0, 0]:
        said.append(("constant", f"{name} never differs between two responses: nothing can be said of its weight"))
    if signed["ci95"][1] < 0:
        text = (
            f"{name} hurts: what it prefers, people choose less often, the other principles being equal ({coefficient})"
        )
        said.append(("hurts", f"{text}; its weight is 0"))
    if gain["ci95"][1] < 0:
        text = f"{name} hurts: with it, held-out accuracy is lower ({gain['mean']:+.3f} {_interval(gain['ci95'])})"
        said.append(("hurts", text))
    if block["zero_share"] > OFTEN:
        often = f"its weight is 0 in {block['zero_share']:.0%} of the resamples"
        said.append(("zero", f"{name} adds nothing or hurts, beside the others: {often} ({coefficient})"))
    if signed["ci95"][0] <= 0 and gain["ci95"][0] <= 0:
        gained = f"gain in accuracy {gain['mean']:+.3f} {_interval(gain['ci95'])}"
        said.append(("nothing", f"{name} is not shown to add anything: {coefficient}, {gained}"))
    return said


def _interval(ends: list[float]) -> str:
    return f"[{ends[0]:+.3f}, {ends[1]:+.3f}]"
