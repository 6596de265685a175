"""A sampler and a model maker as a stranger would write them from the docs, and what he may get wrong."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any, ClassVar

import torch

from morlaif_core import (
    Backbones,
    Component,
    CutOff,
    Generation,
    ModelMaker,
    NoOptions,
    Policy,
    Prompt,
    Report,
    Sampler,
    component,
    decode,
    policy_backbone,
    prompt_ids,
    stop_strings,
)
from tests.helpers.tiny_models import tiny_model, tiny_tokenizer


class Drawer:
    """The sampler that does all of it."""

    def __init__(self, options: NoOptions) -> None:
        pass

    def sample(
        self, policy: Policy, prompts: Sequence[Prompt], *, n: int, seed: int, generation: Generation,
        backbones: Backbones,
    ) -> Any:  # fmt: skip
        backbone, adapter = policy_backbone(policy, backbones)
        tokenizer, template = backbone.tokenizer, policy.target.template
        with backbone.use(adapter) as model:
            drawn = decode(
                model, tokenizer, [prompt_ids(tokenizer, prompt, template) for prompt in prompts], n=n, seed=seed,
                max_new_tokens=generation.max_new_tokens, temperature=generation.temperature,
                stop=stop_strings(generation, tokenizer, template),
            )  # fmt: skip
        return [tuple(one.text for one in row) for row in drawn]


class Turned(Drawer):
    def sample(self, *given: Any, **named: Any) -> Any:
        return super().sample(*given, **named)[::-1]


class OneShort(Drawer):
    def sample(self, *given: Any, **named: Any) -> Any:
        return [row[1:] for row in super().sample(*given, **named)]


class LastLost(Drawer):
    def sample(self, *given: Any, **named: Any) -> Any:
        return super().sample(*given, **named)[:-1]


class NeverCut(Drawer):
    def sample(self, *given: Any, **named: Any) -> Any:
        return [tuple(str.__str__(text) for text in row) for row in super().sample(*given, **named)]


class AlwaysCut(Drawer):
    def sample(self, *given: Any, **named: Any) -> Any:
        return [tuple(CutOff(text) for text in row) for row in super().sample(*given, **named)]


class OneSeed(Drawer):
    def sample(self, *given: Any, **named: Any) -> Any:
        return super().sample(*given, **{**named, "seed": 0})


class ByChance(Drawer):
    def sample(self, *given: Any, **named: Any) -> Any:
        return super().sample(*given, **{**named, "seed": random.SystemRandom().randrange(10**6)})


class SeedsAll(Drawer):
    def sample(self, *given: Any, **named: Any) -> Any:
        torch.manual_seed(named["seed"])
        return super().sample(*given, **named)


class Repeats(Drawer):
    def sample(self, *given: Any, **named: Any) -> Any:
        return [row[:1] * named["n"] for row in super().sample(*given, **named)]


class OwnLimit(Drawer):
    def sample(self, *given: Any, generation: Generation, **named: Any) -> Any:
        return super().sample(*given, generation=generation.model_copy(update={"max_new_tokens": 8}), **named)


class OwnStop(Drawer):
    def sample(self, *given: Any, generation: Generation, **named: Any) -> Any:
        return super().sample(*given, generation=generation.model_copy(update={"stop": "auto"}), **named)


class OwnTemperature(Drawer):
    def sample(self, *given: Any, generation: Generation, **named: Any) -> Any:
        return super().sample(*given, generation=generation.model_copy(update={"temperature": 1.0}), **named)


class Untrained(Drawer):
    """Draws from the target whatever the policy."""

    def sample(self, policy: Policy, *given: Any, **named: Any) -> Any:
        return super().sample(replace(policy, folder=None), *given, **named)


class Moves(Drawer):
    def sample(self, policy: Policy, *given: Any, **named: Any) -> Any:
        found = super().sample(policy, *given, **named)
        with torch.no_grad():
            next(named["backbones"].get(policy.target).model.parameters()).add_(1e-3)
        return found


SAMPLERS: dict[type[Drawer], str] = {
    Turned: "keep the order",
    OneShort: "asked for n=3",
    LastLost: "returns 15 rows",
    NeverCut: "CutOff(text)",
    AlwaysCut: "plain str",
    OneSeed: "another seed",
    ByChance: "the same seed",
    SeedsAll: "global random generator",
    Repeats: "always equal",
    OwnLimit: "max_new_tokens=1",
    OwnStop: "generation.stop",
    OwnTemperature: "where the model says",
    Untrained: "a policy in a folder",
    Moves: "shared model",
}
"""Each with words of the message that finds it."""


class Maker:
    """The model maker that does all of it."""

    identity: Any = "stranger-1"
    learns: ClassVar[bool] = True

    def __init__(self, options: NoOptions) -> None:
        pass

    def make(self, folder: Path, texts: Iterable[str], *, seed: int, report: Report) -> None:
        model = tiny_model("gpt2", seed=self.seed(list(texts), seed), width=16)
        report(1, 1, {})
        self.save(model, folder)

    def seed(self, texts: list[str], seed: int) -> int:
        return seed + len(texts)

    def save(self, model: Any, folder: Path) -> None:
        model.save_pretrained(folder)
        tiny_tokenizer().save_pretrained(folder)


class MadeByChance(Maker):
    def seed(self, texts: list[str], seed: int) -> int:
        return random.SystemRandom().randrange(10**6)


class Converts(Maker):
    def seed(self, texts: list[str], seed: int) -> int:
        return 0


class ConvertsHonestly(Converts):
    learns = False


class LearnsAfterAll(Maker):
    learns = False


class NoTokenizer(Maker):
    def save(self, model: Any, folder: Path) -> None:
        model.save_pretrained(folder)


class NoModel(Maker):
    def save(self, model: Any, folder: Path) -> None:
        model.config.save_pretrained(folder)
        tiny_tokenizer().save_pretrained(folder)


class MakesNaN(Maker):
    def save(self, model: Any, folder: Path) -> None:
        next(model.parameters()).data.fill_(float("nan"))
        super().save(model, folder)


class NoEnd(Maker):
    def save(self, model: Any, folder: Path) -> None:
        model.save_pretrained(folder)
        tokenizer = tiny_tokenizer()
        tokenizer.eos_token = None
        tokenizer.save_pretrained(folder)


class SeedsTheWorld(Maker):
    def save(self, model: Any, folder: Path) -> None:
        torch.manual_seed(5)
        super().save(model, folder)


class Restless(Maker):
    numbers = count()

    def __init__(self, options: NoOptions) -> None:
        self.identity = f"stranger-{next(self.numbers)}"


MAKERS: dict[type[Maker], str] = {
    MadeByChance: "give other weights",
    Converts: "learns = False",
    LearnsAfterAll: "`learns` is False",
    NoTokenizer: "tokenizer_config.json is missing",
    NoModel: "does not load",
    MakesNaN: "not finite",
    NoEnd: "no eos token",
    SeedsTheWorld: "global random generator",
    Restless: "identity",
}
"""Each with words of the message that finds it."""


def sampler(kind: type[Drawer] = Drawer) -> Component[Sampler]:
    """Return the component of one of them."""
    return component("drawer", kind, NoOptions, "draws responses")


def maker(kind: type[Maker] = Maker) -> Component[ModelMaker]:
    """Return the component of one of them."""
    return component("maker", kind, NoOptions, "makes a model")
