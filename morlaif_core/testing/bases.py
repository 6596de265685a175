"""A small language model to test with, made on the spot from a config: `tiny_base`."""

from __future__ import annotations

import tempfile
from functools import cache
from pathlib import Path
from typing import Any

CHAT = (
    "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}</s>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
_TEXT = "\n\nHuman: How do I bake good bread?\n\nAssistant: Mix flour and water, let it rise, then bake. <|user|>"


def tiny_base(folder: Path | None = None, *, chat: bool = False, seed: int = 0) -> Path:
    """Return the folder of a small GPT-2 with its tokenizer, as `check_pm_backend` and `check_policy_trainer` need one.

    3 blocks, 32 wide, 128 positions, 300 tokens, random weights; it takes about a second to make and needs no network.
    What it writes is noise, but it can be trained.

    Args:
        folder: where to write it; by default a folder in the user's cache, made once.
        chat: give the tokenizer a chat template.
        seed: of the weights.

    >>> from morlaif_core.testing import tiny_base
    >>> (tiny_base() / "model.safetensors").is_file()
    True
    """
    from morlaif_core.models.resolve import cache_folder

    if folder is not None:
        _write(folder, chat, seed)
        return folder
    folder = cache_folder() / f"tiny-base-1{'-chat' if chat else ''}-{seed}"
    if not folder.is_dir():
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix="tiny-base-") as beside:
            _write(Path(beside) / "made", chat, seed)
            try:
                (Path(beside) / "made").rename(folder)  # whole or not at all
            except OSError:
                if not folder.is_dir():  # else another process was first
                    raise
    return folder


def tiny_tokenizer(*, chat: bool = False) -> Any:
    """Return a fresh byte-level tokenizer of 300 tokens: eos </s> 0, unk 1, pad 2; chat: with a chat template."""
    from tokenizers import Tokenizer
    from transformers import PreTrainedTokenizerFast

    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer.from_str(_trained()), eos_token="</s>", unk_token="<unk>", pad_token="<pad>"
    )
    if chat:
        tokenizer.chat_template = CHAT
    return tokenizer


def _write(folder: Path, chat: bool, seed: int) -> None:
    import torch
    from transformers import GPT2Config, GPT2LMHeadModel

    tokenizer = tiny_tokenizer(chat=chat)
    config = GPT2Config(
        vocab_size=len(tokenizer), n_positions=128, n_embd=32, n_layer=3, n_head=2,
        bos_token_id=None, eos_token_id=0, pad_token_id=2,
    )  # fmt: skip
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model: Any = GPT2LMHeadModel(config)
    # Away from the near-uniform start, so that draws and scores differ.
    for weight in model.parameters():
        weight.data.mul_(3.0)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


@cache
def _trained() -> str:
    """Return the tokenizer as JSON, trained on one line."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=300,
        special_tokens=["</s>", "<unk>", "<pad>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator([_TEXT] * 3, trainer)
    return str(tokenizer.to_str())
