"""Panels and cascades: who is asked, what comes out, what it costs, and that a replay says what a run would do."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, strategies as st

from morlaif_core.config.judge_settings import Judging, Price
from morlaif_core.feedback.answers.panels_and_cascades import (
    Cascade,
    Judge,
    Panel,
    cost_of,
    incomplete,
    leaves,
    verdict_on,
    wanted,
)
from morlaif_core.feedback.answers.verdict import sigmoid
from morlaif_core.feedback.judging import judge_tasks
from morlaif_core.feedback.types import NamedJudge, Status, Task, Verdict
from morlaif_core.types import (
    Answer,
    Capabilities,
    Message,
    Principle,
    ProviderError,
    Request,
    ResponsePair,
    Usage,
    make_pair,
    make_prompt,
)
from morlaif_judge_check.replay import BOUNDS, replay
from tests.helpers.known_judges import BETTER, WORSE, fast_pace, provides, some_pairs

CENT = Price(input=1e4, output=0.0)
"""One cent for each token read."""


class Sided:
    """Reads pairs; q of the longer answer by the pair's number in the prompt; counts what it was asked."""

    capabilities = Capabilities(reads="pair")

    def __init__(self, name: str, q: Callable[[int], float], finish: Callable[[int], str] = lambda i: "stop") -> None:
        self.identity, self._q, self._finish, self.asked = name, q, finish, 0

    async def ask(self, request: Request) -> Answer:
        self.asked += 1
        number = int(request.prompt.messages[-1].content.split()[-1])
        q = self._q(number) if len(request.first) > len(request.second) else -self._q(number)
        return Answer(p_first=sigmoid(q), finish=self._finish(number), usage=Usage(input=1))  # type: ignore[arg-type]


def judged(
    tmp_path: Path,
    judge: str,
    providers: Mapping[str, Sided],
    compounds: Sequence[Judge],
    pairs: Sequence[ResponsePair],
) -> list[Verdict]:
    judges: dict[str, Judge] = {
        name: NamedJudge(name, provides(provider), Judging(), CENT) for name, provider in providers.items()
    }
    judges |= {compound.name: compound for compound in compounds}
    tasks = [Task(pair, principle, judge) for pair in pairs for principle in (BETTER, WORSE)]
    ledger = tmp_path / f"{judge}.sqlite"
    return judge_tasks(tasks, judges, ledger=ledger, seed=0, progress=lambda *_: None, pace=fast_pace)


def single(name: str, q: float | None, status: Status | None = None, cost: float | None = 1.0) -> Verdict:
    said: Status = status or ("ok" if q else "tie")
    return Verdict("pair", "candour", name, said, None if q is None else sigmoid(q), q, cost=cost)


PAIR = make_pair(make_prompt([Message("user", "question 0")]), "longer answer", "answer")


def decided(judge: Judge, *members: Verdict) -> Verdict:
    """What a judge makes of its members' verdicts."""
    judges: dict[str, Judge] = {item.judge: NamedJudge(item.judge, provides(None), Judging()) for item in members}
    judges[judge.name] = judge
    known = {item.judge: item for item in members}
    task = Task(PAIR, BETTER, judge.name)
    assert wanted(task, judges, lambda task: known.get(task.judge)) == []
    return verdict_on(task, judges, lambda task: known.get(task.judge))


@given(st.lists(st.floats(-20, 20), min_size=2, max_size=6))
def test_a_panels_log_odds_are_the_mean_of_its_members(qs: list[float]) -> None:
    members = [single(f"m{i}", q) for i, q in enumerate(qs)]
    verdict = decided(Panel("p", tuple(item.judge for item in members), len(qs), "mean_logit"), *members)
    mean = sum(qs) / len(qs)
    assert verdict.q == pytest.approx(mean, abs=1e-5)
    assert verdict.p_a == pytest.approx(sigmoid(mean), abs=1e-5)
    assert verdict.status == ("tie" if verdict.q == 0 else "ok")


