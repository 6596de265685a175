"""A hard cap on what a run's judges spend: the worst case is reserved before a request goes out, and settled after."""

from __future__ import annotations

import asyncio

from morlaif_core.config.judge_settings import Budget
from morlaif_core.errors import RunFailed
from morlaif_core.feedback.ledger.amounts import NOTHING, Amount

from .pace import Pace


class BudgetReached(RunFailed):
    """The next request might cost more than what is left."""


class Purse:
    """What all judges of a run spend from. spent: by earlier commands at first, reservations not counted."""

    def __init__(self, caps: Budget, spent: Amount) -> None:
        self.spent = spent
        self._caps = {name: cap for name, cap in caps.model_dump().items() if cap is not None}
        self._reserved, self._open = NOTHING, 0
        self._waiting: list[asyncio.Future[None]] = []

    def fits(self, worst: Amount) -> bool:
        """Say whether an amount may be reserved now."""
        return not self._exceeded(worst)

    async def reserve(self, worst: Amount, pace: Pace) -> None:
        """Set an amount aside; where it does not fit, wait until others have settled what they did not need.

        Raises `BudgetReached` where nobody has anything to settle, `Stopped` where the judge stops meanwhile.
        """
        # Looked at again after each wake-up, as another waiter may have taken what was settled.
        while not self.fits(worst):
            if not self._open:
                raise self._reached(worst)
            settled: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.append(settled)
            await pace.until(settled)
            pace.go_on()
        self._reserved += worst
        self._open += 1

    def adopt(self, worst: Amount) -> None:
        """Turn what an earlier command has booked as spent, for a batch under way, back into a reservation."""
        self.spent -= worst
        self._reserved += worst
        self._open += 1

    def settle(self, worst: Amount, spent: Amount) -> None:
        """Give a reservation back, and count what was spent of it."""
        # With nothing reserved, exactly 0: what adding and subtracting floats leaves over must not pass a cap.
        self._reserved, self._open = (self._reserved - worst, self._open - 1) if self._open > 1 else (NOTHING, 0)
        self.spent += spent
        waiting, self._waiting = self._waiting, []
        for settled in waiting:
            if not settled.done():
                settled.set_result(None)

    def _exceeded(self, worst: Amount) -> list[str]:
        """Name the caps that an amount would pass; where it takes nothing, none is passed."""
        if not self._caps:
            return []
        total = self.spent + self._reserved + worst
        return [name for name, cap in self._caps.items() if getattr(worst, name) and getattr(total, name) > cap]

    def _reached(self, worst: Amount) -> BudgetReached:
        name = self._exceeded(worst)[0]
        spent, cap, needed = getattr(self.spent, name), self._caps[name], getattr(worst, name)
        unit, form = ("USD", ",.4f") if name == "usd" else (name, ",")
        return BudgetReached(
            f"budget reached: spent {spent:{form}} of {cap:{form}} {unit}, and the next request may take "
            f"{needed:{form}}; raise budget.{name} and run the same command"
        )
