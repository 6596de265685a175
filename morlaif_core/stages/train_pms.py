"""Stage train-pms: a preference model per principle, its held-out accuracy, and the calibration of all scores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeAlias

from morlaif_core.config.settings import HUMAN_JUDGE
from morlaif_core.plugins.components import Target
from morlaif_core.plugins.protocols import PreferenceModel
from morlaif_core.reward.calibration import Calibration, fit_calibration
from morlaif_core.reward.length_control import fit_length_control
from morlaif_core.runs.stamps import folder_stamp
from morlaif_core.types import Preference, Prompt, ScoreMatrix, label_under, response_key

from .context import Context
from .judge import given_principles, labelled, read_labels
from .pairs import StoredPair, read_pairs
from .pm_accuracy import accuracy, at_chance, shown_accuracy
from .pm_quality import correlations, flat, quality
from .preference_models import CALIBRATION as CALIBRATION, Labels, learners, level, load_models, train

if TYPE_CHECKING:
    from morlaif_core.types import Floats

Key: TypeAlias = tuple[str, str, bool]
"""A prompt's id, a response's text, and whether it ended."""
NAME = "train-pms"
OUTPUTS = (CALIBRATION,)
"""The models themselves are replaced one by one: a principle whose labels did not change keeps its model."""
RESULTS = ("preference_models", "pm_correlations")
HELD_OUT = ("validation", "calibration")
"""Prompt sets whose judged pairs no preference model has learned from."""


def inputs(context: Context) -> dict[str, Any]:
    """What this stage reads."""
    settings = context.settings
    own: dict[str, Any] = {}
    for name, item in settings.own_preference_models().items():
        read = [context.stamp("pm_backend", item.block), _base(item.base or settings.pm_base)]
        own[f"principles.{name}.preference_model"] = [*read, item.ensemble] if item.ensemble > 1 else read
    if settings.preference_model.ensemble > 1:
        own["preference_model.ensemble"] = settings.preference_model.ensemble
    return {
        "seed": settings.seed_of("train_pms"),
        "preference_model.base": _base(settings.pm_base),
        **context.read("preference_model", "pairs.ties", "reward.calibrate", "reward.clip", "reward.length_control"),
        **own,
    }


def _base(base: Target) -> list[Any]:
    return [base.model_dump(mode="json"), folder_stamp(base.model)]


def run(context: Context) -> str:
    """Train what has no model yet, then calibrate and measure."""
    stored = read_pairs(context.path)
    labels = all_labels(context, stored)
    parts = learners(context)
    train(context, parts, labels, NAME)
    context.release()
    level(context, parts, *calibration_responses(stored))
    scores = _score_once(load_models(context, parts), stored, labels)
    calibration = _calibrate(context, scores, stored, labels)
    calibration.save(context.path / CALIBRATION)
    results = {name: _measured(scores, stored, labels, name) for name in labels["validation"]}
    for name in given_principles(context):
        results[name] |= {"n": None, "notes": {"accuracy": "its scores are given: no pair was judged"}}
    context.write_results(preference_models=results, pm_correlations=correlations(_reference(scores, stored)))
    for note in calibration.notes:
        context.screen.say(f"  note: {note}")
    for warning in (at_chance(results), flat(results)):
        if warning:
            context.screen.say(f"  warning: {warning}")
    context.release()
    return "held-out accuracy " + ", ".join(f"{name} {shown_accuracy(block)}" for name, block in results.items())


def _measured(scores: Scores, stored: Sequence[StoredPair], labels: Labels, name: str) -> dict[str, Any]:
    """Held-out accuracy of one principle's model, and what it does not say."""
    held_out, judged = ((scores.differences(name, labels[part][name]), labels[part][name]) for part in HELD_OUT)
    reference = _reference(scores, stored)
    column = reference.values[:, reference.principles.index(name)]
    return accuracy(*held_out) | quality(held_out, judged, column)


def _reference(scores: Scores, stored: Sequence[StoredPair]) -> ScoreMatrix:
    return scores.of(*calibration_responses(stored))