def test_one_confident_member_does_not_rule_a_panel() -> None:
    """Two good judges and one that is sure of the longer answer: the median stays near the two, the mean does not."""
    draw = np.random.default_rng(0)
    right = {"median": 0.0, "mean_logit": 0.0, "majority": 0.0}
    for truth, length in draw.normal(0, 1, (2000, 2)):
        good = truth + draw.normal(0, 0.5, 2)
        members = [single(f"m{i}", q) for i, q in enumerate([*good, 0.5 * truth + 6 * length])]
        for combine in right:
            verdict = decided(Panel("p", ("m0", "m1", "m2"), 3, combine), *members)  # type: ignore[arg-type]
            assert verdict.q is not None
            right[combine] += (verdict.q > 0) == (truth > 0)
    assert right["median"] == right["majority"] > 0.84 * 2000
    assert right["mean_logit"] < 0.72 * 2000


@given(st.lists(st.sampled_from([-7.0, -0.1, 0.0, 0.1, 7.0]), min_size=2, max_size=7))
def test_a_majority_counts_votes_whatever_their_size(qs: list[float]) -> None:
    members = [single(f"m{i}", q) for i, q in enumerate(qs)]
    verdict = decided(Panel("p", tuple(item.judge for item in members), len(qs), "majority"), *members)
    ayes, noes = sum(q > 0 for q in qs), sum(q < 0 for q in qs)
    assert verdict.q is not None
    assert math.copysign(1, verdict.q) * (ayes != noes) == math.copysign(1, ayes - noes) * (ayes != noes)
    assert (verdict.status == "tie") == (ayes == noes)
    assert verdict.p_a == pytest.approx((ayes + (len(qs) - ayes - noes) / 2 + 0.5) / (len(qs) + 1))


@pytest.mark.parametrize(
    ("quorum", "statuses", "expected"),
    [
        (2, ["ok", "ok", "failed"], "ok"),
        (3, ["ok", "ok", "failed"], "failed"),
        (3, ["ok", "refused", "failed"], "failed"),
        (3, ["ok", "refused", "not_applicable"], "refused"),
        (3, ["not_applicable", "not_applicable", "refused"], "not_applicable"),
        (1, ["not_applicable", "refused", "ok"], "ok"),
        (2, ["tie", "tie", "parse_error"], "tie"),
        (1, ["off_label", "off_label", "off_label"], "off_label"),
    ],
)
def test_fewer_labels_than_the_quorum_are_no_label(quorum: int, statuses: list[Status], expected: Status) -> None:
    qs = {"ok": 1.5, "tie": 0.0}
    members = [single(f"m{i}", qs.get(status), status) for i, status in enumerate(statuses)]
    verdict = decided(Panel("p", ("m0", "m1", "m2"), quorum), *members)
    assert verdict.status == expected
    assert (verdict.p_a is None) == (verdict.q is None) == (expected not in ("ok", "tie"))
    assert len(verdict.members) == 3, "a member that failed does not silently leave the panel"
    assert incomplete(verdict) == ("failed" in statuses)


def test_an_unknown_price_of_one_member_leaves_no_cost() -> None:
    members = single("m0", 1.0, cost=0.5), single("m1", 2.0, cost=None)
    assert decided(Panel("p", ("m0", "m1"), 2), *members).cost is None
    assert cost_of(members[:1]) == 0.5


@pytest.mark.parametrize(
    ("first", "asks"),
    [
        (single("cheap", 0.9), True),
        (single("cheap", -0.9), True),
        (single("cheap", 0.0), True),
        (single("cheap", 1.0), False),
        (single("cheap", -3.0), False),
        (single("cheap", None, "refused"), True),
        (single("cheap", None, "off_label"), True),
        (single("cheap", None, "not_applicable"), False),
        (single("cheap", None, "failed"), False),
    ],
)
def test_a_cascade_asks_on_where_the_cheap_judge_is_unsure(first: Verdict, asks: bool) -> None:
    judges: dict[str, Judge] = {name: NamedJudge(name, provides(None), Judging()) for name in ("cheap", "strong")}
    judges["c"] = Cascade("c", ("cheap", "strong"), 1.0)
    task = Task(PAIR, BETTER, "c")
    assert [item.judge for item in wanted(task, judges, lambda task: None)] == ["cheap"]
    known = {"cheap": first}
    assert [item.judge for item in wanted(task, judges, lambda task: known.get(task.judge))] == ["strong"] * asks
    known["strong"] = single("strong", -2.0)
    verdict = verdict_on(task, judges, lambda task: known.get(task.judge))
    decides = known["strong"] if asks else first
    assert (verdict.judge, verdict.mode, verdict.q, verdict.status) == ("c", "cascade", decides.q, decides.status)
    assert len(verdict.members) == 1 + asks
    assert verdict.cost == 1 + asks


