"""Stage evaluate: on held-out prompts, the judge and the preference models before and after; evaluation.json."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any

from morlaif_core.plugins.protocols import Policy
from morlaif_core.reward.calibration import Calibration
from morlaif_core.runs.folder import read_jsonl, write_json
from morlaif_core.types import Doubles, Floats, Prompt, ResponsePair, distinct_pairs, ended, make_pair

from .context import Context
from .judge import judge_pairs, note_unlabelled, unfinished
from .pairs import FILE as PAIRS, read_pairs, response_of, says_ends, share_ended, write_chunks
from .sample import CHUNK, by_length, chunk_seed
from .train_pms import CALIBRATION, load_models
from .train_policy import load_policy

NAME = "evaluate"
RESPONSES = "evaluation.jsonl"
FILE = "evaluation.json"
OUTPUTS = (FILE, RESPONSES, f".{RESPONSES}.chunks")
RESULTS = ("policy", "win_rate", "length", "ended")


def inputs(context: Context) -> dict[str, Any]:
    """What this stage reads."""
    judge = context.settings.evaluation.judge
    return {
        "seed": context.settings.seed_of("evaluate"),
        "judge": context.judges.identity(judge) if judge else None,
        **context.read("generation", "sampler"),
    }


def run(context: Context) -> str:
    """Answer the held-out prompts with the policy, judge both against one frozen reference response each.
    Leaves out: a win rate corrected for length; the mean lengths stand beside it."""
    import numpy as np

    from .held_out_figures import judge_block, model_block, no_judge, overall_block, p_second, wins_of

    stored = sorted(
        (item for item in read_pairs(context.path) if item.set == "evaluation"), key=lambda item: item.pair.id
    )
    after = _after(context, [item.pair.prompt for item in stored])
    # The policy's copy goes before the judge's and the preference models' are loaded.
    context.release()
    before_pairs = [item.pair for item in stored]
    said = read_compared(context.path)
    after_pairs = [make_pair(pair.prompt, pair.a, said[pair.prompt.id]) for pair in before_pairs]
    principles = context.judges.principles
    judge = context.settings.evaluation.judge
    # In one call, so that requests about before and after are in flight together; equal pairs are asked once.
    verdicts = judge_pairs(context, distinct_pairs([*before_pairs, *after_pairs]), principles, NAME, judge)
    preferred = {(item.pair, item.principle): item.p_a for item in verdicts}
    scores = _scores(context, before_pairs, after_pairs)
    policy: dict[str, Any] = {}
    wins: dict[str, Doubles] = {}
    for item in context.config.principles:
        reference, pm_before, pm_after = scores[item.name]
        # A score that failed is no part of a mean.
        block = {"pm_before": float(np.nanmean(pm_before)), "pm_after": float(np.nanmean(pm_after))}
        if item not in principles:
            block = {**no_judge("judged by people: nobody was asked"), **block}
        else:
            p_before = p_second(before_pairs, item.name, preferred)
            p_after = p_second(after_pairs, item.name, preferred)
            wins[item.name] = wins_of(p_after)
            block = {
                **judge_block(p_before, p_after, len(principles)),
                **block,
                **model_block(p_after, reference, pm_after),
            }
            note_unlabelled(block, [verdict for verdict in verdicts if verdict.principle == item.name])
        policy[item.name] = block
    overall = overall_block(wins, {item.name: context.settings.principles[item.name].weight for item in principles})
    context.unfinished = unfinished(verdicts)
    texts = {"before": [pair.b for pair in before_pairs], "after": list(after.values())}
    length = {when: sum(len(text.split()) for text in those) / len(those) for when, those in texts.items()}
    counted = {"before": says_ends(context.path / PAIRS), "after": says_ends(context.path / RESPONSES)}
    whole = {when: share_ended(those) if counted[when] else None for when, those in texts.items()}
    found = {"policy": policy, "win_rate": overall, "length": length, "ended": whole}
    write_json(context.path / FILE, found)
    context.write_results(**found)
    if overall["overall"] is None:
        return "no principle has a judge: no win rate"
    return f"win rate {overall['overall']:.3f}, 95 % interval {overall['ci95'][0]:.3f} to {overall['ci95'][1]:.3f}"


def _after(context: Context, prompts: Sequence[Prompt]) -> dict[str, str]:
    """The trained policy's response to each prompt, by prompt id; stored chunk by chunk."""
    policy = load_policy(context)
    rows = [prompt for _, prompt in by_length([("evaluation", prompt) for prompt in prompts])]
    chunks = [rows[start : start + CHUNK] for start in range(0, len(rows), CHUNK)]
    answered = [0, *accumulate(map(len, chunks))]
    with context.screen.bar(NAME, "prompts") as bar:
        write_chunks(
            context.path / RESPONSES,
            chunks,
            lambda chunk: _responses(context, policy, chunk),
            lambda done: bar(answered[done], len(rows)) and None,  # a bar answers "go"
        )
    return read_after(context.path / RESPONSES)


def read_after(file: Path) -> dict[str, str]:
    """The stored responses of the trained policy, by prompt id."""
    return {row["prompt_id"]: response_of(row["after"], row.get("ended", True)) for row in read_jsonl(file)}


def read_compared(folder: Path) -> dict[str, str]:
    """The stored responses of the trained policy as they are judged and scored beside those of pairs.jsonl."""
    after = read_after(folder / RESPONSES)
    # Told of one side alone, the judge would hold it against that side.
    return after if says_ends(folder / PAIRS) else {prompt: str(text) for prompt, text in after.items()}


def _responses(context: Context, policy: Policy, prompts: Sequence[Prompt]) -> list[dict[str, Any]]:
    answers = context.sampler.sample(
        policy,
        prompts,
        n=1,
        seed=chunk_seed(context.settings.seed_of("evaluate"), prompts, "evaluate"),
        generation=context.settings.generation,
        backbones=context.backbones,
    )
    return [
        {"prompt_id": prompt.id, "after": texts[0], "ended": ended(texts[0])}
        for prompt, texts in zip(prompts, answers, strict=True)
    ]


def _scores(
    context: Context, before: Sequence[ResponsePair], after: Sequence[ResponsePair]
) -> dict[str, tuple[Floats, Floats, Floats]]:
    """Calibrated scores of the reference, the untrained and the trained policy's responses, per principle and prompt."""
    model, calibration = load_models(context), Calibration.load(context.path / CALIBRATION)
    prompts = [pair.prompt for pair in before]
    sides = ([pair.a for pair in before], [pair.b for pair in before], [pair.b for pair in after])
    matrices = [calibration.apply(model.score(prompts, side), side)[0] for side in sides]
    return {
        name: (matrices[0].values[:, place], matrices[1].values[:, place], matrices[2].values[:, place])
        for place, name in enumerate(matrices[0].principles)
    }
