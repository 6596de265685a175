"""The value head: values read while sampling are those of a pass, it learns what lies behind, and has a norm of its own."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
import torch

from morlaif_core import Lora, UserError
from morlaif_ppo.network import Network
from morlaif_ppo.options import PPOOptions
from morlaif_ppo.rollout import sample
from morlaif_ppo.state import Training, build
from morlaif_ppo.trainer import PPO
from morlaif_ppo.update import Targets, before_update, update
from morlaif_ppo.value import ValueHead

LORAS: dict[str, Any] = {"full": None, "lora": Lora(r=4), "top": Lora(r=4, top_layers=1)}


def rolled_out(training: Training, job: Any, **more: Any) -> Any:
    """Episodes of unlike length, with states, and a head that says something already."""
    assert training.head is not None
    torch.nn.init.normal_(training.head.out.weight, generator=torch.Generator().manual_seed(0))
    rollout = sample(training.network, job.target, job.prompts[:6], job.generation, n=2, seed=3, states=True, **more)
    assert len(set(rollout.batch.lengths.tolist())) > 1
    return rollout


@pytest.mark.parametrize("family", ["gpt2", "llama"])
@pytest.mark.parametrize("kind", LORAS)
@pytest.mark.parametrize("at_once", [None, 4])
def test_values_read_while_sampling_are_those_of_a_pass(
    job: Callable[..., Any], family: str, kind: str, at_once: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    the_job = job(family, lora=LORAS[kind], stop=("e",), max_new_tokens=30)
    training = build(the_job, PPOOptions(responses_per_prompt=2, baseline="value"), None)
    rollout = rolled_out(training, the_job, batch=at_once)
    batch = training.network.with_trunk(rollout.batch, 4)
    training.recompute_logprobs = True
    _, by_pass = before_update(training, batch, rollout.logprobs, PPOOptions())
    training.recompute_logprobs = False
    monkeypatch.setattr(Network, "states", None)  # a pass would fail
    _, read = before_update(training, batch, rollout.logprobs, PPOOptions())
    assert by_pass.std() > 0.1
    torch.testing.assert_close(read, by_pass, atol=1e-4, rtol=0)
    assert (read[~batch.mask] == 0).all()


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_training_reads_values_while_sampling_where_it_can(
    job: Callable[..., Any], dtype: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    passes = []
    found = Network.states

    def counted(network: Network, model: Any, batch: Any) -> Any:
        passes.append(torch.is_grad_enabled())
        return found(network, model, batch)

    monkeypatch.setattr(Network, "states", counted)
    PPO(PPOOptions(steps=1, prompts_per_step=4, minibatch=4, epochs=1, dtype=dtype)).train(job("llama"))
    # The reference's, the update's, and in bfloat16 one for log-probabilities and values.
    assert passes == ([False, True] if dtype == "float32" else [False, False, True])


def test_the_head_learns_what_lies_behind() -> None:
    """What a reward pays for was said some tokens ago; the state before the next token no longer shows it."""
    torch.manual_seed(0)
    head, states = ValueHead(16), torch.randn(200, 12, 16)
    wanted = states.cumsum(dim=1)[..., 0] / torch.arange(1, 13) ** 0.5
    optimizer = torch.optim.Adam(head.parameters(), lr=5e-3)
    for _ in range(100):
        optimizer.zero_grad()
        (head(states[:150]) - wanted[:150]).square().mean().backward()
        optimizer.step()
    left = (head(states[150:]) - wanted[150:]).detach()
    assert 1 - left.var() / wanted[150:].var() > 0.5


def test_a_head_far_off_does_not_take_the_policys_gradient_down(job: Callable[..., Any]) -> None:
    the_job, moved = job("llama"), []
    for coefficient in (0.0, 1e6):
        options = PPOOptions(prompts_per_step=4, minibatch=12, epochs=1, value_coefficient=coefficient)
        training = build(the_job, options, None)
        rollout = sample(training.network, the_job.target, the_job.prompts[:6], the_job.generation, n=2, seed=3)
        # Plain steps, as Adam's do not depend on the gradient's size; the head's output layer is 0, so none of its
        # gradient reaches the policy.
        training.optimizer = torch.optim.SGD(
            [{"params": group["params"], "lr": 1.0} for group in training.optimizer.param_groups]
        )
        before = [weight.detach().clone() for weight in training.optimizer.param_groups[0]["params"]]
        ones = rollout.batch.mask.float()
        metrics = update(training, Targets(rollout.batch, rollout.logprobs, ones, 0 * ones, 9 * ones), options, 0)
        assert metrics["value_gradient_norm"] == pytest.approx(0.0) or metrics["value_gradient_norm"] > 1e3
        after = training.optimizer.param_groups[0]["params"]
        moved.append(torch.cat([(new - old).flatten() for new, old in zip(after, before, strict=True)]))
    assert moved[0].norm() > 1e-3
    torch.testing.assert_close(*moved)


def test_a_checkpoint_of_an_earlier_version(job: Callable[..., Any]) -> None:
    """Options that nothing read may differ; a head of another shape is told from damage."""
    groups = {"steps": 2, "prompts_per_step": 2, "responses_per_prompt": 2, "minibatch": 4}
    PPO(PPOOptions(**groups)).train(job(out="groups"))
    facts = job(out="groups").out / "checkpoint-2" / "training.json"
    saved = json.loads(facts.read_text())
    saved["options"] |= {"value_clip": 0.2, "value_learning_rate": 1e-3}
    facts.write_text(json.dumps(saved))
    (facts.parents[1] / "done.json").unlink()
    PPO(PPOOptions(**groups)).train(job(out="groups"))

    alone = PPOOptions(steps=2, prompts_per_step=4, minibatch=4)
    the_job = job(out="value")
    PPO(alone).train(the_job)
    (the_job.out / "done.json").unlink()
    path = the_job.out / "checkpoint-2" / "state.pt"
    state = torch.load(path, weights_only=True)
    state["head"]["hidden.weight"] = state["head"]["hidden.weight"][:, :32]
    torch.save(state, path)
    with pytest.raises(UserError, match="earlier version; move"):
        PPO(alone).train(job(out="value"))
