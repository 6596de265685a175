"""Layers of YAML: merge, replace, remove, origins, paths; and what YAML is refused."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, strategies as st

from morlaif_core import UserError
from morlaif_core.config.layers import Layers, in_order
from morlaif_core.config.yaml_files import parse_yaml, read_yaml

HERE = Path("/somewhere")


def layered(*layers: dict[str, Any], sets: tuple[str, ...] = ()) -> Layers:
    found = Layers()
    for number, layer in enumerate(layers, 1):
        found.add(layer, f"layer {number}")
    for text in sets:
        found.add_set(text, HERE)
    return found


def test_mappings_merge_and_scalars_and_lists_replace() -> None:
    found = layered(
        {"prompts": {"pm": 1, "rl": 2}, "generation": {"stop": ["a", "b"]}, "seed": 1},
        {"prompts": {"pm": 3}, "generation": {"stop": ["c"]}, "seed": 2},
    )
    assert found.values == {"prompts": {"pm": 3, "rl": 2}, "generation": {"stop": ["c"]}, "seed": 2}


def test_null_takes_the_place_of_what_lies_below() -> None:
    """Whether it is a value or means the default depends on the key's type: `load_config` decides."""
    found = layered(
        {"prompts": {"pm": 1, "rl": 2}, "trainer": {"use": "x"}}, {"prompts": {"rl": None}, "trainer": None}
    )
    assert found.values == {"prompts": {"pm": 1, "rl": None}, "trainer": None}
    assert found.origin(("prompts", "rl")) == found.origin(("trainer",)) == "layer 2"
    found.add({"trainer": {"use": "y"}}, "layer 3")
    assert found.values["trainer"] == {"use": "y"}
    found.drop(("prompts", "rl"))
    assert found.origin(("prompts", "rl")) == "default"


def test_null_removes_a_judge() -> None:
    assert layered({"judges": {"a": {"use": "rules"}, "b": {"use": "x"}}}, {"judges": {"b": None}}).values == {
        "judges": {"a": {"use": "rules"}}
    }


@pytest.mark.parametrize("key", ["use", "panel", "cascade"])
def test_another_component_starts_the_block_anew(key: str) -> None:
    old, new = (["a"], ["b"]) if key != "use" else ("a", "b")
    assert layered({"x": {key: old, "k": 1}}, {"x": {key: new, "z": 2}}).values == {"x": {key: new, "z": 2}}
    assert layered({"x": {key: old, "k": 1}}, {"x": {key: old, "z": 2}}).values == {"x": {key: old, "k": 1, "z": 2}}


def test_a_panel_over_a_provider_starts_anew() -> None:
    assert layered({"x": {"use": "a", "k": 1}}, {"x": {"panel": ["b"]}}).values == {"x": {"panel": ["b"]}}


def test_set_of_another_use_starts_anew_too() -> None:
    found = layered({"scalarizer": {"use": "lexicographic", "temperature": 0.5}}, sets=("scalarizer.use=max_min",))
    assert found.values == {"scalarizer": {"use": "max_min"}}
    assert found.origin(("scalarizer", "use")) == "--set scalarizer.use"


def test_principles_given_whole_replace() -> None:
    found = layered({"principles": {"a": {"weight": 2}, "b": None}}, {"principles": ["c", "a"]})
    assert found.values["principles"] == {"c": {}, "a": {}}
    assert layered({"principles": {"a": {}}}, sets=("principles={b: {weight: 2}}",)).values["principles"] == {
        "b": {"weight": 2}
    }
    assert layered({"principles": {"a": {}}}, sets=("principles=[b, c]",)).values["principles"] == {"b": {}, "c": {}}


def test_a_principle_without_terms_means_defaults() -> None:
    assert layered({"principles": {"a": None}}).values == {"principles": {"a": {}}}


def test_set_changes_one_principle_adds_one_and_removes_one() -> None:
    base = {"principles": {"a": {"weight": 2, "judge": "x"}, "b": {}}}
    found = layered(base, sets=("principles.a.weight=3", "principles.c={}", "principles.b=null"))
    assert found.values["principles"] == {"a": {"weight": 3, "judge": "x"}, "c": {}}


def test_a_principle_listed_twice() -> None:
    with pytest.raises(UserError, match="listed twice: a"):
        layered({"principles": ["a", "b", "a"]})


