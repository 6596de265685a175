"""Every component that the built-in plugins offer keeps its contract; the checks themselves find what is wrong."""

from __future__ import annotations

import doctest
import importlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pydantic import Field

from morlaif_core import (
    Answer,
    Capabilities,
    Component,
    NoOptions,
    Options,
    Principle,
    Prompt,
    UserError,
    component,
    make_prompt,
)
from morlaif_core.plugins.hookspecs import Hooks
from morlaif_core.testing import (
    ContractError,
    FakePreferenceModel,
    FaultServer,
    check_component,
    check_dataset,
    check_feedback_provider,
    check_model_maker,
    check_pm_backend,
    check_policy_trainer,
    check_sampler,
    check_scalarizer,
    fakes,
    memory_reward,
)
from morlaif_core.types import Message, Preference
from tests.helpers.places import PLUGINS
from tests.helpers.tiny_models import save_tiny

PM_OPTIONS: dict[str, dict[str, object]] = {
    "full": {"epochs": 2, "batch": 8, "max_length": 96, "learning_rate": 3e-3},
    "lora": {"epochs": 2, "batch": 8, "max_length": 96, "learning_rate": 3e-3},
    "heads": {"epochs": 8, "batch": 8, "max_length": 96, "learning_rate": 3e-3},
    "probe": {"max_length": 96},
}
TRAINER_OPTIONS: dict[str, dict[str, object]] = {
    "ppo": {"steps": 8, "prompts_per_step": 16, "responses_per_prompt": 2, "learning_rate": 1e-2}
}


def offers() -> Iterator[tuple[str, Any]]:
    """Every (kind, component) of the plugins in the tree."""
    hooks = [name for name in vars(Hooks) if name.startswith("morlaif_")]
    for folder in sorted(PLUGINS.iterdir()):
        if not (folder / "__init__.py").is_file():
            continue
        plugin = importlib.import_module(folder.name)
        for hook in hooks:
            for offered in getattr(plugin, hook, list)():
                yield hook.removeprefix("morlaif_").removesuffix("s"), offered


OFFERS = list(offers())


def of_kind(kind: str) -> list[Any]:
    return [pytest.param(offered, id=offered.name) for offer, offered in OFFERS if offer == kind]


@pytest.mark.parametrize(
    ("kind", "offered"), [pytest.param(*offer, id=f"{offer[0]}-{offer[1].name}") for offer in OFFERS]
)
def test_component(kind: str, offered: Any) -> None:
    check_component(kind, offered)


def test_names_are_offered_once() -> None:
    names = [(kind, offered.name.replace("-", "_")) for kind, offered in OFFERS]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("offered", of_kind("scalarizer"))
def test_scalarizer(offered: Component[Any]) -> None:
    check_scalarizer(offered, {"principle": "p0"} if offered.name == "single" else None)


DATA = '{"chosen": "\\n\\nHuman: Hi %d\\n\\nAssistant: Hello.", "rejected": "\\n\\nHuman: Hi %d\\n\\nAssistant: No."}\n'
PREFERENCES = '{"prompt": "Hi %d", "chosen": "Hello.", "rejected": "No."}\n'


@pytest.mark.parametrize("offered", of_kind("dataset"))
def test_dataset(offered: Component[Any], tmp_path: Path) -> None:
    options: dict[str, object] = {}
    row = {"hh-rlhf": DATA, "preferences": PREFERENCES}.get(offered.name.replace("_", "-"))
    if row is not None:
        file = tmp_path / "rows.jsonl"
        file.write_text("".join(row.replace("%d", str(number)) for number in range(60)))
        options = {"path": str(file)}
    check_dataset(offered, options, limit=100)


