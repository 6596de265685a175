"""How each principle counts: settings to the arrays that a scalarizer sees, columns of weight 0 cut, tiers formed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from morlaif_core.config.settings import Schedule
from morlaif_core.reward.score_checks import select
from morlaif_core.types import Floats, ScoreMatrix, Terms


@dataclass(frozen=True)
class Tier:
    """A column that the scalarizer sees: one principle, or those that share a priority.

    Leaves out: tiers within tiers, and another rule than the mean inside one: no scalarizer asks for them.

    Attributes:
        members: principle -> its share of the tier; shares sum to 1.
        weight: the members' weight together; weights of all tiers sum to 1.
        threshold: in calibrated units; the members' mean by weight, as are lower and upper, the ends of the clip range.
        priority: lower comes first.
        thresholds: the members' own; empty where there is one member.
    """

    members: Mapping[str, float]
    weight: float
    threshold: float
    priority: int
    lower: float
    upper: float
    thresholds: Mapping[str, float] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The principle's name, or the names joined by ``+``."""
        return "+".join(self.members)


@dataclass(frozen=True)
class ResolvedTerms:
    """Terms with every threshold a number and every column settled; what `reward.json` keeps.

    Attributes:
        tiers: the scalarizer's columns, in the order of the settings; principles of weight 0 are in none.
        notes: what `check_terms` returned.
        schedules: what changes over the training steps, by `PRINCIPLE.weight`, `PRINCIPLE.threshold` or `temperature`.
        total: the sum of the weights as the user wrote them, in whose unit `schedules` are written.
    """

    tiers: tuple[Tier, ...]
    notes: tuple[str, ...] = ()
    schedules: Mapping[str, Schedule] = field(default_factory=dict)
    total: float = 1.0

    @property
    def principles(self) -> tuple[str, ...]:
        """The principles that count, those of weight 0 left out."""
        return tuple(name for tier in self.tiers for name in tier.members)

    def effective_weights(self, deviation: Mapping[str, float]) -> dict[str, float]:
        """Return each principle's weight times the deviation of its calibrated scores, as shares that sum to 1.

        What a principle has in a weighted sum of scores is both: a weight alone says nothing of how far its scores vary.
        """
        parts = {
            name: share * tier.weight * deviation[name] for tier in self.tiers for name, share in tier.members.items()
        }
        total = sum(parts.values())
        return {name: part / total for name, part in parts.items()} if total else {}

    def tiers_at(self, step: int) -> tuple[Tier, ...]:
        """Return the columns as they are at a training step."""
        if not self.schedules:
            return self.tiers
        scheduled = self.scheduled(step)
        weights = {
            name: scheduled.get(f"{name}.weight", share * tier.weight * self.total)
            for tier in self.tiers
            for name, share in tier.members.items()
        }
        total = sum(weights.values())
        return tuple(_tier_at(tier, weights, total, scheduled) for tier in self.tiers)

    def scheduled(self, step: int) -> dict[str, float]:
        """Return what changes over the steps, as it is at one; thresholds and weights as the user wrote them."""
        return {name: schedule.at(step) for name, schedule in self.schedules.items()}

    def terms(self, step: int = 0) -> Terms:
        """Return the arrays (t,) of the t columns."""
        import numpy as np

        tiers = self.tiers_at(step)

        def column(name: str) -> Floats:
            return np.array([getattr(tier, name) for tier in tiers], dtype=np.float32)

        priority = np.array([tier.priority for tier in tiers], dtype=np.int64)
        return Terms(column("weight"), column("threshold"), priority, column("lower"), column("upper"), step)

    def view(self, scores: ScoreMatrix, step: int = 0) -> ScoreMatrix:
        """Return the scalarizer's columns (n, t) of calibrated scores (n, k). Raises `ScoreError` for a missing one."""
        import numpy as np

        single = self.principles
        scores = select(scores, single)
        if len(single) == len(self.tiers):
            return scores
        share = np.zeros((len(single), len(self.tiers)))
        for t, tier in enumerate(self.tiers_at(step)):
            for name, part in tier.members.items():
                share[single.index(name), t] = part

        def mixed(values: Floats) -> Floats:
            # A sum along each row, not a matrix product: BLAS may round a row differently in another batch.
            columns: Floats = np.sum(values.astype(np.float64)[:, :, None] * share, axis=1).astype(np.float32)
            return columns

        spread = None if scores.spread is None else mixed(scores.spread)
        names = tuple(tier.name for tier in self.tiers)
        return replace(scores, values=mixed(scores.values), principles=names, spread=spread)

    def to_json(self) -> list[dict[str, Any]]:
        """Return what `from_json` reads; floats come back exactly."""
        tiers = [
            {**vars(tier), "members": dict(tier.members), "thresholds": dict(tier.thresholds)} for tier in self.tiers
        ]
        if not self.schedules:
            return tiers
        # The key is "moves" for good: reward.json of every run with schedules has it.
        schedules = {name: schedule.model_dump(mode="json") for name, schedule in self.schedules.items()}
        return [*tiers, {"moves": schedules, "total": self.total}]

    @classmethod
    def from_json(cls, content: list[dict[str, Any]]) -> ResolvedTerms:
        """Read what `to_json` returned."""
        tiers = tuple(Tier(**item) for item in content if "members" in item)
        kept: dict[str, Any] = next((item for item in content if "moves" in item), {"moves": {}, "total": 1.0})
        schedules = {name: Schedule.model_validate(value) for name, value in kept["moves"].items()}
        return cls(tiers, (), schedules, kept["total"])


def _tier_at(tier: Tier, weights: Mapping[str, float], total: float, scheduled: Mapping[str, float]) -> Tier:
    """A column with the weights (sum `total`) and thresholds of a step."""
    own = sum(weights[name] for name in tier.members)
    shares = {name: weights[name] / own for name in tier.members}
    before = tier.thresholds or dict.fromkeys(tier.members, tier.threshold)
    thresholds = {name: scheduled.get(f"{name}.threshold", value) for name, value in before.items()}
    threshold = sum(share * thresholds[name] for name, share in shares.items())
    return replace(tier, members=shares, weight=own / total, threshold=threshold)
