"""The trainer as a whole: it raises a reward, obeys, ends, and goes on where it was killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from morlaif_core import Generation, Lora, Policy, UserError
from morlaif_ppo import checkpoint, morlaif_policy_trainers, state, update
from morlaif_ppo.options import PPOOptions
from morlaif_ppo.rollout import sample
from morlaif_ppo.state import build
from morlaif_ppo.trainer import PPO
from morlaif_ppo.update import targets
from tests.helpers.policy_jobs import MANY_CHECKPOINTS, make_job

SMALL = {"steps": 4, "prompts_per_step": 4, "minibatch": 2, "learning_rate": 1e-2, "checkpoint_every": 2}
KINDS: dict[str, Any] = {
    "full": (None, {}),
    "lora": (Lora(r=4), {}),
    "top": (Lora(r=4, top_layers=1), {"responses_per_prompt": 2}),
}


def weights(folder: Path) -> dict[str, torch.Tensor]:
    [file] = folder.glob("*.safetensors")
    loaded: dict[str, torch.Tensor] = load_file(file)
    return loaded


def equal(one: Path, other: Path) -> bool:
    first, second = weights(one), weights(other)
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.slow(seconds=2)
@pytest.mark.parametrize(("family", "kind"), [("gpt2", "full"), ("llama", "lora"), ("gpt2", "top")])
def test_the_reward_rises(job: Callable[..., Any], family: str, kind: str) -> None:
    lora, more = KINDS[kind]
    options = {"prompts_per_step": 32 // more.get("responses_per_prompt", 1), **more}
    the_job = job(family, lora=lora)
    rate = 1e-3 if lora is None else 1e-2
    PPO(PPOOptions(steps=20, kl=0.01, learning_rate=rate, **options)).train(the_job)
    rewards = [row["reward"] for _, row in sorted(the_job.report.rows.items())]
    assert sum(rewards[-3:]) / 3 > 2 * sum(rewards[:3]) / 3
    row = the_job.report.rows[20]
    assert {
        "score/letters",
        "score/size",
        "kl",
        "entropy",
        "ended",
        "length",
        "policy_loss",
        "learning_rate",
    } <= row.keys()
    assert ("value_loss" in row) == (kind != "top")
    assert row["kl"] > 1
    assert the_job.reward.steps == 20


@pytest.mark.parametrize("kind", KINDS)
def test_a_run_goes_on_bit_for_bit(job: Callable[..., Any], kind: str) -> None:
    lora, more = KINDS[kind]
    options = PPOOptions(**{**SMALL, "steps": 5, **more})
    whole = job("llama", "whole", lora=lora)
    PPO(options).train(whole)

    def crash(step: int) -> str:
        if step == 4:
            raise KeyboardInterrupt
        return "go"

    cut = job("llama", "cut", lora=lora)
    cut.report.act = crash
    for _ in range(2):  # the second time from checkpoint-2, with the moved adapter still in memory
        with pytest.raises(KeyboardInterrupt):
            PPO(options).train(cut)
    assert not (cut.out / "done.json").exists()
    (cut.out / "checkpoint-4.part").mkdir()
    (cut.out / "done.json.part").touch()
    again = replace(job("llama", "cut", lora=lora), backbones=cut.backbones)
    again.report.rows.update({step: row for step, row in cut.report.rows.items() if step <= 2})
    assert PPO(options).train(again) == Policy(again.target, folder=again.out)
    assert again.report.rows == whole.report.rows
    assert equal(whole.out, cut.out)
    assert again.reward.steps == whole.reward.steps == 5
    assert sorted(path.name for path in cut.out.glob("checkpoint-*")) == ["checkpoint-4", "checkpoint-5"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_stop_keeps_the_step_and_goes_on_bit_for_bit(job: Callable[..., Any], kind: str) -> None:
    lora, more = KINDS[kind]
    options = PPOOptions(**{**SMALL, "steps": 5, "checkpoint_every": 10, **more})
    whole = job("llama", "whole", lora=lora)
    PPO(options).train(whole)

    cut = job("llama", "cut", lora=lora)
    cut = replace(cut, stop=lambda: len(cut.report.rows) == 3)
    for _ in range(2):  # the second time nothing is done, and nothing lost
        with pytest.raises(KeyboardInterrupt):
            PPO(options).train(cut)
    assert [path.name for path in cut.out.glob("checkpoint-*")] == ["checkpoint-3"]
    again = replace(job("llama", "cut", lora=lora), backbones=cut.backbones)
    PPO(options).train(again)
    assert sorted(again.report.rows) == [4, 5]
    assert cut.report.rows | again.report.rows == whole.report.rows
    assert equal(whole.out, again.out)


def test_a_finished_job_returns_at_once(job: Callable[..., Any]) -> None:
    the_job = job()
    the_job.out.mkdir()
    (the_job.out / "done.json").write_text("{}")
    assert PPO(PPOOptions()).train(the_job).folder == the_job.out
    assert not the_job.report.rows


@pytest.mark.parametrize("kind", ["full", "lora"])
def test_the_result_loads_without_us(job: Callable[..., Any], models: dict[str, Path], kind: str) -> None:
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    the_job = job("llama", lora=KINDS[kind][0])
    PPO(PPOOptions(**{**SMALL, "steps": 1})).train(the_job)
    ids = torch.tensor([[5, 6, 7]])
    base = AutoModelForCausalLM.from_pretrained(models["llama"])
    with torch.no_grad():
        before = base(ids).logits
        if kind == "full":
            after = AutoModelForCausalLM.from_pretrained(the_job.out)(ids).logits
        else:
            after = PeftModel.from_pretrained(base, the_job.out)(ids).logits
    assert not torch.allclose(before, after, atol=1e-4)
    assert AutoTokenizer.from_pretrained(the_job.out).eos_token == "<eos>"
    assert json.loads((the_job.out / "done.json").read_text()) == {"steps": 1, "stopped": ""}


def test_training_ends_before_the_update_beyond_the_kl_limit(job: Callable[..., Any]) -> None:
    the_job = job()
    PPO(PPOOptions(**{**SMALL, "steps": 50, "kl": 0.0, "stop_at_kl": 0.5})).train(the_job)
    rows = the_job.report.rows
    last = max(rows)
    assert 1 < last < 50
    assert rows[last]["kl"] > 0.5 >= max(row["kl"] for step, row in rows.items() if step < last)
    assert "policy_loss" in rows[last - 1]
    assert "policy_loss" not in rows[last]
    assert json.loads((the_job.out / "done.json").read_text()) == {"steps": last, "stopped": "kl"}


def test_the_guard_is_obeyed(job: Callable[..., Any]) -> None:
    the_job = job()
    the_job.report.act = lambda step: {1: "raise_kl", 3: "stop"}.get(step, "go")
    PPO(PPOOptions(**SMALL)).train(the_job)
    assert [the_job.report.rows[step]["kl_coefficient"] for step in (1, 2, 3)] == [0.05, 0.1, 0.1]
    assert max(the_job.report.rows) == 3
    assert json.loads((the_job.out / "done.json").read_text())["stopped"] == "guard"
    assert (the_job.out / "checkpoint-3" / "reward.json").is_file()
    texts = the_job.report.generate(the_job.prompts[:3])
    assert len(texts) == 3
    assert texts == the_job.report.generate(the_job.prompts[:3])


def test_a_response_cut_at_a_stop_string_has_ended(job: Callable[..., Any]) -> None:
    the_job = job()
    network = build(the_job, PPOOptions(), None).network
    stopping = Generation(max_new_tokens=40, temperature=1.0, stop=("e",))
    rollout = sample(network, the_job.target, the_job.prompts, stopping, n=2, seed=0)
    tokenizer = network.policy.tokenizer
    kept = [ids[keep].tolist() for ids, keep in zip(rollout.batch.responses, rollout.batch.mask, strict=True)]
    ended = rollout.ended.tolist()
    assert any(ended)
    assert len(rollout.prompts) == 40
    for ids, end, text in zip(kept, ended, rollout.texts, strict=True):
        body = tokenizer.decode(ids)
        assert end == ("e" in body or ids[-1] == tokenizer.eos_token_id)
        assert "e" not in tokenizer.decode(ids[:-1])
        assert "e" not in text
        assert end or len(ids) == 40


def test_only_what_did_not_end_pays(job: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[torch.Tensor] = []

    def watched(*args: Any, **more: Any) -> Any:
        seen.append(args[4])
        return targets(*args, **more)

    monkeypatch.setattr("morlaif_ppo.trainer.targets", watched)
    for penalty in (0.0, 5.0):
        the_job = replace(job(out=f"p{penalty}", stop=("e",), max_new_tokens=30), reference_ended=0.5)
        PPO(PPOOptions(**{**SMALL, "steps": 1, "prompts_per_step": 16, "missing_eos_penalty": penalty})).train(the_job)
    paid = (seen[0] - seen[1]).tolist()
    assert set(paid) == {0.0, 2.5}
    assert the_job.report.rows[1]["missing_eos_penalty"] == 2.5
    assert paid.count(0.0) / 16 == pytest.approx(the_job.report.rows[1]["ended"])


@pytest.mark.parametrize("lora", [None, Lora(r=4, top_layers=1)])
def test_arithmetic_in_bfloat16_trains_float32_weights(job: Callable[..., Any], lora: Any) -> None:
    the_job = job("llama", lora=lora)
    PPO(PPOOptions(**{**SMALL, "steps": 2, "dtype": "bfloat16"})).train(the_job)
    for row in the_job.report.rows.values():
        assert abs(row["policy_loss"]) < 1
        assert row["first_ratio_error"] < 0.1
    assert the_job.report.rows[1]["approximate_kl"] > 1e-3, "later minibatches saw the weights of the first"
    assert all(weight.dtype == torch.float32 and weight.isfinite().all() for weight in weights(the_job.out).values())


def test_other_options_do_not_go_on(job: Callable[..., Any]) -> None:
    the_job = job()
    PPO(PPOOptions(**SMALL)).train(the_job)
    (the_job.out / "done.json").unlink()
    PPO(PPOOptions(**{**SMALL, "accumulation": 2})).train(the_job)  # Tuning: changes no result
    (the_job.out / "done.json").unlink()
    facts = the_job.out / "checkpoint-2" / "training.json"
    older = json.loads(facts.read_text())
    del older["options"]["value_heads"]  # written before that option was there: it went by its default
    facts.write_text(json.dumps(older))
    PPO(PPOOptions(**SMALL)).train(the_job)
    (the_job.out / "done.json").unlink()
    with pytest.raises(UserError, match="other trainer options"):
        PPO(PPOOptions(**{**SMALL, "kl": 0.1})).train(the_job)


def test_a_full_policy_in_another_dtype_goes_on_bit_for_bit(job: Callable[..., Any]) -> None:
    """The target is loaded in bfloat16; what is trained is float32, also after a kill."""
    options = PPOOptions(**{**SMALL, "steps": 3, "learning_rate": 1e-5, "checkpoint_every": 1})
    target = job("llama").target.model_copy(update={"dtype": "bfloat16"})
    whole, cut, again = (replace(job("llama", out), target=target) for out in ("whole", "cut", "cut"))
    PPO(options).train(whole)

    def crash(step: int) -> str:
        if step == 3:
            raise KeyboardInterrupt
        return "go"

    cut.report.act = crash
    with pytest.raises(KeyboardInterrupt):
        PPO(options).train(cut)
    PPO(options).train(again)
    assert equal(whole.out, cut.out)
    rounded = {name: weight.bfloat16().float() for name, weight in weights(whole.out).items()}
    assert not all(torch.equal(weight, rounded[name]) for name, weight in weights(whole.out).items())


@pytest.mark.parametrize("kind", KINDS)
def test_a_diverged_run_ends_before_anything_is_ruined(
    job: Callable[..., Any], kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    lora, more = KINDS[kind]
    options = PPOOptions(**{**SMALL, "steps": 4, "checkpoint_every": 1, **more})
    the_job = job("llama", lora=lora)

    def losses(training: Any, *rest: Any) -> Any:
        loss, ratio, pair = found(training, *rest)
        return (loss * float("inf") if training.step == 2 else loss), ratio, pair

    found = update._losses
    monkeypatch.setattr(update, "_losses", losses)
    with pytest.raises(UserError, match=r"step 3: the gradient is not finite; lower trainer\.learning_rate"):
        PPO(options).train(the_job)
    assert [path.name for path in checkpoint.checkpoints(the_job.out)] == ["checkpoint-1", "checkpoint-2"]
    monkeypatch.setattr(update, "_losses", found)
    PPO(options).train(the_job)
    assert all(weight.isfinite().all() for weight in weights(the_job.out).values())


def test_weights_without_numbers_are_a_clear_error(job: Callable[..., Any]) -> None:
    """One optimizer step may throw finite gradients' weights out of range; the next answers show it."""
    with pytest.raises(UserError, match=r"training diverged; lower trainer\.learning_rate"):
        PPO(PPOOptions(**{**SMALL, "minibatch": 4, "epochs": 1, "learning_rate": 1e38})).train(job("llama"))


