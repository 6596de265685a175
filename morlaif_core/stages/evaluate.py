"""Stage evaluate: on held-out prompts, the judge and the preference models before and after; evaluation.json and .jsonl."""

from __future__ import annotations

from typing import Any

from morlaif_core.config.principles import principle_hash

from .comparison import FILE, RESULTS as BLOCKS, answered, compare, summary
from .comparison_rows import FILES, adopt
from .context import Context
from .pairs import read_pairs
from .train_policy import load_policy

NAME = "evaluate"
OUTPUTS = (FILE, *FILES)
RESULTS = BLOCKS


def inputs(context: Context) -> dict[str, Any]:
    """What this stage reads."""
    judge, given = context.settings.evaluation.judge, dict[str, Any]()
    # Who judges the others stands among the inputs of the stage judge.
    for item in context.judges.principles if judge is None else ():
        if item not in context.judges.learned:
            asked = context.settings.judge_of(item.name)
            given[item.name] = [asked, principle_hash(item), context.judges.identity(asked)]
    # Of a run of an earlier version the stage sample reads it.
    own = () if context.old_draw else ("prompts.evaluation",)
    return {
        "seed": context.settings.seed_of("evaluate"),
        "judge": context.judges.identity(judge) if judge else None,
        **({"given": given} if given else {}),
        **context.read("generation", "sampler", *own),
    }


def run(context: Context) -> str:
    """Answer the held-out prompts with the target and the policy, judge both against one frozen answer of the target."""
    sampled = None
    if context.old_draw:
        adopt(context.path)
        pairs = [item.pair for item in read_pairs(context.path) if item.set == "evaluation"]
        sampled = sorted(pairs, key=lambda pair: pair.id)
    prompts = () if sampled is not None else context.prompt_sets.sets["evaluation"]
    compared = answered(context, context.path, prompts, load_policy(context), NAME, sampled)
    found = compare(context, context.path, compared, NAME)
    context.write_results(**found)
    return summary(found)
