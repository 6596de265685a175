"""`check_sampler`, `check_model_maker` and `check_principles` pass what is right and find each mutant by its words."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from morlaif_core import Principle
from morlaif_core.config.principles import known_principles
from morlaif_core.plugins.manager import Plugins
from morlaif_core.testing import ContractError, check_model_maker, check_principles, check_sampler, tiny_base
from morlaif_core.types import Example
from tests.helpers.stranger_samplers import MAKERS, SAMPLERS, ConvertsHonestly, Drawer, Maker, maker, sampler


def test_an_honest_sampler_passes(tmp_path: Path) -> None:
    check_sampler(sampler(), tiny_base(), tmp_path)


@pytest.mark.parametrize("mutant", SAMPLERS, ids=lambda kind: kind.__name__)
def test_a_wrong_sampler_is_found(mutant: type[Drawer], tmp_path: Path) -> None:
    with pytest.raises(ContractError, match=re.escape(SAMPLERS[mutant])):
        check_sampler(sampler(mutant), tiny_base(), tmp_path)


@pytest.mark.parametrize("honest", [Maker, ConvertsHonestly])
def test_an_honest_maker_passes(honest: type[Maker], tmp_path: Path) -> None:
    check_model_maker(maker(honest), tmp_path)


@pytest.mark.parametrize("mutant", MAKERS, ids=lambda kind: kind.__name__)
def test_a_wrong_maker_is_found(mutant: type[Maker], tmp_path: Path) -> None:
    with pytest.raises(ContractError, match=re.escape(MAKERS[mutant])):
        check_model_maker(maker(mutant), tmp_path)


def test_the_shipped_principles_pass(tmp_path: Path) -> None:
    check_principles(known.principle for known in known_principles(Plugins(), tmp_path).values())


TACT = Principle("tact", "Which response is more tactful?", phrasings=("Which response shows more tact?",))


@pytest.mark.parametrize(
    ("pack", "word"),
    [
        ((), "no principles"),
        ((TACT, replace(TACT, question="Which one has tact?")), "same name"),
        ((TACT, replace(TACT, name="kind")), "same question"),
        ((replace(TACT, question="Rate the tact."),), "no question"),
        ((replace(TACT, phrasings=("Tact",)),), "no question"),
        ((replace(TACT, phrasings=(TACT.question,)),), "are the same"),
        ((replace(TACT, picks="best"),), "picks"),  # type: ignore[arg-type]
        ((replace(TACT, examples=(Example("Hi", "Yes.", "Yes.", "a"),)),), "none can win"),
        ((replace(TACT, examples=(Example("Hi", "Yes.", "", "a"),)),), "is empty"),
        ((replace(TACT, examples=(Example("Hi", "Yes.", "No.", "c"),)),), "winner"),  # type: ignore[arg-type]
        ((replace(TACT, examples=({"prompt": "Hi"},)),), "not an Example"),  # type: ignore[arg-type]
    ],
)
def test_a_wrong_pack_is_found(pack: tuple[Principle, ...], word: str) -> None:
    check_principles([TACT])
    with pytest.raises(ContractError, match=word):
        check_principles(pack)
