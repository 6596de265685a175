"""A run's system prompt: it stands before every prompt without one, from the prompt sets to the pairs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from morlaif_core import Message, Preference, Prompt, load_run, make_prompt
from morlaif_core.runs.system_prompt import WithSystem, with_system
from morlaif_core.stages import judge, other_prompts, sample, train_policy
from morlaif_core.types import Split
from tests.helpers.small_run import small

SYSTEM = Message("system", "Answer in one sentence.")
ASKED = make_prompt([Message("user", "Why?")])
OWN = make_prompt([Message("system", "Be kind."), Message("user", "Why?")])


class TwoPrompts:
    """A data set of a prompt without and one with a system turn."""

    skipped = {"empty rows": 2}  # noqa: RUF012

    def prompts(self, split: Split) -> Iterator[Prompt]:
        yield from (ASKED, OWN)

    def preferences(self, split: Split) -> Iterator[Preference]:
        yield from (Preference(prompt, "a", "b", 1.0, {"kind": 0.5}) for prompt in (ASKED, OWN))


def test_prompts_and_preferences_get_the_turn_and_keep_their_own() -> None:
    data = WithSystem(TwoPrompts(), SYSTEM.content)
    expected = [make_prompt([SYSTEM, Message("user", "Why?")]), OWN]
    assert list(data.prompts("train")) == [item.prompt for item in data.preferences("train")] == expected
    assert [item.labels for item in data.preferences("train")] == [{"kind": 0.5}] * 2
    assert data.skipped == {"empty rows": 2}
    assert expected[0].id != ASKED.id


def test_a_run_asks_all_prompts_with_it(finished: Path, tmp_path: Path) -> None:
    run = small(tmp_path / "r", f"system_prompt={SYSTEM.content}", until="judge")
    assert all(stored.pair.prompt.messages[0] == SYSTEM for stored in run.pairs())
    data = load_run(finished).context().dataset
    plain = [*data.prompts("train"), *data.prompts("test")]
    asked = {with_system(prompt, SYSTEM.content).id for prompt in plain}
    drawn = json.loads((run.folder / "manifest.json").read_text())["prompt_sets"]
    # Training and evaluation draw from these sets.
    assert all(ids and set(ids) <= asked for ids in drawn.values())
    assert run.preferences("detail")


def test_only_a_system_prompt_that_is_set_is_in_a_fingerprint(finished: Path) -> None:
    context = load_run(finished).context()
    for stage in (sample, judge, train_policy):
        assert "system_prompt" not in stage.inputs(context)
    context.settings = context.settings.model_copy(update={"system_prompt": "Be brief."})
    assert sample.inputs(context)["system_prompt"] == "Be brief."


def test_other_prompts_get_it_too(finished: Path) -> None:
    """The policy was trained with it: without it, an evaluation would ask another question."""
    context = load_run(finished).context()
    assert context.target  # the run's own base, which another system prompt would make anew
    context.settings = context.settings.model_copy(update={"system_prompt": SYSTEM.content})
    drawn, _ = other_prompts.held_out(context, [make_prompt("Why?"), make_prompt("How?"), OWN], None)
    first = {prompt.messages[-1].content: prompt.messages[0] for prompt in drawn if prompt.id != OWN.id}
    assert first == {"Why?": SYSTEM, "How?": SYSTEM}
    assert OWN in drawn
