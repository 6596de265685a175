"""The reward of a run, put together in one place: see `build_reward`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from morlaif_core.config.config import Config
from morlaif_core.config.settings import RewardSettings
from morlaif_core.errors import RunFailed
from morlaif_core.plugins.components import Component, Options
from morlaif_core.plugins.protocols import PreferenceModel, Scalarizer
from morlaif_core.reward.terms.resolved_terms import ResolvedTerms
from morlaif_core.reward.terms.schedules import with_temperature
from morlaif_core.reward.terms.weights_and_thresholds import resolve_terms
from morlaif_core.types import ScoreMatrix

from .calibration import Calibration
from .expected_utility import Expected
from .pessimism import pessimistic
from .reward import PrincipledReward
from .saved_reward import load_reward_file, save_reward
from .scale import RewardScale, fit_reward_scale
from .scheduled_temperature import schedule_temperature
from .score_checks import scored_rows


def build_reward(
    config: Config,
    model: PreferenceModel,
    calibration: Calibration,
    reference: Callable[[], ScoreMatrix],
    file: Path,
    note: Callable[[str], None],
) -> PrincipledReward:
    """Put a run's reward together: scores -> calibration -> terms -> scalarizer -> scale.

    What has to be fitted is fitted once, on the reference responses, and read back from reward.json ever after: a reward
    that is fitted anew between two starts would give a resumed run another reward.

    Args:
        config: its scalarizer, terms and `reward` block.
        model: gives raw scores of all active principles.
        calibration: the fitted one.
        reference: gives the CALIBRATED scores (n, k) of the calibration responses; called where something is to be fitted.
        file: reward.json.
        note: is told what a user should know of what was fitted.

    Raises:
        UserError: the terms do not fit the scalarizer.
        ScoreError: the scalarizer returns what is no reward.
        RunFailed: reward.json is damaged, or of another scalarizer.
    """
    settings = config.settings.reward
    component = config.plugins.find("scalarizer", config.settings.scalarizer.use)
    options = config.plugins.options("scalarizer", config.block("scalarizer"))

    if not file.exists():
        scores = reference()
        counted = [name for name, terms in config.settings.principles.items() if terms.weight > 0]
        scores = pessimistic(scores.take(scored_rows(scores)), settings.pessimism, settings.clip, counted)
        terms = resolve_terms(config.settings.principles, component, settings, calibration, scores)
        start = _mean_scores(terms, scores) if settings.utility == "expected" else ()
        scalarizer = build_scalarizer(component, options, settings, terms, start)
        scale = fit_reward_scale(
            component,
            scalarizer,
            terms,
            scores,
            standardize=settings.standardize,
            options=options,
            group=_group_size(config),
        )
        save_reward(file, component.name, terms, replace(scale, start=start))
        for text in (*terms.notes, *scale.notes):
            note(text)

    # Read back even where it was just written: a first start and a resumed one go on from the same file.
    terms, scale = _read(file, component.name)
    # Built anew: to fit the scale may have moved the state of the one above.
    scalarizer = build_scalarizer(component, options, settings, terms, scale.start)
    row_wise = "groups" not in component.all_needs(options)
    return PrincipledReward(
        model,
        calibration,
        scalarizer,
        name=component.name,
        resolved=terms,
        scale=scale,
        row_wise=row_wise,
        pessimism=settings.pessimism,
    )


def build_scalarizer(
    component: Component[Scalarizer],
    options: Options,
    settings: RewardSettings,
    terms: ResolvedTerms,
    start: Sequence[float] = (),
) -> Scalarizer:
    """Build the configured scalarizer, with what `reward` puts around it.

    The temperature follows its schedule, if it has one; then, with ``utility: expected``, the scalarizer becomes one
    of mean scores.

    Args:
        start: mean reference score of each of the terms' columns, where those means begin; empty: each response is
            scalarized by itself.
    """
    schedule = settings.schedules.get("temperature")
    if schedule is None:
        scalarizer = component.build(options)
    else:
        scalarizer = schedule_temperature(lambda t: component.build(with_temperature(options, t)), schedule)
    if not start:
        return scalarizer
    columns = dict(zip((tier.name for tier in terms.tiers), start, strict=True))
    return Expected(scalarizer, columns, uses_weight="weight" in component.uses)


def _group_size(config: Config) -> int | None:
    """Return how many responses a training step has to a prompt; None where the trainer has no such option."""
    options = config.plugins.options("policy_trainer", config.block("trainer"))
    size = getattr(options, "responses_per_prompt", None)
    return size if isinstance(size, int) else None


def _mean_scores(terms: ResolvedTerms, reference: ScoreMatrix) -> tuple[float, ...]:
    return tuple(terms.view(reference).values.mean(axis=0).tolist())


def _read(file: Path, scalarizer: str) -> tuple[ResolvedTerms, RewardScale]:
    """Read reward.json. Raises `RunFailed` where it is of another scalarizer than the configuration's."""
    name, terms, scale = load_reward_file(file)
    if name != scalarizer:
        raise RunFailed(
            f"{file} is of scalarizer {name}, run.yaml says {scalarizer}; run `morlaif run` with the one that is meant"
        )
    return terms, scale
