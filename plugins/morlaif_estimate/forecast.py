"""Which pairs a run will judge: those that it has, else ones like them, from the data set where it can be read.

Leaves out: how long responses will really be, because no model is loaded: they are taken to be as long as allowed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import comb

from morlaif_core import CutOff, JudgeBench, Message, Prompt, UserError, distinct_pairs, make_pair, make_prompt

from .load import Share

BYTES_PER_TOKEN = 4.5
"""Of a prompt's or a response's plain text, assumed; measured: 4.3 on HH-rlhf with a vocabulary of 49,152."""
PROMPT_BYTES = 450
"""Of a prompt, where none can be read; HH-rlhf's harmless-base has 430 on average."""
COUNTED = 200
"""Prompts of a set whose requests are counted; the others are taken to be like them."""


@dataclass(frozen=True)
class Forecast:
    """The pairs that each stage judges. evaluation, validation: prompts, on which win rates and accuracies rest.

    assumed: what is not known yet, and what was taken for it.
    """

    judge: tuple[Share, ...]
    evaluate: tuple[Share, ...]
    evaluation: int
    validation: int
    assumed: tuple[str, ...]


@dataclass(frozen=True)
class _Set:
    """A prompt set: its size, and prompts that stand for it."""

    size: int
    prompts: Sequence[Prompt]


def forecast(bench: JudgeBench) -> Forecast:
    """Foresee the pairs of a run. Raises `UserError` where the data set has too few prompts."""
    return _known(bench) if bench.is_finished("sample") else _foreseen(bench)


def _known(bench: JudgeBench) -> Forecast:
    """The run's own pairs; of the evaluation's, those that are there: see `_evaluation`."""
    stored = [item for item in bench.stored_pairs() if item.set != "evaluation"]
    validation = len({item.pair.prompt.id for item in stored if item.set == "validation"})
    evaluate, prompts, assumed = _evaluation(bench)
    return Forecast((Share(distinct_pairs(item.pair for item in stored)),), (evaluate,), prompts, validation, assumed)


def _evaluation(bench: JudgeBench) -> tuple[Share, int, tuple[str, ...]]:
    """The evaluation's pairs, their prompts, and what is assumed; answers that are not there are as long as they may be."""
    before, after, wanted = bench.evaluation_pairs(), bench.trained_responses(), bench.settings.prompts.evaluation
    long = f"answers on evaluation prompts: {_as_long_as_may_be(bench)}"
    if not before or wanted not in ("auto", len(before)):
        sets, why = _prompt_sets(bench)
        return _sampled(bench, [sets["evaluation"]], 2), sets["evaluation"].size, (*why, long)
    answered = [make_pair(pair.prompt, pair.a, after.get(pair.prompt.id) or _filler(bench, 0)) for pair in before]
    assumed = () if len(after) == len(before) else (long,)
    return Share(distinct_pairs([*before, *answered])), len(before), assumed


def _foreseen(bench: JudgeBench) -> Forecast:
    sets, assumed = _prompt_sets(bench)
    assumed.append(f"responses that are not there yet: {_as_long_as_may_be(bench)}, all different")
    given = ("pm", "validation") if bench.settings.pairs.source == "dataset" else ()
    # Answers to the RL set are scored by preference models; no judge is asked about them.
    drawn = [item for name, item in sets.items() if name not in ("rl", "evaluation", *given)]
    judge = [_given(bench, [sets[name] for name in given])] if given else []
    judge.append(_sampled(bench, drawn, comb(bench.settings.pairs.per_prompt, 2)))
    # Before and after training, each against the frozen response.
    evaluate = _sampled(bench, [sets["evaluation"]], 2)
    return Forecast(tuple(judge), (evaluate,), sets["evaluation"].size, sets["validation"].size, tuple(assumed))


def _prompt_sets(bench: JudgeBench) -> tuple[dict[str, _Set], list[str]]:
    """Draw the prompt sets as the run does, and say what differs; sets of made-up prompts where none can be read."""
    most = bench.settings.prompts.max_tokens
    try:
        splits = bench.dataset_prompts()
    except (UserError, OSError) as error:
        why = f"prompts of {PROMPT_BYTES} bytes: the data set cannot be read ({' '.join(str(error).split())})"
        # Another one for each set: of equal prompts, as of equal pairs, a judge is asked once.
        sizes = enumerate(bench.prompt_set_sizes().items())
        return {name: _Set(size, (_made_up_prompt(number),)) for number, (name, size) in sizes}, [why]
    sets = bench.drawn_prompts(*splits, lambda prompt: _fits(prompt, most))
    assumed = [f"prompts: the first {COUNTED} of each set represent the others"]
    if most is not None:
        assumed.append(f"prompts.max_tokens: {most} tokens are {most * BYTES_PER_TOKEN:.0f} bytes")
    return {name: _Set(len(prompts), prompts) for name, prompts in sets.items()}, assumed


def _made_up_prompt(number: int) -> Prompt:
    return make_prompt([Message("user", _text(PROMPT_BYTES, number))])


def _fits(prompt: Prompt, most: int | None) -> bool:
    return most is None or sum(len(turn.content.encode()) for turn in prompt.messages) <= most * BYTES_PER_TOKEN


def _given(bench: JudgeBench, sets: Sequence[_Set]) -> Share:
    """The data set's own pairs of some sets; where it cannot be read, one for each prompt."""
    prompts = [prompt for item in sets for prompt in item.prompts]
    try:
        pairs = distinct_pairs(pair for prompt in prompts for pair in bench.labelled_pairs(prompt))
    except (UserError, OSError):
        return _sampled(bench, sets, 1)
    # All are counted, as a prompt may have several pairs; the texts of the first stand for the others'.
    some = pairs[:COUNTED]
    return Share(some, len(pairs) / max(1, len(some)))


def _sampled(bench: JudgeBench, sets: Sequence[_Set], pairs: int) -> Share:
    """Pairs that the models have yet to write: one for each prompt that is there, standing for ``pairs`` of them."""
    prompts = [prompt for item in sets for prompt in item.prompts[:COUNTED]]
    # Two numbers, as equal responses are not asked about.
    made = [make_pair(prompt, _filler(bench, 1), _filler(bench, 2)) for prompt in prompts]
    return Share(made, sum(item.size for item in sets) * pairs / len(made))


def _as_long_as_may_be(bench: JudgeBench) -> str:
    tokens = bench.settings.generation.max_new_tokens
    return f"{tokens} tokens of {BYTES_PER_TOKEN:g} bytes, as long as they may be (generation.max_new_tokens)"


def _filler(bench: JudgeBench, number: int) -> str:
    return CutOff(_text(round(bench.settings.generation.max_new_tokens * BYTES_PER_TOKEN), number))


def _text(length: int, number: int) -> str:
    """A text of so many bytes that differs by its number."""
    return (f"{number} " + "word " * length)[:length]
