"""A sequence classifier of transformers as it is: its outputs, its own texts, and scores that a batch does not change."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from morlaif_core import (
    Backbones,
    Floats,
    Prompt,
    Target,
    UserError,
    context_length,
    did_you_mean,
    encode_pair,
    ended,
    hh_text,
)

from .encoding import batches_by_length
from .models import device_of, pool_by_mask, quiet, set_threads
from .options import PretrainedOptions

Texts: TypeAlias = dict[str, list[int]]
"""``input_ids``, and ``token_type_ids`` where the model reads them."""


def label_names(folder: Path) -> list[str]:
    """Return the names of a model's outputs in their order, from its config alone."""
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    names = config.get("id2label") or {}
    # As transformers has it: two outputs where nothing is said.
    count = len(names) or int(config.get("num_labels") or 2)
    return [str(names.get(str(place), f"LABEL_{place}")) for place in range(count)]


def chosen_output(names: Sequence[str], options: PretrainedOptions) -> int:
    """Return the number of the output that is the score. Raises `UserError` naming ``column`` where none is meant."""
    have = f"{options.model} has {len(names)} outputs ({', '.join(f'{n} {name}' for n, name in enumerate(names))})"
    column = options.column
    if column is None and len(names) != 1:
        raise UserError(f"{have}: say by `column` which one is the score")
    if isinstance(column, str):
        if column not in names:
            raise UserError(f"column: '{column}' is none of them: {have}.{did_you_mean(column, list(names))}")
        return names.index(column)
    if column is not None and column >= len(names):
        raise UserError(f"column: {column} is none of them: {have}")
    return column or 0


def load_classifier(target: Target, options: PretrainedOptions, backbones: Backbones) -> Classifier:
    """Load model and tokenizer; the global generators are left alone. Raises `UserError` where it is no classifier."""
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    name, dtype = str(target.model), getattr(torch, target.dtype)
    try:
        with torch.random.fork_rng(devices=[]), quiet():
            # A pickled checkpoint or a repository's own code would run here with the user's rights.
            model, report = AutoModelForSequenceClassification.from_pretrained(
                name, revision=target.revision, dtype=dtype, trust_remote_code=False, use_safetensors=True,
                output_loading_info=True,
            )  # fmt: skip
            tokenizer = AutoTokenizer.from_pretrained(name, revision=target.revision, trust_remote_code=False)
    except Exception as error:  # transformers, safetensors and the hub raise many kinds
        cause = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise UserError(f"{options.model} cannot be loaded as a sequence classifier: {cause}") from error
    # transformers would draw the missing head at random, and go on.
    if lacking := sorted(report["missing_keys"]):
        raise UserError(
            f"{options.model} is no sequence classifier: it lacks the weights {', '.join(lacking[:3])}; give a reward "
            "model, or train one with another backend"
        )
    set_threads(model, backbones)
    return Classifier(model.to(device_of(backbones)).eval(), tokenizer, options)