def test_dropout_that_would_be_ignored_is_refused(job: Callable[..., Any]) -> None:
    with pytest.raises(UserError, match=r"target\.lora\.dropout"):
        PPO(PPOOptions(**SMALL)).train(job("llama", lora=Lora(r=4, dropout=0.1)))


def test_the_reward_goes_on_before_the_first_step(job: Callable[..., Any]) -> None:
    """Its state is in every checkpoint as it was; one that does not fit ends the run before anything is sampled."""
    the_job = job()
    PPO(PPOOptions(**{**SMALL, "steps": 2})).train(the_job)
    kept = json.loads((the_job.out / "checkpoint-2" / "reward.json").read_text())
    assert kept == the_job.reward.state()
    (the_job.out / "done.json").unlink()
    again = job()

    def refuse(state: Any) -> None:
        assert state == kept
        raise UserError("another calibration")

    again.reward.restore = refuse
    with pytest.raises(UserError, match="another calibration"):
        PPO(PPOOptions(**{**SMALL, "steps": 2})).train(again)
    assert not again.report.rows


def test_training_that_was_done_leaves_the_reward_at_its_end(job: Callable[..., Any]) -> None:
    """A kill may come between the trainer's last file and the core's."""
    PPO(PPOOptions(**{**SMALL, "steps": 2})).train(job())
    again = job()
    PPO(PPOOptions(**{**SMALL, "steps": 2})).train(again)
    assert not again.report.rows
    assert again.reward.steps == 2


