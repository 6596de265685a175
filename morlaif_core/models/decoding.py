"""Sampling from a causal LM: shared prefill, one preallocated key-value cache, inverse-CDF draws, log-probabilities.

Our own loop, since transformers' `generate` is slower (see docs/log.md) and repeats the prompt for each of its n responses.
Leaves out: top-k, top-p, penalties and the rest of a model's generation_config, since the log-probabilities must be those
that training computes; beam search, since RL samples; recurrent and hybrid models, which take no key-value cache.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any, NamedTuple

from morlaif_core.errors import UserError
from morlaif_core.plugins.components import Generation

from .head_states import HeadStates, reading
from .rendering import HUMAN, Template, uses_chat

_COMPACT_AT = 0.75
"""Ended rows leave the batch when at most this share of it is alive: moving the cache costs about one step."""


class Decoded(NamedTuple):
    """One sampled response."""

    ids: list[int]
    """sampled tokens, eos included; cut at the token that completed a stop string"""
    logprobs: list[float]
    """log-probability of each under softmax(logits / temperature), no top-k or top-p"""
    text: str
    """without special tokens, cut before a stop string, stripped"""
    ended: bool
    """by eos or a stop string, not by length"""
    states: Any = None
    """(t, h) what the head read to draw each token; None where not asked for"""


def stop_strings(generation: Generation, tokenizer: Any, template: Template) -> tuple[str, ...]:
    """Resolve ``Generation.stop``: auto is the next human turn for HH prompts, eos alone for chat templates."""
    if generation.stop != "auto":
        return generation.stop
    return () if uses_chat(tokenizer, template) else (HUMAN,)


def eos_token_ids(model: Any, tokenizer: Any) -> tuple[int, ...]:
    """Return every id that ends a response: the tokenizer's eos and those the model's generation config adds."""
    config = getattr(model, "generation_config", None)
    extra = getattr(config, "eos_token_id", None)
    found = [extra] if isinstance(extra, int) else list(extra or ())
    return tuple(sorted({*found, tokenizer.eos_token_id} - {None}))


def decode(
    model: Any,
    tokenizer: Any,
    prompts: Sequence[Sequence[int]],
    *,
    n: int,
    max_new_tokens: int,
    temperature: float,
    stop: tuple[str, ...],
    seed: int,
    eos_ids: tuple[int, ...] | None = None,
    batch: int | None = None,
    states: bool = False,
) -> list[list[Decoded]]:
    """Sample ``n`` responses for each prompt (token ids, none empty); one list of n per prompt, in order.

    batch: how many responses are drawn at once, None for all; a prompt's n stay together. Prompts of like length go
    together. Every response has random numbers of its own, fixed by seed, place and n, so the batch size changes
    results only by rounding. states: keep what the head read, too. The model is put in eval mode meanwhile. Raises
    `UserError` where prompt and response exceed the model's positions, or the logits are NaN.
    """
    import torch

    check_length(model, prompts, max_new_tokens)
    ends = eos_token_ids(model, tokenizer) if eos_ids is None else eos_ids
    generator = torch.Generator().manual_seed(seed)
    # All at once and on the CPU, so that a response's numbers depend on neither batch nor device.
    draws = torch.rand(len(prompts), n, max_new_tokens, generator=generator, dtype=torch.float64)
    watch = _Stops(tokenizer, stop)
    results: list[list[Decoded]] = [[] for _ in prompts]
    order = sorted(range(len(prompts)), key=lambda i: (len(prompts[i]), i))
    size = max(1, (batch or len(prompts) * n) // n)
    was_training = model.training
    model.eval()
    try:
        with torch.no_grad():
            for part in (order[i : i + size] for i in range(0, len(order), size)):
                # Any id pads, since padding is masked: 0 where the tokenizer has no pad token.
                rows = _Rows(model, [prompts[i] for i in part], draws[part], temperature, tokenizer.pad_token_id or 0)
                with reading(model) if states else nullcontext() as head:
                    found = rows.run(ends, watch, head)
                for index, decoded in zip(part, found, strict=True):
                    results[index] = decoded
    finally:
        model.train(was_training)
    return results


def check_length(model: Any, prompts: Sequence[Sequence[int]], max_new_tokens: int) -> None:
    """Raise `UserError` where a prompt is empty or leaves too few positions for the response."""
    limit = getattr(model.config, "max_position_embeddings", None)
    longest = max((len(prompt) for prompt in prompts), default=1)
    # Beyond its positions a model with learned ones fails in a lookup, and any other writes nonsense.
    if limit and longest + max_new_tokens > limit:
        raise UserError(
            f"a prompt of {longest} tokens and a response of {max_new_tokens} exceed the model's {limit} positions; "
            "lower generation.max_new_tokens or prompts.max_tokens"
        )
    if any(not prompt for prompt in prompts):
        raise ValueError("an empty prompt")


class _Stops:
    """Finds stop strings at the end of what a row has said so far."""

    def __init__(self, tokenizer: Any, stop: tuple[str, ...]) -> None:
        self.tokenizer, self.stop = tokenizer, tuple(text for text in stop if text)
        # A token holds at least a byte, so as many tokens as bytes hold the whole stop string.
        self.tail = max((len(text.encode()) for text in self.stop), default=0)
        self.last = {text[-1] for text in self.stop}
        self.pieces: dict[int, bool] = {}

    def _text(self, ids: list[int], skip: bool = False) -> str:
        # Without cleaning up, which removes spaces: the text encoded again would be other tokens.
        return str(self.tokenizer.decode(ids, skip_special_tokens=skip, clean_up_tokenization_spaces=False))

    def _may_complete(self, token: int) -> bool:
        """Say whether the token holds a stop string's last character, or a part of one (U+FFFD)."""
        if token not in self.pieces:
            self.pieces[token] = not (self.last | {"\ufffd"}).isdisjoint(self._text([token]))
        return self.pieces[token]

    def hit(self, ids: list[int]) -> bool:
        """Say whether the last token completed a stop string."""
        if not self.stop or not self._may_complete(ids[-1]):
            return False
        tail = self._text(ids[-self.tail :])
        return any(text in tail for text in self.stop)

    def clean(self, ids: list[int]) -> str:
        """Return the response's text, cut before a stop string."""
        text = self._text(ids, skip=True)
        ends = [text.find(mark) for mark in self.stop if mark in text]
        return text[: min(ends, default=len(text))].strip()


