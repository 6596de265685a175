"""A local causal LM as judge: the probabilities of its next token, read where the letter would stand.

Leaves out: written verdicts (rationales, JSON), which servers such as vLLM give; and cutting long requests, because a
verdict on a part of a response is none on the response.
"""

from __future__ import annotations

import asyncio
import math
import re
import threading
from collections.abc import Sequence
from typing import Any

from morlaif_core import Answer, Capabilities, ProviderError, Request, Usage, check_cache, context_length, judge_model

from .options import TOP, TransformersJudgeOptions
from .prefixes import grouped, next_logprobs
from .wording import Wording

_LABEL = re.compile(r"[\W_]*([abc])[\W_]*", re.I)
"""Spellings of a label and more: the core decides which it counts."""
_FAINT = 20.0
"""Spellings this far (nats) below their label's likeliest are left out: together they are less than rounding."""
_ALONE = threading.Lock()
"""Judges in one process take turns: they would share cores and memory, and each pass changes how its model runs."""


class TransformersJudge:
    """Answers batches of requests; those that begin alike share what they begin with.

    An answer depends on which requests share its batch by rounding alone.
    """

    def __init__(self, options: TransformersJudgeOptions) -> None:
        self._options = options
        self.model = judge_model(options.target)
        self._tokenizer = self.model.tokenizer()
        self._wording = Wording(self._tokenizer, options.template)
        self._texts: dict[int, str] = {}
        self._labels = _spellings(self._tokenizer, self._text)
        quantized = f" {options.quantize}" if options.quantize else ""
        name = f"{self.model.name}@{self.model.fingerprint}"
        self.identity = f"transformers:{name} {self.model.target.dtype}{quantized} {self._wording.identity}"

    @property
    def capabilities(self) -> Capabilities:
        """Log-probabilities of one token; no text is written."""
        return self._options.capabilities()

    def encode(self, request: Request) -> list[int]:
        """Return the tokens that a request's answer follows. Raises `ProviderError` (item)."""
        return self._wording.encode(request.messages)

    async def ask(self, request: Request) -> Answer:
        """Answer one request; see `ask_many`."""
        return (await asyncio.to_thread(self.ask_many, [request]))[0]

    def ask_many(self, requests: Sequence[Request]) -> list[Answer]:
        """Return one answer per request, in order: the top tokens and every spelling of A, B and C.

        Raises `ProviderError`: item where a request is longer than the model's context (nothing is cut), run where the
        memory does not hold a pass; `UserError` where the model cannot be loaded or keeps more than keys and values.
        """
        rows = [self.encode(request) for request in requests]
        answers: list[Answer | None] = [None] * len(rows)
        with _ALONE, self.model.load().use(None) as model:
            _check(model, rows)
            for group in grouped(rows):
                for places, logprobs in self._passes(model, rows, group):
                    for place, row in zip(places, logprobs, strict=True):
                        # The first row of a group pays for the prefix, the others read it from the cache.
                        cached = group.shared if place != group.places[0] else 0
                        answers[place] = self._answer(row, Usage(len(rows[place]), cached, 1))
        return [answer for answer in answers if answer is not None]

    def _passes(self, model: Any, rows: Sequence[Sequence[int]], group: Any) -> Any:
        import torch

        try:
            # Else a prefix could not be shared.
            check_cache(model)
            yield from next_logprobs(model, rows, group, self._options.tokens_per_pass)
        except torch.OutOfMemoryError:
            text = "the GPU's memory does not hold a pass; lower tokens_per_pass, or quantize the model"
            raise ProviderError(text, "run") from None

    def _answer(self, logprobs: Any, usage: Usage) -> Answer:
        """Read a row of log-probabilities (V,)."""
        top = dict(zip(*(part.tolist() for part in reversed(logprobs.topk(TOP))), strict=True))
        if any(map(math.isnan, top.values())):
            raise ProviderError("the model's logits are no numbers: its weights are damaged", "run")
        found = dict(top)
        for ids in self._labels:
            values = dict(zip(ids, logprobs[ids].tolist(), strict=True))
            best = max(values.values())
            found |= {token: value for token, value in values.items() if value > best - _FAINT}
        first = self._text(next(iter(top)))
        return Answer(
            text=first,
            # Nothing is written: the answer ends after its first token whatever the model would go on with.
            finish="length",
            top_logprobs=(self._named(found),),
            tokens=(first,),
            model=self.model.name,
            usage=usage,
        )

    def _named(self, found: dict[int, float]) -> dict[str, float]:
        """Log-probabilities by text, likeliest first; tokens that read alike (a letter and its byte) are added up."""
        named: dict[str, float] = {}
        for token, value in sorted(found.items(), key=lambda item: -item[1]):
            text = self._text(token)
            known = named.get(text)
            named[text] = value if known is None else known + math.log1p(math.exp(value - known))
        return named

    def _text(self, token: int) -> str:
        """Return a token as it reads within a text: a space before it stays."""
        if token not in self._texts:
            piece = self._tokenizer.convert_ids_to_tokens(token) or f"<{token}>"
            text = piece.replace("▁", " ") if piece[0] == "▁" else str(self._tokenizer.decode([token]))
            # A part of a character has no text of its own.
            self._texts[token] = piece if not text or "\ufffd" in text else text
        return self._texts[token]


def _spellings(tokenizer: Any, text: Any) -> list[list[int]]:
    """Return the tokens that spell A, those that spell B, those that spell C; a letter without any is left out."""
    special = set(tokenizer.all_special_ids)
    found: dict[str, list[int]] = {}
    # By id, as the order of the vocabulary's dictionary is not fixed.
    for piece, token in sorted(tokenizer.get_vocab().items(), key=lambda item: item[1]):
        # A piece holds its letter as it is, or is its byte (<0x41>): few need to be decoded.
        if token not in special and re.search("[abc]|^<0x", piece, re.I) and (label := _LABEL.fullmatch(text(token))):
            found.setdefault(label[1].upper(), []).append(token)
    return list(found.values())


def _check(model: Any, rows: Sequence[Sequence[int]]) -> None:
    """Refuse what does not fit. Raises `ProviderError`."""
    limit = context_length(model)
    longest = max(map(len, rows), default=0)
    if limit and longest > limit:
        raise ProviderError(
            f"the request of {longest:,} tokens is longer than the model's context of {limit:,}", "item"
        )
