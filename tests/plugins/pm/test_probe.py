"""The backend `probe`: its features, and heads that are the minimum of their loss."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st

from morlaif_core import (
    UserError,
    encode_pair,
)
from morlaif_pm.bradley_terry import L2_FEW, choose_l2, fit_weights, loss_and_gradient
from tests.helpers.preference_jobs import flat, job_in, preferences


def test_probe_features_are_the_mean_over_the_responses_tokens(tmp_path: Path) -> None:
    from morlaif_pm.features import features, layer_for

    job = job_in(tmp_path)
    backbone = job.backbones.get(job.base)
    assert layer_for(backbone.model, "auto") == 2
    with pytest.raises(UserError, match="4"):
        layer_for(backbone.model, 4)
    prompts, responses = flat(preferences(4))
    rows = [encode_pair(backbone.tokenizer, p, r, 64) for p, r in zip(prompts, responses, strict=True)]
    found = features(backbone, rows, 2, 100)
    for row, values in zip(rows, found, strict=True):
        with torch.no_grad():
            states = backbone.model(torch.tensor([row.ids]), output_hidden_states=True).hidden_states[2][0]
        np.testing.assert_allclose(values, states[row.start :].mean(dim=0).numpy(), atol=1e-5)


@given(st.integers(0, 10_000))
@settings(deadline=None, max_examples=20)
def test_head_is_the_minimum_of_the_soft_bradley_terry_loss(seed: int) -> None:
    draw = np.random.default_rng(seed)
    x, p = draw.normal(size=(30, 5)), draw.uniform(size=30)
    best = fit_weights(x, p, 0.1)
    assert np.abs(loss_and_gradient(best, x, p, 0.1)[1]).max() < 1e-5
    sigmoid = 1 / (1 + np.exp(-x @ best))
    expected = -np.mean(p * np.log(sigmoid) + (1 - p) * np.log(1 - sigmoid)) + 0.05 * best @ best
    assert loss_and_gradient(best, x, p, 0.1)[0] == pytest.approx(expected)
    swapped = fit_weights(np.vstack([x, -x]), np.concatenate([p, 1 - p]), 0.1)
    np.testing.assert_allclose(swapped, best, atol=1e-4)  # which of the two stands first says nothing


def test_noise_asks_for_more_l2_than_signal() -> None:
    draw = np.random.default_rng(0)
    x, groups = draw.normal(size=(200, 50)), [str(index // 2) for index in range(200)]
    signal = 1 / (1 + np.exp(-4 * x[:, 0]))
    assert choose_l2(x, draw.integers(0, 2, 200).astype(float), groups) > choose_l2(x, signal, groups)
    assert choose_l2(x[:20], signal[:20], groups[:20]) == L2_FEW