def test_a_cascade_into_a_panel_asks_and_pays_a_shared_member_once(tmp_path: Path) -> None:
    cheap, other = Sided("cheap", lambda i: 0.5 if i % 4 == 0 else 2.0), Sided("other", lambda i: 1.5)
    compounds = [Panel("both", ("cheap", "other"), 2), Cascade("thrifty", ("cheap", "both"), 1.0)]
    pairs = some_pairs(20)
    verdicts = judged(tmp_path, "thrifty", {"cheap": cheap, "other": other}, compounds, pairs)
    assert leaves("thrifty", {item.name: item for item in compounds} | {"cheap": CHEAP, "other": OTHER}) == [
        "cheap",
        "other",
    ]
    assert (cheap.asked, other.asked) == (80, 20), "two principles, two orders; the other one for a quarter of 20 pairs"
    for place, verdict in enumerate(verdicts):
        asked = (place // 2) % 4 == 0
        assert verdict.cost == pytest.approx(0.04 if asked else 0.02)
        assert abs(verdict.q or 0) == pytest.approx(1.0 if asked else 2.0)
    assert [item.judge for item in verdicts[0].members] == ["cheap", "both"]


CHEAP, OTHER = (NamedJudge(name, provides(None), Judging()) for name in ("cheap", "other"))


def test_a_panel_over_both_directions_of_a_principle_agrees_with_its_members(tmp_path: Path) -> None:
    providers = {"x": Sided("x", lambda i: 1.0), "y": Sided("y", lambda i: 3.0)}
    pairs = some_pairs(6)
    verdicts = judged(tmp_path, "p", providers, [Panel("p", ("x", "y"), 2)], pairs)
    for verdict, (pair, sign) in zip(verdicts, [(pair, sign) for pair in pairs for sign in (1, -1)], strict=True):
        longer = 1 if len(pair.a) > len(pair.b) else -1
        assert verdict.q == pytest.approx(2.0 * sign * longer)


def agreeing(said: float | None, strong: float) -> float:
    if said is None:
        return 0.0
    return 1.0 if said == strong or said * strong > 0 else 0.5 if 0 in (said, strong) else 0.0


def test_a_replay_says_what_the_cascade_does_at_each_bound(tmp_path: Path) -> None:
    """The same pairs are judged by both, replayed, and then judged by the cascade itself at every bound."""
    finishes = {1: "refused", 2: "not_applicable", 3: "filtered"}
    providers = {
        "cheap": Sided("cheap", lambda i: [0.0, 0.2, -0.4, 0.9, 1.4, -2.5][i % 6], lambda i: finishes.get(i, "stop")),
        "strong": Sided("strong", lambda i: [1.0, -1.0, 0.0][i % 3], lambda i: "refused" if i == 7 else "stop"),
    }
    pairs = some_pairs(24)
    cheap, strong = (judged(tmp_path, name, providers, [], pairs) for name in ("cheap", "strong"))
    rows = replay(cheap, strong)
    assert [row.below for row in rows] == list(BOUNDS)
    for row in rows:
        (tmp_path / "c.sqlite").unlink(missing_ok=True)
        before = providers["strong"].asked
        done = judged(tmp_path, "c", providers, [Cascade("c", ("cheap", "strong"), max(row.below, 1e-12))], pairs)
        if row.below > 0:
            assert row.asked == (providers["strong"].asked - before) / 2 / len(done)
            assert row.cost == pytest.approx(math.fsum(item.cost or 0 for item in done))
            hits = [agreeing(item.q, other.q) for item, other in zip(done, strong, strict=True) if other.q is not None]
            assert row.agreement == pytest.approx(sum(hits) / len(hits))
    assert rows[0].asked == pytest.approx(2 / 24), "at 0 those without a label alone go on"
    assert rows[-1].asked == pytest.approx(23 / 24), "what does not apply is settled"


def test_a_replay_leaves_out_what_failed_and_what_one_judge_has_not_seen() -> None:
    cheap = [
        single("c", 0.1),
        Verdict("other", "candour", "c", "failed"),
        Verdict("third", "candour", "c", "ok", 0.6, 0.4),
    ]
    strong = [single("s", 1.0), Verdict("other", "candour", "s", "ok", 0.7, 0.8)]
    (row,) = replay(cheap, strong, [0.2])
    assert (row.asked, row.agreement, row.cost) == (1.0, 1.0, 2.0)
    assert replay([], strong) == []


def test_a_replay_shows_the_taste_for_length_that_is_left() -> None:
    """The cheap judge is sure of the longer response; the strong one is level. Agreement alone does not say which way."""
    pairs = {pair.id: pair for pair in some_pairs(40)}
    longer = [1.0 if len(pair.a) > len(pair.b) else -1.0 for pair in pairs.values()]
    cheap = [Verdict(id, "p", "c", "ok", sigmoid(3 * side), 3 * side) for id, side in zip(pairs, longer, strict=True)]
    level = [1.0 if place % 2 else -1.0 for place in range(40)]
    strong = [
        Verdict(id, "p", "s", "ok", sigmoid(q * side), q * side)
        for id, side, q in zip(pairs, longer, level, strict=True)
    ]
    kept, asked = replay(cheap, strong, [1.0, 4.0], pairs)
    assert (kept.asked, kept.agreement, kept.longer) == (0.0, 0.5, 0.5)
    assert (asked.asked, asked.agreement, asked.longer) == (1.0, 1.0, 0.0)


class Down:
    """A cheap judge that never knows, and gives no answer under one principle while it is down."""

    identity = "down-1"
    capabilities = Capabilities(reads="pair")

    def __init__(self, down: list[bool]) -> None:
        self.down = down

    async def ask(self, request: Request) -> Answer:
        if self.down[0] and request.principle.name == "p0":
            raise ProviderError("HTTP 503", "transient")
        return Answer(p_first=0.5)


class Joint:
    """A strong judge that answers all principles of a request; keeps which they were."""

    identity = "joint-1"
    capabilities = Capabilities(structured=True)

    def __init__(self, asked: list[set[str]]) -> None:
        self.asked = asked

    async def ask(self, request: Request) -> Answer:
        self.asked.append({principle.name for principle in request.principles})
        return Answer(text=json.dumps({str(place + 1): "A" for place in range(len(request.principles))}))


def test_a_joint_judge_of_a_cascade_waits_until_it_is_settled_what_it_is_asked(tmp_path: Path) -> None:
    """Asked about two principles, and of three by the next run, it would be paid twice for the two."""
    asked, down = list[set[str]](), [True]
    judges: dict[str, Judge] = {
        "cheap": NamedJudge("cheap", lambda: Down(down), Judging()),
        "strong": NamedJudge("strong", lambda: Joint(asked), Judging(joint=True)),
        "both": Cascade("both", ("cheap", "strong"), 1.0),
    }
    principles = [Principle(f"p{i}", f"Which response is more p{i}?") for i in range(3)]
    tasks = [Task(pair, principle, "both") for pair in some_pairs(3) for principle in principles]

    def judge() -> list[Verdict]:
        path = tmp_path / "l.sqlite"
        return judge_tasks(tasks, judges, ledger=path, seed=0, progress=lambda done: None, pace=fast_pace)

    assert {verdict.status for verdict in judge()} == {"failed"}
    assert asked == []
    down[0] = False
    assert {verdict.status for verdict in judge()} == {"tie"}  # what stands first is A in both orders
    assert asked == [{"p0", "p1", "p2"}] * 6
