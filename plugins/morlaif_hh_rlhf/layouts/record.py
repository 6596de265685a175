"""A row with the names that the options give its columns."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from morlaif_core import Message, Prompt, UserError, make_prompt

from ..files import Row
from ..options import PreferencesOptions
from ..rows import Pair, Parsed
from .contents import Value, prompt_of, typed

_LABEL_LIKE = re.compile(
    r"answer|response|completion|output|chosen|reject|label|prefer|winner|score|rating|rank|better|safer", re.I
)
KNOWN = (
    "TRL (prompt, chosen, rejected), PKU-SafeRLHF (response_0), HelpSteer3 (response1), UltraFeedback (completions), "
    "Chatbot-Arena (conversation_a), HHH (targets), KTO (completion, label), messages, conversations, or a prompt alone"
)


@dataclass(frozen=True)
class Record:
    """One row and the options of its data set."""

    row: Row
    options: PreferencesOptions

    @property
    def values(self) -> Mapping[str, object]:
        """The row's values by column."""
        return self.row.values

    def place(self, key: str) -> str:
        """Say where a value stands: file, row and field."""
        return f"{self.row.place}: '{key}'"

    def value(self, key: str) -> object:
        """Return a value. Raises UserError where there is no such column."""
        if key not in self.values:
            has, names = ", ".join(map(str, self.values)), "prompt_column, chosen_column, rejected_column"
            raise UserError(
                f"{self.row.place}: no key '{key}' (the record has: {has}); known layouts: {KNOWN}; {names}, "
                "label_column and labels set other names"
                + ("; name one of the labels' columns as label_column too" if self.options.labels else "")
            )
        return self.values[key]

    def content(self, key: str) -> Value:
        """Return text or messages. Raises Skip, or UserError where it is neither."""
        return typed(self.value(key), self.place(key))

    def prompt(self, *own: str) -> Prompt:
        """Make the prompt of the options' column or, where that is not there, of a layout's own. Raises Skip, UserError."""
        keys = (self.options.prompt_column, *own)
        return self.with_system(prompt_of(self.content(next((key for key in keys if key in self.values), keys[0]))))

    def with_system(self, prompt: Prompt) -> Prompt:
        """Put the text of a column ``system`` before a prompt that has no system turn of its own."""
        system = self.values.get("system")
        if not isinstance(system, str) or not system.strip() or prompt.messages[0].role == "system":
            return prompt
        return make_prompt([Message("system", system.strip()), *prompt.messages])

    def pair(
        self, prompt: Prompt, both: tuple[str, str], read: Callable[[object, str], float | None], overall: str
    ) -> Parsed:
        """Put a labelled pair together. read: a label's value and place to P(the first is better). overall: the layout's
        own column of the overall label. Raises UserError for a label that is not there or not known."""
        column = self.options.label_column or overall
        if column == overall and column not in self.values and not self.options.labels:
            return Parsed(prompt, note=f"two responses without a label ('{column}'; label_column sets another)")
        p_a = read(self.value(column), self.place(column))
        return self.labelled(prompt, both, p_a, lambda name: read(self.value(name), self.place(name)))

    def labelled(
        self, prompt: Prompt, both: tuple[str, str], p_a: float | None, own: Callable[[str], float | None]
    ) -> Parsed:
        """Put a pair together of its overall label and of what ``own`` reads from a principle's column."""
        labels = {principle: own(name) for principle, name in self.options.labels.items()}
        if p_a is None:
            lost = (
                ": its labels by principle are not used" if any(label is not None for label in labels.values()) else ""
            )
            return Parsed(prompt, note=f"pair without an overall label{lost}")
        return Parsed(prompt, (Pair(*both, p_a, labels),))

    def unread(self, *read: str) -> str:
        """Say which columns look like answers or labels beyond those that were read; empty where none does."""
        left = [str(key) for key, value in self.values.items() if key not in read and value is not None]
        found = [key for key in left if _LABEL_LIKE.search(key)]
        return f"answers or labels in columns of no known layout ({', '.join(found)}): prompts alone" if found else ""
