"""What a fingerprint counts of options, however their defaults are declared."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import Field, ValidationError

from morlaif_core import Later, Options, Target, Tuning
from morlaif_core.runs.stamps import stable


class Before(Options):
    """Options as they were first."""

    base: Target = Target(model="gpt2")
    rate: float = Field(0.1, description="rate")


class After(Before):
    """The same, and what came since."""

    words: list[str] = Later(default_factory=lambda: ["a"], description="words")
    twice: float = Later(default_factory=lambda before: 2 * before["rate"], description="twice the rate")
    name: str | None = Later(None, description="name")
    threads: list[int] = Tuning(default_factory=lambda: [1], description="threads")


@pytest.mark.parametrize("given", [{}, {"rate": 0.3}, {"words": ["a"], "twice": 0.2, "name": None, "threads": [3]}])
def test_an_option_that_came_later_is_not_counted_at_its_default(given: dict[str, Any]) -> None:
    then = {key: value for key, value in given.items() if key == "rate"}
    assert stable(After(**given)) == stable(Before(**then))


@pytest.mark.parametrize("given", [{"words": []}, {"twice": 0.1}, {"name": "x"}])
def test_another_value_is_counted(given: dict[str, Any]) -> None:
    assert stable(After(**given)) == {**stable(Before()), **given}


def test_what_a_dump_leaves_out_is_not_counted() -> None:
    target = Target(model="gpt2")
    assert "chat_template_kwargs" not in target.model_dump()
    assert "chat_template_kwargs" not in stable(target)
    asked = Target(model="gpt2", chat_template_kwargs={"enable_thinking": False})
    assert stable(asked)["chat_template_kwargs"] == {"enable_thinking": False}


def test_tuning_without_a_default_is_required() -> None:
    class Needed(Options):
        threads: int = Tuning(description="threads")

    with pytest.raises(ValidationError, match="Field required"):
        Needed()  # type: ignore[call-arg]