class _Rows:
    """A batch of responses under way: p prompts x n, the ended ones taken out now and then."""

    def __init__(self, model: Any, prompts: Sequence[Sequence[int]], draws: Any, temperature: float, pad: int) -> None:
        import torch

        self.model, self.temperature, self.n = model, temperature, draws.shape[1]
        width = max(len(prompt) for prompt in prompts)
        device = model.device
        # Padding on the left, so that the last position of every row is the token that the next one follows.
        ids = [[pad] * (width - len(prompt)) + list(prompt) for prompt in prompts]
        mask = [[0] * (width - len(prompt)) + [1] * len(prompt) for prompt in prompts]
        self.prompt, self.prompt_mask = torch.tensor(ids, device=device), torch.tensor(mask, device=device)
        self.draws = draws.flatten(0, 1)
        count, self.steps = self.draws.shape
        self.ids: list[list[int]] = [[] for _ in range(count)]
        self.logprobs: list[list[float]] = [[] for _ in range(count)]
        self.ended = [False] * count

    def run(self, ends: tuple[int, ...], watch: _Stops, head: HeadStates | None = None) -> list[list[Decoded]]:
        """Sample until every row ended or is full; one list of n per prompt."""
        import torch

        from .kv_cache import PreallocatedCache

        cache = PreallocatedCache()
        logits = self._forward(self.prompt, self.prompt_mask, cache).repeat_interleave(self.n, 0)
        mask = self.prompt_mask.repeat_interleave(self.n, 0)
        cache.expand(self.n, self.prompt.shape[1] + self.steps)
        rows = list(range(len(self.ids)))
        for step in range(self.steps):
            tokens, logprobs = draw(logits, self.draws[rows, step].to(logits.device), self.temperature)
            if head is not None:
                head.keep(rows, step, self.steps, self.n)
            scores = logprobs.tolist()
            if any(map(math.isnan, scores)):
                raise UserError(
                    "the model's logits are no numbers: its weights are damaged, or training diverged; "
                    "lower trainer.learning_rate, or make the model again"
                )
            alive = self._record(rows, tokens.tolist(), scores, ends, watch)
            # Nothing is drawn after the last tokens, so they need no forward pass.
            if not alive or step + 1 == self.steps:
                break
            if len(alive) <= _COMPACT_AT * len(rows):
                keep = torch.tensor(alive, device=mask.device)
                rows, tokens, mask = [rows[i] for i in alive], tokens[keep], mask[keep]
                cache.select(keep)
            mask = torch.cat([mask, mask.new_ones(len(rows), 1)], 1)
            logits = self._forward(tokens[:, None], mask, cache)
        done = [
            Decoded(ids, scores, watch.clean(ids), ended, None if head is None else head.kept[row, : len(ids)])
            for row, (ids, scores, ended) in enumerate(zip(self.ids, self.logprobs, self.ended, strict=True))
        ]
        return [done[i : i + self.n] for i in range(0, len(done), self.n)]

    def _forward(self, ids: Any, mask: Any, cache: Any) -> Any:
        """Run the model on new tokens (b, t); returns the last position's logits (b, V) in float32."""
        # Counted over real tokens, or padding would move a prompt to other positions.
        positions = (mask.cumsum(-1) - 1).clamp(min=0)[:, -ids.shape[1] :]
        output = self.model(
            input_ids=ids,
            attention_mask=mask,
            position_ids=positions,
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=1,  # a long prompt's logits would be positions x vocabulary
        )
        # In bfloat16 the running sum over the vocabulary would move in steps of 1/256.
        return output.logits[:, -1].float()

    def _record(
        self, rows: list[int], tokens: list[int], logprobs: list[float], ends: tuple[int, ...], watch: _Stops
    ) -> list[int]:
        """Append a token to each row that has not ended; returns the places in the batch that go on."""
        alive = []
        for place, row in enumerate(rows):
            # An ended row runs along until the batch is made smaller; what is drawn for it is dropped.
            if self.ended[row]:
                continue
            self.ids[row].append(tokens[place])
            self.logprobs[row].append(logprobs[place])
            self.ended[row] = tokens[place] in ends or watch.hit(self.ids[row])
            if not self.ended[row]:
                alive.append(place)
        return alive


def draw(logits: Any, uniform: Any, temperature: float) -> tuple[Any, Any]:
    """Draw a token per row by inverting the cumulative distribution: three times faster than torch.multinomial.

    logits: (b, V) float32; uniform: (b,) in [0, 1). Returns tokens (b,) int64 and their log-probabilities (b,).
    """
    import torch

    logprobs = torch.log_softmax(logits / temperature, -1)
    cumulative = logprobs.exp().cumsum(-1)
    # Times the total, since float32 probabilities do not add up to exactly 1.
    total = cumulative[:, -1]
    # Below the total, so that rounding never picks a token beyond the last possible one.
    target = torch.minimum((uniform * total).float(), torch.nextafter(total, torch.zeros_like(total)))
    # right: a draw that meets a boundary goes to the next token, so none of probability 0 is ever drawn.
    tokens = torch.searchsorted(cumulative, target[:, None], right=True)
    # Logits that are no numbers lead beyond the vocabulary; their log-probabilities tell.
    tokens = tokens.clamp(max=logits.shape[1] - 1)
    return tokens[:, 0], logprobs.gather(1, tokens)[:, 0]
