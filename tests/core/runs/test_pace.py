"""How far a stage is and how long the rest takes, in words; and how often it is told."""

from __future__ import annotations

from morlaif_core.runs.pace import Done, Meter, Paced


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_line_says_count_share_time_rate_what_is_left_and_the_principles_means() -> None:
    clock = Clock()
    meter = Meter("train-policy", "steps", clock)
    metrics = {"reward": 0.1234, "kl": 2.0, "entropy": 9.0, "score/politeness": 0.5, "score/relevance": -1.25}
    clock.now += 60
    meter.tell(Done(1, 1200, metrics=metrics))
    assert meter.left is None, "one step says nothing of the rate"
    assert meter.line() == (
        "train-policy: 1 of 1,200 steps (0 %), 0:01:00; reward 0.123, kl 2, politeness 0.5, relevance -1.25"
    )
    clock.now += 120
    meter.tell(Done(13, 1200, metrics=metrics))
    assert meter.line().startswith("train-policy: 13 of 1,200 steps (1 %), 0:03:00, 6/min, about 3:17:50 left; reward")
    assert "entropy" not in meter.line()
    assert "entropy 9" in meter.line(full=True)
    assert meter.row() == {
        "stage": "train-policy", "unit": "steps", "done": 13, "total": 1200, "seconds": 180.0, "seconds_left": 11870,
        "metrics": metrics,
    }  # fmt: skip


def test_what_the_ledger_knew_took_no_time() -> None:
    clock = Clock()
    meter = Meter("judge", "requests", clock)
    meter.tell(Done(900, 1000, None, 900))
    clock.now += 10
    meter.tell(Done(910, 1000, 0.5, 900))
    assert meter.left == 90
    meter.tell(Done(1410, 1500, 0.5, 1400))  # a cascade's next judge, most of whose answers are known
    assert meter.left == 90
    assert meter.line() == "judge: 1,410 of 1,500 requests (94 %), 0:00:10, 1/s, about 0:01:30 left, $0.5000"


def test_what_was_quick_long_ago_does_not_count() -> None:
    clock = Clock()
    meter = Meter("judge", "requests", clock)
    meter.tell(Done(0, 2000))
    clock.now += 1
    meter.tell(Done(1000, 2000))  # rules beside a server
    for step in range(1, 61):
        clock.now += 60
        meter.tell(Done(1000 + step, 2000))
    assert meter.left == 940 * 60


def test_lines_come_every_ten_seconds_at_first_and_every_minute_later() -> None:
    clock = Clock()
    told: list[float] = []
    paced = Paced(lambda: told.append(clock.now - 100), 10, 60, clock)
    for _ in range(600):
        clock.now += 1
        paced()
    assert told == [10, 25, 48, 82, 133, 193, 253, 313, 373, 433, 493, 553]
