"""An evaluation on prompts that are not the run's, of its policy or another model: ``evaluations/NAME/``."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from morlaif_core.errors import UserError
from morlaif_core.plugins.protocols import Policy
from morlaif_core.runs.folder import write_json
from morlaif_core.runs.prompt_sets import draw_key
from morlaif_core.runs.stamps import folder_stamp
from morlaif_core.runs.system_prompt import with_system
from morlaif_core.types import Prompt, content_hash

from .comparison import answered, compare
from .context import Context
from .evaluate import NAME
from .train_policy import NAME as TRAINED, load_policy

FOLDER = "evaluations"
MADE_OF = "inputs.json"
LEARNED = ("pm", "validation", "calibration", "rl")
"""The sets that preference models, their scale and the policy were fitted on."""


def compare_on(
    context: Context, prompts: Sequence[Prompt], name: str, most: int | None = None, model: Path | None = None
) -> dict[str, Any]:
    """Compare as the stage evaluate does, into ``evaluations/NAME/``; goes on where an earlier call was interrupted.

    most: prompts drawn by hash, of those that are left; model: a model or adapter folder in place of the policy. Returns the
    blocks of evaluation.json. Raises `UserError` where fewer than two prompts are left.
    """
    if not re.fullmatch(r"\w[\w.+-]*", name):
        raise UserError(f"'{name}' cannot name an evaluation: say a word of letters, digits, '-', '_', '+' and '.'")
    if model is not None and not model.is_dir():
        raise UserError(f"there is no model folder {model}")
    policy = load_policy(context) if model is None else Policy(context.target, model)
    drawn, left_out = held_out(context, prompts, most)
    place, made_of = context.path / FOLDER / name, _made_of(context, drawn, model)
    file = place / MADE_OF
    if file.exists() and json.loads(file.read_text(encoding="utf-8")) != made_of:
        context.replace([f"{FOLDER}/{name}"])
    write_json(file, made_of)
    compared = answered(context, place, drawn, policy, NAME)
    about = {"model": "policy" if model is None else str(model), "prompts": len(drawn), "left_out": left_out}
    return compare(context, place, compared, NAME, about)


def held_out(context: Context, prompts: Sequence[Prompt], most: int | None) -> tuple[list[Prompt], dict[str, int]]:
    """The prompts to be answered, and why how many others are not: a prompt that was learned from shows nothing."""
    if (system := context.settings.system_prompt) is not None:
        prompts = [with_system(prompt, system) for prompt in prompts]  # as the data set's own have it
    learned = {one for name in LEARNED for one in context.folder.manifest.get("prompt_sets", {}).get(name, ())}
    distinct = {prompt.id: prompt for prompt in prompts}
    new = [prompt for prompt in distinct.values() if prompt.id not in learned]
    short = [prompt for prompt, fits in zip(new, context.fits(new), strict=True) if fits]
    drawn = sorted(short, key=draw_key)[:most]
    counts = {
        "repeated": len(prompts) - len(distinct),
        "the run learned from them": len(distinct) - len(new),
        "too long": len(new) - len(short),
        "not drawn": len(short) - len(drawn),
    }
    left_out = {why: count for why, count in counts.items() if count}
    if len(drawn) < 2:
        why = ", ".join(f"{count:,} {reason}" for reason, count in left_out.items())
        raise UserError(
            f"an evaluation takes two prompts at least, and {len(drawn)} are left{f' ({why})' if why else ''}"
        )
    return drawn, left_out


def _made_of(context: Context, prompts: Sequence[Prompt], model: Path | None) -> str:
    """A hash of what the answers depend on; verdicts lie in the ledger, by their own."""
    stages = context.folder.section("stages")
    trained = stages[TRAINED]["inputs"] if model is None else [str(model.resolve()), folder_stamp(str(model))]
    rest = context.read("generation", "sampler", "target.template", "target.dtype")
    seeds = [context.settings.seed_of(name) for name in ("sample", "evaluate")]
    return content_hash([prompt.id for prompt in prompts], trained, context.target.model, seeds, rest)
