"""Principles from YAML: what a file may hold, how layers shadow, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from morlaif_core import Example, Principle, UserError, principles_from
from morlaif_core.config.principles import known_principles, pick_principles, principle_hash, read_principle
from morlaif_core.config.shipped_files import bundle
from morlaif_core.plugins.manager import Plugins

CANDOUR = """
question: Which response states plainly what it does not know?
picks: worse
phrasings:
  - Which response is more open about its doubts?
examples:
  - prompt: Is my rash serious?
    a: It is nothing.
    b: I cannot tell from here; see a doctor.
    winner: b
"""


def written(folder: Path, name: str, text: str) -> Path:
    (folder / "principles").mkdir(exist_ok=True)
    file = folder / "principles" / name
    file.write_text(text, encoding="utf-8")
    return file


def test_a_whole_file(tmp_path: Path) -> None:
    found = read_principle(written(tmp_path, "candour.yaml", CANDOUR), "candour", "candour.yaml")
    assert found == Principle(
        "candour",
        "Which response states plainly what it does not know?",
        "worse",
        ("Which response is more open about its doubts?",),
        (Example("Is my rash serious?", "It is nothing.", "I cannot tell from here; see a doctor.", "b"),),
    )


def test_only_the_question_must_be_there(tmp_path: Path) -> None:
    file = written(tmp_path, "x.yaml", "question: Which response is shorter?\n")
    assert read_principle(file, "x", "x.yaml") == Principle("x", "Which response is shorter?")


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("", ["x.yaml: a principle is a mapping", "'question'"]),
        ("- a", ["x.yaml: a principle is a mapping"]),
        ("picks: worse", ["x.yaml.question: must be given"]),
        ("question: 3", ["x.yaml.question: "]),
        ("question: Hm?", ["x.yaml.question: ", "at least 8"]),
        ("question: Which is best of all?\npick: worse", ["x.yaml.pick: unknown key", "Did you mean 'picks'?"]),
        ("question: Which is best of all?\npicks: worst", ["x.yaml.picks: ", "'better' or 'worse'"]),
        ("question: Which is best of all?\nexamples: [{prompt: p, a: x}]", ["x.yaml.examples.0.b: must be given"]),
        (
            "question: Which is best of all?\nexamples: [{prompt: p, a: x, b: y, winner: c}]",
            ["x.yaml.examples.0.winner: "],
        ),
        (
            "question: Which is best of all?\nquestion: Which is the worst?",
            ["x.yaml:2: the key 'question' stands twice"],
        ),
        ("question: Which is: best?", ["x.yaml:1: "]),
    ],
)
def test_a_bad_file_is_refused_with_file_and_key(tmp_path: Path, text: str, parts: list[str]) -> None:
    with pytest.raises(UserError) as raised:
        read_principle(written(tmp_path, "x.yaml", text + "\n"), "x", "x.yaml")
    for part in parts:
        assert part in str(raised.value)


def test_a_file_in_the_working_directory_is_known_at_once_and_shadows_whole(tmp_path: Path) -> None:
    written(tmp_path, "candour.yaml", CANDOUR)
    written(tmp_path, "toxicity.yaml", "question: Which response is the ruder one?\n")
    written(tmp_path, "notes.txt", "not a principle")
    known = known_principles(Plugins(), tmp_path)
    assert known["candour"].source == "principles/candour.yaml"
    toxicity = known["toxicity"]
    assert toxicity.principle == Principle("toxicity", "Which response is the ruder one?"), "nothing of the shipped one"
    assert toxicity.shadows == ("shipped",)
    assert known["helpfulness"].source == "shipped"


def test_layers_shipped_plugin_local(tmp_path: Path) -> None:
    plugins = Plugins()
    plugins.principles.append(("mine", Principle("toxicity", "Which response is less toxic?")))
    assert known_principles(plugins, tmp_path)["toxicity"].shadows == ("shipped",)
    written(tmp_path, "toxicity.yaml", "question: Which response is the ruder one?\n")
    assert known_principles(plugins, tmp_path)["toxicity"].shadows == ("plugin mine", "shipped")


def test_a_duplicate_principle_in_one_layer(tmp_path: Path) -> None:
    written(tmp_path, "self-control.yaml", "question: Which response is calmer?\n")
    written(tmp_path, "self_control.yml", "question: Which response is calmer?\n")
    with pytest.raises(
        UserError, match=r"given twice: by principles/self-control\.yaml and by principles/self_control\.yml"
    ):
        known_principles(Plugins(), tmp_path)


def test_a_principle_of_two_plugins_is_an_error_only_where_it_is_used(tmp_path: Path) -> None:
    plugins = Plugins()
    for plugin, question in (("one", "Which is wittier?"), ("two", "Which is witty?"), ("three", "Which has wit?")):
        plugins.principles.append((plugin, Principle("dry-wit" if plugin == "one" else "dry_wit", question)))
    known = known_principles(plugins, tmp_path)
    assert pick_principles(["toxicity"], known)
    with pytest.raises(
        UserError, match=r"offered by plugin one and by plugin two and by plugin three; .*dry-wit\.yaml"
    ):
        pick_principles(["dry-wit"], known)
    written(tmp_path, "dry-wit.yaml", "question: Which response is dry?\n")
    (found,) = pick_principles(["dry_wit"], known_principles(plugins, tmp_path))
    assert found.question == "Which response is dry?"


@pytest.mark.parametrize("name", ["._candour.yaml", ".#candour.yaml", ".yaml", "..yaml"])
def test_a_hidden_file_is_no_principle(tmp_path: Path, name: str) -> None:
    written(tmp_path, name, "\0\0 not YAML")
    written(tmp_path, "candour.yaml", CANDOUR)
    assert known_principles(Plugins(), tmp_path)["candour"].source == "principles/candour.yaml"


def test_hyphen_and_underscore_shadow_each_other(tmp_path: Path) -> None:
    plugins = Plugins()
    plugins.principles.append(("mine", Principle("self_control", "Which response is calmer?")))
    written(tmp_path, "self-control.yaml", "question: Which response is the calm one?\n")
    known = known_principles(plugins, tmp_path)
    (found,) = pick_principles(["self_control"], known)
    assert found.name == "self-control"
    assert next(item for item in known.values() if item.principle is found).shadows == ("plugin mine",)


def test_a_file_whose_name_is_none(tmp_path: Path) -> None:
    written(tmp_path, "Be Nice.yaml", "question: Which response is nicer?\n")
    with pytest.raises(UserError, match=r"principles/Be Nice.yaml: 'Be Nice' is not a name"):
        known_principles(Plugins(), tmp_path)


def test_in_a_checkout_the_shipped_folder_is_read_once() -> None:
    home = bundle("principles")
    assert isinstance(home, Path)
    assert all(not item.shadows for item in known_principles(Plugins(), home.parent).values())


def test_an_unknown_principle() -> None:
    known = known_principles(Plugins(), Path("/nonexistent"))
    with pytest.raises(UserError, match="Did you mean 'toxicity'") as raised:
        pick_principles(["toxicty"], known)
    assert "principles/toxicty.yaml" in str(raised.value)


def test_the_hash_depends_on_what_a_judge_reads_and_not_on_the_examples() -> None:
    one = Principle("a", "Which?", "better", ("Or?",))
    assert principle_hash(one) == principle_hash(
        Principle("a", "Which?", "better", ("Or?",), (Example("p", "a", "b", "a"),))
    )
    others = [
        Principle("b", "Which?", "better", ("Or?",)),
        Principle("a", "What?", "better", ("Or?",)),
        Principle("a", "Which?", "worse", ("Or?",)),
        Principle("a", "Which?", "better"),
    ]
    assert len({principle_hash(item) for item in [one, *others]}) == 5


def test_principles_from_a_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "asked_package"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "candour.yaml").write_text(CANDOUR)
    monkeypatch.syspath_prepend(str(tmp_path))
    assert [item.name for item in principles_from("asked_package")] == ["candour"]
