"""Panels, cascades, prices and budget in a configuration: what is accepted, what is refused, what `check` says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from morlaif_core import UserError
from morlaif_core.cli.output import show_status
from morlaif_core.cli.show_config import show_config
from morlaif_core.cli.under_way import UnderWay
from morlaif_core.config.judge_settings import CascadeSettings, JudgeSettings, PanelSettings
from morlaif_core.config.load import load_config
from morlaif_core.config.prices import check_budget, is_missed, price_of
from morlaif_core.plugins.manager import Plugins
from morlaif_core.readiness import check_judging, needed_before_run

JUDGES = """
judges:
  one: {use: openai, model: m-1, api_key: KEY_ONE}
  two: {use: openai, model: m-2, api_key: null}
  careful: {panel: [one, two, rules], quorum: 2}
  thrifty: {cascade: [one, careful], below: 1.0}
"""


def test_panels_and_cascades_are_judges(load: Any) -> None:
    settings = load(JUDGES + "judge: thrifty\n").settings
    panel, cascade = settings.judges["careful"], settings.judges["thrifty"]
    assert panel == PanelSettings(panel=("one", "two", "rules"), quorum=2, combine="median")
    assert cascade == CascadeSettings(cascade=("one", "careful"), below=1.0)
    assert settings.singles_of("thrifty") == ("one", "two", "rules")
    assert settings.singles_of("two") == ("two",)
    assert settings.asked == ("rules",), "the demo's principles name `rules`"
    assert load(JUDGES + "principles: {relevance: {judge: thrifty}}\n").settings.asked_singles == (
        "one",
        "rules",
        "two",
    )


def test_all_members_are_the_quorum_where_none_is_said(load: Any) -> None:
    panel = load(JUDGES, "judges.careful.quorum=null").settings.judges["careful"]
    assert isinstance(panel, PanelSettings)
    assert panel.quorum is None


def test_members_may_be_spelt_with_hyphen_or_underscore(load: Any) -> None:
    text = "judges: {a-b: {use: rules}, c_d: {use: rules}, p: {panel: [a_b, c-d]}, e: {cascade: [a_b, p], below: 2}}\n"
    settings = load(text + "judge: p\n").settings
    assert settings.members_of("p") == ("a-b", "c_d")
    assert settings.members_of("e") == ("a-b", "p")


def test_set_makes_a_panel_of_a_provider_and_a_provider_of_a_panel(load: Any) -> None:
    made = load(JUDGES, "judges.two.quorum=1", "judges.two.panel=[one, rules]").settings
    assert made.judges["two"] == PanelSettings(panel=("one", "rules"), quorum=1)
    back = load(JUDGES, "judges.careful.use=rules").settings.judges["careful"]
    assert isinstance(back, JudgeSettings)
    assert back.component_options == {}


def test_null_takes_back_what_a_judge_is(load: Any) -> None:
    text = "judges: {gpt-35: {use: null, model: null, api_key: null, panel: [rules, other]}, other: {use: rules}}\n"
    with pytest.raises(UserError, match=r"judges\.gpt-35\.model: unknown key\. Known keys: panel, quorum, combine"):
        load(text)
    assert load(JUDGES, "judges.careful.combine=null").settings.judges["careful"].combine == "median"


BAD = [
    ("x: {use: rules, panel: [one, two]}", ["judges.x: use and panel exclude each other", "[mine.yaml]"]),
    ("x: {panel: [one, two], cascade: [one, two], below: 1}", ["judges.x: panel and cascade exclude each other"]),
    ("x: {quorum: 2}", ["judges.x: say `use` (a provider), `panel` or `cascade`", "[mine.yaml]"]),
    ("x: {panel: [one, two], qourum: 2}", ["judges.x.qourum: unknown key. Did you mean 'quorum'?", "[mine.yaml]"]),
    ("x: {cascade: [one, two], belw: 2}", ["judges.x.belw: unknown key. Did you mean 'below'?"]),
    ("x: {cascade: [one, two]}", ["judges.x.below: must be given", "[mine.yaml]"]),
    ("x: {cascade: [one, two], below: 0}", ["judges.x.below: ", "greater than 0"]),
    ("x: {cascade: [one, two], below: .inf}", ["judges.x.below: ", "finite"]),
    ("x: {panel: [one, tow]}", ["judges.x.panel: there is no judge 'tow'. Did you mean 'two'?", "[mine.yaml]"]),
    ("x: {cascade: [one, nobody], below: 1}", ["judges.x.cascade: there is no judge 'nobody'", "[mine.yaml]"]),
    ("x: {panel: [one, human]}", ["judges.x.panel: human labels", "[mine.yaml]"]),
    ("x: {panel: [one, one]}", ["judges.x.panel: 'one' is named twice"]),
    ("x-y: {use: rules}, x: {panel: [x-y, x_y]}", ["judges.x.panel: 'x-y' is named twice"]),
    ("x: {panel: [one]}", ["judges.x.panel: ", "at least 2 items"]),
    ("x: {panel: one}", ["judges.x.panel: "]),
    ("x: {panel: [one, two], quorum: 3}", ["judges.x.quorum: 3 of 2 members cannot be had", "[mine.yaml]"]),
    ("x: {panel: [one, two], quorum: 0}", ["judges.x.quorum: ", "greater than or equal to 1"]),
    ("x: {panel: [one, two], quorum: true}", ["judges.x.quorum: a number is needed"]),
    ("x: {panel: [one, two], combine: mean}", ["judges.x.combine: ", "'majority'"]),
    ("x: {panel: [one, two], judging: {concurrency: 3}}", ["judges.x: a panel has no `judging` of its own"]),
    ("x: {panel: [x, two]}", ["judges.x.panel: it is made of itself: x > x"]),
    ("x: {panel: [y, two]}, y: {cascade: [z, one], below: 1}, z: {panel: [one, x]}", ["x > y > z > x"]),
    ("x: 3", ["judges.x: "]),
]


@pytest.mark.parametrize(("text", "parts"), BAD, ids=[text for text, _ in BAD])
def test_bad_panels_and_cascades_are_refused_with_key_cause_and_file(load: Any, text: str, parts: list[str]) -> None:
    base = "judges: {one: {use: rules}, two: {use: rules}, "
    with pytest.raises(UserError) as raised:
        load(base + text + "}\n")
    for part in parts:
        assert part in str(raised.value), str(raised.value)


def test_every_member_must_be_able_to_measure_the_principle(load: Any) -> None:
    with pytest.raises(UserError, match=r"principles\.factuality\.judge: judge 'rules' \(in 'thrifty'\) refuses it"):
        load(JUDGES + "principles: {factuality: {judge: thrifty}}\n")
    with pytest.raises(UserError, match=r"evaluation\.judge: judge 'rules' \(in 'careful'\) refuses it"):
        load(JUDGES + "principles: {factuality: {judge: two}}\nevaluation: {judge: careful}\n")


def test_what_members_need_before_the_run_is_listed_and_of_unused_judges_is_not(
    load: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("KEY_ONE", raising=False)
    needed = needed_before_run(load(JUDGES + "principles: {relevance: {judge: thrifty}}\n"))
    assert any("judges.one: the environment variable KEY_ONE is not set" in line for line in needed)
    assert not any("judges.one" in line for line in needed_before_run(load(JUDGES)))


def test_check_prints_members_with_their_origin(load: Any, capsys: pytest.CaptureFixture[str]) -> None:
    show_config(load(JUDGES, "judges.careful.quorum=3"), [], [], everything=True)
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert 'judges.careful.panel ["one", "two", "rules"] mine.yaml' in lines
    assert "judges.careful.quorum 3 --set judges.careful.quorum" in lines
    assert "judges.careful.combine median default" in lines
    assert "judges.thrifty.below 1.0 mine.yaml" in lines


def test_the_runs_own_configuration_can_be_read_again(load: Any, plugins: Plugins, tmp_path: Path) -> None:
    config = load(JUDGES + "budget: {usd: 3}\nprices: {m-1: {input: 0.5, output: 1.5, as_of: 2026-11-01}}\n")
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(config.settings.model_dump(mode="json"), sort_keys=False))
    again = load_config(["run.yaml"], plugins=plugins, folder=tmp_path, alone=True)
    assert again.settings == config.settings


def test_a_budget_in_money_needs_every_price(load: Any) -> None:
    text = JUDGES + "principles: {relevance: {judge: thrifty}}\nbudget: {usd: 2}\n"
    with pytest.raises(UserError) as raised:
        check_judging(load(text))
    message = str(raised.value)
    assert "budget.usd: it cannot be kept [mine.yaml]" in message
    for judge, model in (("one", "m-1"), ("two", "m-2")):
        assert f"no price is known for judge '{judge}' (model {model})" in message
        assert f"judges.{judge}.judging.price" in message
    assert "rules" not in message
    priced = load(text + "prices: {m-1: {input: 1, output: 2}}\n", "judges.two.judging.price={input: 3, output: 4}")
    check_judging(priced)
    check_judging(load(text.replace("{usd: 2}", "{requests: 2}")))


def test_a_judges_own_price_goes_before_the_tables_and_nobody_bills_rules(load: Any) -> None:
    config = load(
        JUDGES + "prices: {m-1: {input: 1, output: 2}, m-2: {input: 5, output: 6}}\n",
        "judges.two.judging.price={input: 3, output: 4}",
    )
    found = {judge: price_of(config, judge) for judge in ("one", "two", "rules")}
    assert [price and (price.input, price.output) for price in found.values()] == [(1, 2), (3, 4), (0, 0)]
    assert price_of(load(JUDGES), "one") is None


def test_the_same_name_at_another_server_is_not_in_the_table(load: Any) -> None:
    text = JUDGES + "prices: {m-1: {input: 1, output: 2}}\n"
    assert price_of(load(text, "judges.one.base_url=https://gateway.example/v1"), "one") is None


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ("mode: structured", "judging.mode is structured"),
        ("joint: true", "judging.joint needs answers by a JSON schema"),
    ],
)
def test_a_judge_that_cannot_be_asked_so_is_told_before_the_run(load: Any, options: str, word: str) -> None:
    text = f"judges: {{x: {{use: openai, model: m, structured: false, judging: {{{options}}}}}}}\n"
    with pytest.raises(UserError, match=r"judges\.x: " + word):
        check_judging(load(text + "principles: {relevance: {judge: x}}\n"))
    check_judging(load(text))


def test_a_principle_that_people_judge_needs_no_question(load: Any) -> None:
    config = load("principles: {our-taste: {judge: human}, relevance: {}}\n")
    assert (config.principles[0].name, config.principles[0].question) == ("our-taste", "")
    assert load("dataset: {use: preferences, path: x.jsonl, labels: {our_taste: c}}\n"
                "principles: {our-taste: {judge: human}}\n").principles[0].name == "our-taste"  # fmt: skip
    for text, said in (
        ("principles: {our-taste: {judge: rules}}", "Add principles/our-taste.yaml"),
        ("principles: {our-taste: {}}", "Add principles/our-taste.yaml"),
        # A misspelt name would get the overall label, unseen.
        ("principles: {relevence: {judge: human}}", "Did you mean 'relevance'"),
    ):
        with pytest.raises(UserError, match=said):
            load(text + "\n")


def test_an_unpriced_judge_on_this_machine_is_no_news(load: Any, capsys: pytest.CaptureFixture[str]) -> None:
    text = "judges: {one: {use: openai, model: m, base_url: %s, api_key: null}}\nprinciples: {detail: {judge: one}}\n"
    for url, quiet in (
        ("http://localhost:8000/v1", True),
        ("http://127.0.0.1:8000/v1", True),
        ("'http://[::1]:8000/v1'", True),
        ("https://example.com/v1", False),
    ):
        missed = is_missed(load(text % url))
        assert missed is not quiet
        show_status({}, {"cost_usd": None, "notes": {"cost_usd": "why"}}, UnderWay(None, None, None, None), missed)
        assert ("cost" in capsys.readouterr().out) is missed
        # It may pass requests on to who bills them: a budget is not kept by hope.
        with pytest.raises(UserError, match=r"budget\.usd: it cannot be kept"):
            check_budget(load(text % url, "budget.usd=1"))
