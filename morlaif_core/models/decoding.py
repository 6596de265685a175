"""Sampling from a causal LM: shared prefill, one preallocated key-value cache, inverse-CDF draws, log-probabilities.

Our own loop, since transformers' `generate` is slower (see docs/log.md) and repeats the prompt for each of its n responses.
Leaves out: top-k, top-p, penalties and the rest of a model's generation_config, since the log-probabilities must be those
that training computes; beam search, since RL samples; recurrent and hybrid models, which keep a state of another kind
beside keys and values: they are refused (see `cache_check`).
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any, NamedTuple

from morlaif_core.errors import UserError
from morlaif_core.plugins.components import Generation
from morlaif_core.types import CutOff

from .head_states import HeadStates, reading
from .layers import context_length
from .rendering import HUMAN, THINK, THOUGHT, Template, closing_id, uses_chat

_COMPACT_AT = 0.75
"""Ended rows leave the batch when at most this share of it is alive: moving the cache costs about one step."""


class Decoded(NamedTuple):
    """One sampled response.

    Attributes:
        ids: sampled tokens, eos included; cut at the token that completed a stop string.
        logprobs: log-probability of each under softmax(logits / temperature), no top-k or top-p.
        text: without special tokens and reasoning (``<think>…</think>`` at the start), cut before a stop string, stripped; a
            `CutOff` where it did not end.
        ended: by eos or a stop string, not by length; never within the reasoning, whose text is empty.
        states: (t, h) what the head read to draw each token; None where not asked for.
    """

    ids: list[int]
    logprobs: list[float]
    text: str
    ended: bool
    states: Any = None


def stop_strings(generation: Generation, tokenizer: Any, template: Template) -> tuple[str, ...]:
    """Resolve ``Generation.stop``: auto is the next human turn for HH prompts, eos alone for chat templates.

    generation: the setting. tokenizer: the model's. template: as in `render`.

    >>> from morlaif_core import Generation
    >>> from morlaif_core.testing.bases import tiny_tokenizer
    >>> stop_strings(Generation(), tiny_tokenizer(), "auto")
    ('\\n\\nHuman:',)
    """
    if generation.stop != "auto":
        return generation.stop
    return () if uses_chat(tokenizer, template) else (HUMAN,)


def eos_token_ids(model: Any, tokenizer: Any) -> tuple[int, ...]:
    """Return every id that ends a response: the tokenizer's eos, what the chat template closes a turn by, and those that
    the model's generation config adds."""
    config = getattr(model, "generation_config", None)
    extra = getattr(config, "eos_token_id", None)
    found = [extra] if isinstance(extra, int) else list(extra or ())
    return tuple(sorted({*found, tokenizer.eos_token_id, closing_id(tokenizer)} - {None}))


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
    """Sample responses, each from random numbers of its own, fixed by seed, place and n; in eval mode meanwhile.

    Args:
        model: a causal LM.
        tokenizer: its own.
        prompts: token ids of each prompt, none empty: see `prompt_ids`.
        n: responses to each prompt.
        max_new_tokens: the most tokens of a response.
        temperature: of the softmax.
        stop: strings that end a response: see `stop_strings`.
        seed: of the random numbers.
        eos_ids: tokens that end a response; None: those that the model and the tokenizer name.
        batch: how many responses are drawn at once, None for all; it changes results only by rounding.
        states: keep what the head read, too.

    Returns a list of n for each prompt, in order. Raises `UserError` where prompt and response exceed the model's positions,
    the logits are NaN, or the model cannot be followed step by step.
    """
    import torch

    from .cache_check import check_cache

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
            check_cache(model)
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
    limit = context_length(model)
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

    def hit(self, ids: list[int], thinking: bool = False) -> bool:
        """Say whether the last token completed a stop string; one within reasoning, or right behind it, ends nothing."""
        if not self.stop or not self._may_complete(ids[-1]):
            return False
        tail = self._text(ids[-self.tail :])
        if not any(text in tail for text in self.stop):
            return False
        return not self._reasons(ids, thinking) or any(text in (self._said(ids) or "") for text in self.stop)

    def thinks(self, prompt: Sequence[int]) -> bool:
        """Say whether a prompt ends within reasoning: templates of some models open it themselves."""
        # A token holds at least a byte.
        return self._text(list(prompt[-2 * len(THINK) :])).rstrip().endswith(THINK)

    def clean(self, ids: list[int], thinking: bool = False) -> str | None:
        """Return the response's text, cut before a stop string; None within reasoning that has no end.

        thinking: the prompt has opened the reasoning.
        """
        said = self._said(ids) if self._reasons(ids, thinking) else self._text(ids, skip=True)
        if said is None:
            return None
        ends = [said.find(mark) for mark in self.stop if mark in said]
        return said[: min(ends, default=len(said))].strip()

    def _reasons(self, ids: list[int], thinking: bool) -> bool:
        return thinking or self._text(ids).lstrip().startswith(THINK)

    def _said(self, ids: list[int]) -> str | None:
        """Return the text behind the reasoning with which the tokens begin; None where it has no end."""
        if THOUGHT not in self._text(ids):
            return None
        # The first tokens that hold the whole mark; the last of them may hold some of the response too.
        end = bisect_left(range(len(ids)), True, key=lambda last: THOUGHT in self._text(ids[: last + 1])) + 1
        return (self._text(ids[:end]).partition(THOUGHT)[2] + self._text(ids[end:], skip=True)).lstrip()


class _Rows:
    """A batch of responses under way: p prompts x n, the ended ones taken out now and then."""

    def __init__(self, model: Any, prompts: Sequence[Sequence[int]], draws: Any, temperature: float, pad: int) -> None:
        import torch

        self.model, self.temperature, self.n = model, temperature, draws.shape[1]
        self.prompts, width = prompts, max(len(prompt) for prompt in prompts)
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

        from .kv_cache import PreallocatedCache, next_logits

        self.thinking = [opened for opened in map(watch.thinks, self.prompts) for _ in range(self.n)]
        cache = PreallocatedCache()
        logits = next_logits(self.model, self.prompt, self.prompt_mask, cache).repeat_interleave(self.n, 0)
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
            logits = next_logits(self.model, tokens[:, None], mask, cache)
        done = [self._decoded(row, watch, head) for row in range(len(self.ids))]
        return [done[i : i + self.n] for i in range(0, len(done), self.n)]

    def _decoded(self, row: int, watch: _Stops, head: HeadStates | None) -> Decoded:
        ids = self.ids[row]
        text = watch.clean(ids, self.thinking[row])
        ended = self.ended[row] and text is not None
        kept = None if head is None else head.kept[row, : len(ids)]
        return Decoded(ids, self.logprobs[row], (text or "") if ended else CutOff(text or ""), ended, kept)

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
            self.ended[row] = tokens[place] in ends or watch.hit(self.ids[row], self.thinking[row])
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
