"""A policy trainer as a stranger would write it from the docs: best-of-n distillation."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from pydantic import Field

from morlaif_core import (
    Component,
    Options,
    Policy,
    PolicyJob,
    PolicyTrainer,
    Prompt,
    UserError,
    component,
    decode,
    encode_pair,
    prompt_ids,
    stop_strings,
)

QUICK: dict[str, object] = {"steps": 16, "n": 4, "prompts_per_step": 8, "learning_rate": 1e-2}


class StrangerOptions(Options):
    """Of the trainer below."""

    steps: int = Field(8, ge=1, description="steps")
    prompts_per_step: int = Field(8, ge=1, description="prompts of a step")
    n: int = Field(4, ge=2, description="answers to each prompt, of which the best is learnt")
    learning_rate: float = Field(1e-4, gt=0, description="AdamW's")


class Stranger:
    """The one that does all of it."""

    refuses_lora: ClassVar[bool] = True
    own: ClassVar[bool] = True
    tokenizer: ClassVar[bool] = True
    obeys: ClassVar[bool] = True
    looks_for_done: ClassVar[bool] = True

    def __init__(self, options: StrangerOptions) -> None:
        self.options = options

    def train(self, job: PolicyJob) -> Policy:
        if job.target.lora is not None and self.refuses_lora:
            raise UserError("it trains all weights; leave out target.lora")
        done, file = job.out / "done.json", job.out / "state.pt"
        if self.looks_for_done and done.exists():
            return Policy(job.target, job.out)
        backbone = job.backbones.get(job.target, own=self.own)
        model, tokenizer = backbone.model, backbone.tokenizer
        model.requires_grad_(True)
        optimizer = torch.optim.AdamW(model.parameters(), lr=self.options.learning_rate)
        begun = self.restore(job, model, optimizer, torch.load(file, weights_only=True)) if file.exists() else 0
        for step in range(begun + 1, self.options.steps + 1):
            metrics = self.step(job, model, tokenizer, optimizer, step)
            reward = dict(job.reward.state())
            torch.save({"step": step, "model": model.state_dict(), "optimizer": optimizer.state_dict(),
                        "reward": json.dumps(reward)}, file)  # fmt: skip
            if self.report(job, step, metrics) == "stop" and self.obeys:
                break
        model.save_pretrained(job.out)
        if self.tokenizer:
            tokenizer.save_pretrained(job.out)
        file.unlink(missing_ok=True)
        done.write_text(json.dumps({"steps": self.options.steps}))
        return Policy(job.target, job.out)

    def restore(self, job: PolicyJob, model: Any, optimizer: Any, saved: dict[str, Any]) -> int:
        model.load_state_dict(saved["model"])
        optimizer.load_state_dict(saved["optimizer"])
        job.reward.restore(json.loads(saved["reward"]))
        return int(saved["step"])

    def step(self, job: PolicyJob, model: Any, tokenizer: Any, optimizer: Any, step: int) -> dict[str, float]:
        prompts, n = self.prompts(job, step), self.options.n
        answers = self.answers(job, model, tokenizer, prompts, step)
        flat = [prompt for prompt in prompts for _ in range(n)]
        rewards = self.rewards(job, flat, [text for row in answers for text in row], step).reshape(-1, n)
        best = [(p, row[self.pick(r)]) for p, row, r in zip(prompts, answers, rewards, strict=True)]
        loss = self.learn(job, model, tokenizer, optimizer, best)
        return {"reward": self.mean(rewards), "loss": loss}

    def seed(self, job: PolicyJob) -> int:
        return job.seed

    def prompts(self, job: PolicyJob, step: int) -> list[Prompt]:
        return random.Random(f"{self.seed(job)}/{step}").sample(list(job.prompts), self.options.prompts_per_step)

    def answers(
        self, job: PolicyJob, model: Any, tokenizer: Any, prompts: Sequence[Prompt], step: int
    ) -> list[list[str]]:
        template, g = job.target.template, job.generation
        drawn = decode(
            model, tokenizer, [prompt_ids(tokenizer, prompt, template) for prompt in prompts], n=self.options.n,
            max_new_tokens=g.max_new_tokens, temperature=g.temperature, stop=stop_strings(g, tokenizer, template),
            seed=self.seed(job) * 1000 + step,
        )  # fmt: skip
        return [[one.text for one in row] for row in drawn]

    def rewards(self, job: PolicyJob, prompts: list[Prompt], texts: list[str], step: int) -> Any:
        return job.reward(prompts, texts, step=step).rewards

    def pick(self, rewards: Any) -> int:
        return int(np.nanargmax(rewards))

    def mean(self, rewards: Any) -> float:
        return float(np.nanmean(rewards))

    def report(self, job: PolicyJob, step: int, metrics: dict[str, float]) -> str:
        return job.report(step, self.options.steps, metrics)

    def learn(
        self, job: PolicyJob, model: Any, tokenizer: Any, optimizer: Any, best: list[tuple[Prompt, str]]
    ) -> float:
        optimizer.zero_grad()
        total = 0.0
        with torch.enable_grad():
            for prompt, text in best:
                pair = encode_pair(tokenizer, prompt, text, 128, job.target.template)
                ids = torch.tensor([pair.ids])
                labels = ids.clone()
                labels[:, : pair.start] = -100
                loss = model(input_ids=ids, labels=labels).loss / len(best)
                loss.backward()
                total += loss.item()
        optimizer.step()
        return total


def offered(kind: type[Stranger] = Stranger) -> Component[PolicyTrainer]:
    """Return the component of one of them."""
    return component("stranger", kind, StrangerOptions, "best-of-n distillation")
