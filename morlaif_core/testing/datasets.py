"""What a data set must do: `check_dataset`."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import islice
from typing import get_args

from morlaif_core.plugins.components import Component
from morlaif_core.plugins.protocols import Dataset
from morlaif_core.types import Preference, Prompt, Split, make_prompt

from .components import check_component, require


def check_dataset(
    component: Component[Dataset], options: Mapping[str, object] | None = None, *, limit: int | None = 500
) -> None:
    """Check a data set against the contract.

    Each split gives prompts with the id that `make_prompt` gives, preferences with two responses that are not empty and
    labels in [0, 1]; building it again gives the same in the same order; labels come only where they are declared
    (``supplies`` labels); skipped rows are counted; the train split is not empty.

    Args:
        component: what the plugin's hook returned.
        options: options other than the defaults.
        limit: so many prompts and preferences of each split are looked at; None: all.

    Raises:
        ContractError: what does not hold.
    """
    check_component("dataset", component)
    chosen = component.options.model_validate(dict(options or {}))
    first, second = component.build(chosen), component.build(chosen)
    labels = 0
    for split in get_args(Split):
        prompts = list(islice(first.prompts(split), limit))
        preferences = list(islice(first.preferences(split), limit))
        labels += len(preferences)
        require(
            prompts == list(islice(second.prompts(split), limit)), f"{component.name}: {split} prompts come differently"
        )
        again = list(islice(second.preferences(split), limit))
        require(preferences == again, f"{component.name}: {split} preferences come differently")
        require(split == "test" or bool(prompts), f"{component.name}: there are no train prompts")
        for row, prompt in enumerate(prompts):
            _check_prompt(f"{component.name}: {split} prompt {row}", prompt)
        for row, preference in enumerate(preferences):
            _check_preference(f"{component.name}: {split} preference {row}", preference)
    declared = "labels" in component.supplies
    require(
        declared or not labels, f"{component.name}: {labels} preferences came, but it does not say it supplies labels"
    )
    skipped = first.skipped
    counted = all(isinstance(why, str) and isinstance(count, int) and count >= 0 for why, count in skipped.items())
    require(
        isinstance(skipped, Mapping) and counted,
        f"{component.name}: skipped is no mapping of reasons to counts: {skipped}",
    )


def _check_prompt(where: str, prompt: object) -> None:
    require(isinstance(prompt, Prompt), f"{where} is {type(prompt).__name__}, not a Prompt")
    assert isinstance(prompt, Prompt)
    require(bool(prompt.messages) and prompt.messages[-1].role == "user", f"{where} does not end with the user's turn")
    require(prompt.id == make_prompt(prompt.messages).id, f"{where} has another id than make_prompt gives")
    require(bool(prompt.messages[-1].content.strip()), f"{where}: the user says nothing")


def _check_preference(where: str, preference: object) -> None:
    require(isinstance(preference, Preference), f"{where} is {type(preference).__name__}, not a Preference")
    assert isinstance(preference, Preference)
    _check_prompt(f"{where}: its prompt", preference.prompt)
    require(bool(preference.a.strip()) and bool(preference.b.strip()), f"{where}: a response is empty")
    require(0 <= preference.p_a <= 1, f"{where}: p_a is {preference.p_a}, not in [0, 1]")
    for name, p_a in (preference.labels or {}).items():
        require(p_a is None or 0 <= p_a <= 1, f"{where}: its label under {name} is {p_a}, not in [0, 1]")
