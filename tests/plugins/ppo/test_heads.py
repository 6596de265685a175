"""A value head for each principle: its advantages add up to the reward's own, and one head is what it always was."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st
from safetensors.torch import load_file

from morlaif_core import Lora, RewardBatch, UserError, build as build_component
from morlaif_core.config.load import load_config
from morlaif_core.plugins.manager import Plugins
from morlaif_core.reward.calibration import Calibration
from morlaif_core.reward.expected_utility import Expected
from morlaif_core.reward.reward import PrincipledReward
from morlaif_core.reward.scale import RewardScale
from morlaif_core.reward.terms.resolved_terms import ResolvedTerms, Tier
from morlaif_core.testing import FakePreferenceModel, make_scores, make_terms
from morlaif_ppo import checkpoint
from morlaif_ppo.advantages import gae, part_rewards
from morlaif_ppo.batch import Batch, pad
from morlaif_ppo.heads import columns_of, take_apart
from morlaif_ppo.losses import explained_variance, value_loss
from morlaif_ppo.options import PPOOptions
from morlaif_ppo.state import Training, build
from morlaif_ppo.trainer import PPO
from morlaif_ppo.update import explained, targets
from morlaif_ppo.value import ValueHead
from tests.helpers.small_run import small

NAMES = ("letters", "brief")
MEASURES = {
    "letters": lambda prompt, text: 12 * text.count("e") / max(1, len(text)) - 1,
    "brief": lambda prompt, text: 1 - len(text) / 20,
}
HEADS = {"value_heads": "principles", "missing_eos_penalty": 0.5}
SMALL = {**HEADS, "steps": 5, "prompts_per_step": 4, "minibatch": 2, "learning_rate": 1e-2, "checkpoint_every": 2}
GARBAGE = (float("nan"), float("inf"), 1e30)


def principled(name: str = "max_min", *, expected: bool = True, weights: tuple[float, float] = (0.5, 0.5)) -> Any:
    """A real reward of two measures; its scale is neither 0 nor 1."""
    tiers = tuple(Tier({p: 1.0}, weights[i], 0.0, i, -3.0, 3.0) for i, p in enumerate(NAMES))
    scalarizer: Any = build_component("scalarizer", name)
    return PrincipledReward(
        FakePreferenceModel(MEASURES),
        Calibration("none", 3.0, NAMES, (0.0, 0.0), (1.0, 1.0)),
        Expected(scalarizer, {"letters": 0.0, "brief": 0.4}) if expected else scalarizer,
        name=name,
        resolved=ResolvedTerms(tiers),
        scale=RewardScale(0.3, 0.7),
    )


@st.composite
def parts(draw: Any) -> tuple[Any, ...]:
    """n episodes of t tokens in float64: parts (n, c), values (n, t, c), two log-probabilities, mask, weights (c,)."""
    n, t, c, seed = (
        draw(st.integers(1, 5)),
        draw(st.integers(1, 8)),
        draw(st.integers(2, 5)),
        draw(st.integers(0, 9999)),
    )
    rng = np.random.default_rng(seed)
    mask = np.arange(t)[None, :] < rng.integers(1, t + 1, size=n)[:, None]
    weights = np.append(rng.normal(size=c - 1), 1.0)
    shapes = ((n, c), (n, t, c), (n, t), (n, t))
    return (*(rng.normal(size=shape) for shape in shapes), mask, weights)


@settings(max_examples=60, deadline=None)
@given(parts(), st.floats(0.5, 1.0), st.floats(0.0, 1.0), st.sampled_from(GARBAGE))
def test_advantages_add_up_to_those_of_the_whole_reward(drawn: Any, gamma: float, lam: float, garbage: float) -> None:
    scores, values, new, old, mask, weights = drawn
    expected = np.zeros(mask.shape)  # of one head that says sum_c w_c V_c, of the reward sum_c w_c r_c and its penalty
    total, value = scores @ weights, values @ weights
    for row, length in enumerate(mask.sum(axis=1)):
        for t in range(length):
            for ahead in range(t, length):
                end = ahead == length - 1
                paid = -0.3 * (new[row, ahead] - old[row, ahead]) + (total[row] if end else 0.0)
                delta = paid + (0.0 if end else gamma * value[row, ahead + 1]) - value[row, ahead]
                expected[row, t] += (gamma * lam) ** (ahead - t) * delta
    kept = torch.tensor(mask)
    dirty = [torch.tensor(one).masked_fill(~kept, garbage) for one in (new, old)]
    spread = part_rewards(torch.tensor(scores), *dirty, kept, 0.3)
    given_values = torch.tensor(values).masked_fill(~kept[..., None], garbage)
    by_part, returns = gae(spread, given_values, kept, gamma, lam)
    assert by_part.dtype == torch.float64
    np.testing.assert_allclose((by_part @ torch.tensor(weights)).numpy(), expected, atol=1e-6)
    np.testing.assert_allclose(returns.numpy(), by_part.numpy() + values * mask[..., None], atol=1e-9)
    assert (spread[..., :-1].sum(dim=1) - torch.tensor(scores)[:, :-1]).abs().max() < 1e-9, "scores pay no KL penalty"


@settings(max_examples=40, deadline=None)
@given(parts(), st.floats(-2, 2), st.floats(-2, 2), st.floats(0.5, 1.0), st.floats(0.0, 1.0))
def test_gae_is_linear(drawn: Any, a: float, b: float, gamma: float, lam: float) -> None:
    _, values, rewards, other, mask, _ = drawn
    one, two, kept = torch.tensor(values[..., 0]), torch.tensor(values[..., 1]), torch.tensor(mask)
    r, s = torch.tensor(rewards), torch.tensor(other)
    both = gae(a * r + b * s, a * one + b * two, kept, gamma, lam)
    apart = gae(torch.stack([r, s], dim=2), torch.stack([one, two], dim=2), kept, gamma, lam)
    for whole, split in zip(both, apart, strict=True):
        torch.testing.assert_close(whole, a * split[..., 0] + b * split[..., 1], atol=1e-9, rtol=0)


@settings(max_examples=40, deadline=None)
@given(parts(), st.sampled_from([None, 0.2]), st.sampled_from(GARBAGE))
def test_the_value_loss_is_the_mean_over_heads(drawn: Any, clip: float | None, garbage: float) -> None:
    _, values, _, _, mask, weights = drawn
    kept, padding = torch.tensor(mask), ~torch.tensor(mask)[..., None]
    new, old, wanted = (torch.tensor(values * f + s) for f, s in ((1, 0), (0.5, 0.3), (-1, 0.1)))
    apart = [value_loss(new[..., c], old[..., c], wanted[..., c], kept, clip) for c in range(len(weights))]
    dirty = [one.masked_fill(padding, garbage) for one in (new, old, wanted)]
    torch.testing.assert_close(value_loss(*dirty, kept, clip), sum(apart) / len(weights))


def test_one_head_and_its_advantages_by_hand() -> None:
    torch.manual_seed(1)
    hidden, out = torch.nn.Linear(16, 8), torch.nn.Linear(8, 1)
    after = torch.rand(1)
    torch.manual_seed(1)
    head = ValueHead(8)
    assert torch.equal(torch.rand(1), after), "later draws of the run are others"
    assert torch.equal(head.hidden.weight, hidden.weight)
    assert {name: tuple(one.shape) for name, one in head.out.state_dict().items()} == {"weight": (1, 8), "bias": (1,)}
    head.out.load_state_dict(out.state_dict())
    states, mask = torch.randn(3, 5, 8), torch.arange(5) < torch.tensor([[5], [2], [3]])
    values = head(states)
    for row in range(3):
        for t in range(5):
            seen = [states[row, t], states[row, : t + 1].mean(dim=0)]
            both = torch.cat([(one - one.mean()) / (one.var(unbiased=False) + 1e-5).sqrt() for one in seen])
            assert torch.allclose(values[row, t], out(torch.tanh(hidden(both)))[0], atol=1e-6)
    old, returns, error = torch.randn(3, 5), torch.randn(3, 5), 0
    clipped = old + (values - old).clamp(-0.2, 0.2)
    error = (values - returns).square().maximum((clipped - returns).square()).masked_fill(~mask, 0.0)
    assert torch.equal(value_loss(values, old, returns, mask, 0.2), 0.5 * error.sum())
    advantages, running, following = torch.zeros(3, 5), torch.zeros(3), torch.zeros(3)
    kept, rewards = values.masked_fill(~mask, 0.0), returns.masked_fill(~mask, 0.0)
    for t in reversed(range(5)):
        running = rewards[:, t] + 0.9 * following - kept[:, t] + 0.9 * 0.8 * running
        advantages[:, t], following = running, kept[:, t]
    assert torch.equal(gae(returns, values, mask, 0.9, 0.8)[0], advantages)


def scored_texts(reward: Any, job: Any) -> RewardBatch:
    texts = ["the eel sees me", "no", "a long and dull line of words", "eee", "we flee"]
    batch: RewardBatch = reward(job.prompts[:5], texts)
    return batch


def test_a_reward_is_taken_apart(job: Callable[..., Any]) -> None:
    """Exactly so, penalties and all; the state that counts is that before the step's end."""
    reward = principled()
    assert columns_of(reward) == NAMES
    scored = scored_texts(reward, job())
    rewards = torch.tensor(scored.rewards) - torch.tensor([0.0, 2.0, 0.0, 0.0, 2.0])
    split, weights = take_apart(scored, reward.explain(scored), rewards)
    assert weights.tolist() == pytest.approx([1 / 0.7, 0.0, 1.0]), "letters has the worst mean"
    np.testing.assert_allclose(split[:, :2].numpy(), scored.scores.values)
    constant = -0.3 / 0.7
    assert split[:, 2].tolist() == pytest.approx([constant, constant - 2, constant, constant, constant - 2], abs=1e-5)
    torch.testing.assert_close(split @ weights, rewards)
    for _ in range(9):
        reward.end_step(make_scores([[3.0, -3.0]], NAMES))
    assert reward.explain(scored).influence[0].tolist() == pytest.approx([0.0, 1 / 0.7]), "the means have moved"


