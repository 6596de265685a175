"""Tiny real sequence classifiers with their tokenizers: what people have as reward models, made on the spot."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from tests.helpers.tiny_models import tiny_tokenizer

WORDS = "how do i bake bread ? mix flour and water please no : human assistant , .".split()


def save_decoder(
    folder: Path, outputs: int = 1, *, chat: bool = False, pad: int | None = 2, seed: int = 0, **config: Any
) -> Path:
    """A GPT-2 with a head of so many outputs, as TRL's RewardTrainer leaves one; returns the folder."""
    from transformers import GPT2Config, GPT2ForSequenceClassification

    tokenizer = tiny_tokenizer(chat=chat)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = GPT2ForSequenceClassification(
            GPT2Config(
                vocab_size=config.pop("vocab_size", len(tokenizer)), n_positions=64, n_embd=32, n_layer=2, n_head=2,
                num_labels=outputs, bos_token_id=None, eos_token_id=0, pad_token_id=pad, **config,
            )
        )  # fmt: skip
        for weight in model.parameters():
            weight.data.mul_(3.0)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def save_encoder(folder: Path, outputs: int = 1, seed: int = 0, **config: Any) -> Path:
    """A BERT that reads pairs of texts, with a tokenizer of whole words; returns the folder."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import BertConfig, BertForSequenceClassification, PreTrainedTokenizerFast

    known = {word: place for place, word in enumerate(["[PAD]", "[UNK]", "[CLS]", "[SEP]", *WORDS])}
    words = Tokenizer(models.WordLevel(known, unk_token="[UNK]"))
    words.normalizer = normalizers.Lowercase()
    words.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    words.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=words,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        model_input_names=["input_ids", "token_type_ids", "attention_mask"],
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = BertForSequenceClassification(
            BertConfig(
                vocab_size=len(known), hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64,
                max_position_embeddings=32, num_labels=outputs, **config,
            )
        )  # fmt: skip
        for weight in model.parameters():
            weight.data.mul_(3.0)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
