"""One system turn for all prompts of a data set: from here on it is part of them, whoever samples, judges or trains."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from morlaif_core.types import Message, Preference, Prompt, Split, make_prompt

if TYPE_CHECKING:
    from morlaif_core.plugins.protocols import Dataset


def with_system(prompt: Prompt, text: str) -> Prompt:
    """Put a system turn before a prompt; one that begins with its own keeps that alone."""
    if prompt.messages and prompt.messages[0].role == "system":
        return prompt
    return make_prompt([Message("system", text), *prompt.messages])


@dataclass(frozen=True)
class WithSystem:
    """A `Dataset` whose prompts all have a system turn."""

    dataset: Dataset
    text: str

    def prompts(self, split: Split) -> Iterator[Prompt]:
        """Yield the data set's prompts with the turn."""
        return (with_system(prompt, self.text) for prompt in self.dataset.prompts(split))

    def preferences(self, split: Split) -> Iterator[Preference]:
        """Yield the data set's preferences, of the same prompts."""
        for preference in self.dataset.preferences(split):
            yield replace(preference, prompt=with_system(preference.prompt, self.text))

    @property
    def skipped(self) -> Mapping[str, int]:
        """What the data set left out."""
        return self.dataset.skipped
