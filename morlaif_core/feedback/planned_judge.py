"""A judge as it will be asked, before anything is sent: the very requests of a run, and which the ledger answers."""

from __future__ import annotations

from collections.abc import Sequence, Set
from dataclasses import dataclass
from functools import cached_property

from morlaif_core.config.judge_settings import Judging, Price
from morlaif_core.feedback.sending.request_costs import Meter
from morlaif_core.types import Principle, Request, ResponsePair, Usage

from .asking.plan import plan
from .asking.requests import Asking, Work, build_request
from .ledger.amounts import usd
from .types import Task


@dataclass(frozen=True)
class PlannedRequest:
    """A request that a run would make. Made by `PlannedJudge.requests`.

    Attributes:
        work: pair, principles, order and sample.
        asking: how it is asked.
        answered: the ledger holds its answer, so that it is not sent.
    """

    work: Work
    asking: Asking
    answered: bool

    @cached_property
    def request(self) -> Request:
        """The request as the provider would read it."""
        return build_request(self.work.pair, self.work.principles, self.work.order, self.asking, self.work.sample)

    @property
    def most_tokens(self) -> int:
        """Tokens that the provider reads at most; 0 for one that reads pairs."""
        return Meter(None).worst([self.request]).tokens - self.request.max_tokens if self.request.messages else 0


@dataclass(frozen=True)
class PlannedJudge:
    """A single judge as it will be asked. Made by `JudgeBench.planned_judge`.

    Attributes:
        name: as under `judges`.
        asking, judging: how it is asked.
        price: USD by tokens; None where it is not known.
        identity: of its provider; empty where the ledger is.
        answered: the row keys that its ledger holds.
        note: why what the ledger holds is not taken off.
        provider: None: planning looks whether it takes several requests at once; none is built here.
    """

    name: str
    asking: Asking
    judging: Judging
    price: Price | None
    identity: str = ""
    answered: Set[str] = frozenset()
    note: str | None = None
    provider: object = None  # planning looks whether it takes several requests at once; none is built here

    def requests(
        self, pairs: Sequence[ResponsePair], principles: Sequence[Principle], seed: int
    ) -> list[PlannedRequest]:
        """Plan as a run does, equal requests once, in the order in which they would be sent.

        pairs, principles: each pair is asked about under each. seed: the judge stage's.
        """
        tasks = [Task(pair, principle, self.name) for pair in pairs for principle in principles]
        _, works = plan(tasks, self, seed)
        return [PlannedRequest(work, self.asking, all(row in self.answered for row in work.rows)) for work in works]

    def cost(self, usage: Usage, *, batch: bool = False) -> float | None:
        """Return what these tokens cost in USD, None where no price is known.

        usage: the tokens. batch: by the provider's batch API.
        """
        return usd(usage, self.price, batch=batch)
