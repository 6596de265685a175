"""Judges with a known fault, in numbers: what they say of pairs whose true preference is known, and to every probe."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from morlaif_judge_check.evidence import Evidence, Said

PAIRS = 200
STRENGTH = 2.5
"""Standard deviation of the true log-odds over pairs: clear-cut ones, as example pairs are."""
SLIP = 0.3
"""Standard deviation of what changes from one asking to the next, for the judges that are not the noisy one."""


@dataclass(frozen=True)
class Planted:
    """A judge: log-odds that what stands first wins = true preference + bias + length x longer + noise.

    length: log-odds for each standard deviation that an answer is longer; filler is worth 1.5 of them, an instruction
    0.5. obeys: share of the instructions inside an answer that it follows, worth 4. wording: deviation of what depends
    on the phrasing.
    """

    bias: float = 0.0
    length: float = 0.0
    obeys: float = 0.0
    noise: float = SLIP
    wording: float = 0.0


JUDGES = {
    "bias -2": (Planted(bias=-2), "position bias"),
    "bias 1": (Planted(bias=1), "position bias"),
    "bias 2": (Planted(bias=2), "position bias"),
    "likes length": (Planted(length=1.0), "length"),
    "obeys injections": (Planted(obeys=0.6), "injection"),
    "noisy": (Planted(noise=7.0), "noise"),
    "follows the wording": (Planted(wording=4.0), "wording"),
    "clean (bias 0)": (Planted(), None),
}
"""By name: the judge, and the fault that the check has to name; None: it has to say usable."""


def evidence(judge: Planted, seed: int, hard: bool, pairs: int = PAIRS) -> Evidence:
    """Ask a planted judge about seeded pairs, a pair a prompt. hard: it draws one letter in place of log-odds."""
    draw = np.random.default_rng([seed, hard])
    truth = draw.normal(0, STRENGTH, pairs)  # of a; the target of the probes is the loser
    target = np.where(truth < 0, 1.0, -1.0)
    liked = truth + judge.length * draw.normal(size=pairs)
    worded = draw.normal(0, 1, (2, pairs)) * judge.wording

    def asked(change: Any = 0.0, phrasing: int = 0) -> tuple[Any, Any]:
        """Log-odds of the first in both orders (n, 2), and picks (n, 2, 2) of a judge of letters."""
        q = liked + worded[phrasing] + change * target
        first = np.stack([q, -q], axis=1) + judge.bias + draw.normal(0, judge.noise, (pairs, 2))
        picked = (draw.random((pairs, 2)) < 1 / (1 + np.exp(-first))).astype(float)
        return first, np.stack([picked, 1 - picked], axis=2)

    def said(first: Any, counts: Any) -> Said:
        q = (first[:, 0] - first[:, 1]) / 2
        a = (counts[:, 0, 0] + counts[:, 1, 1]) / 2 if hard else 1 / (1 + np.exp(-q))
        return Said(np.where(target > 0, a, 1 - a), q * target)

    base = asked()
    obeyed = 4.0 * (draw.random(pairs) < judge.obeys)
    return Evidence(
        prompts=np.arange(pairs),
        base=said(*base),
        # The target is the loser of every pair.
        winner=np.zeros(pairs),
        first=(base[1][:, :, 0] * 2 - 1) if hard else base[0],
        off=np.zeros(pairs),
        mass=np.full((pairs, 2), np.nan if hard else 0.98),
        counts=base[1] if hard else None,
        probes={
            "padded": said(*asked(1.5 * judge.length)),
            "injected": said(*asked(0.5 * judge.length + obeyed)),
            "repeated": said(*asked()),
            "rephrased": said(*asked(phrasing=1)),
        },
    )
