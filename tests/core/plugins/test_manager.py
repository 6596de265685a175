"""Plugins: honest strangers work like built-ins; broken ones are set aside, explained, and harm nobody else."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import tomllib
import warnings
from importlib.metadata import entry_points
from pathlib import Path

import numpy as np
import pytest

from morlaif_core import Message, Principle, Request, ScoreMatrix, UserError, build, make_prompt
from morlaif_core.plugins.manager import KINDS, Plugins, check_name
from tests.helpers.distributions import HEAD, ONE, add_distribution, hook, install_third_party, scalarizer
from tests.helpers.places import ROOT


def load() -> tuple[Plugins, list[str]]:
    """All plugins, and the warnings about those set aside."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        plugins = Plugins.load()
    return plugins, [str(item.message) for item in caught]


def names(plugins: Plugins, kind: str) -> list[str]:
    return [offer.component.name for offer in plugins.offers_by_kind[kind]]


BUILT_IN = {kind: names(Plugins.load(), kind) for kind in KINDS}


def test_a_strangers_plugin_works_like_a_built_in(site: Path, tmp_path: Path) -> None:
    install_third_party(site)
    plugins, said = load()
    assert not [line for line in said if "moderate" in line]
    offer = plugins.find_offer("scalarizer", "median")
    assert (offer.plugin, offer.distribution, offer.version) == ("moderate", "morlaif-moderate", "1.2.3")
    scores = ScoreMatrix(np.array([[1, 5, 2]], np.float32), ("a", "b", "c"), ("p",))
    assert build("scalarizer", "median")(scores, None).tolist() == [2]
    assert plugins.find("scalarizer", "moderate/median") is offer.component
    judge = build("feedback_provider", "shorter")
    request = Request(make_prompt([Message("user", "?")]), "a", "bb", Principle("brevity", "Which is shorter?"))
    assert asyncio.run(judge.ask(request)).p_first == 1


def test_a_configuration_uses_it(site: Path, tmp_path: Path) -> None:
    from morlaif_core.config.load import load_config

    install_third_party(site)
    sets = ["scalarizer.use=median", "judges.brief={use: moderate/shorter}", "principles.relevance.judge=brief"]
    config = load_config(["demo"], sets, folder=tmp_path)
    assert config.settings.scalarizer.use == "median"


