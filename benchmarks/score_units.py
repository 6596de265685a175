"""Does the unit of a calibrated score depend on how the judge answered? The same utilities under seven ways of answering.

    python benchmarks/score_units.py [--quick] [--json FILE]

Responses have ten features, and a utility that is linear in them, deviation 1.5, in logits of the judge's preference. A
preference model (logistic regression on the features) learns from 400 pairs, and is calibrated on 80 others, as a run does
it. Printed: the deviation of the reference's calibrated scores before the soft clip, mean over the seeds. Float64, a few
seconds.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import expit
from tables import print_rows, write_rows

from morlaif_core.feedback.answers.verdict import combine_orders, hard_logit
from morlaif_core.reward.calibration import fit_calibration
from morlaif_core.testing import make_scores

Doubles: TypeAlias = NDArray[np.float64]
DEVIATION, FEATURES, TRAIN, CALIBRATION = 1.5, 10, 400, 80
WITHIN = 0.1
"""Largest share by which a deviation may differ from that of log-probabilities."""


def text_verdicts(samples: int) -> Callable[[Doubles, np.random.Generator], Doubles]:
    """A judge that names the better response, asked this often in each order."""

    def ask(logits: Doubles, rng: np.random.Generator) -> Doubles:
        counts = rng.binomial(samples, expit(np.stack([logits, -logits])))
        ab, ba = (np.array([hard_logit(k, samples - k) for k in order]) for order in counts)
        return expit(np.array([combine_orders(*pair)[0] for pair in zip(ab, ba, strict=True)]))

    return ask


def majority(logits: Doubles, rng: np.random.Generator) -> Doubles:
    """Three judges by log-probabilities that agree, counted."""
    return expit(np.where(logits > 0, hard_logit(3, 0), hard_logit(0, 3)))


JUDGES: dict[str, Callable[[Doubles, np.random.Generator], Doubles]] = {
    "log-probabilities": lambda logits, rng: expit(logits),
    "text, 1 sample": text_verdicts(1),
    "text, 3 samples": text_verdicts(3),
    "text, 5 samples": text_verdicts(5),
    "text, 10 samples": text_verdicts(10),
    "majority of three": majority,
}


def deviation(judge: Callable[[Doubles, np.random.Generator], Doubles], method: str, seed: int) -> float:
    """Train and calibrate a preference model; the deviation of the reference's scores in calibrated units."""
    rng = np.random.default_rng(seed)
    truth = rng.normal(size=FEATURES)
    truth *= DEVIATION / np.linalg.norm(truth)
    pairs = rng.normal(size=(TRAIN + CALIBRATION, 2, FEATURES))
    difference = pairs[:, 0] - pairs[:, 1]
    p_a = judge(difference @ truth, rng)
    learnt = _learn(difference[:TRAIN], p_a[:TRAIN])
    reference = make_scores((pairs[TRAIN:] @ learnt).reshape(-1, 1))
    held = {"p0": difference[TRAIN:] @ learnt}, {"p0": p_a[TRAIN:]}
    calibration = fit_calibration(method, 100.0, reference, *held)  # type: ignore[arg-type]
    return calibration.deviation[0]


def _learn(differences: Doubles, p_a: Doubles) -> Doubles:
    """Fit weights (h,) of the features by maximum likelihood on soft labels, with a small penalty."""

    def loss(weights: Doubles) -> tuple[float, Doubles]:
        z = differences @ weights
        value = float(np.sum(np.logaddexp(0, z) - p_a * z) + 0.5 * weights @ weights)
        return value, differences.T @ (expit(z) - p_a) + weights

    found: Doubles = minimize(loss, np.zeros(differences.shape[1]), jac=True, method="L-BFGS-B").x
    return found


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="three seeds")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    seeds = range(3 if options.quick else 50)
    found = {
        method: {
            name: float(np.mean([deviation(judge, method, seed) for seed in seeds])) for name, judge in JUDGES.items()
        }
        for method in ("platt", "std")
    }
    print_rows([{"judge": name, **{method: f"{found[method][name]:.2f}" for method in found}} for name in JUDGES])
    rows = []
    for method, by_judge in found.items():
        wanted = by_judge["log-probabilities"]
        farthest = max(abs(value / wanted - 1) for value in by_judge.values())
        # Negated, as `write_rows` wants a number that reaches its target.
        rows.append({"name": method, "metric": "largest difference", "value": -farthest, "unit": "", "target": -WITHIN})
    write_rows(options.json, rows)


if __name__ == "__main__":
    main()