@pytest.mark.parametrize("block", ["principles", "judges"])
def test_one_name_in_two_spellings_in_one_layer(block: str) -> None:
    with pytest.raises(UserError, match=r"'a-b' and 'a_b' are one name.*\[layer 1\]"):
        layered({block: {"a-b": {}, "a_b": {}}})


@pytest.mark.parametrize("block", ["principles", "judges"])
def test_hyphen_and_underscore_are_the_same_name(block: str) -> None:
    found = layered({block: {"self-control": {"weight": 2, "judge": "x"}}}, sets=(f"{block}.self_control.weight=3",))
    assert found.values[block] == {"self-control": {"weight": 3, "judge": "x"}}
    assert found.origin((block, "self-control", "weight")) == f"--set {block}.self_control.weight"


def test_a_string_target_takes_keys_from_a_later_layer() -> None:
    found = layered({"target": "gpt2"}, {"target": {"dtype": "float32"}})
    assert found.values == {"target": {"model": "gpt2", "dtype": "float32"}}
    assert found.origin(("target", "model")) == "layer 1"
    base = layered(
        {"preference_model": {"use": "lora", "base": "gpt2"}}, {"preference_model": {"base": {"dtype": "x"}}}
    )
    assert base.values["preference_model"]["base"] == {"model": "gpt2", "dtype": "x"}


def test_origins_name_the_layer_of_each_value_and_default_where_nobody_said_it() -> None:
    found = layered({"prompts": {"pm": 1, "rl": 2}}, {"prompts": {"pm": 3}}, sets=("seed=4",))
    assert found.origin(("prompts", "pm")) == "layer 2"
    assert found.origin(("prompts", "rl")) == "layer 1"
    assert found.origin(("prompts", "max_tokens")) == "default"
    assert found.origin(("seed",)) == "--set seed"
    assert found.origin(("generation", "temperature")) == "default"
    assert found.nearest(("prompts", "max_tokens")) == "layer 1", "where one would mend it"


def test_values_inside_a_list_have_the_lists_origin() -> None:
    assert layered({"generation": {"stop": ["a"]}}).origin(("generation", "stop", "0")) == "layer 1"


@pytest.mark.parametrize("text", ["seed", "=1", ".=1", "a..b=1", " =1"])
def test_set_without_key_or_value(text: str) -> None:
    with pytest.raises(UserError, match="say KEY=VALUE"):
        Layers().add_set(text, HERE)


def test_set_values_are_yaml_and_may_hold_equal_signs() -> None:
    found = layered(sets=("a.b=[1, two, null]", "c=", "d=x=y", "e={f: true}"))
    assert found.values == {"a": {"b": [1, "two", None]}, "c": None, "d": "x=y", "e": {"f": True}}


def test_set_into_a_scalar_replaces_it() -> None:
    assert layered({"a": 1}, sets=("a.b=2",)).values == {"a": {"b": 2}}


def test_paths_are_relative_to_their_file_and_in_set_to_the_working_directory(tmp_path: Path) -> None:
    layer = {"dataset": {"use": "hh-rlhf", "path": "data.jsonl"}, "judging": {"ledger": "../shared.sqlite"}}
    found = Layers()
    found.add(layer, "file", tmp_path / "sub")
    assert found.values["dataset"]["path"] == str(tmp_path / "sub" / "data.jsonl")
    assert Path(found.values["judging"]["ledger"]) == tmp_path / "sub" / ".." / "shared.sqlite"
    assert layer["dataset"] == {"use": "hh-rlhf", "path": "data.jsonl"}, "the caller's mapping stays as it was"
    found.add_set("dataset.path=other.jsonl", tmp_path)
    assert found.values["dataset"]["path"] == str(tmp_path / "other.jsonl")
    found.add_set("dataset.path=~nobody-of-that-name/x", tmp_path)
    assert found.values["dataset"]["path"] == str(tmp_path / "~nobody-of-that-name" / "x")


def test_a_models_folder_is_that_of_the_layer_that_named_it(tmp_path: Path) -> None:
    found = Layers()
    found.add({"target": "model", "preference_model": {"base": {"model": "a"}}}, "file", tmp_path / "sub")
    found.add({"target": {"dtype": "float32"}}, "other", tmp_path)
    assert found.at(("target",)) == {"model": "model", "dtype": "float32"}
    assert found.folder(("target", "model")) == tmp_path / "sub"
    assert found.folder(("target", "dtype")) == tmp_path
    found.add_set("preference_model.base.model=b", tmp_path)
    assert found.folder(("preference_model", "base", "model")) == tmp_path
    assert found.folder(("trainer", "use")) is None


