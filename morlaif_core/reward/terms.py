"""How each principle counts: settings to the arrays that a scalarizer sees, columns of weight 0 cut, tiers formed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from morlaif_core.config.settings import PrincipleSettings, Quantile, RewardSettings, Schedule, WinRate
from morlaif_core.errors import UserError
from morlaif_core.types import Floats, ScoreMatrix, Terms

from .calibration import Calibration
from .score_checks import ScoreError, select
from .term_notes import priorities, term_notes
from .term_schedules import check_schedules, schedules_by_term

if TYPE_CHECKING:
    from morlaif_core.plugins.components import Component, Options
    from morlaif_core.plugins.protocols import Scalarizer


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

        single = tuple(name for tier in self.tiers for name in tier.members)
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
        # The key is "moves" for good: reward.json of every run has it.
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


def check_terms(
    principles: Mapping[str, PrincipleSettings],
    scalarizer: Component[Scalarizer],
    reward: RewardSettings,
    options: Options | None = None,
) -> tuple[str, ...]:
    """Check what can be checked before anything is trained; `morlaif check` calls it.

    Args:
        principles: the active principles in their order.
        scalarizer: the chosen one.
        reward: calibration, clip, utility and schedules.
        options: the scalarizer's, for what it needs with them; None: what it needs with any.

    Returns:
        Notes: what the user set and the scalarizer does not use, and principles that share a place unasked, a line each.

    Raises:
        UserError: no principle has a weight above 0, a threshold lies outside the clip range, a win rate is asked of
            scores that are no logits, a schedule moves what is not there or stands there twice, or mean scores are asked
            of a scalarizer that ranks groups.
    """
    if not any(settings.weight > 0 for settings in principles.values()):
        raise UserError("every principle has weight 0, so there is no reward; give at least one a weight above 0")
    for name, settings in principles.items():
        threshold = settings.threshold
        if isinstance(threshold, WinRate) and reward.calibrate != "platt":
            raise UserError(
                f"principles.{name}.threshold: a win rate needs scores in logits; set reward.calibrate to platt, "
                "or give the threshold as a number or {quantile: q}"
            )
        if isinstance(threshold, (int, float)) and not abs(threshold) < reward.clip:
            raise UserError(
                f"principles.{name}.threshold: {threshold} is not within the clip range, {-reward.clip} to "
                f"{reward.clip}, so no score could pass or fail it; change it or reward.clip"
            )
    check_schedules(principles, scalarizer, reward, options)
    _check_spellings(reward)
    needs = scalarizer.needs if options is None else scalarizer.all_needs(options)
    if reward.utility == "expected" and "groups" in needs:
        raise UserError(
            f"reward.utility: expected needs the scalarizer's gradient, and {scalarizer.name} ranks the responses of a "
            "group; say per_response, or choose another"
        )
    return term_notes(principles, scalarizer, reward)


def _check_spellings(reward: RewardSettings) -> None:
    """Refuse a schedule under two spellings, of which one would win in silence."""
    seen = dict[str, str]()
    for path in reward.schedules:
        first = seen.setdefault(path.replace("-", "_"), path)
        if first != path:
            raise UserError(f"reward.schedules: {first} and {path} are the same (- and _ are); keep one")


def resolve_terms(
    principles: Mapping[str, PrincipleSettings],
    scalarizer: Component[Scalarizer],
    reward: RewardSettings,
    calibration: Calibration,
    reference: ScoreMatrix,
) -> ResolvedTerms:
    """Turn the settings into the scalarizer's columns.

    Weights are scaled to sum 1; principles of weight 0 are cut; for a scalarizer that uses priority, principles that
    share one form a tier, whose score, threshold and clip range are the members' means by weight.

    Args:
        principles: the active principles in their order, which gives the priorities that are not set: 1, 2, …
        scalarizer: the chosen one.
        reward: calibration and clip settings.
        calibration: the fitted one.
        reference: CALIBRATED scores (n, k) of the reference responses, for thresholds by quantile and win rate.

    Raises:
        UserError: see `check_terms`.
        ScoreError: the reference lacks a principle.
    """
    # Checked here too: `Workbench` resolves for other scalarizers than the configured one.
    notes = check_terms(principles, scalarizer, reward)
    active = {name: settings for name, settings in principles.items() if settings.weight > 0}
    total = sum(settings.weight for settings in active.values())
    reference = select(reference, tuple(active))
    places = priorities(principles)
    groups: dict[object, list[str]] = {}
    for name in active:
        groups.setdefault(places[name] if "priority" in scalarizer.uses else name, []).append(name)
    thresholds = {
        name: resolve_threshold(name, settings.threshold, calibration, reference.values[:, column])
        for column, (name, settings) in enumerate(active.items())
    }
    tiers = []
    for names in groups.values():
        weight = sum(active[name].weight for name in names)
        shares = {name: active[name].weight / weight for name in names}
        threshold = sum(share * thresholds[name] for name, share in shares.items())
        own = {name: thresholds[name] for name in names} if len(names) > 1 else {}
        clip = calibration.clip
        tiers.append(Tier(shares, weight / total, threshold, places[names[0]], -clip, clip, own))
    return ResolvedTerms(tuple(tiers), notes, schedules_by_term(reward, active), total)


def resolve_threshold(
    name: str, threshold: float | Quantile | WinRate, calibration: Calibration, reference: Floats
) -> float:
    """Return a threshold in calibrated units.

    Args:
        name: the principle, for messages.
        threshold: a number; the quantile q of the reference; or the win rate w: the score t whose response is preferred
            to a reference response with probability w, so that the mean over the reference of
            ``sigma(z(t) - z_j)`` is w, with z the scores in logits, before the clip.
        calibration: for the clip.
        reference: calibrated scores (n,) of the reference responses.
    """
    import numpy as np

    if isinstance(threshold, (int, float)):
        return float(threshold)
    if not len(reference):
        raise ScoreError(f"principles.{name}.threshold: there are no reference responses to compare with")
    if isinstance(threshold, Quantile):
        return float(np.quantile(reference.astype(np.float64), threshold.quantile))
    from scipy.optimize import brentq
    from scipy.special import expit, logit

    z, wanted = calibration.unclipped(reference), threshold.win_rate
    margin = float(logit(wanted))

    def excess(t: float) -> float:
        return float(np.mean(expit(t - z))) - wanted

    # Against its weakest (strongest) rival alone a response needs less (more) than the mean asks for.
    # The 1e-6 keeps a change of sign between the ends where all rivals are equal.
    root = float(brentq(excess, float(z.min()) + margin - 1e-6, float(z.max()) + margin + 1e-6))
    return calibration.clip * float(np.tanh(root / calibration.clip))
