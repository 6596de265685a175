"""Tiny real models, a programmatic reward and jobs for a policy trainer."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from morlaif_core import Generation, Message, PolicyJob, Prompt, RewardBatch, ScoreMatrix, Target, make_prompt
from morlaif_core.models.backbones import LocalBackbones

WORDS = "tell me about the sea and the hills in spring, please; it is a fine day there. Thanks, see you!".split()
MANY_CHECKPOINTS: dict[str, Any] = {
    "steps": 6, "prompts_per_step": 4, "minibatch": 2, "learning_rate": 1e-2, "checkpoint_every": 1,
}  # fmt: skip


class LetterReward:
    """Pays for the share of "e" in the text; keeps a count as its state, as a stateful scalarizer would."""

    def __init__(self) -> None:
        self.steps = 0

    def __call__(self, prompts: Sequence[Prompt], responses: Sequence[str], *, step: int = 0) -> RewardBatch:
        share = [text.count("e") / max(1, len(text)) for text in responses]
        values = np.array(
            [[one, float(len(text))] for one, text in zip(share, responses, strict=True)], dtype=np.float32
        )
        scores = ScoreMatrix(values, ("letters", "size"), tuple(prompt.id for prompt in prompts))
        return RewardBatch(4 * values[:, 0], scores, 0.0)

    def end_step(self, means: ScoreMatrix) -> None:
        assert means.values.shape == (1, 2)
        self.steps += 1

    def state(self) -> Mapping[str, object]:
        return {"steps": self.steps}

    def restore(self, state: Mapping[str, object]) -> None:
        self.steps = int(str(state["steps"]))


class Reports:
    """Keeps what is reported; ``act`` may answer, or raise."""

    def __init__(self, act: Callable[[int], str] = lambda step: "go") -> None:
        self.rows: dict[int, dict[str, float]] = {}
        self.act = act
        self.generate: Any = None

    def __call__(self, step: int, total: int, metrics: Mapping[str, float], *, generate: Any = None) -> Any:
        answer = self.act(step)
        self.rows[step] = {name: value for name, value in metrics.items() if not name.startswith("seconds/")}
        self.generate = generate
        return answer


def make_model(folder: Path, family: str) -> Path:
    """Write a tiny random model (2 blocks, 32 wide) with a byte-level tokenizer of about 300 tokens."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    raw = Tokenizer(models.BPE())
    raw.pre_tokenizer, raw.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=300, special_tokens=["<eos>", "<pad>"], initial_alphabet=pre_tokenizers.ByteLevel.alphabet()
    )
    raw.train_from_iterator([" ".join(WORDS), "\n\nHuman: tell me\n\nAssistant: yes"] * 3, trainer)
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=raw, eos_token="<eos>", pad_token="<pad>")
    size, ids = len(tokenizer), {"eos_token_id": 0, "bos_token_id": 0, "pad_token_id": 1}
    torch.manual_seed(3)
    if family == "gpt2":
        model: Any = GPT2LMHeadModel(
            GPT2Config(vocab_size=size, n_embd=32, n_layer=2, n_head=2, n_positions=128, initializer_range=0.2, **ids)
        )
    else:
        model = LlamaForCausalLM(
            LlamaConfig(
                vocab_size=size, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
                num_key_value_heads=2, max_position_embeddings=128, initializer_range=0.2, **ids,
            )
        )  # fmt: skip
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def make_prompts(count: int = 20) -> list[Prompt]:
    """Prompts of unlike length."""
    return [make_prompt([Message("user", f"{i} " + " ".join(WORDS[: 1 + i % 7]))]) for i in range(count)]


def make_job(folder: Path, out: Path, *, report: Any = None, lora: Any = None, **generation: Any) -> PolicyJob:
    """A job on a tiny model."""
    return PolicyJob(
        target=Target(model=str(folder), lora=lora),
        prompts=make_prompts(),
        pairs=(),
        reward=LetterReward(),
        generation=Generation(**{"max_new_tokens": 12, "temperature": 0.8, **generation}),
        out=out,
        seed=5,
        report=report or Reports(),
        backbones=LocalBackbones(device="cpu", threads=1),
    )