def test_a_threshold_is_one_value() -> None:
    base = {"principles": {"x-y": {"threshold": {"quantile": 0.5}}}}
    found = layered(base, sets=("principles.x_y.threshold={win_rate: 0.6}",))
    assert found.values["principles"]["x-y"]["threshold"] == {"win_rate": 0.6}
    assert found.origin(("principles", "x-y", "threshold", "win_rate")) == "--set principles.x_y.threshold"


@pytest.mark.parametrize(
    ("sets", "ordered"),
    [
        (["s.t=1", "s.use=a"], ["s.use=a", "s.t=1"]),
        (["seed=1", "s.t=1", "x.y=2", "s.use=a"], ["s.use=a", "seed=1", "s.t=1", "x.y=2"]),
        (["s.use=a", "s.t=1", "s.use=b"], ["s.use=a", "s.use=b", "s.t=1"]),
        (["s={use: a, t: 1}", "s.t=2", "s.use=b"], ["s={use: a, t: 1}", "s.use=b", "s.t=2"]),
        (["j.a-b.x=1", "j.a_b.use=c", "j={}"], ["j.a_b.use=c", "j.a-b.x=1", "j={}"]),
        (["j={}", "j.a.panel=[x]"], ["j={}", "j.a.panel=[x]"]),
        (["use=1", "nonsense", ""], ["use=1", "nonsense", ""]),
    ],
)
def test_what_chooses_a_component_is_set_before_its_keys(sets: list[str], ordered: list[str]) -> None:
    assert in_order(sets) == ordered


def test_a_hub_id_stays_a_hub_id_and_an_absolute_path_stays(tmp_path: Path) -> None:
    found = Layers()
    found.add({"target": "org/model", "dataset": {"path": "/data/x.jsonl"}}, "file", tmp_path)
    assert found.values == {"target": "org/model", "dataset": {"path": "/data/x.jsonl"}}


KEYS = st.sampled_from(["a", "b", "c"])
TREES = st.recursive(
    st.integers() | st.lists(st.integers(), max_size=2), lambda inner: st.dictionaries(KEYS, inner), max_leaves=8
)
MAPPINGS = st.dictionaries(KEYS, TREES, max_size=3)


@given(MAPPINGS, MAPPINGS)
def test_the_upper_layer_wins_and_nothing_else_is_lost(low: dict[str, Any], high: dict[str, Any]) -> None:
    def merged(old: Any, new: Any) -> Any:
        if isinstance(old, dict) and isinstance(new, dict):
            return {key: merged(old[key], new[key]) if key in old and key in new else {**old, **new}[key]
                    for key in {**old, **new}}  # fmt: skip
        return new

    found = layered(low, high)
    assert found.values == merged(low, high)
    for path in found.origins:
        block: Any = found.values
        for key in path:
            block = block[key]


@pytest.mark.parametrize(
    ("text", "line", "cause"),
    [
        ("a: 1\nb: 2\na: 3\n", 3, "'a' stands twice"),
        ("a:\n  b: 1\n  c: {d: 1, d: 2}\n", 3, "'d' stands twice"),
        ("a: 1\n  b: 2\n", 2, "mapping values"),
        ("a: [1, 2\nb: 3\n", 2, "expected"),
        ("a: 'x\n", 2, "end of stream"),
        ("a: 1\n1: 2\n", 2, "key 1 is not text"),
        ("a: 1\non: 2\n", 2, "key True is not text"),
        ("a: !!python/object:os.system {}\n", 1, "constructor"),
        ("a: *x\n", 1, "alias"),
        ("a: 1\n---\nb: 2\n", 2, "document"),
        ("a:\n\t- b\n", 2, "token"),
        ("a: 1\nb: 0x_\n", 2, "'0x_' cannot be read as int"),
        ("a:\n- 0b_\n", 2, "'0b_' cannot be read as int"),
        ("a: !!int ''\n", 1, "cannot be read as int"),
        ("a: !!bool perhaps\n", 1, "cannot be read as bool"),
        ("a: !!timestamp 2024-99-99\n", 1, "cannot be read as timestamp"),
        ("a: !!map x\n", 1, "a mapping is needed"),
        ("a: !!set x\n", 1, "a mapping is needed"),
        (f"a: 1\nb: 0x{'f' * 5000}\n", 2, "a number beyond"),
        (f"a: 1\nb: {'9' * 5000}\n", 2, "cannot be read as int"),
    ],
)
def test_unreadable_yaml_is_refused_with_its_line(text: str, line: int, cause: str) -> None:
    with pytest.raises(UserError) as raised:
        parse_yaml(text, "x.yaml")
    assert str(raised.value).startswith(f"x.yaml:{line}: ")
    assert cause in str(raised.value)


