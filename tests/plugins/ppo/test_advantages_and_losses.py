"""PPO's formulas against plain loops in float64, and garbage on padding."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st

from morlaif_ppo.advantages import gae, leave_one_out, sequence_kl, token_rewards, whiten
from morlaif_ppo.losses import approximate_kl, clip_fraction, explained_variance, policy_loss, value_loss

GARBAGE = (float("nan"), float("inf"), 1e30)


@st.composite
def episodes(draw: Any, fields: int) -> tuple[Any, ...]:
    """Random (n, t) float64 arrays and a mask with at least one kept token a row."""
    n, t, seed = draw(st.integers(1, 5)), draw(st.integers(1, 9)), draw(st.integers(0, 2**31))
    rng = np.random.default_rng(seed)
    mask = np.arange(t)[None, :] < rng.integers(1, t + 1, size=n)[:, None]
    return (*(rng.normal(size=(n, t)) for _ in range(fields)), mask)


def tensors(*arrays: Any, garbage: float = 0.0) -> list[torch.Tensor]:
    """Arrays as float32 tensors, the mask (last) as bool; garbage stands on padding."""
    mask = torch.tensor(arrays[-1])
    return [torch.tensor(one, dtype=torch.float32).masked_fill(~mask, garbage) for one in arrays[:-1]] + [mask]


@settings(max_examples=40, deadline=None)
@given(episodes(2), st.floats(0.5, 1.0), st.floats(0.0, 1.0), st.sampled_from(GARBAGE))
def test_gae_is_the_textbook_loop(drawn: Any, gamma: float, lam: float, garbage: float) -> None:
    rewards, values, mask = drawn
    expected = np.zeros_like(rewards)
    for row, length in enumerate(mask.sum(axis=1)):
        for t in range(length):
            for ahead in range(t, length):
                following = values[row, ahead + 1] if ahead + 1 < length else 0.0
                delta = rewards[row, ahead] + gamma * following - values[row, ahead]
                expected[row, t] += (gamma * lam) ** (ahead - t) * delta
    given_rewards, given_values, kept = tensors(rewards, values, mask, garbage=garbage)
    advantages, returns = gae(given_rewards, given_values, kept, gamma, lam)
    np.testing.assert_allclose(advantages.numpy(), expected, atol=1e-4)
    np.testing.assert_allclose(returns.numpy(), expected + values * mask, atol=1e-4)


@settings(max_examples=30, deadline=None)
@given(episodes(3), st.floats(0.01, 0.5), st.sampled_from(GARBAGE))
def test_policy_loss_is_the_formula(drawn: Any, clip: float, garbage: float) -> None:
    new, old, advantages, mask = drawn
    expected, outside = 0.0, 0
    for place in zip(*np.nonzero(mask), strict=True):
        ratio = math.exp(new[place] - old[place])
        clipped = min(max(ratio, 1 - clip), 1 + clip)
        expected -= min(ratio * advantages[place], clipped * advantages[place])
        outside += abs(ratio - 1) > clip
    logprobs, before, gains, kept = tensors(new, old, advantages, mask, garbage=garbage)
    logprobs.requires_grad_()
    loss, ratio = policy_loss(logprobs, before, gains, kept, clip)
    loss.backward()
    assert loss.item() == pytest.approx(expected, rel=1e-4, abs=1e-4)
    assert logprobs.grad is not None
    assert torch.isfinite(logprobs.grad).all()
    assert (logprobs.grad[~kept] == 0).all()
    assert clip_fraction(ratio, kept, clip) == pytest.approx(outside / mask.sum())
    assert approximate_kl(ratio, kept) >= -1e-6


@settings(max_examples=30, deadline=None)
@given(episodes(3), st.sampled_from([None, 0.1, 0.5]), st.sampled_from(GARBAGE))
def test_value_loss_is_the_formula(drawn: Any, clip: float | None, garbage: float) -> None:
    values, old, returns, mask = drawn
    expected = 0.0
    for place in zip(*np.nonzero(mask), strict=True):
        error = (values[place] - returns[place]) ** 2
        if clip is not None:
            near = old[place] + min(max(values[place] - old[place], -clip), clip)
            error = max(error, (near - returns[place]) ** 2)
        expected += 0.5 * error
    new, before, wanted, kept = tensors(values, old, returns, mask, garbage=garbage)
    loss = value_loss(new, before, wanted, kept, clip)
    assert loss.item() == pytest.approx(expected, rel=1e-4, abs=1e-5)


@settings(max_examples=30, deadline=None)
@given(episodes(2), st.sampled_from(GARBAGE))
def test_rewards_and_kl_stand_on_kept_tokens(drawn: Any, garbage: float) -> None:
    policy, reference, mask = drawn
    kl = ((policy - reference) * mask).sum(axis=1)
    logprobs, frozen, kept = tensors(policy, reference, mask, garbage=garbage)
    np.testing.assert_allclose(sequence_kl(logprobs, frozen, kept).numpy(), kl, atol=1e-5)
    given_rewards = torch.arange(len(mask), dtype=torch.float32) + 1
    spread = token_rewards(given_rewards, logprobs, frozen, kept, 0.3).numpy()
    np.testing.assert_allclose(spread.sum(axis=1), given_rewards.numpy() - 0.3 * kl, atol=1e-4)
    last = mask.sum(axis=1) - 1
    for row, place in enumerate(last):
        wanted = row + 1 - 0.3 * (policy[row, place] - reference[row, place])
        assert spread[row, place] == pytest.approx(wanted, abs=1e-4)
        assert (spread[row, place + 1 :] == 0).all()


@settings(max_examples=30, deadline=None)
@given(episodes(1), st.sampled_from(GARBAGE))
def test_whitening_counts_kept_tokens_alone(drawn: Any, garbage: float) -> None:
    values, mask = drawn
    kept = values[mask]
    drawn_values, keep = tensors(values, mask, garbage=garbage)
    white = whiten(drawn_values, keep).numpy()
    deviation = kept.std() if kept.std() > 1e-6 else 1.0
    np.testing.assert_allclose(white[mask], (kept - kept.mean()) / deviation, atol=1e-3)
    assert (white[~mask] == 0).all()


def test_leave_one_out_is_the_mean_of_the_others() -> None:
    totals = torch.tensor([1.0, 2.0, 6.0, 0.0, 0.0, 3.0])
    expected = [1 - 4, 2 - 3.5, 6 - 1.5, 0 - 1.5, 0 - 1.5, 3 - 0]
    assert leave_one_out(totals, torch.tensor([0, 0, 0, 1, 1, 1])).tolist() == pytest.approx(expected)
    of_two = leave_one_out(totals[:5], torch.tensor([0, 0, 0, 3, 3]))
    assert of_two.tolist() == pytest.approx([*expected[:3], 0, 0])
    with pytest.raises(ValueError, match="no baseline"):
        leave_one_out(totals, torch.tensor([0, 0, 0, 1, 1, 2]))


def test_explained_variance() -> None:
    returns, mask = torch.tensor([[1.0, 2.0, 9.0]]), torch.tensor([[True, True, False]])
    assert explained_variance(returns, returns, mask) == pytest.approx(1.0)
    assert explained_variance(torch.zeros(1, 3), returns, mask) == pytest.approx(0.0)
    assert explained_variance(returns, torch.ones(1, 3), mask) == 0.0
