"""What checks look at: the questions they ask, a model's answers and weights, files, the global random generators."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from morlaif_core.plugins.components import Generation, Target
from morlaif_core.plugins.protocols import Backbones, Policy
from morlaif_core.types import Floats, Message, Prompt, make_prompt

TOPICS = tuple(
    "tea rain trains bread stars music gardens rivers snow boats birds clocks maps wool salt bridges".split()
)


GREEDY = 1e-3
"""A temperature at which a model says one thing, whatever the seed."""
LIKE = 0.75
"""Share of texts that must be those of the core's own `decode`: arithmetic may differ a little."""


def questions(form: str = "Tell me about {}.") -> list[Prompt]:
    """Return sixteen prompts of one turn."""
    return [make_prompt([Message("user", form.format(topic))]) for topic in TOPICS]


def draw(policy: Policy, prompts: Sequence[Prompt], generation: Generation, n: int) -> list[list[str]]:
    """Return n answers of a policy to each prompt, from a copy of its own in memory."""
    from morlaif_core.models.backbones import LocalBackbones, policy_backbone
    from morlaif_core.models.decoding import decode, stop_strings
    from morlaif_core.models.rendering import prompt_ids

    backbones = LocalBackbones(device="cpu", threads=1)
    backbone, adapter = policy_backbone(policy, backbones)
    tokenizer, template = backbone.tokenizer, policy.target.template
    ids = [prompt_ids(tokenizer, prompt, template) for prompt in prompts]
    stop = stop_strings(generation, tokenizer, template)
    with backbone.use(adapter) as model:
        drawn = decode(
            model,
            tokenizer,
            ids,
            n=n,
            max_new_tokens=generation.max_new_tokens,
            temperature=generation.temperature,
            stop=stop,
            seed=7,
        )
    return [[response.text for response in row] for row in drawn]


def weights_of(policy: Policy) -> tuple[dict[str, Any], list[list[int]]]:
    """Return a policy's tensors by name, as float32 arrays, and how its tokenizer renders the questions."""
    from morlaif_core.models.backbones import LocalBackbones, policy_backbone
    from morlaif_core.models.rendering import prompt_ids

    backbone, adapter = policy_backbone(policy, LocalBackbones(device="cpu", threads=1))
    with backbone.use(adapter) as model:
        tensors = {name: value.float().numpy().copy() for name, value in model.state_dict().items()}
    ids = [prompt_ids(backbone.tokenizer, prompt, policy.target.template) for prompt in questions()]
    return tensors, ids


def logits_of(target: Target, backbones: Backbones) -> Floats:
    """Return what the shared copy of a target says after one question, adapters off."""
    import torch

    from morlaif_core.models.rendering import prompt_ids

    backbone = backbones.get(target)
    ids = torch.tensor([prompt_ids(backbone.tokenizer, questions()[0], target.template)])
    with backbone.use(None) as model:
        return np.asarray(model(input_ids=ids.to(model.device)).logits.float().cpu().numpy())


def stamps(folder: Path) -> dict[str, tuple[int, int]]:
    """Return the time and size of every file below a folder."""
    files = [file for file in folder.rglob("*") if file.is_file()]
    return {str(file): (file.stat().st_mtime_ns, file.stat().st_size) for file in files}


def global_generators() -> tuple[object, ...]:
    """Return the states of the global random generators of Python, numpy and torch, to be compared."""
    import torch

    kind, keys, *rest = np.random.get_state(legacy=True)
    return random.getstate(), kind, keys.tobytes(), tuple(rest), torch.get_rng_state().numpy().tobytes()  # type: ignore[union-attr]