def test_finishing_replaces_what_a_kill_left(job: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """A tokenizer with several chat templates is saved with a folder of them."""
    plain = state.save_policy

    def with_folder(network: Any, target: Any, folder: Path) -> None:
        plain(network, target, folder)
        (folder / "additional_chat_templates").mkdir()
        (folder / "additional_chat_templates" / "new.jinja").touch()

    monkeypatch.setattr(checkpoint, "save_policy", with_folder)
    the_job = job()
    left = the_job.out / "additional_chat_templates"
    left.mkdir(parents=True)
    (left / "old.jinja").touch()
    PPO(PPOOptions(**{**SMALL, "steps": 1})).train(the_job)
    assert [path.name for path in left.iterdir()] == ["new.jinja"]


def test_options_and_offer() -> None:
    [offer] = morlaif_policy_trainers()
    assert offer.name == "ppo"
    assert isinstance(offer.build(PPOOptions()), PPO)
    assert all(field.description for field in PPOOptions.model_fields.values())
    with pytest.raises(ValueError, match="leave_one_out needs"):
        PPOOptions(baseline="leave_one_out")
    assert not PPOOptions(responses_per_prompt=2).uses_value
    assert PPOOptions(responses_per_prompt=2, baseline="value").uses_value


def test_the_plugin_is_light() -> None:
    code = "import sys, morlaif_ppo; morlaif_ppo.morlaif_policy_trainers(); assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


KILLED = """
import sys, time
from pathlib import Path
from tests.helpers.policy_jobs import MANY_CHECKPOINTS, Reports, make_job
from morlaif_ppo.options import PPOOptions
from morlaif_ppo.trainer import PPO
def act(step):
    print("step", step, flush=True)
    time.sleep(0.05)
    return "go"
PPO(PPOOptions(**MANY_CHECKPOINTS)).train(make_job(Path(sys.argv[1]), Path(sys.argv[2]), report=Reports(act)))
"""


@pytest.mark.slow(seconds=14)
def test_kill_9_loses_nothing(models: dict[str, Path], tmp_path: Path) -> None:
    def train(out: str) -> None:
        PPO(PPOOptions(**MANY_CHECKPOINTS)).train(make_job(models["gpt2"], tmp_path / out))

    train("whole")
    for kill_at in (1, 3, 5):
        argv = [sys.executable, "-c", KILLED, str(models["gpt2"]), str(tmp_path / "cut")]
        process = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        for line in process.stdout:
            if line == f"step {kill_at}\n":
                time.sleep(0.06)  # some way into the checkpoint
                os.kill(process.pid, signal.SIGKILL)
                break
        assert process.wait() == -signal.SIGKILL
    train("cut")
    assert equal(tmp_path / "whole", tmp_path / "cut")
