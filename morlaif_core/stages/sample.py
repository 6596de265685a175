"""Stage sample: the target model answers every prompt of the pair sets; pairs.jsonl."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, combinations
from typing import Any

from morlaif_core.config.settings import HUMAN_JUDGE
from morlaif_core.errors import UserError
from morlaif_core.plugins.protocols import Policy
from morlaif_core.runs.prompt_sets import PAIR_SETS, PromptSets, draw_prompt_sets
from morlaif_core.types import Preference, Prompt, ResponsePair, content_hash, label_under, make_pair

from .context import Context
from .pairs import FILE, StoredPair, pair_row, read_pairs, write_chunks

NAME = "sample"
OUTPUTS = (FILE, f".{FILE}.chunks")
RESULTS = ("pairs",)
CHUNK = 32
"""Prompts of a chunk: what one seed draws and one write stores."""


@dataclass(frozen=True)
class Chunk:
    """Prompts answered together: each with the name of its set, n responses each."""

    rows: tuple[tuple[str, Prompt], ...]
    n: int


def inputs(context: Context) -> dict[str, Any]:
    """What this stage reads."""
    paths: tuple[str, ...] = ("prompts.pm", "prompts.validation", "prompts.calibration", "prompts.max_tokens")
    # A run of an earlier version samples the evaluation's pairs here.
    paths += ("prompts.evaluation",) if context.old_draw else ()
    model: tuple[str, ...] = ("target.model", "target.revision", "target.template", "target.dtype", "target.quantize")
    # Only where it is set: what a run was begun with before there was this key is still the same.
    model += ("target.chat_template_kwargs",) if context.settings.target.chat_template_kwargs else ()
    rest: tuple[str, ...] = ("system_prompt",) if context.settings.system_prompt else ()
    rest += ("dataset", "pairs.source", "pairs.per_prompt", "generation", "sampler")
    return {"seed": context.settings.seed_of("sample"), **context.read(*rest, *paths, *model)}


def check(context: Context) -> PromptSets:
    """Draw the prompt sets whatever the prompts' length; no model is loaded for it.

    Raises `UserError` where the data set has too few prompts, or lacks the labels that are to come from it.
    """
    _check_human_labels(context)
    data, wanted = context.dataset, context.settings.prompts
    train, test = data.prompts("train"), data.prompts("test")
    return draw_prompt_sets(train, test, wanted, lambda prompts: [True] * len(prompts), old=context.old_draw)


def run(context: Context) -> str:
    """Sample all pairs; goes on behind the chunks that are stored."""
    _check_human_labels(context)
    chunks = list(_chunks(context))
    prompts = [0, *accumulate(len(chunk.rows) for chunk in chunks)]
    with context.screen.bar(NAME, "prompts") as bar:
        write_chunks(
            context.path / FILE,
            chunks,
            lambda chunk: [pair_row(stored) for stored in _pairs(context, chunk)],
            lambda done: bar(prompts[done], prompts[-1]) and None,
        )
    stored = [item for item in read_pairs(context.path) if item.set != "evaluation"]
    identical = sum(item.pair.identical for item in stored)
    context.write_results(pairs={"n": len(stored), "identical": identical})
    return f"{len(stored):,} pairs, {identical:,} of them with equal responses"


def chunk_seed(seed: int, prompts: Sequence[Prompt], what: str = "sample") -> int:
    """A chunk's seed: a hash of the run's seed and its prompt ids."""
    # By the prompts, not by the chunk's number: the same prompts get the same responses in any other place.
    return int(content_hash(what, seed, [prompt.id for prompt in prompts])[:8], 16)


def by_length(prompts: Sequence[tuple[str, Prompt]]) -> list[tuple[str, Prompt]]:
    """Sort by length, so that a batch pads little; ties by id, so that the order is the same in every run."""
    return sorted(prompts, key=lambda row: (sum(len(turn.content) for turn in row[1].messages), row[1].id))


def _chunks(context: Context) -> Iterator[Chunk]:
    sets = context.prompt_sets.sets
    # Calibration and evaluation are sampled in any case: the policy's own responses are what is scored there.
    labelled = context.settings.pairs.source == "dataset"
    groups: list[tuple[int, tuple[str, ...]]] = [(context.settings.pairs.per_prompt, PAIR_SETS)]
    if context.old_draw:
        # Evaluation has two reference responses, whatever per_prompt says: the frozen one and `before`.
        groups.append((2, ("evaluation",)))
    for n, names in groups:
        rows = by_length([(name, prompt) for name in names for prompt in sets[name]])
        drawn = [row for row in rows if not (labelled and row[0] in ("pm", "validation"))]
        for start in range(0, len(drawn), CHUNK):
            yield Chunk(tuple(drawn[start : start + CHUNK]), n)
        given = [row for row in rows if labelled and row[0] in ("pm", "validation")]
        for start in range(0, len(given), CHUNK):
            yield Chunk(tuple(given[start : start + CHUNK]), 0)


def _pairs(context: Context, chunk: Chunk) -> list[StoredPair]:
    if chunk.n == 0:
        return [StoredPair(name, pair) for name, prompt in chunk.rows for pair in given_pairs(context, prompt)]
    prompts = [prompt for _, prompt in chunk.rows]
    answers = context.sampler.sample(
        Policy(context.target),
        prompts,
        n=chunk.n,
        seed=chunk_seed(context.settings.seed_of("sample"), prompts),
        generation=context.settings.generation,
        backbones=context.backbones,
    )
    pairs = (
        StoredPair(name, make_pair(prompt, a, b))
        for (name, prompt), responses in zip(chunk.rows, answers, strict=True)
        for a, b in combinations(responses, 2)
    )
    # A response drawn twice makes the same pair again, which would count double in training and statistics.
    return list({stored.pair.id: stored for stored in pairs}.values())


def given_pairs(context: Context, prompt: Prompt) -> Iterator[ResponsePair]:
    """The data set's own pairs of a prompt; which response is a is drawn by hash, so that the label says nothing."""
    for preference in _labels(context).get(prompt.id, ()):
        # Sorted, so that the draw does not hang on which one the data set calls better.
        swap = int(content_hash("swap", prompt.id, *sorted((preference.a, preference.b))), 16) % 2
        pair = make_pair(prompt, preference.a, preference.b, preference.p_a, preference.labels)
        yield _swapped(pair) if swap else pair