ASK = HEAD + "from morlaif_core import Principle\n" + hook("morlaif_principles", "[{}]")
HOSTILE = {
    "raises": ("1/0\n", ["cannot be loaded", "ZeroDivisionError"]),
    "leaves": ("import sys\nsys.exit(3)\n", ["cannot be loaded", "SystemExit"]),
    "unimportable": ("import not_there_at_all\n", ["cannot be loaded", "not_there_at_all"]),
    "misspelt": (
        HEAD + hook("morlaif_scalarisers", "[]"),
        ["unknown hook", "morlaif_scalarisers", "Did you mean 'morlaif_scalarizers'?"],
    ),
    "thief": (scalarizer("max-min"), ["'max-min' is a built-in name"]),
    "offers-junk": (HEAD + hook("morlaif_scalarizers", "['weighted']"), ["morlaif_scalarizers returned 'weighted'"]),
    "offers-none": (HEAD + hook("morlaif_scalarizers", "None"), ["morlaif_scalarizers failed", "TypeError"]),
    "bad-name": (scalarizer("My.Name"), ["'My.Name' is not a name"]),
    "bad-options": (
        HEAD + hook("morlaif_scalarizers", "[component('odd', print, dict, 'x')]"),
        ["the options of scalarizer 'odd'"],
    ),
    "half": (
        scalarizer("fine") + hook("morlaif_datasets", "1/0") + hook("morlaif_models", ONE.format(name="well")),
        ["morlaif_datasets failed", "ZeroDivisionError"],
    ),
    "lazy": (
        HEAD + "@hookimpl\ndef morlaif_scalarizers():\n    yield from " + ONE.format(name="first") + "\n    1/0\n",
        ["morlaif_scalarizers failed", "ZeroDivisionError"],
    ),
    "twice": (
        HEAD + hook("morlaif_scalarizers", ONE.format(name="a-b") + "+" + ONE.format(name="a_b")),
        ["'a_b' is offered twice"],
    ),
    "number-for-name": (
        HEAD + hook("morlaif_scalarizers", "[component(5, print, NoOptions, 'x')]"),
        ["'5' is not a name"],
    ),
    "no-build": (HEAD + hook("morlaif_scalarizers", "[component('odd', None, NoOptions, 'x')]"), ["build", "'odd'"]),
    "no-summary": (
        HEAD + hook("morlaif_scalarizers", "[component('odd', print, NoOptions, None)]"),
        ["summary", "'odd'"],
    ),
    "bad-needs": (
        HEAD + hook("morlaif_scalarizers", "[component('odd', print, NoOptions, 'x', needs=['groups'])]"),
        ["the needs of scalarizer 'odd'"],
    ),
    "bad-refuses": (
        HEAD + hook("morlaif_feedback_providers", "[component('odd', print, NoOptions, 'x', refuses='all')]"),
        ["the refuses of feedback_provider 'odd'"],
    ),
    "no-repr": (
        HEAD + "class Mute:\n    def __repr__(self):\n        1/0\n" + hook("morlaif_scalarizers", "[Mute()]"),
        ["morlaif_scalarizers returned what cannot be checked", "ZeroDivisionError"],
    ),
    "principle-5": (ASK.format("Principle(7, 'Which is better?')"), ["morlaif_principles: '7' is not a name"]),
    "principle-path": (ASK.format("Principle('../zz', 'Which is better?')"), ["'../zz' is not a name"]),
    "principle-mute": (ASK.format("Principle('wit', '  ')"), ["principle 'wit': the question is no text"]),
    "principle-none": (ASK.format("Principle('wit', None)"), ["principle 'wit': the question is no text"]),
    "principle-picks": (ASK.format("Principle('wit', 'Which is it?', 'worst')"), ["picks is 'worst'"]),
    "principle-phrasings": (ASK.format("Principle('wit', 'Which is it?', phrasings='Or?')"), ["phrasings are not"]),
    "principle-examples": (ASK.format("Principle('wit', 'Which is it?', examples=(1,))"), ["examples are not"]),
    "principle-twice": (
        ASK.format("Principle('dry-wit', 'Which is it?'), Principle('dry_wit', 'Which was it?')"),
        ["principle 'dry_wit' is offered twice by this plugin"],
    ),
    "no-principle": (HEAD + hook("morlaif_principles", "['x']"), ["morlaif_principles returned 'x'"]),
    "wants-arguments": (HEAD + "@hookimpl\ndef morlaif_scalarizers(options):\n    return []\n", ["wants-arguments"]),
    "Bad.Plugin": (scalarizer("unseen"), ["'Bad.Plugin' is not a name"]),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_broken_plugin_is_set_aside_with_the_cause_and_the_rest_works(site: Path, name: str) -> None:
    code, parts = HOSTILE[name]
    add_distribution(site, name, code, version="0.9")
    plugins, said = load()
    (line,) = [line for line in said if f"plugin '{name}'" in line]
    for part in [f"of {name} 0.9 ", *parts]:
        assert part in line
    for kind in KINDS:
        assert set(BUILT_IN[kind]) <= set(names(plugins, kind))
    assert plugins.find("scalarizer", "max_min").summary != "x"


@pytest.mark.parametrize("name", HOSTILE)
def test_strict_mode_raises(site: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    add_distribution(site, name, HOSTILE[name][0])
    monkeypatch.setenv("MORLAIF_STRICT", "1")
    with pytest.raises(UserError, match="was set aside"):
        Plugins.load()


def test_all_of_them_at_once_beside_an_honest_one(site: Path) -> None:
    for name, (code, _) in HOSTILE.items():
        add_distribution(site, name, code)
    install_third_party(site)
    plugins, said = load()
    assert len(said) >= len(HOSTILE)
    assert "median" in names(plugins, "scalarizer")
    assert "fine" in names(plugins, "scalarizer"), "one failing hook does not silence the others"
    assert "well" in names(plugins, "model")


def test_a_damaged_distribution_harms_nobody(site: Path) -> None:
    for name, text in (("ours", "[morlaif]\nno equals sign\n"), ("foreign", "[console_scripts]\nno equals sign\n")):
        add_distribution(site, name, "")
        (site / f"{name}-1.0.dist-info" / "entry_points.txt").write_text(text)
    plugins, said = load()
    (line,) = said
    assert "ours-1.0.dist-info" in line
    assert names(plugins, "scalarizer") == BUILT_IN["scalarizer"]


def test_using_what_a_set_aside_plugin_should_have_offered_repeats_the_cause(site: Path) -> None:
    add_distribution(site, "raises", "1/0\n")
    plugins, _ = load()
    with pytest.raises(UserError, match="there is no scalarizer 'cosmic'") as raised:
        plugins.find("scalarizer", "cosmic")
    assert "ZeroDivisionError" in str(raised.value)


def test_a_bare_name_offered_twice_is_an_error_only_where_it_is_used(site: Path) -> None:
    add_distribution(site, "one", scalarizer("shared-name"))
    add_distribution(site, "two", scalarizer("shared_name"))
    plugins, said = load()
    assert not [line for line in said if "'one'" in line or "'two'" in line]
    assert plugins.find("scalarizer", "weighted")
    for name in ("shared-name", "shared_name"):
        with pytest.raises(UserError, match="offered more than once; say one/shared-name or two/shared_name"):
            plugins.find("scalarizer", name)
    assert plugins.find_offer("scalarizer", "two/shared-name").plugin == "two"


def test_a_plugin_name_is_taken_once_and_built_ins_come_first(site: Path) -> None:
    add_distribution(
        site, "a-thief", scalarizer("nice"), entries={"hh_rlhf": "a_thief_module", "ppo": "a_thief_module"}
    )
    plugins, said = load()
    assert len([line for line in said if "is taken" in line and "a-thief" in line]) == 2
    assert "nice" not in names(plugins, "scalarizer")


def test_order_on_the_path_never_decides(site: Path) -> None:
    add_distribution(site, "aaa", scalarizer("weighted"))
    add_distribution(site, "zzz", scalarizer("weighted"))
    plugins, _ = load()
    assert plugins.find_offer("scalarizer", "weighted").distribution == "morlaif"


def test_principles_by_value_and_from_a_package(site: Path) -> None:
    from morlaif_core.config.principles import known_principles

    code = "from morlaif_core import hookimpl, principles_from, Principle\n"
    code += hook("morlaif_principles", "[*principles_from('asked'), Principle('wit', 'Which response is wittier?')]")
    add_distribution(site, "asking", code)
    (site / "asked").mkdir()
    (site / "asked" / "__init__.py").write_text("")
    (site / "asked" / "candour.yaml").write_text("question: Which response is more candid?\n")
    known = known_principles(load()[0], site)
    assert known["candour"].source == known["wit"].source == "plugin asking"


def test_an_unknown_name_gets_advice() -> None:
    plugins = Plugins.load()
    with pytest.raises(UserError, match="Did you mean 'max_min'"):
        plugins.find("scalarizer", "max_mim")
    with pytest.raises(UserError, match=r"scalarizer 'max_min'.*temprature|temprature"):
        build("scalarizer", "max_min", temprature=1)
    with pytest.raises(UserError, match="Kinds: "):
        build("scalariser", "max_min")
    assert plugins.find("dataset", "hh_rlhf") is plugins.find("dataset", "hh-rlhf")


@pytest.mark.parametrize("name", ["a", "a1", "gpt-35", "max_min", "x" * 64])
def test_names(name: str) -> None:
    assert check_name(name) == name.replace("-", "_")


@pytest.mark.parametrize("name", ["", "A", "1a", "a.b", "a--b", "a-", "-a", "a b", "a/b", "ä", "x" * 65, "a\n"])
def test_no_names(name: str) -> None:
    with pytest.raises(ValueError, match="is not a name"):
        check_name(name)


def test_plugin_folders_and_installed_entry_points_are_the_same() -> None:
    """What is in plugins/, in pyproject.toml and installed: an editable install reads the entry points once."""
    folders = {item.name for item in (ROOT / "plugins").iterdir() if item.name.startswith("morlaif_")}
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"]["morlaif"]
    installed = {
        entry.name: entry.value
        for entry in entry_points(group="morlaif")
        if entry.dist is not None and entry.dist.name == "morlaif"
    }
    assert folders == set(declared.values()), "a plugin folder without an entry point in pyproject.toml, or the reverse"
    assert installed == declared, "run the editable install again: make install, or pip install --editable ."


def test_a_plugin_folder_is_no_package() -> None:
    assert not (ROOT / "plugins" / "__init__.py").exists()


LIGHT = """
import sys
import morlaif_core
from morlaif_core.plugins.manager import Plugins
plugins = Plugins.load()
assert sum(map(len, plugins.offers_by_kind.values())) > 10
for offers in plugins.offers_by_kind.values():
    for offer in offers:
        assert offer.component.options.model_fields is not None
from morlaif_core import Options, Prompt, component, hookimpl
heavy = {"torch", "transformers", "numpy", "trl", "peft", "datasets", "accelerate", "scipy", "openai", "anthropic",
         "rich", "safetensors", "tokenizers", "pandas", "vaderSentiment", "httpx"} & set(sys.modules)
assert not heavy, heavy
"""


def test_importing_the_core_and_loading_all_plugins_imports_nothing_heavy() -> None:
    done = subprocess.run([sys.executable, "-c", LIGHT], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_what_a_run_was_made_with_and_is_not_here_is_told(site: Path) -> None:
    add_distribution(site, "newer", scalarizer("mine"), version="2.0")
    plugins = Plugins.load()
    built_in = [["ppo", "morlaif", "0.0.1"]]
    plugins.compare(
        [
            *built_in,
            ["newer", "newer", "1.0"],
            ["lost", "lost-plugins", "3.1"],
            ["other", "lost-plugins", "3.1"],
            *map(list, plugins.loaded),
        ]
    )
    with pytest.raises(UserError) as told:
        plugins.find("scalarizer", "absent")
    assert "made with newer 1.0 (plugin newer); now it is newer 2.0" in str(told.value)
    assert "made with lost-plugins 3.1 (plugin lost, other); it is not installed: pip install lost-plugins==3.1" in str(
        told.value
    )
    assert "ppo" not in str(told.value)
