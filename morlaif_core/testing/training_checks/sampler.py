"""What a sampler must do: `check_sampler`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from morlaif_core.plugins.components import Component, Generation, Target
from morlaif_core.plugins.protocols import Backbones, Policy, Sampler
from morlaif_core.testing.components import check_component, require
from morlaif_core.types import ended

from .models import GREEDY, LIKE, draw, global_generators, logits_of, questions, stamps

N = 3


@dataclass
class Bench:
    """What all parts of a check share."""

    name: str
    sampler: Sampler
    backbones: Backbones

    def sample(self, policy: Policy, generation: Generation, *, n: int = N, seed: int = 0) -> list[tuple[str, ...]]:
        """Answer the questions, and look at the form of what comes back."""
        prompts = questions()
        found: Any = self.sampler.sample(
            policy, prompts, n=n, seed=seed, generation=generation, backbones=self.backbones
        )
        self.require(isinstance(found, Sequence), f"it returns {type(found).__name__}, not a sequence of tuples")
        self.require(len(found) == len(prompts), f"for {len(prompts)} prompts it returns {len(found)} rows")
        sizes = sorted({len(row) for row in found})
        self.require(sizes == [n], f"asked for n={n} responses to each prompt, it gives {sizes}")
        texts = all(isinstance(text, str) for row in found for text in row)
        self.require(texts, "a response is not a str; a response that was cut off is CutOff(text)")
        return [tuple(row) for row in found]

    def require(self, holds: bool, message: str) -> None:
        require(holds, f"{self.name}: {message}")


def check_sampler(
    component: Component[Sampler], base: Path, folder: Path, options: Mapping[str, object] | None = None
) -> None:
    """Check a sampler on a small base model.

    n responses to each prompt, in the order of the prompts; the seed decides them and nothing else is drawn from; almost
    without temperature they are those of `decode`, under the target and a trained policy, with
    ``generation.max_new_tokens`` and ``generation.stop``; those that were stopped by the limit, and no others, are
    `CutOff`; the model stays as it is.

    Args:
        component: what the plugin's hook returned.
        base: folder of a small causal LM with its tokenizer.
        folder: an empty folder, for a policy that differs from the base.
        options: options other than the defaults.

    Raises:
        ContractError: what does not hold, and what to do.
    """
    from morlaif_core.models.backbones import LocalBackbones

    check_component("sampler", component)
    target, backbones = Target.model_validate({"model": str(base)}), LocalBackbones(device="cpu", threads=1)
    chosen = component.options.model_validate(dict(options or {}))
    bench, untrained = Bench(component.name, component.build(chosen), backbones), Policy(target)
    before = stamps(base), logits_of(target, backbones).tolist(), global_generators()
    _check_seeds(bench, untrained)
    drawn = before[2] == global_generators()
    bench.require(drawn, "it draws from, or seeds, a global random generator; use one of its own, by `seed`")
    trained = Policy(target, _other_policy(target, folder / "policy"))
    for policy, what in ((untrained, "the target"), (trained, "a policy in a folder (see `policy_backbone`)")):
        for limit in (1, 12):
            generation = Generation(max_new_tokens=limit, temperature=GREEDY)
            _check_like(bench, policy, generation, f"under {what}, with max_new_tokens={limit}")
    _check_stop(bench, untrained)
    same = (stamps(base), logits_of(target, backbones).tolist()) == before[:2]
    bench.require(same, "the shared model, or its folder, is not as it was; sampling changes nothing")
    backbones.release()


def _check_seeds(bench: Bench, policy: Policy) -> None:
    generation = Generation(max_new_tokens=8, temperature=1.0)
    first = bench.sample(policy, generation)
    bench.require(
        first == bench.sample(policy, generation), "the same seed gives other responses; draw by `seed` alone"
    )
    bench.require(first != bench.sample(policy, generation, seed=1), "another seed gives the same responses")
    alike = all(len(set(row)) == 1 for row in first)
    bench.require(not alike, f"the {N} responses to a prompt are always equal; draw them independently")


def _check_like(bench: Bench, policy: Policy, generation: Generation, where: str) -> None:
    """Almost without temperature, texts and ends are those of the core's own decoding."""
    found = [row[0] for row in bench.sample(policy, generation, n=1)]
    expected = [row[0] for row in draw(policy, questions(), generation, 1)]
    pairs = list(zip(found, expected, strict=True))
    same = [(one, other) for one, other in pairs if str(one).strip() == str(other).strip()]
    advice = "use prompt_ids, decode and stop_strings, and keep the order of the prompts"
    one, other = next(((a, b) for a, b in pairs if str(a).strip() != str(b).strip()), ("", ""))
    told = f"{where}, it says {str(one)!r} where the model says {str(other)!r}"
    bench.require(len(same) >= LIKE * len(pairs), f"{told}; {advice}")
    for one, other in same:
        state = "ended by itself" if ended(other) else "was stopped by max_new_tokens"
        advice = "return it as a plain str" if ended(other) else "return it as CutOff(text)"
        bench.require(ended(one) == ended(other), f"{where}, the response {str(one)!r} {state}; {advice}")


def _check_stop(bench: Bench, policy: Policy) -> None:
    """Where some responses end by a stop string and others do not, each says which it is."""
    generation = Generation(max_new_tokens=12, temperature=GREEDY)
    texts = [row[0] for row in draw(policy, questions(), generation, 1)]

    def share(mark: str) -> float:
        return float(np.mean([mark in text for text in texts]))

    marks = sorted({mark for text in texts for mark in text[1:] if 0 < share(mark) < 1})
    if marks:
        stop = min(marks, key=lambda mark: abs(share(mark) - 0.5))
        where = f"with generation.stop=({stop!r},)"
        _check_like(bench, policy, generation.model_copy(update={"stop": (stop,)}), where)


def _other_policy(target: Target, folder: Path) -> Path:
    """Write a model of other weights, as a trainer would."""
    import torch

    from morlaif_core.models.backbones import LocalBackbones

    backbone = LocalBackbones(device="cpu", threads=1).get(target, own=True)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for weight in backbone.model.parameters():
            weight.add_(torch.randn(weight.shape, generator=generator) * weight.std(correction=0))
    backbone.model.save_pretrained(folder)
    backbone.tokenizer.save_pretrained(folder)
    return folder
