"""Numbers about responses, as numpy arrays: scores, terms, rewards. They compare by identity (eq=False)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, TypeAlias

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Floats: TypeAlias = "NDArray[np.float32]"
Doubles: TypeAlias = "NDArray[np.float64]"
Ints: TypeAlias = "NDArray[np.int64]"
Need: TypeAlias = Literal["groups", "spread", "features", "labels", "linear"]
"""What one component may need of another: grouped responses, ensemble spread, prompt features, human labels, a reward
that is linear in the scores."""


@dataclass(frozen=True, eq=False, repr=False)
class ScoreMatrix:
    """Scores of n responses under k principles. Equal prompt ids form one group.

    Attributes:
        values: (n, k) float32; higher is better. NaN: a score that failed, which counts for nothing.
        principles: k names, the columns.
        prompt_ids: n ids, the rows.
        spread: (n, k) standard deviation over an ensemble.
        features: (n, h) features of the prompt.

    >>> from morlaif_core.testing import make_scores
    >>> make_scores([[1.0, -1.0], [0.0, 0.5]], ["calm", "short"])
    <ScoreMatrix of 2 responses: calm 0.5 ± 0.5, short -0.25 ± 0.75>
    """

    values: Floats
    principles: tuple[str, ...]
    prompt_ids: tuple[str, ...]
    spread: Floats | None = None
    features: Floats | None = None

    def take(self, rows: Ints) -> ScoreMatrix:
        """Return these rows, by number: rows: (m,)."""
        spread, features = (None if part is None else part[rows] for part in (self.spread, self.features))
        ids = tuple(self.prompt_ids[row] for row in rows)
        return replace(self, values=self.values[rows], prompt_ids=ids, spread=spread, features=features)

    def __repr__(self) -> str:
        """Say what it is: mean and standard deviation of each principle, and how many failed."""
        parts = [f"{name} {_spread(mean, deviation, failed)}" for name, mean, deviation, failed in self._columns()]
        return f"<ScoreMatrix of {len(self.values)} responses: {', '.join(parts)}>"

    def _repr_html_(self) -> str:
        """The same as a table, for notebooks."""
        rows = [
            [name, short_number(mean), short_number(deviation), failed]
            for name, mean, deviation, failed in self._columns()
        ]
        return html_table(f"{len(self.values)} responses", ("principle", "mean", "deviation", "failed"), rows)

    def _columns(self) -> list[tuple[str, float, float, int]]:
        """Name, mean and deviation of what did not fail, and how many failed."""
        import numpy as np

        found = []
        for name, column in zip(self.principles, np.asarray(self.values, dtype=np.float64).T, strict=True):
            known = column[~np.isnan(column)]
            mean, deviation = (float(known.mean()), float(known.std())) if len(known) else (np.nan, np.nan)
            found.append((name, mean, deviation, len(column) - len(known)))
        return found


@dataclass(frozen=True, eq=False)
class Terms:
    """How each principle counts: arrays of shape (k,), in the order of `ScoreMatrix.principles`.

    Attributes:
        weight: sums to 1.
        threshold: in calibrated units.
        priority: lower comes first.
        lower, upper: the ends of the calibration's clip range.
        step: the training step, from 0.
    """

    weight: Floats
    threshold: Floats
    priority: Ints
    lower: Floats
    upper: Floats
    step: int = 0


@dataclass(frozen=True, eq=False, repr=False)
class RewardBatch:
    """What a `Reward` returns.

    Attributes:
        rewards: (n,); NaN where a score failed: such a response has no reward, and enters no mean or baseline.
        scores: calibrated, (n, all principles), those of weight 0 too.
        clipped: share of scores beyond the clip, in [0, 1].
        raw: the preference models' scores before calibration, (n, all principles); None: not known.

    >>> from morlaif_core.testing import make_scores
    >>> scores = make_scores([[1.0], [0.0]], ["calm"])
    >>> RewardBatch(scores.values[:, 0], scores, clipped=0.0)
    <RewardBatch: reward 0.5 ± 0.5, <ScoreMatrix of 2 responses: calm 0.5 ± 0.5>>
    """

    rewards: Floats
    scores: ScoreMatrix
    clipped: float
    raw: ScoreMatrix | None = None

    def take(self, rows: Ints) -> RewardBatch:
        """Return these rows, by number: rows: (m,). `clipped` stays that of the whole batch."""
        raw = None if self.raw is None else self.raw.take(rows)
        return replace(self, rewards=self.rewards[rows], scores=self.scores.take(rows), raw=raw)

    def __repr__(self) -> str:
        """Say what it is: mean and standard deviation of the rewards, and the scores."""
        as_column = ScoreMatrix(self.rewards[:, None], ("reward",), self.scores.prompt_ids)
        ((_, mean, deviation, failed),) = as_column._columns()
        return f"<RewardBatch: reward {_spread(mean, deviation, failed)}, {self.scores!r}>"


@dataclass(frozen=True, eq=False)
class Explanation:
    """What moved each reward of a batch. Made by `Reward.explain`.

    Attributes:
        principles: the scalarizer's k columns; principles that share a priority are one, joined by ``+``.
        influence: (n, k) what a small gain in that principle adds to the reward, per calibrated unit.
        decided: n names: the principle of the greatest influence in size, the first of those that are level.
        scores: (n, k) calibrated: the columns' values; influence belongs to them.
    """

    principles: tuple[str, ...]
    influence: Floats
    decided: tuple[str, ...]
    scores: Floats


def html_table(caption: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A table for a notebook."""
    from html import escape

    head = "".join(f"<th>{escape(name)}</th>" for name in columns)
    body = "".join(f"<tr>{''.join(f'<td>{escape(str(cell))}</td>' for cell in row)}</tr>" for row in rows)
    return f"<table><caption>{escape(caption)}</caption><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _spread(mean: float, deviation: float, failed: int) -> str:
    """A mean with its standard deviation."""
    return f"{short_number(mean)} ± {short_number(deviation, 2)}" + (f" ({failed} failed)" if failed else "")


def short_number(value: float, digits: int = 3) -> str:
    """Write a number with so many digits; what rounding has left of 0 is 0.

    >>> short_number(-7e-18), short_number(0.012345)
    ('0', '0.0123')
    """
    return f"{0.0 if abs(value) < 1e-12 else value:.{digits}g}"
