"""The provider that docs/plugins.md shows is whole: it keeps the contract, and faults become errors without the key."""

from __future__ import annotations

import asyncio
import importlib
from pathlib import Path
from types import ModuleType

import pytest

from morlaif_core import Answer, Message, Principle, ProviderError, make_pair, make_prompt
from morlaif_core.config.judge_settings import Judging
from morlaif_core.feedback.asking.requests import asking_of, build_request
from morlaif_core.testing import FaultServer, check_feedback_provider
from tests.helpers.documents import ROOT, blocks
from tests.helpers.remote_apis import CANARY

PAIR = make_pair(make_prompt([Message("user", "How are you?")]), "Well", "Fine, thank you")


@pytest.fixture
def shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    (block,) = (one for one in blocks(ROOT / "docs" / "plugins.md") if one.file == "plain_http.py")
    assert len(block.text.splitlines()) < 90
    block.write(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PLAIN_KEY", CANARY)
    return importlib.import_module("plain_http")


def test_it_keeps_the_contract(shown: ModuleType) -> None:
    (offered,) = shown.morlaif_feedback_providers()
    with FaultServer() as server:
        check_feedback_provider(offered, {"model": "m", "base_url": server.url, "api_key": "PLAIN_KEY"}, ask=True)


@pytest.mark.parametrize(
    ("fault", "kind", "billed"),
    [
        ("unauthorized_401", "run", False),
        ("model_not_found_404", "run", False),
        ("retry_after", "rate", False),
        ("html_502", "transient", False),
        ("reset_body", "transient", True),
        ("hang", "transient", True),
        ("drip", "transient", True),
        ("broken_json", "transient", True),
        ("error_in_200", "transient", True),
        ("no_choices", "transient", True),
        ("too_long_400", "item", False),
    ],
)
def test_its_faults_are_sorted(shown: ModuleType, fault: str, kind: str, billed: bool) -> None:
    async def ask() -> Answer:
        options = {"model": "m", "base_url": server.url, "api_key": "PLAIN_KEY", "timeout": 0.3}
        provider = shown.PlainJudge(shown.PlainOptions.model_validate(options))
        asking = asking_of(provider.capabilities, Judging())
        try:
            answer: Answer = await provider.ask(
                build_request(PAIR, [Principle("detail", "More detail?")], "ab", asking)
            )
            return answer
        finally:
            await provider.aclose()

    with FaultServer(faults={0: fault}) as server, pytest.raises(ProviderError) as failed:
        asyncio.run(ask())
    assert (failed.value.kind, failed.value.billed) == (kind, billed)
    assert CANARY not in str(failed.value)
    assert failed.value.__context__ is None