def _swapped(pair: ResponsePair) -> ResponsePair:
    labels = {name: None if p_a is None else 1 - p_a for name, p_a in (pair.labels or {}).items()} or None
    return make_pair(pair.prompt, pair.b, pair.a, None if pair.human is None else 1 - pair.human, labels)


def _check_human_labels(context: Context) -> None:
    """The data set has the labels that are to come from it. Raises `UserError`."""
    settings = context.settings
    human = [item.name for item in context.config.principles if settings.judge_of(item.name) == HUMAN_JUDGE]
    source = settings.pairs.source == "dataset"
    if not human and not source:
        return
    found = [item for rows in _labels(context).values() for item in rows]
    left = ", ".join(f"{count:,} {why}" for why, count in context.dataset.skipped.items())
    why = f"; left out: {left}" if left else ""
    if source and not found:
        raise UserError(f"pairs.source: dataset: the data set has no preferences{why}; say pairs.source: sampled")
    for name in human:
        if all(label_under(name, item.p_a, item.labels) is None for item in found):
            raise UserError(
                f"principles.{name}.judge: human: the data set has no labels for it{why}; name another judge"
            )


def _labels(context: Context) -> dict[str, list[Preference]]:
    """The data set's preferences by prompt id, read once."""
    cache: dict[str, list[Preference]] | None = context.__dict__.get("labels_by_prompt")
    if cache is None:
        cache = context.__dict__["labels_by_prompt"] = {}
        for preference in context.dataset.preferences("train"):
            cache.setdefault(preference.prompt.id, []).append(preference)
    return cache
