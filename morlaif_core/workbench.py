"""A run after its preference models and before any policy: what commands such as `preview` and `fit-weights` work with."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from morlaif_core.config.load import check_named
from morlaif_core.plugins.components import Component
from morlaif_core.plugins.protocols import Policy, PreferenceModel, Scalarizer
from morlaif_core.reward.calibration import Calibration
from morlaif_core.reward.pessimism import pessimistic
from morlaif_core.reward.scale import scalarize_scored
from morlaif_core.reward.score_checks import check_scores, scored_rows
from morlaif_core.reward.terms.weights_and_thresholds import resolve_terms
from morlaif_core.runs.progress import Screen
from morlaif_core.stages.pairs import read_pairs

from .errors import RunFailed, UserError, did_you_mean
from .feedback.types import Task
from .judge_bench import JudgeBench
from .stages import sample, train_pms
from .stages.other_prompts import compare_on
from .stages.pipeline import cost
from .stages.preference_models import load_models
from .stages.results_table import show_results
from .types import (
    Floats,
    Preference,
    Prompt,
    PromptLike,
    ResponsePair,
    ScoreMatrix,
    content_hash,
    distinct_pairs,
    make_prompt,
)


class Workbench(JudgeBench):
    """A run folder held by this process: prompts, samples, scores, terms, judges. Made by `Run.workbench`.

    context: the run's, in this process.
    """

    @property
    def seed(self) -> int:
        """The run's seed."""
        return self.settings.seed

    @property
    def fingerprint(self) -> str:
        """A hash of all that `sample` and `scores` depend on. Raises `RunFailed` before the preference models are there."""
        stages = self._trained_stages()
        calibration = asdict(self._calibration)
        # No score depends on these, and an earlier version's files have other ones.
        del calibration["notes"], calibration["deviation"]
        models = self._context.folder.manifest.get("preference_models")
        return content_hash(stages["train-pms"]["inputs"], models, calibration)

    def _trained_stages(self) -> dict[str, Any]:
        stages = self._context.folder.section("stages")
        if stages.get(train_pms.NAME, {}).get("state") != "done":
            raise RunFailed(
                f"{self.folder} has no preference models yet; run `morlaif run {self.folder} --until train-pms` first"
            )
        return stages

    def prompts(self, name: str) -> tuple[Prompt, ...]:
        """Return a prompt set.

        name: pm, validation, calibration, rl or evaluation. Raises `UserError` for another one.
        """
        sets = self._context.prompt_sets.sets
        if name not in sets:
            raise UserError(f"there is no prompt set '{name}'.{did_you_mean(name, list(sets))} Sets: {', '.join(sets)}")
        return tuple(sets[name])

    def preferences(self, sets: Iterable[str]) -> list[Preference]:
        """Return the data set's own labels; empty where it has none.

        sets: the prompt sets whose prompts count.
        """
        ids = {prompt.id for name in sets for prompt in self.prompts(name)}
        labelled = self._context.dataset.preferences("train")
        return [item for item in labelled if item.prompt.id in ids and item.a != item.b]

    def sample(self, prompts: Sequence[PromptLike], *, n: int, seed: int) -> list[tuple[str, ...]]:
        """Return n responses of the target before training to each prompt, all drawn from one seed.

        prompts: what `make_prompt` takes, each. n: responses to each. seed: with prompts and n it decides the responses.
        """
        context, asked = self._context, [make_prompt(prompt) for prompt in prompts]
        seed = sample.chunk_seed(seed, asked, "workbench")
        return list(
            context.sampler.sample(
                Policy(context.target),
                asked,
                n=n,
                seed=seed,
                generation=self.settings.generation,
                backbones=context.backbones,
            )
        )

    @cached_property
    def _calibration(self) -> Calibration:
        return Calibration.load(self.folder / train_pms.CALIBRATION)

    @cached_property
    def _models(self) -> PreferenceModel:
        self._trained_stages()
        return load_models(self._context)

    def scores(self, prompts: Sequence[PromptLike], responses: Sequence[str]) -> ScoreMatrix:
        """Return calibrated scores (n, k) of responses, one for each prompt, under all active principles.

        prompts: one for each response, what `make_prompt` takes. responses: n texts. NaN is a score that failed. Raises
        `RunFailed` before the preference models are there, `ScoreError` for a score that is infinite.
        """
        # Commands ask for a few at a time: how many failed is theirs to judge.
        asked = [make_prompt(prompt) for prompt in prompts]
        return self._calibration.apply(self._models.score(asked, responses), responses, part=True)[0]

    def reference(self) -> ScoreMatrix:
        """Return the calibrated scores of the calibration responses, on which thresholds rest, without those that failed.

        Raises `ScoreError` where all of them failed under a principle.
        """
        scores = self.scores(*train_pms.calibration_responses(read_pairs(self.folder)))
        check_scores(scores)
        return scores.take(scored_rows(scores))

    def scalarizers(self) -> dict[str, Component[Scalarizer]]:
        """Return every offered scalarizer; one of a name that is offered twice goes by ``plugin/name``."""
        offers = self._context.plugins.offers_by_kind["scalarizer"]
        names = [offer.component.name for offer in offers]
        return {
            name if names.count(name) == 1 else f"{offer.plugin}/{name}": offer.component
            for name, offer in zip(names, offers, strict=True)
        }

    def scalarize(self, scores: ScoreMatrix, block: Mapping[str, Any], reference: ScoreMatrix) -> Floats:
        """Return u (n,) of calibrated scores under a scalarizer with the run's terms, before any standardisation; NaN where
        a score failed.

        Args:
            scores: of all active principles; equal prompt ids form a group.
            block: ``{"use": NAME, **options}``, as YAML would have it; each response by itself (`per_response`), schedules
                left aside.
            reference: what `reference` returned.

        Raises:
            UserError: the scalarizer is unknown, its options or the run's terms do not fit, or it needs what the scores
                do not have.
            ScoreError: it returns what is no reward.
        """
        plugins = self._context.plugins
        component = plugins.find("scalarizer", str(block["use"]))
        options = plugins.options("scalarizer", block)
        have = {"groups": True, "spread": scores.spread is not None, "features": scores.features is not None}
        lacking = sorted(need for need in component.all_needs(options) if not have.get(need, False))
        if lacking:
            raise UserError(f"it needs {', '.join(lacking)}, which the preference models do not supply")
        check_named(self._context.config, component.names(options) if component.names else ())
        # Mean scores and schedules need training steps, which there are none of here.
        reward = self.settings.reward.model_copy(update={"utility": "per_response", "schedules": {}})
        reference = self._lowered(reference)
        resolved = resolve_terms(self.settings.principles, component, reward, self._calibration, reference)
        # Another package's scalarizer may write into what it is given: the next one must not see that.
        own = self._lowered(replace(scores, values=scores.values.copy()))
        return scalarize_scored(component.name, component.build(options), resolved, own)

    def _lowered(self, scores: ScoreMatrix) -> ScoreMatrix:
        counted = [name for name, terms in self.settings.principles.items() if terms.weight > 0]
        return pessimistic(scores, self.settings.reward.pessimism, self.settings.reward.clip, counted)

    def judge(self, pairs: Sequence[ResponsePair]) -> dict[tuple[str, str], float | None]:
        """Ask the run's judges about pairs: (pair id, principle) -> P(a preferred), None where there is no label.

        Pairs of equal responses, and principles that people judge, are not asked. Answers go into the run's ledger, so
        that the same question costs nothing again, and count for its budget.

        Raises:
            UserError: a judge lacks a key, the network or a package; or what `judge_tasks` raises.
        """
        principles = self.judged_principles
        self.check_ready({self.settings.judge_of(item.name) for item in principles})
        asked = distinct_pairs(pairs)
        tasks = [Task(pair, item, self.settings.judge_of(item.name)) for pair in asked for item in principles]
        return {(verdict.pair, verdict.principle): verdict.p_a for verdict in self.ask(tasks)}

    def evaluate(
        self, prompts: Sequence[PromptLike], name: str, *, most: int | None = None, model: str | Path | None = None
    ) -> dict[str, Any]:
        """Compare the policy with the untrained target on other prompts, as the last stage does on the run's own.

        Both answer, the run's judges compare, its preference models score. ``RUN/evaluations/NAME`` gets evaluation.json and
        evaluation.jsonl; asked again with the same arguments, nothing is sampled or paid twice.

        Args:
            prompts: any; those that the run learned from, and those too long for the model, are left out and counted.
            name: of the folder.
            most: prompts at most, drawn by hash; None: all.
            model: a folder with a model or an adapter on the target, in place of the run's policy.

        Returns:
            `model`, `prompts`, `left_out`, and the blocks policy, win_rate, length and ended as in results.json.

        Raises:
            UserError: fewer than two prompts are left, there is no policy, or a judge cannot be asked.
        """
        judge, context = self.settings.evaluation.judge, self._context
        self._trained_stages()
        self.check_ready({judge or self.settings.judge_of(item.name) for item in self.judged_principles})
        found = compare_on(
            context, [make_prompt(prompt) for prompt in prompts], name, most, None if model is None else Path(model)
        )
        context.write_results(**cost(context))
        if context.unfinished:
            self.say(f"{context.unfinished:,} judgements failed; the same evaluation asks them again")
        return found

    def show(self, found: Mapping[str, Any]) -> None:
        """Print the table of an evaluation as the end of a run does. found: what `evaluate` returned."""
        models = self._context.folder.section("results").get("preference_models", {})
        show_results({"preference_models": models, **found}, Screen())