@pytest.mark.parametrize("name", ["max_min", "soft_max_min", "lower_quantile"])
def test_a_curved_reward_is_an_error(job: Callable[..., Any], name: str) -> None:
    reward = principled(name, expected=False)
    scored = scored_texts(reward, job())
    with pytest.raises(UserError, match=r"reward\.utility: expected"):
        take_apart(scored, reward.explain(scored), torch.tensor(scored.rewards))


def test_training_ends_where_the_reward_turns_out_curved(job: Callable[..., Any]) -> None:
    the_job = replace(job(), reward=principled("soft_max_min", expected=False))
    with pytest.raises(UserError, match=r"trainer\.value_heads: one"):
        PPO(PPOOptions(**SMALL)).train(the_job)
    assert not the_job.report.rows


def test_those_that_say_linear_are() -> None:
    offered = [one.component for one in Plugins.load().offers_by_kind["scalarizer"]]
    linear = [one for one in offered if "linear" in one.supplies]
    assert {"weighted", "single"} <= {one.name for one in linear}
    rng = np.random.default_rng(0)
    a, b = rng.uniform(-3, 3, (2, 50, 3)).astype(np.float32)
    terms = make_terms(weight=[1, 2, 3], threshold=[0.5, -0.5, 0.0])
    for one in linear:
        u = one.build(one.options.model_validate({"principle": "p1"} if one.name == "single" else {}))
        middle = u(make_scores((a + b) / 2), terms)
        np.testing.assert_allclose(middle, (u(make_scores(a), terms) + u(make_scores(b), terms)) / 2, atol=1e-5)


