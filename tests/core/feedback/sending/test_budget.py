"""Budgets: never passed whatever happens, also over several commands; what was spent is booked to the cent."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from pathlib import Path

import pytest

from morlaif_core.config.judge_settings import Budget, Judging, Price
from morlaif_core.errors import RunFailed, UserError
from morlaif_core.feedback.judging import judge_tasks
from morlaif_core.feedback.ledger.amounts import NOTHING, Amount
from morlaif_core.feedback.ledger.ledger import Ledger
from morlaif_core.feedback.ledger.spending import spent_by
from morlaif_core.feedback.sending.budget import BudgetReached, Purse
from morlaif_core.feedback.sending.pace import Pace, Stopped
from morlaif_core.feedback.sending.request_costs import Meter
from morlaif_core.feedback.types import NamedJudge, Task
from morlaif_core.runs.pace import Done
from morlaif_core.types import Answer, Capabilities, Message, Principle, ProviderError, Request, Usage, make_prompt
from tests.helpers.known_judges import BETTER, WORSE, Pairwise, fast_pace, longer, provides, run, some_pairs, transient

PRICE = Price(input=100.0, cached=50.0, output=1000.0)
"""USD per million tokens: a dollar is soon gone."""


class Billed:
    """Answers with a letter, counts what it bills as a provider would: a token for each four characters."""

    identity = "billed-1"
    capabilities = Capabilities()

    def __init__(self, faults: Sequence[ProviderError | None] = (), *, tells: bool = True) -> None:
        self.usd, self.requests, self.tokens, self._faults, self._tells = 0.0, 0, 0, list(faults), tells

    async def ask(self, request: Request) -> Answer:
        self.requests += 1
        fault = self._faults.pop(0) if self._faults else None
        await asyncio.sleep(0)
        if fault is None or fault.billed:
            usage = self._bill(request)
        if fault is not None:
            raise fault
        return Answer(text="A", usage=usage if self._tells else Usage())

    def _bill(self, request: Request) -> Usage:
        usage = Usage(input=sum(len(turn.content) for turn in request.messages) // 4, output=request.max_tokens)
        self.usd += (usage.input * PRICE.input + usage.output * PRICE.output) / 1e6
        self.tokens += usage.input + usage.output
        return usage


def paid(folder: Path, name: str) -> Amount:
    return spent_by(name, [folder / "judgements.sqlite"])


def rows(folder: Path) -> int:
    ledger = Ledger(folder / "judgements.sqlite")
    count = len(list(ledger.rows()))
    ledger.close()
    return count


@pytest.mark.parametrize("cap", [{"usd": 0.5}, {"requests": 37}, {"tokens": 5000}])
def test_a_budget_is_never_passed_and_a_higher_one_goes_on(tmp_path: Path, cap: dict[str, float]) -> None:
    provider, pairs = Billed(), some_pairs(40)
    (name,) = cap
    with pytest.raises(RunFailed, match=rf"budget reached: spent .* of .*raise budget\.{name}.*same command"):
        run(provider, pairs, tmp_path, price=PRICE, budget=Budget.model_validate(cap), name="r", concurrency=8)
    assert getattr(provider, name) <= cap[name]
    # What is left is less than one request's worst case.
    assert getattr(provider, name) > 0.8 * cap[name]
    assert (paid(tmp_path, "r").usd, paid(tmp_path, "r").requests) == (pytest.approx(provider.usd), provider.requests)
    assert rows(tmp_path) == provider.requests
    with pytest.raises(RunFailed, match="budget reached"):
        run(provider, pairs, tmp_path, price=PRICE, budget=Budget.model_validate(cap), name="r")
    assert rows(tmp_path) == provider.requests
    run(provider, pairs, tmp_path, price=PRICE, budget=Budget(usd=50.0), name="r")
    assert provider.requests == 80
    assert paid(tmp_path, "r").tokens == provider.tokens
    assert run(Billed(), pairs, tmp_path, price=PRICE, budget=Budget(usd=0.0), name="r")[0].cost is not None


def test_another_run_that_shares_the_ledger_has_a_budget_of_its_own(tmp_path: Path) -> None:
    run(Billed(), some_pairs(10), tmp_path, price=PRICE, name="one")
    provider = Billed()
    run(provider, some_pairs(20), tmp_path, price=PRICE, budget=Budget(requests=20), name="two")
    assert provider.requests == 20
    assert [paid(tmp_path, name).requests for name in ("one", "two")] == [20, 20]


@pytest.mark.parametrize("seed", range(4))
def test_doubtful_attempts_count_as_their_worst_case(tmp_path: Path, seed: int) -> None:
    draw = random.Random(seed)
    faults = [transient(billed=draw.random() < 0.5) if draw.random() < 0.4 else None for _ in range(200)]
    provider = Billed(faults)
    with pytest.raises(RunFailed, match="budget reached"):
        run(provider, some_pairs(100), tmp_path, price=PRICE, budget=Budget(usd=1.0), name="r", concurrency=8)
    assert provider.usd <= paid(tmp_path, "r").usd <= 1.0
    assert paid(tmp_path, "r").requests == provider.requests


def test_an_answer_that_does_not_tell_its_tokens_counts_as_its_worst_case(tmp_path: Path) -> None:
    provider = Billed(tells=False)
    run(provider, some_pairs(5), tmp_path, price=PRICE, name="r")
    assert provider.usd < paid(tmp_path, "r").usd < 8 * provider.usd


def test_what_was_spent_without_a_row_is_booked_when_the_judge_stops(tmp_path: Path) -> None:
    provider = Billed([transient(billed=True), ProviderError("401", "run")])
    with pytest.raises(RunFailed, match="401"):
        run(provider, some_pairs(3), tmp_path, price=PRICE, name="r", concurrency=1)
    assert rows(tmp_path) == 0
    assert paid(tmp_path, "r").requests == 2
    assert paid(tmp_path, "r").usd >= provider.usd > 0


def test_a_budget_in_dollars_needs_a_price(tmp_path: Path) -> None:
    provider = Billed()
    with pytest.raises(UserError, match=r"no price is known for j.*judges\.j\.judging\.price") as failed:
        run(provider, some_pairs(3), tmp_path, price=None, budget=Budget(usd=1.0), name="r")
    assert failed.value.exit_code == 2
    assert provider.requests == 0
    run(provider, some_pairs(3), tmp_path, price=None, budget=Budget(tokens=10**6), name="r")
    assert provider.requests == 6


def test_free_judges_finish_when_the_money_is_gone(tmp_path: Path) -> None:
    dear, free = Billed(), Pairwise(longer)
    judges = {
        "dear": NamedJudge("dear", provides(dear), Judging(), PRICE),
        "free": NamedJudge("free", provides(free), Judging()),
    }
    tasks = [Task(pair, p, j) for pair in some_pairs(40) for p, j in ((BETTER, "dear"), (WORSE, "free"))]
    shown: list[Done] = []
    with pytest.raises(RunFailed, match="budget reached"):
        judge_tasks(
            tasks,
            judges,
            ledger=tmp_path / "judgements.sqlite",
            seed=0,
            progress=shown.append,
            pace=fast_pace,
            budget=Budget(usd=0.3),
            run="r",
        )
    assert len(free.asked) == 80
    assert dear.usd <= 0.3
    assert shown[-1].usd == pytest.approx(dear.usd)


def test_what_another_ledger_of_the_run_holds_counts(tmp_path: Path) -> None:
    run(Billed(), some_pairs(5), tmp_path / "far", price=PRICE, name="r")
    tasks = [Task(pair, BETTER, "j") for pair in some_pairs(5)]
    provider = Billed()
    with pytest.raises(RunFailed, match="spent 12 of 12 requests"):
        judge_tasks(
            tasks,
            {"j": NamedJudge("j", provides(provider), Judging(concurrency=1), PRICE)},
            ledger=tmp_path / "near.sqlite",
            seed=0,
            progress=lambda done: None,
            budget=Budget(requests=12),
            run="r",
            ledgers=[tmp_path / "far" / "judgements.sqlite", tmp_path / "none.sqlite"],
        )
    assert provider.requests == 2


def test_what_does_not_fit_waits_for_what_is_in_flight() -> None:
    async def main() -> list[str]:
        purse, pace, said = Purse(Budget(usd=1.0), NOTHING), Pace(), list[str]()
        await purse.reserve(Amount(usd=0.6), pace)

        async def other(usd: float) -> None:
            try:
                await purse.reserve(Amount(usd=usd), pace)
                said.append(f"{usd} fits")
            except BudgetReached:
                said.append(f"{usd} does not")
            except Stopped:
                said.append(f"{usd} stopped")

        waiting = [asyncio.ensure_future(other(usd)) for usd in (0.8, 0.9, 0.1)]
        await asyncio.sleep(0.01)
        assert said == ["0.1 fits"]
        purse.settle(Amount(usd=0.6), Amount(usd=0.05))
        await asyncio.sleep(0.01)
        assert said[1:] == ["0.8 fits"]
        purse.settle(Amount(usd=0.1), Amount(usd=0.1))
        purse.settle(Amount(usd=0.8), Amount(usd=0.8))
        await asyncio.gather(*waiting)
        assert purse.spent.usd == pytest.approx(0.95)
        await purse.reserve(Amount(usd=0.05), pace)
        late = asyncio.ensure_future(other(0.5))
        await asyncio.sleep(0.01)
        pace.stop.set()
        await late
        return said

    assert asyncio.run(main()) == ["0.1 fits", "0.8 fits", "0.9 does not", "0.5 stopped"]


def test_the_worst_case_bounds_what_any_tokenizer_counts() -> None:
    texts = ["plain words", "日本語 🙂 é", "<|im_end|>" * 9, "\ud800 alone", ""]
    principle = Principle("p", "?")
    for text in texts:
        messages = (Message("system", "s" + text), Message("user", text))
        request = Request(make_prompt([Message("user", text)]), "a", "b", principle, messages, max_tokens=7)
        worst = Meter(PRICE).worst([request])
        size = len(text.encode(errors="surrogatepass"))
        assert worst.tokens >= 2 * size + 1 + 2 * 8 + 7
        assert worst.usd == pytest.approx(((worst.tokens - 7) * PRICE.input + 7 * PRICE.output) / 1e6)
        assert Meter(PRICE, batch=True).worst([request]).usd == pytest.approx(worst.usd / 2)
        assert Meter(None).worst([request]) == Amount(0.0, 1, worst.tokens)
    schema = Request(make_prompt([Message("user", "x")]), "a", "b", principle, messages, schema={"type": "object"})
    assert Meter(PRICE).worst([schema]).tokens > 346 + Meter(PRICE).worst([request]).tokens - 7
    assert Meter(PRICE).worst([Request(request.prompt, "a", "b", principle, max_tokens=1)]) == Amount(requests=1)
