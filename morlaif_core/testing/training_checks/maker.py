"""What a model maker must do: `check_model_maker`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from morlaif_core.plugins.components import Component, Target
from morlaif_core.plugins.protocols import ModelMaker
from morlaif_core.testing.components import check_component, require

from .models import TOPICS, global_generators, logits_of
from .watched import Recorder


def check_model_maker(
    component: Component[ModelMaker],
    folder: Path,
    options: Mapping[str, object] | None = None,
    *,
    texts: Sequence[str] | None = None,
) -> None:
    """Check a model maker: it makes a model that loads, the same one from the same texts, options and seed.

    Its identity is a text that stays. What it writes into an empty folder is a transformers model with finite logits
    and a tokenizer with an end of sequence. Other texts with another seed give another model unless ``learns`` is
    False: then it is made from no texts. It draws from no global random generator.

    Args:
        component: what the plugin's hook returned.
        folder: an empty folder to make models in.
        options: options other than the defaults; small ones keep it short.
        texts: whole conversations in HH form, as a data set's training split gives them; by default 32 short ones.

    Raises:
        ContractError: what does not hold, and what to do.
    """
    from morlaif_core.models.resolve import folder_fingerprint

    check_component("model", component)
    name, chosen = component.name, component.options.model_validate(dict(options or {}))
    makers = [component.build(chosen) for _ in range(3)]
    identities = {maker.identity for maker in makers}
    stays = len(identities) == 1 and all(isinstance(one, str) and one for one in identities)
    require(stays, f"{name}: identity is {sorted(map(repr, identities))}; one text, changed when the models change")
    learns = getattr(makers[0], "learns", True)
    known = list(texts or _conversations()) if learns else []
    other = known[::2]
    prints = []
    before = global_generators()
    for place, (maker, given, seed) in enumerate(zip(makers, (known, known, other), (0, 0, 1), strict=True)):
        out = folder / f"model-{place}"
        out.mkdir(parents=True)
        _make(name, maker, out, given, seed)
        if place == 0:
            _check_model(name, out)
        prints.append(folder_fingerprint(out))
    drawn = before != global_generators()
    require(not drawn, f"{name}: it draws from, or seeds, a global random generator; use torch.random.fork_rng()")
    told = "the same texts, options and seed give other weights"
    require(prints[0] == prints[1], f"{name}: {told}; draw by `seed` alone, on one thread")
    if learns:
        told = "other texts and another seed give the same model; a maker that only converts sets `learns = False`"
        require(prints[0] != prints[2], f"{name}: {told}")
    else:
        told = "`learns` is False, but another seed gives another model, and the cache would not know"
        require(prints[0] == prints[2], f"{name}: {told}")


def _make(name: str, maker: ModelMaker, out: Path, texts: Iterable[str], seed: int) -> None:
    report = Recorder()
    # An iterator, since that is all that is promised.
    maker.make(out, iter(texts), seed=seed, report=report)
    if report.steps:
        report.check_order(name)


def _check_model(name: str, out: Path) -> None:
    from morlaif_core.models.backbones import LocalBackbones

    missing = [file for file in ("config.json", "tokenizer_config.json") if not (out / file).is_file()]
    require(not missing, f"{name}: {', '.join(missing)} is missing; save_pretrained(folder) of model and tokenizer")
    target, backbones = Target.model_validate({"model": str(out)}), LocalBackbones(device="cpu", threads=1)
    try:
        logits, tokenizer = logits_of(target, backbones), backbones.get(target).tokenizer
    except Exception as error:
        require(False, f"{name}: what it made does not load ({type(error).__name__}: {error})")
    require(bool(np.isfinite(logits).all()), f"{name}: the model's logits are not finite")
    sizes = f"{logits.shape[-1]} logits for {len(tokenizer)} tokens"
    require(logits.shape[-1] >= len(tokenizer), f"{name}: {sizes}; the vocabulary is the tokenizer's")
    ends = tokenizer.eos_token_id is not None
    require(ends, f"{name}: the tokenizer has no eos token, so that no response would end; give it one")
    text = "Mix flour and water."
    back = tokenizer.decode(tokenizer(text, add_special_tokens=False)["input_ids"])
    require(back.strip() == text, f"{name}: the tokenizer makes {back!r} of {text!r}")


def _conversations() -> list[str]:
    return [
        f"\n\nHuman: {question.format(topic)}\n\nAssistant: I know that {topic} can be {word}."
        for topic in TOPICS
        for question, word in (("Tell me about {}.", "fine"), ("What of {}?", "hard"))
    ]
