"""Stage evaluate: on held-out prompts, the judge and the preference models before and after; evaluation.json."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from morlaif_core.plugins.protocols import Policy
from morlaif_core.reward.calibration import Calibration
from morlaif_core.runs.folder import read_jsonl, write_json
from morlaif_core.types import Doubles, Prompt, ResponsePair, distinct_pairs, ended, make_pair

from .context import Context
from .held_out_intervals import mean_interval, resampled_interval
from .judge import judge_pairs, note_unlabelled, unfinished
from .pairs import read_pairs, response_of, write_chunks
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
    stored = sorted(
        (item for item in read_pairs(context.path) if item.set == "evaluation"), key=lambda item: item.pair.id
    )
    after = _after(context, [item.pair.prompt for item in stored])
    # The policy's copy goes before the judge's and the preference models' are loaded.
    context.release()
    before_pairs = [item.pair for item in stored]
    after_pairs = [make_pair(pair.prompt, pair.a, after[pair.prompt.id]) for pair in before_pairs]
    principles = context.judges.principles
    judge = context.settings.evaluation.judge
    # In one call, so that requests about before and after are in flight together; equal pairs are asked once.
    verdicts = judge_pairs(context, distinct_pairs([*before_pairs, *after_pairs]), principles, NAME, judge)
    preferred = {(item.pair, item.principle): item.p_a for item in verdicts}
    scores = _pm_means(context, before_pairs, after_pairs)
    policy: dict[str, Any] = {}
    wins: dict[str, Doubles] = {}
    for item in context.config.principles:
        block = {"pm_before": scores[item.name][0], "pm_after": scores[item.name][1]}
        if item not in principles:
            block = {**_no_judge("judged by people: nobody was asked"), **block}
        else:
            before = _p_second(before_pairs, item.name, preferred)
            p_after = _p_second(after_pairs, item.name, preferred)
            wins[item.name] = _wins(p_after)
            block = {**_judge_block(before, p_after, wins[item.name]), **block}
            note_unlabelled(block, [verdict for verdict in verdicts if verdict.principle == item.name])
        policy[item.name] = block
    overall = _overall(context, wins)
    context.unfinished = unfinished(verdicts)
    texts = {"before": [pair.b for pair in before_pairs], "after": list(after.values())}
    length = {when: _mean(len(text.split()) for text in those) for when, those in texts.items()}
    whole = {when: _mean(map(ended, those)) for when, those in texts.items()}
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
    with context.screen.bar(NAME) as bar:
        write_chunks(
            context.path / RESPONSES,
            chunks,
            lambda chunk: _responses(context, policy, chunk),
            lambda done: bar(done, len(chunks)) and None,  # a bar answers "go"
        )
    rows_of = read_jsonl(context.path / RESPONSES)
    return {row["prompt_id"]: response_of(row["after"], row.get("ended", True)) for row in rows_of}


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


def _p_second(
    pairs: Sequence[ResponsePair], principle: str, preferred: Mapping[tuple[str, str], float | None]
) -> Doubles:
    """P(response b preferred over the frozen reference a) per prompt; NaN where the judge gave no label."""
    import numpy as np

    # Equal responses are a tie that nobody was asked about.
    values = [0.5 if pair.a == pair.b else preferred[pair.id, principle] for pair in pairs]
    return np.array([np.nan if value is None else 1 - value for value in values], dtype=np.float64)


def _wins(p_after: Doubles) -> Doubles:
    """1 where the policy's response wins, 0 where it loses, half for a tie, NaN without a label."""
    import numpy as np

    # 1e-6, as 1 - p of a tie may be off by rounding.
    return np.where(np.isnan(p_after), np.nan, np.where(np.abs(p_after - 0.5) < 1e-6, 0.5, (p_after > 0.5) * 1.0))


def _judge_block(before: Doubles, after: Doubles, wins: Doubles) -> dict[str, Any]:
    """Judge scores before and after with the paired difference and the win rate, bootstrapped over prompts."""
    import numpy as np

    both = ~(np.isnan(before) | np.isnan(after))
    if not both.any():
        return _no_judge("the judge gave no label")
    # Paired by prompt: how hard a prompt is cancels out of the interval.
    difference = after[both] - before[both]
    won = wins[~np.isnan(wins)]
    return {
        "judge_before": float(before[both].mean()),
        "judge_after": float(after[both].mean()),
        "judge_difference": float(difference.mean()),
        "judge_difference_ci95": mean_interval(difference),
        "win_rate": float(won.mean()),
        "win_rate_ci95": mean_interval(won),
        "n": int(both.sum()),
    }


def _no_judge(reason: str) -> dict[str, Any]:
    """The judge's columns where there is nothing to fill them with."""
    names = ("judge_before", "judge_after", "judge_difference", "judge_difference_ci95", "win_rate", "win_rate_ci95")
    return {**dict.fromkeys(names), "n": 0, "notes": {"judge_before": reason}}


def _overall(context: Context, wins: Mapping[str, Doubles]) -> dict[str, Any]:
    """The weighted mean of the principles' win rates, as printed; whole prompts are resampled for its interval.

    A prompt without a label under one principle counts under the others. n: prompts with a label at all.
    """
    import numpy as np

    weights = {name: context.settings.principles[name].weight for name in wins}
    names = [name for name, weight in weights.items() if weight > 0]
    if not names:
        return {"overall": None, "ci95": None, "n": 0, "notes": {"overall": "no judged principle has a weight"}}
    matrix = np.stack([wins[name] for name in names], axis=1)
    unlabelled = [name for name, column in zip(names, matrix.T, strict=True) if np.isnan(column).all()]
    if unlabelled:
        return {"overall": None, "ci95": None, "n": 0, "notes": {"overall": f"no label under {', '.join(unlabelled)}"}}
    weight = np.array([weights[name] for name in names])
    labelled = matrix[~np.isnan(matrix).all(axis=1)]

    def rate(rows: Doubles) -> Doubles:
        """Weighted mean of the column means, over the last axis but one; NaN where a column has no label."""
        known = ~np.isnan(rows)
        with np.errstate(invalid="ignore"):
            means = np.where(known, rows, 0.0).sum(axis=-2) / known.sum(axis=-2)
        mean: Doubles = means @ (weight / weight.sum())
        return mean

    ci95 = resampled_interval(len(labelled), lambda draws: rate(labelled[draws]))
    return {"overall": float(rate(labelled)), "ci95": ci95, "n": len(labelled)}


def _pm_means(
    context: Context, before: Sequence[ResponsePair], after: Sequence[ResponsePair]
) -> dict[str, tuple[float, float]]:
    """Mean calibrated score of every principle before and after."""
    import numpy as np

    model, calibration = load_models(context), Calibration.load(context.path / CALIBRATION)
    means = []
    for pairs in (before, after):
        responses = [pair.b for pair in pairs]
        scores, _ = calibration.apply(model.score([pair.prompt for pair in pairs], responses), responses)
        # Over the scores that there are: one that failed (NaN) is no number.
        means.append(dict(zip(scores.principles, np.nanmean(scores.values, axis=0).tolist(), strict=True)))
    return {name: (means[0][name], means[1][name]) for name in means[0]}


def _mean(values: Iterable[float]) -> float:
    found = list(values)
    return sum(found) / len(found)