class Classifier:
    """A loaded model that scores responses by one of its outputs. Raises `UserError` where the options do not fit it."""

    def __init__(self, model: Any, tokenizer: Any, options: PretrainedOptions) -> None:
        self.model, self.tokenizer, self.options = model, tokenizer, options
        labels = [model.config.id2label[place] for place in range(model.config.num_labels)]
        self.column = chosen_output(labels, options)
        self.softmax = options.outputs == "softmax" or (options.outputs == "auto" and _says_softmax(model.config))
        decoder = hasattr(model, "score")
        chat = getattr(tokenizer, "chat_template", None) is not None
        self.template = (
            ("chat" if chat else "hh" if decoder else "pair") if options.template == "auto" else options.template
        )
        limits = (options.max_length, context_length(model), tokenizer.model_max_length)
        if self.template != "pair" and tokenizer.eos_token_id is None:
            raise UserError(f"the tokenizer of {options.model} has no end-of-sequence token; say template: pair")
        self.max_length = int(min(limit for limit in limits if limit))
        pad = model.config.get_text_config().pad_token_id
        if decoder and pad is None:
            # Its own forward takes no batch without a pad id; this one reads where it reads a single text: at the end.
            self.model = pool_by_mask(model)
        self.pad = int(pad if pad is not None else 0)
        self.tail = _after_the_end(tokenizer) if self.template == "chat" else []

    @property
    def how(self) -> dict[str, Any]:
        """What done.json keeps."""
        return {
            "model": self.options.model,
            "revision": self.options.revision,
            "column": self.column,
            "reverse": self.options.reverse,
            "softmax": self.softmax,
            "template": self.template,
            "max_length": self.max_length,
        }

    def score(self, prompts: Sequence[Prompt], responses: Sequence[str]) -> Floats:
        """Return n scores (n,) float32, higher for better; in eval mode, without gradient."""
        import torch

        texts = [self._encode(prompt, response) for prompt, response in zip(prompts, responses, strict=True)]
        scores = np.zeros(len(texts), dtype=np.float32)
        with torch.no_grad():
            for batch in batches_by_length([len(text["input_ids"]) for text in texts], self.options.batch_tokens):
                padded = _padded([texts[place] for place in batch], self.pad)
                outputs = self.model(
                    **{key: value.to(self.model.device) for key, value in padded.items()}
                ).logits.float()
                scores[batch] = self._read(outputs).cpu().numpy()
        return -scores if self.options.reverse else scores

    def _read(self, outputs: Any) -> Any:
        """Return the scores (b,) in the outputs (b, m)."""
        import torch

        column = outputs[:, self.column]
        if not self.softmax or outputs.shape[1] == 1:
            return column
        others = [place for place in range(outputs.shape[1]) if place != self.column]
        return column - torch.logsumexp(outputs[:, others], dim=1)

    def _encode(self, prompt: Prompt, response: str) -> Texts:
        text = self._pair(prompt, response) if self.template == "pair" else self._turns(prompt, response)
        rows = self.model.get_input_embeddings().weight.shape[0]
        if (most := max(text["input_ids"])) >= rows:
            raise UserError(
                f"the tokenizer of {self.options.model} makes the token {most}, but its model knows {rows}: they do not "
                "belong together; take both from one place"
            )
        return text

    def _turns(self, prompt: Prompt, response: str) -> Texts:
        """One text, of a chat template or of HH turns; the prompt is cut on the left."""
        template: Any = self.template
        tail = self.tail if ended(response) else []
        pair = encode_pair(self.tokenizer, prompt, response, self.max_length - len(tail), template)
        return {"input_ids": [*pair.ids, *tail]}

    def _pair(self, prompt: Prompt, response: str) -> Texts:
        """Question and answer as two texts, with the special tokens that the tokenizer puts around them."""
        turns = prompt.messages
        question = turns[0].content if len(turns) == 1 else hh_text(turns).strip()
        # What is spelled out as a special token stays text.
        how: dict[str, Any] = {"split_special_tokens": True, "verbose": False}
        own = len(self.tokenizer(str(response), add_special_tokens=False, **how)["input_ids"])
        fits = own < self.max_length - self.tokenizer.num_special_tokens_to_add(pair=True)
        # The question's beginning goes first; where nothing of it would be left, the ends of both.
        self.tokenizer.truncation_side = "left" if fits else "right"
        how |= {"truncation": "only_first" if fits else "longest_first", "max_length": self.max_length}
        found = self.tokenizer(question, str(response), **how)
        return {key: found[key] for key in ("input_ids", "token_type_ids") if key in found}


def _says_softmax(config: Any) -> bool:
    """Say whether several outputs exclude each other, as transformers' own pipeline for classifiers reads a config."""
    return config.num_labels > 1 and config.problem_type in (None, "single_label_classification")


def _after_the_end(tokenizer: Any) -> list[int]:
    """Return the tokens that a chat template puts behind the special one that closes a response, such as a line break's."""
    mark = "MORLAIF-RESPONSE"
    turns = [{"role": "user", "content": "?"}, {"role": "assistant", "content": mark}]
    text = str(tokenizer.apply_chat_template(turns, tokenize=False)).partition(mark)[2]
    first, *rest = tokenizer(text.lstrip(), add_special_tokens=False)["input_ids"] or [None]
    return rest if first in tokenizer.all_special_ids else []


def _padded(texts: Sequence[Texts], pad: int) -> dict[str, Any]:
    """Return tensors (b, t), padded on the right, with their attention mask."""
    import torch

    width = max(len(text["input_ids"]) for text in texts)
    fill = {"input_ids": pad, "token_type_ids": 0}
    found = {
        key: torch.tensor([[*text[key], *[fill[key]] * (width - len(text[key]))] for text in texts]) for key in texts[0]
    }
    lengths = [len(text["input_ids"]) for text in texts]
    return {**found, "attention_mask": torch.tensor([[1] * n + [0] * (width - n) for n in lengths])}
