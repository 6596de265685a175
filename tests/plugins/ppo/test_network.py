"""Log-probabilities and batches: padding, chunks, the trunk, the ratio's starting point."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from morlaif_core import Lora, UserError
from morlaif_ppo import network as network_module
from morlaif_ppo.batch import pad
from morlaif_ppo.network import check_head, token_logprobs
from morlaif_ppo.options import PPOOptions
from morlaif_ppo.rollout import prompts_of_step, sample
from morlaif_ppo.state import Training, build
from morlaif_ppo.update import targets, update

LORAS: dict[str, Any] = {"full": None, "lora": Lora(r=4), "top": Lora(r=4, top_layers=1, dropout=0.3)}
PROMPTS, RESPONSES = [[5, 6, 7, 8], [9, 10], [11]], [[12, 13], [14, 15, 16, 0], [17]]


def plain_logprobs(model: Any, prompt: list[int], response: list[int], temperature: float) -> torch.Tensor:
    """One unpadded row, float64 softmax."""
    with torch.no_grad():
        logits = model(torch.tensor([prompt + response])).logits[0, len(prompt) - 1 : -1].double() / temperature
    return logits.log_softmax(-1).gather(1, torch.tensor(response)[:, None])[:, 0]


@pytest.mark.parametrize("family", ["gpt2", "llama"])
@pytest.mark.parametrize("kind", LORAS)
def test_logprobs_do_not_depend_on_padding(job: Callable[..., Any], family: str, kind: str) -> None:
    network = build(job(family, lora=LORAS[kind]), PPOOptions(), None).network
    batch = pad(PROMPTS, RESPONSES, 1, "cpu")
    noisy = replace(batch, ids=torch.where(batch.attention.bool(), batch.ids, torch.full_like(batch.ids, 77)))
    found = [network.reference_logprobs(network.with_trunk(one, 2), 2) for one in (batch, noisy)]
    assert torch.allclose(found[0], found[1], atol=1e-6)
    with network.frozen() as model:
        for row, (prompt, response) in enumerate(zip(PROMPTS, RESPONSES, strict=True)):
            expected = plain_logprobs(model, prompt, response, network.temperature)
            assert torch.allclose(found[0][row, : len(response)].double(), expected, atol=1e-5)
            assert (found[0][row, len(response) :] == 0).all()


def test_batches_are_cut_to_their_longest_rows() -> None:
    batch = pad(PROMPTS, RESPONSES, 1, "cpu")
    assert batch.ids.shape == (3, 8)
    assert batch.lengths.tolist() == [2, 4, 1]
    part = batch.take(torch.tensor([2, 0]))
    assert part.ids.tolist() == [[1, 1, 1, 11, 17, 1], [5, 6, 7, 8, 12, 13]]
    assert part.responses.tolist() == [[17, 1], [12, 13]]
    assert part.mask.tolist() == [[True, False], [True, True]]
    assert [rows.tolist() for rows in batch.parts(2)] == [[2, 0], [1]]


def test_chunks_change_neither_logprobs_nor_gradients(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    head, states, tokens = torch.nn.Linear(8, 50), torch.randn(23, 8, requires_grad=True), torch.randint(50, (23,))
    found = []
    for chunk in (10**6, 50 * 4):
        monkeypatch.setattr(network_module, "CHUNK", chunk)
        states.grad = head.weight.grad = None
        logprobs = token_logprobs(head, states, tokens, 0.7, 50)
        (logprobs * torch.arange(23)).sum().backward()
        found.append((logprobs.detach(), states.grad, head.weight.grad))
    for whole, parts in zip(*found, strict=True):
        assert torch.allclose(whole, parts, atol=1e-4)


def make_targets(training: Training, the_job: Any, options: PPOOptions) -> Any:
    prompts = prompts_of_step(the_job.prompts, 0, options.prompts_per_step, 0)
    count = options.responses_per_prompt
    rollout = sample(training.network, the_job.target, prompts, the_job.generation, n=count, seed=4)
    batch = training.network.with_trunk(rollout.batch, options.batch)
    reference = training.network.reference_logprobs(batch, options.batch)
    rewards = torch.randn(len(rollout.texts), generator=torch.Generator().manual_seed(0))
    return targets(training, batch, rollout.logprobs, reference, rewards, options)


@pytest.mark.parametrize("family", ["gpt2", "llama"])
@pytest.mark.parametrize("kind", LORAS)
def test_the_first_ratio_is_one(job: Callable[..., Any], family: str, kind: str) -> None:
    """In every step, also after updates, with dropout configured: sampling and training see one policy."""
    the_job = job(family, lora=LORAS[kind])
    options = PPOOptions(prompts_per_step=8, minibatch=4, learning_rate=1e-2)
    training = build(the_job, options, None)
    for seed in range(2):
        metrics = update(training, make_targets(training, the_job, options), options, seed)
        assert metrics["first_ratio_error"] < 1e-5
        assert metrics["approximate_kl"] > 1e-4, "the update did nothing"


def test_recomputed_logprobs_are_the_recorded_ones(job: Callable[..., Any]) -> None:
    the_job = job("llama", lora=LORAS["top"])
    found = []
    for how in ("recorded", "recomputed"):
        options = PPOOptions(prompts_per_step=6, old_logprobs=how)
        found.append(make_targets(build(the_job, options, None), the_job, options))
    assert torch.allclose(found[0].logprobs, found[1].logprobs, atol=1e-5)
    assert torch.allclose(found[0].advantages, found[1].advantages, atol=1e-3)


def test_rollouts_are_rendered_with_the_targets_variables(job: Callable[..., Any]) -> None:
    the_job = job("llama")
    training = build(the_job, PPOOptions(), None)
    tokenizer = training.network.policy.tokenizer
    tokenizer.chat_template = "{{ messages[-1].content }}{{ mark }}"
    target = the_job.target.model_copy(update={"chat_template_kwargs": {"mark": "!?"}})
    found = sample(training.network, target, the_job.prompts[:3], the_job.generation, n=1, seed=1).batch
    for row in found.ids[:, : found.prompt_width]:
        assert tokenizer.decode(row).endswith("!?")


def test_a_first_ratio_far_from_one_ends_the_first_step(job: Callable[..., Any]) -> None:
    options = PPOOptions(prompts_per_step=6)
    the_job = job("llama")
    training = build(the_job, options, None)
    given = make_targets(training, the_job, options)
    off = replace(given, logprobs=given.logprobs + 0.1)
    with pytest.raises(UserError, match=r"token by token.*float32"):
        update(training, off, options, seed=1)
    training.recompute_logprobs = True
    with pytest.raises(UserError, match="other rows"):
        update(training, off, options, seed=1)
    head = training.network.policy.model.lm_head
    hook = head.register_forward_hook(lambda module, inputs, output: output + torch.randn_like(output))
    with pytest.raises(UserError, match=r"off by .* two equal passes .* random numbers"):
        update(training, given, options, seed=1)
    hook.remove()
    # Later on it is a policy that has moved, or a checkpoint whose file rounds.
    training.step = 1
    assert update(training, off, options, seed=1)["first_ratio_error"] > 0.05


@pytest.mark.parametrize("kind", LORAS)
def test_accumulation_changes_rounding_only(job: Callable[..., Any], kind: str) -> None:
    the_job, weights = job(lora=LORAS[kind]), []
    for parts in (1, 3):
        # A plain momentum-free step would hide nothing either, but Adam's sign-like first step is the stricter test.
        options = PPOOptions(prompts_per_step=8, minibatch=8, epochs=1, accumulation=parts, learning_rate=1e-4)
        training = build(the_job, options, None)
        update(training, make_targets(training, the_job, options), options, 0)
        weights.append([w.detach().clone() for g in training.optimizer.param_groups for w in g["params"]])
    for one, other in zip(*weights, strict=True):
        assert torch.allclose(one, other, atol=2e-5)


def test_a_frozen_reference_stays(job: Callable[..., Any]) -> None:
    for lora in LORAS.values():
        the_job = job(lora=lora)
        options = PPOOptions(prompts_per_step=4, minibatch=4, learning_rate=1e-2)
        training = build(the_job, options, None)
        batch = pad(PROMPTS, RESPONSES, 1, "cpu")
        before = training.network.reference_logprobs(batch, 4)
        update(training, make_targets(training, the_job, options), options, 0)
        assert torch.equal(training.network.reference_logprobs(batch, 4), before)


def test_leave_one_out_has_no_value_head(job: Callable[..., Any]) -> None:
    the_job = job()
    options = PPOOptions(prompts_per_step=3, responses_per_prompt=4, whiten=False, kl=0.1)
    training = build(the_job, options, None)
    assert training.head is None
    given = make_targets(training, the_job, options)
    rewards = torch.randn(12, generator=torch.Generator().manual_seed(0)).view(3, 4)
    expected = rewards - (rewards.sum(1, keepdim=True) - rewards) / 3  # policy and reference are equal: no KL yet
    assert torch.allclose(given.advantages[:, 0], expected.view(-1), atol=1e-4)
    kept = given.batch.mask
    assert torch.equal(given.advantages[:, :1].expand_as(kept)[kept], given.advantages[kept])


def test_prompts_come_in_shuffled_passes() -> None:
    items: Any = [f"p{i}" for i in range(7)]
    drawn: Any = [one for step in range(7) for one in prompts_of_step(items, step, 3, seed=1)]
    assert all(sorted(drawn[i : i + 7]) == items for i in range(0, 21, 7))
    assert drawn[:7] != drawn[7:14]
    assert prompts_of_step(items, 4, 3, seed=1) == drawn[12:15]
    with pytest.raises(UserError, match="no prompts"):
        prompts_of_step([], 0, 3, seed=1)


def test_models_that_change_their_logits_are_refused(models: dict[str, Path]) -> None:
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(models["llama"])
    check_head(model)
    model.lm_head.register_forward_hook(lambda module, inputs, output: 30 * torch.tanh(output / 30))
    check_head(model)
    forward, changes = model.forward, [lambda logits: logits / 2, lambda logits: 30 * torch.tanh(logits / 30)]

    def changed(*args: Any, **kwargs: Any) -> Any:
        output = forward(*args, **kwargs)
        output.logits = changes[0](output.logits)
        return output

    model.forward = changed
    while changes:
        with pytest.raises(UserError, match="llama"):
            check_head(model)
        del changes[0]
