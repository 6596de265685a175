"""From settings to terms: weights become shares, thresholds numbers, principles of one priority a tier."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from morlaif_core.config.settings import PrincipleSettings, Quantile, RewardSettings, WinRate
from morlaif_core.errors import UserError
from morlaif_core.reward.calibration import Calibration
from morlaif_core.reward.score_checks import ScoreError, select
from morlaif_core.reward.soft_clip import soft_clip, undo_soft_clip
from morlaif_core.types import Floats, ScoreMatrix

from .notes import priorities, term_notes
from .resolved_terms import ResolvedTerms, Tier
from .schedules import check_schedules, schedules_by_term

if TYPE_CHECKING:
    from morlaif_core.plugins.components import Component, Options
    from morlaif_core.plugins.protocols import Scalarizer


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

    z, wanted = undo_soft_clip(reference, calibration.clip), threshold.win_rate
    margin = float(logit(wanted))

    def excess(t: float) -> float:
        return float(np.mean(expit(t - z))) - wanted

    # Against its weakest (strongest) rival alone a response needs less (more) than the mean asks for.
    # The 1e-6 keeps a change of sign between the ends where all rivals are equal.
    root = float(brentq(excess, float(z.min()) + margin - 1e-6, float(z.max()) + margin + 1e-6))
    return float(soft_clip(np.array(root), calibration.clip))