def all_labels(context: Context, stored: Sequence[StoredPair]) -> dict[str, dict[str, list[Preference]]]:
    """Preferences by prompt set and principle: the judges' and, for human-judged principles, the data set's."""
    judged, ties = read_labels(context.path), context.settings.pairs.ties
    sets = context.prompt_sets.sets
    found: dict[str, dict[str, list[Preference]]] = {}
    for name in ("pm", "validation", "calibration"):
        found[name] = {}
        ids = {prompt.id for prompt in sets[name]}
        for item in context.config.principles:
            if context.settings.judge_of(item.name) == HUMAN_JUDGE:
                human = [row for row in context.dataset.preferences("train") if row.prompt.id in ids]
                found[name][item.name] = human_labels(human, item.name, ties)
            else:
                found[name][item.name] = labelled(stored, judged.get(item.name, {}), (name,), ties)
    return found


def human_labels(preferences: Sequence[Preference], principle: str, ties: str) -> list[Preference]:
    """What people chose under a principle: see `label_under`. ties: half or drop."""
    own = [(row, label_under(principle, row.p_a, row.labels)) for row in preferences]
    return [
        Preference(row.prompt, row.a, row.b, p_a)
        for row, p_a in own
        # Equal responses have no better one, whatever the label says.
        if p_a is not None and row.a != row.b and not (p_a == 0.5 and ties == "drop")
    ]


def calibration_responses(stored: Sequence[StoredPair]) -> tuple[list[Prompt], list[str]]:
    """Prompts and responses that calibration is fitted on: each response of the calibration prompts once."""
    seen: dict[Key, tuple[Prompt, str]] = {}
    for item in stored:
        if item.set == "calibration":
            for text in (item.pair.a, item.pair.b):
                seen.setdefault(_key(item.pair.prompt, text), (item.pair.prompt, text))
    return [prompt for prompt, _ in seen.values()], [text for _, text in seen.values()]


def _key(prompt: Prompt, response: str) -> Key:
    return prompt.id, *response_key(response)


@dataclass(frozen=True)
class Scores:
    """Raw scores of responses, looked up by prompt and response: each is scored once for all principles."""

    matrix: ScoreMatrix
    responses: Sequence[str]
    row: Mapping[Key, int]

    def of(self, prompts: Sequence[Prompt], responses: Sequence[str]) -> ScoreMatrix:
        """The scores (n, k) of these responses."""
        rows = [self.row[_key(prompt, text)] for prompt, text in zip(prompts, responses, strict=True)]
        ids = tuple(prompt.id for prompt in prompts)
        return ScoreMatrix(self.matrix.values[rows], self.matrix.principles, ids)

    def differences(self, name: str, preferences: Sequence[Preference]) -> Floats:
        """Score of a minus score of b under one principle, (m,)."""
        column = self.matrix.values[:, self.matrix.principles.index(name)]
        a = [self.row[_key(item.prompt, item.a)] for item in preferences]
        b = [self.row[_key(item.prompt, item.b)] for item in preferences]
        return column[a] - column[b]


def _score_once(
    model: PreferenceModel, stored: Sequence[StoredPair], labels: Mapping[str, Mapping[str, list[Preference]]]
) -> Scores:
    """Score all that calibration and accuracy look at."""
    asked = list(zip(*calibration_responses(stored), strict=True))
    for name in ("calibration", "validation"):
        for item in (item for preferences in labels[name].values() for item in preferences):
            asked += [(item.prompt, item.a), (item.prompt, item.b)]
    # Each once, as most responses stand in pairs of several principles.
    found: dict[Key, tuple[Prompt, str]] = {}
    for prompt, text in asked:
        found.setdefault(_key(prompt, text), (prompt, text))
    responses = [text for _, text in found.values()]
    matrix = model.score([prompt for prompt, _ in found.values()], responses)
    return Scores(matrix, responses, {key: row for row, key in enumerate(found)})


def _calibrate(
    context: Context,
    scores: Scores,
    stored: Sequence[StoredPair],
    labels: Mapping[str, Mapping[str, list[Preference]]],
) -> Calibration:
    import numpy as np

    reward = context.settings.reward
    prompts, responses = calibration_responses(stored)
    length = fit_length_control(scores.of(prompts, responses), responses) if reward.length_control else None
    # Before zero and unit are fitted, in the order in which `Calibration.apply` takes them off.
    if length is not None:
        scores = replace(scores, matrix=length.remove(scores.matrix, scores.responses))
    reference = scores.of(prompts, responses)
    differences = {name: scores.differences(name, preferences) for name, preferences in labels["calibration"].items()}
    p_a = {
        name: np.array([item.p_a for item in preferences], dtype=np.float32)
        for name, preferences in labels["calibration"].items()
    }
    return replace(fit_calibration(reward.calibrate, reward.clip, reference, differences, p_a), length=length)
