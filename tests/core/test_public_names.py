"""The public names: lazy, complete, and with the fields that plugins were promised."""

from __future__ import annotations

import ast
import dataclasses
import inspect
from pathlib import Path

import pytest

import morlaif_core
from morlaif_core import types
from morlaif_core.plugins import components as options, hookspecs, manager as plugins, protocols

FIELDS = {
    "Message": "role content",
    "Prompt": "id messages",
    "ResponsePair": "id prompt a b human",
    "Preference": "prompt a b p_a",
    "Example": "prompt a b winner",
    "Principle": "name question picks phrasings examples",
    "Request": "prompt first second principle messages max_tokens temperature top_logprobs schema sample",
    "Usage": "input cached output",
    "Answer": "text finish top_logprobs p_first model usage",
    "Capabilities": "reads max_top_logprobs structured temperature max_batch",
    "ScoreMatrix": "values principles prompt_ids spread features",
    "Terms": "weight threshold priority lower upper step",
    "RewardBatch": "rewards scores clipped",
    "Component": "name build options summary needs supplies uses monotone",
    "PMJob": "principles train held_out base out seed report backbones",
    "PolicyJob": "target prompts pairs reward generation out seed report backbones",
    "Policy": "target folder best_of",
}
OPTIONS = {
    "Lora": {"r": 16, "alpha": 32, "dropout": 0.0, "modules": "auto", "top_layers": None},
    "Target": {"model": ..., "revision": None, "template": "auto", "dtype": "auto", "quantize": None, "lora": None},
    "Generation": {"max_new_tokens": 128, "temperature": 0.7, "stop": "auto"},
    "NoOptions": {},
}
METHODS = {
    "FeedbackProvider": "identity capabilities ask",
    "PreferenceModel": "score",
    "PMBackend": "independent train load",
    "Scalarizer": "__call__",
    "Dataset": "prompts preferences skipped",
    "ModelMaker": "identity make",
    "Sampler": "sample",
    "PolicyTrainer": "train",
    "Report": "__call__",
    "Reward": "__call__ end_step state restore",
    "Backbones": "get",
    "Backbone": "add load save use",
}
HOOKS = {
    "feedback_provider": "morlaif_feedback_providers",
    "pm_backend": "morlaif_pm_backends",
    "scalarizer": "morlaif_scalarizers",
    "dataset": "morlaif_datasets",
    "model": "morlaif_models",
    "sampler": "morlaif_samplers",
    "policy_trainer": "morlaif_policy_trainers",
    "command": "morlaif_commands",
}
DEFAULTS = {
    ("ResponsePair", "human"): None,
    ("Principle", "picks"): "better",
    ("Principle", "phrasings"): (),
    ("Principle", "examples"): (),
    ("Request", "messages"): (),
    ("Request", "max_tokens"): 1,
    ("Request", "temperature"): None,
    ("Request", "top_logprobs"): 0,
    ("Request", "schema"): None,
    ("Request", "sample"): 0,
    ("Answer", "text"): "",
    ("Answer", "finish"): "stop",
    ("Answer", "p_first"): None,
    ("Capabilities", "reads"): "messages",
    ("Capabilities", "max_batch"): 1,
    ("Capabilities", "temperature"): True,
    ("ScoreMatrix", "spread"): None,
    ("ScoreMatrix", "features"): None,
    ("Terms", "step"): 0,
    ("Component", "monotone"): False,
    ("Policy", "folder"): None,
    ("Policy", "best_of"): 1,
}
KEPT = (Path(__file__).parents[1] / "data" / "public_names.txt").read_text(encoding="utf-8").split()
"""The public names of 2026-11-29; there may be more of them, never fewer."""
PROMISED = (
    "hookimpl principles_from render encode_pair build run load_run component "
    "Secret Options Tuning ProviderError provider_error Floats Ints Split Need"
)


def test_all_is_what_type_checkers_see() -> None:
    stub = ast.parse(Path(morlaif_core.__file__).with_suffix(".pyi").read_text(encoding="utf-8"))
    names = [alias for node in stub.body if isinstance(node, ast.ImportFrom) for alias in node.names]
    assert all(alias.asname == alias.name for alias in names), "`X as X` is what exports a name"
    assert morlaif_core.__all__ == sorted([alias.name for alias in names] + ["__version__"])
    assert dir(morlaif_core) == morlaif_core.__all__


@pytest.mark.parametrize("name", sorted({*morlaif_core.__all__, *PROMISED.split(), *FIELDS, *OPTIONS, *METHODS}))
def test_every_public_name_is_there_and_documented(name: str) -> None:
    assert name in morlaif_core.__all__
    value = getattr(morlaif_core, name)
    if inspect.isclass(value) or inspect.isfunction(value):
        assert inspect.getdoc(value), name


def test_no_public_name_is_lost() -> None:
    assert set(KEPT) <= set(morlaif_core.__all__)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = morlaif_core.nothing  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", FIELDS)
def test_fields(name: str) -> None:
    value = getattr(morlaif_core, name)
    fields = [field.name for field in dataclasses.fields(value)]
    promised = FIELDS[name].split()
    assert fields[: len(promised)] == promised
    for field in dataclasses.fields(value)[len(promised) :]:
        assert field.default is not dataclasses.MISSING, f"{name}.{field.name} came later: it needs a default"
    assert value.__dataclass_params__.frozen


@pytest.mark.parametrize(("name", "field"), DEFAULTS)
def test_defaults(name: str, field: str) -> None:
    known = {item.name: item.default for item in dataclasses.fields(getattr(morlaif_core, name))}
    assert known[field] == DEFAULTS[name, field]


@pytest.mark.parametrize("name", ["ScoreMatrix", "Terms", "RewardBatch"])
def test_what_holds_arrays_compares_by_identity(name: str) -> None:
    assert getattr(types, name).__eq__ is object.__eq__


@pytest.mark.parametrize("name", OPTIONS)
def test_options(name: str) -> None:
    model = getattr(options, name)
    fields = {key: ... if field.is_required() else field.default for key, field in model.model_fields.items()}
    assert {key: fields.get(key, "absent") for key in OPTIONS[name]} == OPTIONS[name]
    assert model.model_config["frozen"]
    assert model.model_config["extra"] == "forbid"
    assert all(field.description for field in model.model_fields.values())


@pytest.mark.parametrize("name", METHODS)
def test_protocols(name: str) -> None:
    found = vars(getattr(protocols, name))
    assert set(METHODS[name].split()) <= set(found) | {"__call__"} & set(found)
    assert getattr(getattr(protocols, name), "_is_protocol", False)


def test_hooks_and_their_examples() -> None:
    assert plugins.KINDS == HOOKS
    for hook in [*HOOKS.values(), "morlaif_principles"]:
        function = getattr(hookspecs.Hooks, hook)
        assert list(inspect.signature(function).parameters) == ["self"], "a hook takes no argument"
        assert "@hookimpl" in (function.__doc__ or "")
    assert hookspecs.GROUP == "morlaif"


def test_signatures_that_plugins_call() -> None:
    assert list(inspect.signature(morlaif_core.render).parameters) == ["tokenizer", "prompt", "template", "kwargs"]
    pair = list(inspect.signature(morlaif_core.encode_pair).parameters)
    assert pair == ["tokenizer", "prompt", "response", "max_length", "template", "kwargs"]
    assert list(inspect.signature(morlaif_core.component).parameters)[:4] == ["name", "build", "options", "summary"]
    error = morlaif_core.ProviderError("x", "rate", retry_after=2.0, billed=True)
    assert (error.kind, error.retry_after, error.billed, str(error)) == ("rate", 2.0, True, "x")
