"""A policy against the untrained target on held-out prompts: both answer, the judge compares, preference models score.

Leaves out: a win rate corrected for length; the mean lengths stand beside it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any

from morlaif_core.config.settings import HUMAN_JUDGE
from morlaif_core.feedback.types import Verdict
from morlaif_core.plugins.protocols import Policy
from morlaif_core.reward.calibration import Calibration
from morlaif_core.runs.folder import write_json
from morlaif_core.types import Doubles, Floats, Prompt, ResponsePair, distinct_pairs, ended, make_pair

from .comparison_rows import BEFORE, RESPONSES, read_after, write_rows
from .context import Context
from .judge import judge_pairs, note_unlabelled, unfinished
from .pairs import FILE as PAIRS, StoredPair, pair_row, read_pairs, says_ends, share_ended, write_chunks
from .preference_models import load_models
from .sample import CHUNK, by_length, chunk_seed
from .train_pms import CALIBRATION

FILE = "evaluation.json"
RESULTS = ("policy", "win_rate", "length", "ended")


@dataclass(frozen=True)
class Compared:
    """The untrained target's pairs (a: the reference answer, b: before) and the policy's beside the same references.

    known: whether it is known which answers ended, before and after.
    """

    before: list[ResponsePair]
    after: list[ResponsePair]
    known: tuple[bool, bool] = (True, True)


def compare(
    context: Context, place: Path, compared: Compared, label: str, about: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Judge, score and count; evaluation.json and a row a prompt in evaluation.jsonl, in ``place``.

    about: what goes before the numbers. Returns it and the blocks of `RESULTS`.
    """
    principles = context.judges.principles
    pairs = distinct_pairs([*compared.before, *compared.after])
    # In one call, so that requests about before and after are in flight together; equal pairs are asked once.
    verdicts = judge_pairs(context, pairs, principles, label, context.settings.evaluation.judge)
    context.unfinished = unfinished(verdicts)
    scores = _scores(context, compared)
    found = {**(about or {}), **_figures(context, compared, verdicts, scores)}
    write_rows(place, compared.before, compared.after, compared.known, verdicts, scores)
    write_json(place / FILE, found)
    return found


def summary(found: Mapping[str, Any]) -> str:
    """The overall win rate in a line."""
    overall = found["win_rate"]
    if overall["overall"] is None:
        return "no principle has a judge: no win rate"
    return f"win rate {overall['overall']:.3f}, 95 % interval {overall['ci95'][0]:.3f} to {overall['ci95'][1]:.3f}"


def answered(
    context: Context,
    place: Path,
    prompts: Sequence[Prompt],
    policy: Policy,
    label: str,
    sampled: Sequence[ResponsePair] | None = None,
) -> Compared:
    """Let target and policy answer the prompts; goes on behind the chunks that ``place`` holds.

    sampled: pairs of the untrained target of an earlier version's sample stage, one a prompt, in place of new ones.
    """
    before = list(sampled) if sampled is not None else _before(context, place, prompts, label)
    # The policy's copy goes before the judge's and the preference models' are loaded.
    context.release()
    _after(context, place, [pair.prompt for pair in before], policy, label, old=sampled is not None)
    context.release()
    told = says_ends(context.path / PAIRS) if sampled is not None else True
    said = read_after(place / RESPONSES)
    # Told of one side alone, the judge would hold it against that side.
    after = [said[pair.prompt.id] if told else str(said[pair.prompt.id]) for pair in before]
    pairs = [make_pair(pair.prompt, pair.a, text) for pair, text in zip(before, after, strict=True)]
    return Compared(before, pairs, (told, says_ends(place / RESPONSES)))


def _before(context: Context, place: Path, prompts: Sequence[Prompt], label: str) -> list[ResponsePair]:
    """Two answers of the untrained target to each prompt: the reference, and what it is compared with."""

    def rows(chunk: Sequence[Prompt]) -> list[dict[str, Any]]:
        seed = chunk_seed(context.settings.seed_of("sample"), chunk)
        drawn = _draw(context, Policy(context.target), chunk, 2, seed)
        pairs = (make_pair(prompt, a, b) for prompt, (a, b) in zip(chunk, drawn, strict=True))
        return [pair_row(StoredPair("evaluation", pair)) for pair in pairs]

    _write(context, place / BEFORE, _chunks(prompts), rows, label)
    return [item.pair for item in read_pairs(place, BEFORE)]