def test_a_question_mark_in_a_flow_list_gets_advice() -> None:
    with pytest.raises(UserError, match="in quotes"):
        parse_yaml("phrasings: [Which one is better?]\nb: [x, {: y]\n", "x.yaml")


@pytest.mark.parametrize("text", ["2024-99-99", "2024-01-01", "2001-12-14t21:59:43.10-05:00"])
def test_dates_are_text(text: str) -> None:
    assert parse_yaml(f"a: {text}\n", "x.yaml") == {"a": text}


def test_bytes_that_are_no_text_in_a_set() -> None:
    with pytest.raises(UserError, match="--set a: text that is not Unicode"):
        Layers().add_set("a=b\udc80", HERE)


def test_anchors_and_merge_keys_are_ordinary_yaml() -> None:
    text = "base: &base {use: openai, model: x}\nother: {<<: *base, model: y}\n"
    assert parse_yaml(text, "x.yaml")["other"] == {"use": "openai", "model": "y"}


def test_a_bomb_of_aliases_and_a_value_that_holds_itself_are_refused_at_once() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 10)]
    start = time.monotonic()
    for text in ("\n".join(lines), "a: &x {b: *x}\n", "a: " + "[" * 3000 + "]" * 3000):
        with pytest.raises(UserError, match=r"x\.yaml"):
            parse_yaml(text, "x.yaml")
    assert time.monotonic() - start < 60


def test_files_that_are_no_text_too_large_or_not_there(tmp_path: Path) -> None:
    file = tmp_path / "x.yaml"
    with pytest.raises(UserError, match="cannot be read"):
        read_yaml(file)
    file.write_bytes(b"a: \xff\xfe\n")
    with pytest.raises(UserError, match="not UTF-8"):
        read_yaml(file)
    file.write_bytes(b"a: b\x00\n")
    with pytest.raises(UserError, match=r"x\.yaml"):
        read_yaml(file)
    file.write_text("a: " + "x" * 1_000_001)
    with pytest.raises(UserError, match="larger than"):
        read_yaml(file)
    file.write_bytes(b"\xef\xbb\xbfa: 1\r\nb: 2\r\n")
    assert read_yaml(file) == {"a": 1, "b": 2}, "a byte-order mark and Windows line ends do no harm"


@pytest.mark.parametrize("block", ["dataset", "sampler", "preference_model", "scalarizer", "trainer"])
def test_a_component_may_be_written_as_its_name(block: str) -> None:
    below = {block: {"use": "a", "k": 1}}
    assert layered(below, {block: "b"}).values == {block: {"use": "b"}}
    assert layered(below, {block: "a"}).values == below
    assert layered({block: "a"}, {block: {"k": 1}}).values == below
    assert layered(below, sets=(f"{block}=b",)).values == {block: {"use": "b"}}
    assert in_order([f"{block}.k=2", f"{block}=b"]) == [f"{block}=b", f"{block}.k=2"]
    assert in_order([f"{block}.k=2", f"{block}={{use: b}}"]) == [f"{block}.k=2", f"{block}={{use: b}}"]
    assert in_order([f"prompts.{block}.k=2", f"prompts.{block}=b"]) == [f"prompts.{block}.k=2", f"prompts.{block}=b"]


def test_a_judge_may_be_written_as_its_provider() -> None:
    assert layered({"judges": {"mine": "rules"}}, {"judges": {"mine": {"sharpness": 2}}}).values == {
        "judges": {"mine": {"use": "rules", "sharpness": 2}}
    }
    assert in_order(["judges.mine.sharpness=2", "judges.mine=rules"])[0] == "judges.mine=rules"


@pytest.mark.parametrize("name", ["panel", "cascade", "use"])
def test_a_judge_may_be_named_as_a_key_that_chooses(name: str) -> None:
    found = layered(
        {"judges": {"rules": {"use": "rules"}, "gpt": {"use": "openai"}}},
        {"judges": {name: {"panel": ["rules", "gpt"]}}},
        sets=(f"judges.{name}.quorum=1",),
    )
    assert found.values["judges"] == {
        "rules": {"use": "rules"},
        "gpt": {"use": "openai"},
        name: {"panel": ["rules", "gpt"], "quorum": 1},
    }