@pytest.mark.parametrize(
    ("sets", "ok"),
    [
        (["scalarizer.use=max_min"], False),
        (["scalarizer.use=lagrangian"], False),
        (["scalarizer.use=max_min", "reward.utility=expected"], True),
        (["scalarizer.use=lagrangian", "reward.utility=expected"], True),
        (["scalarizer.use=weighted"], True),
        (["scalarizer={use: single, principle: detail}"], True),
    ],
)
def test_check_refuses_what_is_not_linear(tmp_path: Path, sets: list[str], ok: bool) -> None:
    sets = [*sets, "trainer.responses_per_prompt=1", "trainer.value_heads=principles"]
    if ok:
        assert load_config(["demo-tradeoff"], sets, folder=tmp_path)
        return
    with pytest.raises(UserError, match=r"trainer.*'ppo' needs linear.*reward\.utility: expected"):
        load_config(["demo-tradeoff"], sets, folder=tmp_path)


def test_heads_without_a_value_are_refused() -> None:
    with pytest.raises(ValueError, match="value_heads principles needs a value head"):
        PPOOptions(value_heads="principles", responses_per_prompt=4)
    assert PPOOptions(value_heads="principles", responses_per_prompt=4, baseline="value").uses_value


PROMPTS, RESPONSES = [[5, 6, 7, 8], [9, 10], [11]], [[12, 13], [14, 15, 16, 0], [17]]


