"""Keys computed in bulk are those of the requests themselves, for every way of asking and whatever the texts hold."""

from __future__ import annotations

from itertools import product

import pytest
from hypothesis import given, settings, strategies as st

from morlaif_core.config.judge_settings import Judging
from morlaif_core.feedback.asking import plan as planning
from morlaif_core.feedback.asking.keys import Keys
from morlaif_core.feedback.asking.plan import plan
from morlaif_core.feedback.asking.requests import Asking, Order, asking_of, build_request, request_key, row_key
from morlaif_core.feedback.types import Task
from morlaif_core.types import Capabilities, Example, Message, Principle, ResponsePair, make_pair, make_prompt
from tests.helpers.known_judges import some_pairs

ORDERS: tuple[Order, Order] = ("ab", "ba")
ABLE = Capabilities(max_top_logprobs=20, structured=True)
EXAMPLES = tuple(Example(f"Why {i}?", "a \\ b", f'"{i}"', "a") for i in range(3))
PRINCIPLES = (
    Principle("kind", 'Which is "kinder"?', phrasings=("Which is less rude?\t", "Wer ist freundlicher? ÄÖ€😀")),
    Principle("brief", "Which is shorter?", "worse", examples=EXAMPLES),
    Principle("exact", "Which response is \ud800 exact?", examples=EXAMPLES[:1]),
)
ASKED = [
    {"mode": "logprob"},
    {"mode": "logprob", "abstain": True, "few_shots": 2},
    {"mode": "rationale", "few_shots": 1},
    {"mode": "structured", "samples": 3},
    {"mode": "text", "samples": 2, "abstain": True},
    {"joint": True, "few_shots": 1, "samples": 2},
]
ASKINGS = [asking_of(ABLE, Judging.model_validate(asked)) for asked in ASKED]
ASKINGS += [asking_of(Capabilities(reads="pair"), Judging()), asking_of(Capabilities(temperature=False), Judging())]
TEXT = st.text(st.characters(codec=None), max_size=60)


def one_by_one(pair: ResponsePair, principles: tuple[Principle, ...], asking: Asking, sample: int) -> list[str]:
    requests = (build_request(pair, principles, order, asking, sample) for order in ORDERS)
    return [request_key('id "1"\n', request) for request in requests]


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(TEXT, TEXT, TEXT), min_size=1, max_size=4), st.sampled_from(ASKINGS))
def test_bulk_keys_are_the_keys_of_requests(texts: list[tuple[str, str, str]], asking: Asking) -> None:
    pairs = [make_pair(make_prompt([Message("user", prompt)]), a, b) for prompt, a, b in texts]
    groups = [PRINCIPLES] if asking.mode == "joint" else [(principle,) for principle in PRINCIPLES]
    keys = Keys('id "1"\n', asking)
    for pair, principles, sample in product(pairs, groups, range(asking.samples)):
        expected = one_by_one(pair, principles, asking, sample)
        assert [keys.key(pair, principles, order, sample) for order in ORDERS] == expected


class Judge:
    """What planning asks of a judge."""

    identity = 'id "1"\n'
    provider = object()

    def __init__(self, asking: Asking, concurrency: int) -> None:
        self.asking, self.judging = asking, Judging(concurrency=concurrency)


@pytest.mark.parametrize("asking", ASKINGS, ids=lambda asking: f"{asking.mode}-{asking.samples}")
def test_blocks_make_the_plan_of_the_whole(asking: Asking, monkeypatch: pytest.MonkeyPatch) -> None:
    pairs = some_pairs(9)
    tasks = [Task(pair, principle, "j") for principle in PRINCIPLES for pair in [*pairs, pairs[0]]]
    judge = Judge(asking, 2)
    whole = plan(tasks, judge, 0)
    monkeypatch.setattr(planning, "BLOCK", 4)
    assert plan(tasks, judge, 0) == whole
    planned, works = whole
    principles = 1 if asking.mode == "joint" else len(PRINCIPLES)
    assert len({work.key for work in works}) == len(works) == len(pairs) * principles * 2 * asking.samples
    rows = {row for rows in planned.values() for of_order in rows for row in of_order or ()}
    assert rows == {row for work in works for row in work.rows}
    for work in works:
        alone = one_by_one(work.pair, work.principles, asking, work.sample)[ORDERS.index(work.order)]
        assert work.key == alone
        names = [principle.name for principle in work.principles]
        assert work.rows == (tuple(row_key(alone, name) for name in names) if asking.mode == "joint" else (alone,))
