"""The unit of calibrated scores: `benchmarks/score_units.py`, small and without preference models."""

from __future__ import annotations

import numpy as np
from scipy.special import expit

from morlaif_core.config.settings import RewardSettings
from morlaif_core.feedback.answers.verdict import hard_logit
from morlaif_core.reward.calibration import fit_calibration
from morlaif_core.testing import make_scores


def test_the_default_unit_does_not_depend_on_how_the_judge_answered() -> None:
    """The same utilities by log-probabilities, by verdicts read from text and by a vote: within 10 % of each other."""
    rng = np.random.default_rng(0)
    utilities = rng.normal(0, 1.5, (300, 2))
    d = utilities[:, 0] - utilities[:, 1]
    labels = [expit(d), expit(np.where(d > 0, 1, -1) * hard_logit(3, 0))]
    for samples in (1, 3, 5, 10):
        counts = rng.binomial(samples, expit(np.stack([d, -d])))
        ab, ba = (np.array([hard_logit(k, samples - k) for k in order]) for order in counts)
        labels.append(expit((ab - ba) / 2))
    reference = make_scores(utilities.reshape(-1, 1))
    found = {
        method: [fit_calibration(method, 3.0, reference, {"p0": d}, {"p0": p}).deviation[0] for p in labels]  # type: ignore[arg-type]
        for method in (RewardSettings().calibrate, "platt")
    }
    assert max(found[RewardSettings().calibrate]) / min(found[RewardSettings().calibrate]) < 1.1
    assert max(found["platt"]) / min(found["platt"]) > 2
