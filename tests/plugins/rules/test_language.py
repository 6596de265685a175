"""`rules` says that texts are not English, once, and says nothing of English ones."""

from __future__ import annotations

import os
import warnings
from pathlib import Path

import pytest

from morlaif_core import Principle, Request, build, load_run, make_prompt
from morlaif_rules.judge import Rules
from morlaif_rules.language import LanguageWatch, looks_foreign
from morlaif_rules.options import RulesOptions

FOREIGN = {
    "German": "Am besten fängst du mit kurzen Spaziergängen an und bleibst dabei ruhig, auch wenn der Hund bellt.",
    "French": "Il vaut mieux commencer par de courtes promenades et rester calme, même si le chien aboie beaucoup.",
    "Spanish": "Lo mejor es empezar con paseos cortos y mantener la calma, aunque el perro ladre mucho en la calle.",
    "Italian": "È meglio cominciare con passeggiate brevi e restare calmi, anche se il cane abbaia molto per strada.",
    "Dutch": "Je kunt het beste met korte wandelingen beginnen en rustig blijven, ook als de hond hard blaft op straat.",
    "Polish": "Najlepiej zacząć od krótkich spacerów i zachować spokój, nawet jeśli pies głośno szczeka na ulicy.",
    "Russian": "Лучше всего начать с коротких прогулок и сохранять спокойствие, даже если собака громко лает.",
    "Chinese": "最好从短途散步开始,并保持冷静,即使狗在街上大声吠叫也不要生气,慢慢地它就会习惯周围的环境和陌生人的声音。",
    "Arabic": "من الأفضل أن تبدأ بنزهات قصيرة وأن تحافظ على هدوئك حتى لو كان الكلب ينبح بصوت عال في الشارع",
}
ENGLISH = "It is best to begin with short walks and to stay calm, even if the dog barks at what is in the street."


@pytest.mark.parametrize("language", FOREIGN)
def test_other_languages_look_foreign(language: str) -> None:
    assert looks_foreign(FOREIGN[language]) is True


def test_english_does_not_and_a_few_letters_tell_nothing() -> None:
    assert looks_foreign(ENGLISH) is False
    assert looks_foreign("Ja, natürlich.") is looks_foreign("1234 " * 50) is looks_foreign("") is None


def asked(texts: list[str]) -> list[Request]:
    return [Request(make_prompt(text), "Yes.", "No.", Principle("detail", "Which?")) for text in texts]


def test_the_judge_says_it_once() -> None:
    judge = Rules(RulesOptions())
    texts = [f"{text} {number}" for number in range(20) for text in FOREIGN.values()]
    with pytest.warns(UserWarning, match="20 of the first 20 prompts do not look English"):
        judge.ask_many(asked(texts))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        judge.ask_many(asked(texts))


def test_some_foreign_texts_among_english_ones_are_no_news() -> None:
    watch = LanguageWatch()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        watch.see(f"{text} {number}" for number in range(60) for text in (ENGLISH, ENGLISH, FOREIGN["German"]))


@pytest.mark.skipif("MORLAIF_HH_SAMPLE" not in os.environ, reason="MORLAIF_HH_SAMPLE names no real HH-rlhf file")
def test_real_english_raises_no_false_alarm() -> None:
    data = build("dataset", "hh-rlhf", path=os.environ["MORLAIF_HH_SAMPLE"])
    rows = list(data.preferences("train"))
    texts = [text for item in rows for text in (item.a, item.b, item.prompt.messages[-1].content)]
    found = [looks_foreign(text) for text in texts]
    known = [foreign for foreign in found if foreign is not None]
    assert len(known) > 200
    assert sum(known) <= 0.01 * len(known)


def test_the_demo_raises_no_false_alarm(finished: Path) -> None:
    pairs = [stored.pair for stored in load_run(finished).pairs()]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        LanguageWatch().see(pair.prompt.messages[-1].content for pair in pairs)