def two_headed(job: Any, options: PPOOptions) -> Training:
    """Training whose value heads say something already."""
    training = build(job, options, None)
    assert training.head is not None
    generator = torch.Generator().manual_seed(0)
    training.head.out.weight.data = torch.randn(3, 32, generator=generator)
    return training


def test_targets_are_those_of_one_head_that_says_the_weighted_sum(job: Callable[..., Any]) -> None:
    """On a model, in float32: with the heads' weights folded into one, nothing changes but the rounding."""
    the_job = replace(job(), reward=principled())
    options = PPOOptions(value_heads="principles", kl=0.2, lam=0.9, gamma=0.95)
    many = two_headed(the_job, options)
    plain = options.model_copy(update={"value_heads": "one"})
    one = build(the_job, plain, None)
    weights = torch.tensor([0.8, -0.5, 1.0])
    assert many.head is not None
    assert one.head is not None
    one.head.hidden.load_state_dict(many.head.hidden.state_dict())
    one.head.out.weight.data = weights[None] @ many.head.out.weight.data
    batch, split = pad(PROMPTS, RESPONSES, 1, "cpu"), torch.randn(3, 3)
    recorded, reference = torch.randn(2, 3, 4).masked_fill(~batch.mask, 0.0)
    found = targets(many, batch, recorded, reference, split, options, weights)
    expected = targets(one, batch, recorded, reference, split @ weights, plain)
    assert found.values.shape == found.returns.shape == (3, 4, 3)
    torch.testing.assert_close(found.advantages, expected.advantages, atol=1e-4, rtol=0)
    said, whole = explained(found, NAMES), explained(expected, ())
    assert said["explained_variance"] == pytest.approx(whole["explained_variance"], abs=1e-4)
    assert said["explained_variance/brief"] == pytest.approx(
        explained_variance(found.values[..., 1], found.returns[..., 1], batch.mask)
    )
    assert said.keys() == {"explained_variance", "explained_variance_rest", *(f"explained_variance/{n}" for n in NAMES)}
    part = found.take(torch.tensor([2, 0]))
    assert torch.equal(part.values, found.values[[2, 0], :2])
    assert part.weights is weights


