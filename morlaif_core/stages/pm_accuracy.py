"""How well preference models name the winner of held-out pairs, and which are not shown to do better than chance."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from morlaif_core.types import Floats, Preference

CHANCE = 0.5


def accuracy(differences: Floats, preferences: Sequence[Preference]) -> dict[str, Any]:
    """Share of held-out pairs whose winner scores higher (equal scores half), with its 95 % interval.

    differences: score of a minus score of b (m,), NaN where a score failed; such a pair is neither right nor wrong.
    """
    import numpy as np

    from morlaif_core.feedback.statistics.intervals import number_prompts, share_figure

    p_a = np.array([item.p_a for item in preferences])
    rows = np.flatnonzero((p_a != CHANCE) & ~np.isnan(differences)).tolist()
    if not len(rows):
        why = "scores" if (p_a != CHANCE).any() else "a winner"
        return {"n": 0, "accuracy": None, "ci95": None, "notes": {"accuracy": f"no held-out pair has {why}"}}
    sign = np.where(p_a > CHANCE, differences, -differences)[rows]
    # Half for equal scores, or a model that scores everything alike would be at 0, not at chance.
    right = (sign > 0) + 0.5 * (sign == 0)
    figure = share_figure(right, number_prompts([preferences[row].prompt.id for row in rows]))
    return {"n": len(rows), "accuracy": figure.mean, "ci95": figure.ci95}


def at_chance(blocks: Mapping[str, Mapping[str, Any]], among: Collection[str] | None = None) -> str:
    """Name the principles whose preference model is not shown to be better than chance; empty where there is none. One
    whose scores are given has no figure (its n is null).

    blocks: `preference_models` of results.json. among: these principles alone; None: all.
    """
    named = [
        f"{name} {shown_accuracy(block)} (n = {block['n']})"
        for name, block in blocks.items()
        if (among is None or name in among) and not _is_shown(block)
    ]
    if not named:
        return ""
    return (
        f"on held-out pairs not shown to be better than chance (0.5): the preference models of {', '.join(named)}; raise "
        "prompts.pm to train them on more, or prompts.validation to measure them on more, or take another judge or base"
    )


def _is_shown(block: Mapping[str, Any]) -> bool:
    if block.get("n", 0) is None:
        return True
    # Below 0.5 as a whole is worse still.
    return block.get("ci95") is not None and block["ci95"][0] > CHANCE


def shown_accuracy(block: Mapping[str, Any]) -> str:
    """Return ``0.93 [0.88, 0.96]``, or a dash where there is none."""
    from morlaif_core.runs.tables import measured

    return measured(block.get("accuracy"), block.get("ci95"), 2)