@pytest.mark.parametrize("offered", of_kind("feedback_provider"))
def test_feedback_provider(offered: Component[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with FaultServer() as server:
        options = {
            "openai": {"model": "any", "base_url": server.url},
            "anthropic": {"model": "any", "base_url": server.anthropic_url},
        }.get(offered.name, {})
        for name in ("OPENAI_API_KEY", "ANTHROPIC_API_KEY"):
            monkeypatch.setenv(name, "test-test")
        if offered.name == "transformers":
            options = {"model": str(save_tiny(tmp_path / "judge", "gpt2", positions=1024))}
        check_feedback_provider(offered, options, ask=True, batches="base_url" in options)


# Given scores have options of their own: tests/plugins/pm/test_pretrained.py and tests/plugins/rules/test_direct.py.
@pytest.mark.parametrize("offered", [each for each in of_kind("pm_backend") if each.values[0].learns])
def test_pm_backend(offered: Component[Any], tmp_path: Path) -> None:
    check_pm_backend(offered, save_tiny(tmp_path / "base", "gpt2"), tmp_path / "pms", PM_OPTIONS[offered.name])


@pytest.mark.parametrize("offered", of_kind("policy_trainer"))
def test_policy_trainer(offered: Component[Any], tmp_path: Path) -> None:
    base = save_tiny(tmp_path / "base", "gpt2")
    check_policy_trainer(offered, base, tmp_path / "policy", TRAINER_OPTIONS[offered.name])


@pytest.mark.parametrize("offered", of_kind("sampler"))
def test_sampler(offered: Component[Any], tmp_path: Path) -> None:
    check_sampler(offered, save_tiny(tmp_path / "base", "gpt2"), tmp_path / "other")


def test_model_maker(tmp_path: Path) -> None:
    maker = next(offered for kind, offered in OFFERS if (kind, offered.name) == ("model", "demo-base"))
    check_model_maker(maker, tmp_path, {"steps": 4, "width": 16, "heads": 2})


def test_a_trainer_that_takes_a_failed_score_for_a_number_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ppo = next(offered for kind, offered in OFFERS if (kind, offered.name) == ("policy_trainer", "ppo"))
    monkeypatch.setattr(
        "morlaif_ppo.trainer.without_failed", lambda rollout, scored, options: (rollout, scored, None, 0.0)
    )
    with pytest.raises((ContractError, UserError), match="not finite"):
        check_policy_trainer(ppo, save_tiny(tmp_path / "base", "gpt2"), tmp_path / "policy", TRAINER_OPTIONS["ppo"])


class Undescribed(Options):
    """Options that forget a description."""

    size: int = Field(default=1)


GOOD = component("good-name", lambda options: None, NoOptions, "does nothing")


@pytest.mark.parametrize(
    ("wrong", "word"),
    [
        (replace(GOOD, name="Good.Name"), "no name"),
        (replace(GOOD, name="a" * 65), "no name"),
        (replace(GOOD, summary=""), "summary"),
        (replace(GOOD, summary="two\nlines"), "summary"),
        (replace(GOOD, options=Undescribed), "size"),
        (replace(GOOD, options=int), "Options"),
        (replace(GOOD, build=None), "callable"),
        (replace(GOOD, needs=frozenset({"magic"})), "needs"),
        (replace(GOOD, uses=frozenset({"weight"})), "only scalarizers"),
        (Principle("x", "Which?"), "no dataset"),
    ],
)
def test_component_mistakes_are_found(wrong: Any, word: str) -> None:
    check_component("dataset", GOOD)
    with pytest.raises(ContractError, match=word):
        check_component("dataset", wrong)


def test_principles_are_checked() -> None:
    check_component("principle", Principle("candour", "Which response is more open?"))
    with pytest.raises(ContractError, match="question"):
        check_component("principle", Principle("candour", " "))
    with pytest.raises(ContractError, match="no kind"):
        check_component("painter", GOOD)


class Rows:
    """A data set of given rows."""

    def __init__(self, prompts: list[Prompt], preferences: list[Preference]) -> None:
        self._prompts, self._preferences, self.skipped = prompts, preferences, {"empty": 0}

    def prompts(self, split: str) -> Iterator[Prompt]:
        return iter(self._prompts)

    def preferences(self, split: str) -> Iterator[Preference]:
        return iter(self._preferences)


HELLO = make_prompt([Message("user", "Hello")])


@pytest.mark.parametrize(
    ("prompts", "preferences", "word"),
    [
        ([], [], "no train prompts"),
        ([Prompt("other", HELLO.messages)], [], "another id"),
        ([Prompt("x", (Message("assistant", "Hi"),))], [], "user's turn"),
        ([HELLO], [Preference(HELLO, "a", "", 1.0)], "empty"),
        ([HELLO], [Preference(HELLO, "a", "b", 1.5)], "not in"),
        ([HELLO], [Preference(HELLO, "a", "b", 1.0, {"wit": None, "tact": -1.0})], "label under tact is -1.0, not in"),
        ([HELLO], [Preference(HELLO, "a", "b", 1.0)], "supplies"),
    ],
)
def test_dataset_mistakes_are_found(prompts: list[Prompt], preferences: list[Preference], word: str) -> None:
    offered: Component[Any] = component("rows", lambda options: Rows(prompts, preferences), NoOptions, "given rows")
    with pytest.raises(ContractError, match=word):
        check_dataset(offered)


class Judge:
    """A provider with one oddity."""

    def __init__(self, answer: Callable[[], Any], capabilities: Any = Capabilities(reads="pair")) -> None:  # noqa: B008
        self.identity, self.capabilities, self._answer = "judge-1", capabilities, answer

    async def ask(self, request: object) -> Any:
        return self._answer()


def test_provider_mistakes_are_found() -> None:
    numbers = iter(range(100))
    for answer, capabilities, word in (
        (lambda: Answer(p_first=1.5), Capabilities(reads="pair"), "p_first"),
        (lambda: 0.5, Capabilities(reads="pair"), "not an Answer"),
        (lambda: Answer(p_first=next(numbers) / 100), Capabilities(reads="pair"), "answers differently"),
        (lambda: Answer(p_first=0.5), Capabilities(reads="pair", max_batch=4), "ask_many"),
        (lambda: Answer(p_first=0.5), None, "capabilities"),
    ):
        offered: Component[Any] = component("odd", lambda _, a=answer, c=capabilities: Judge(a, c), NoOptions, "odd")
        with pytest.raises(ContractError, match=word):
            check_feedback_provider(offered)
    coin: Component[Any] = component("coin", lambda _: Judge(lambda: Answer(p_first=0.5)), NoOptions, "ties")
    check_feedback_provider(coin)


def test_fakes() -> None:
    failed, tried = doctest.testmod(fakes)
    assert (failed, tried > 0) == (0, True)
    reward = memory_reward(lambda prompt, response: float(len(response)))
    batch = reward([HELLO, HELLO], ["a", "bcd"])
    assert (batch.rewards.tolist(), batch.scores.principles) == ([1.0, 3.0], ("reward",))
    assert reward([], []).rewards.shape == (0,)
    assert FakePreferenceModel({"a": lambda p, r: 1.0, "b": lambda p, r: 2.0}).score([], []).values.shape == (0, 2)
