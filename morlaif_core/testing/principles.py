"""What a pack of principles must be: `check_principles`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import get_args

from morlaif_core.config.principles import PrincipleFile
from morlaif_core.types import Example, Principle

from .components import check_component, require


def check_principles(offered: Iterable[Principle]) -> None:
    """Check what a hook `morlaif_principles` returned: each is a question that judges can be asked.

    There is at least one; names and questions differ (``-`` and ``_`` are the same); a question, and each other wording,
    ends with a question mark; wordings differ; ``picks`` is better or worse; an example has a prompt, two responses that
    differ, and a winner.

    offered: what the hook returned.

    Raises:
        ContractError: what does not hold, with the principle's name.

    >>> check_principles([Principle("warmth", "Which response is warmer?")])
    """
    pack = list(offered)
    require(bool(pack), "the pack has no principles; are the YAML files in the package, and in its wheel?")
    for principle in pack:
        check_component("principle", principle)
        _check_wording(principle)
        for place, example in enumerate(principle.examples):
            _check_example(f"principle {principle.name}: example {place}", example)
    for what, keys in (
        ("name", [principle.name.replace("-", "_") for principle in pack]),
        ("question", [principle.question.strip() for principle in pack]),
    ):
        twice = sorted({key for key in keys if keys.count(key) > 1})
        require(not twice, f"two principles have the same {what}: {', '.join(twice)}")


def _check_wording(principle: Principle) -> None:
    where = f"principle {principle.name}"
    wordings = [principle.question, *principle.phrasings]
    least = next(rule.min_length for rule in PrincipleFile.model_fields["question"].metadata)
    for wording in wordings:
        told = f"{where}: {wording!r} is no question; ask which of two responses: Which response …?"
        require(len(wording.strip()) >= least and wording.strip().endswith("?"), told)
    distinct = len({wording.strip() for wording in wordings}) == len(wordings)
    require(distinct, f"{where}: two of its question and phrasings are the same")
    allowed = get_args(PrincipleFile.model_fields["picks"].annotation)
    require(principle.picks in allowed, f"{where}: picks is {principle.picks!r}; one of {', '.join(allowed)}")


def _check_example(where: str, example: object) -> None:
    require(isinstance(example, Example), f"{where} is {type(example).__name__}, not an Example")
    assert isinstance(example, Example)
    texts = all(text.strip() for text in (example.prompt, example.a, example.b))
    require(texts, f"{where}: its prompt or a response is empty")
    require(example.a.strip() != example.b.strip(), f"{where}: its responses are the same, so that none can win")
    require(example.winner in ("a", "b"), f"{where}: winner is {example.winner!r}, not a or b")