@pytest.mark.parametrize("lora", [None, Lora(r=4, top_layers=1)])
def test_padding_changes_nothing(job: Callable[..., Any], lora: Any) -> None:
    the_job = replace(job("llama", lora=lora), reward=principled())
    options = PPOOptions(value_heads="principles")
    training, weights = two_headed(the_job, options), torch.tensor([0.8, -0.5, 1.0])
    batch, split = pad(PROMPTS, RESPONSES, 1, "cpu"), torch.arange(9.0).view(3, 3)
    noisy = replace(batch, ids=torch.where(batch.attention.bool(), batch.ids, torch.full_like(batch.ids, 77)))
    zeros = torch.zeros(batch.mask.shape)

    def found(one: Batch, size: int) -> Any:
        sized = options.model_copy(update={"batch": size})
        return targets(training, training.network.with_trunk(one, size), zeros, zeros, split, sized, weights)

    plain = found(batch, 3)
    for other in (found(noisy, 3), found(batch, 1)):
        for name in ("values", "returns", "advantages"):
            torch.testing.assert_close(getattr(plain, name), getattr(other, name), atol=1e-5, rtol=0)
    assert (plain.values[~batch.mask] == 0).all()
    assert (plain.values[batch.mask] != 0).all()


@pytest.mark.slow(seconds=2)
@pytest.mark.parametrize(("family", "lora"), [("gpt2", None), ("llama", Lora(r=4))])
def test_the_worst_principle_rises(job: Callable[..., Any], family: str, lora: Any) -> None:
    the_job = replace(job(family, lora=lora), reward=principled())
    rate = 1e-3 if lora is None else 1e-2
    PPO(PPOOptions(**HEADS, steps=20, kl=0.01, learning_rate=rate)).train(the_job)
    rows = [row for _, row in sorted(the_job.report.rows.items())]

    def worst(some: list[dict[str, float]]) -> float:
        return min(sum(row[f"score/{name}"] for row in some) / len(some) for name in NAMES)

    assert worst(rows[-3:]) > worst(rows[:3]) + 0.2
    assert all(f"explained_variance/{name}" in rows[-1] for name in NAMES)
    assert all(np.isfinite(list(row.values())).all() for row in rows)


@pytest.mark.parametrize("lora", [None, Lora(r=4)])
def test_it_goes_on_bit_for_bit(job: Callable[..., Any], lora: Any) -> None:
    whole = replace(job("llama", "whole", lora=lora), reward=principled())
    PPO(PPOOptions(**SMALL)).train(whole)

    def crash(step: int) -> str:
        if step == 4:
            raise KeyboardInterrupt
        return "go"

    cut = replace(job("llama", "cut", lora=lora), reward=principled())
    cut.report.act = crash
    with pytest.raises(KeyboardInterrupt):
        PPO(PPOOptions(**SMALL)).train(cut)
    [kept] = checkpoint.checkpoints(cut.out)
    assert torch.load(kept / "state.pt")["head"]["out.weight"].shape == (3, 32)
    again = replace(job("llama", "cut", lora=lora), reward=principled())
    again.report.rows.update({step: row for step, row in cut.report.rows.items() if step <= 2})
    PPO(PPOOptions(**SMALL)).train(again)
    assert again.report.rows == whole.report.rows
    assert again.reward.state() == whole.reward.state()
    [one], [other] = whole.out.glob("*.safetensors"), cut.out.glob("*.safetensors")
    first, second = load_file(one), load_file(other)
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_a_run_has_a_head_for_each_column(tmp_path: Path) -> None:
    """Principles that share a priority are one column, and one head."""
    tiers = "principles={helpfulness: {priority: 1}, detail: {priority: 1}, conciseness: {priority: 2}}"
    sets = ("scalarizer={use: lexicographic}", "reward.utility=expected", "trainer.value_heads=principles")
    small(tmp_path / "run", tiers, "trainer.responses_per_prompt=1", *sets, until="train-policy")
    rows = [json.loads(line) for line in (tmp_path / "run" / "policy" / "metrics.jsonl").read_text().splitlines()]
    heads = {name for name in rows[-1] if name.startswith("explained_variance/")}
    assert heads == {"explained_variance/helpfulness+detail", "explained_variance/conciseness"}