def _after(context: Context, place: Path, prompts: Sequence[Prompt], policy: Policy, label: str, *, old: bool) -> None:
    """The policy's answer to each prompt."""

    def rows(chunk: Sequence[Prompt]) -> list[dict[str, Any]]:
        seed = chunk_seed(context.settings.seed_of("evaluate"), chunk, "evaluate")
        texts = [answers[0] for answers in _draw(context, policy, chunk, 1, seed)]
        pairs = zip(chunk, texts, strict=True)
        return [{"prompt_id": prompt.id, "after": text, "ended": ended(text)} for prompt, text in pairs]

    if old:  # its chunks were made so, and some of them may be there
        prompts = [prompt for _, prompt in by_length([("evaluation", prompt) for prompt in prompts])]
    _write(context, place / RESPONSES, _chunks(prompts), rows, label)


def _chunks(prompts: Sequence[Prompt]) -> list[Sequence[Prompt]]:
    # In the set's order, not by length: of a larger set the first chunks, and so their verdicts, are the same.
    return [prompts[start : start + CHUNK] for start in range(0, len(prompts), CHUNK)]


def _draw(context: Context, policy: Policy, prompts: Sequence[Prompt], n: int, seed: int) -> Sequence[tuple[str, ...]]:
    settings = context.settings.generation
    return context.sampler.sample(policy, prompts, n=n, seed=seed, generation=settings, backbones=context.backbones)


def _write(
    context: Context,
    file: Path,
    chunks: Sequence[Sequence[Prompt]],
    rows: Callable[[Sequence[Prompt]], list[dict[str, Any]]],
    label: str,
) -> None:
    told = [0, *accumulate(map(len, chunks))]
    with context.screen.bar(label, "prompts") as bar:
        write_chunks(file, chunks, rows, lambda done: bar(told[done], told[-1]) and None)  # a bar answers "go"


def _scores(context: Context, compared: Compared) -> dict[str, tuple[Floats, Floats, Floats]]:
    """Calibrated scores of the reference, the untrained and the policy's responses, per principle and prompt."""
    model, calibration = load_models(context), Calibration.load(context.path / CALIBRATION)
    before, after = compared.before, compared.after
    prompts = [pair.prompt for pair in before]
    sides = ([pair.a for pair in before], [pair.b for pair in before], [pair.b for pair in after])
    matrices = [calibration.apply(model.score(prompts, side), side)[0] for side in sides]
    return {
        name: (matrices[0].values[:, place], matrices[1].values[:, place], matrices[2].values[:, place])
        for place, name in enumerate(matrices[0].principles)
    }


def _figures(
    context: Context,
    compared: Compared,
    verdicts: Sequence[Verdict],
    scores: Mapping[str, tuple[Floats, Floats, Floats]],
) -> dict[str, Any]:
    """Blocks by principle, the overall win rate, lengths, and shares of answers that ended."""
    import numpy as np

    from .held_out_figures import judge_block, model_block, no_judge, overall_block, p_second, wins_of

    judged = context.judges.principles
    preferred = {(item.pair, item.principle): item.p_a for item in verdicts}
    policy: dict[str, Any] = {}
    wins: dict[str, Doubles] = {}
    for item in context.config.principles:
        reference, pm_before, pm_after = scores[item.name]
        # A score that failed is no part of a mean.
        block = {"pm_before": float(np.nanmean(pm_before)), "pm_after": float(np.nanmean(pm_after))}
        if item not in judged:
            people = context.settings.judge_of(item.name) == HUMAN_JUDGE
            why = "judged by people: nobody was asked" if people else "it has no judge (judge: none)"
            block = {**no_judge(why), **block}
        else:
            p_before = p_second(compared.before, item.name, preferred)
            p_after = p_second(compared.after, item.name, preferred)
            wins[item.name] = wins_of(p_after)
            block = {
                **judge_block(p_before, p_after, len(judged)),
                **block,
                **model_block(p_after, reference, pm_after),
            }
            note_unlabelled(block, [verdict for verdict in verdicts if verdict.principle == item.name])
        policy[item.name] = block
    overall = overall_block(wins, {item.name: context.settings.principles[item.name].weight for item in judged})
    texts = {"before": [pair.b for pair in compared.before], "after": [pair.b for pair in compared.after]}
    length = {when: sum(len(text.split()) for text in those) / len(those) for when, those in texts.items()}
    return {"policy": policy, "win_rate": overall, "length": length, "ended": _ended(compared, texts)}


def _ended(compared: Compared, texts: Mapping[str, Sequence[str]]) -> dict[str, float | None]:
    known = dict(zip(("before", "after"), compared.known, strict=True))
    return {when: share_ended(those) if known[when] else None for when, those in texts.items()}
