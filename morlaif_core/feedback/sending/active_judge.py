"""A judge that is being asked: its provider, how it is asked, who sends its requests and where its rows go."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from morlaif_core.feedback.answers.verdict import Reading
from morlaif_core.feedback.asking.requests import asking_of
from morlaif_core.feedback.ledger.answer_rows import Asked
from morlaif_core.feedback.ledger.commits import GroupCommit
from morlaif_core.feedback.ledger.tables import Row
from morlaif_core.feedback.types import NamedJudge

from .budget import Purse
from .label_watch import LabelWatch
from .pace import Pace, Throttle
from .retry import Sender


@dataclass(frozen=True)
class Surroundings:
    """What a judge has of its run. note: called with each row's key and reading once it is on disk."""

    run: str
    purse: Purse
    note: Callable[[str, Reading], None]


class ActiveJudge:
    """A judge whose provider is built. What its workers and its batches both need."""

    def __init__(self, judge: NamedJudge, commits: GroupCommit, pace: Pace, around: Surroundings) -> None:
        self.name, self.judging, self.commits, self.pace, self.around = judge.name, judge.judging, commits, pace, around
        # Here, inside the event loop: an SDK's client binds its connections to the loop that it is used in.
        self.provider = judge.build()
        self.identity, self.capabilities = self.provider.identity, self.provider.capabilities
        self.asking = asking_of(self.capabilities, self.judging)
        self.asked = Asked(self.name, self.identity, self.asking, judge.price, run=around.run)
        self.sender = Sender(Throttle(pace, self.judging), around.purse)
        # A judge in this process costs nothing.
        stops = judge.stops and not hasattr(self.provider, "ask_many")
        self.watch = LabelWatch(self.name, self.asking.mode, commits.ledger, stops=stops)

    def note(self, rows: Sequence[tuple[Row, Reading]]) -> None:
        """Pass on what came of one request, once it is on disk."""
        self.watch.see([row.key for row, _ in rows], [reading for _, reading in rows])
        for row, reading in rows:
            self.around.note(row.key, reading)
