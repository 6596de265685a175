"""The run's configuration as validated models: every core key, its default and what it means."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, field_validator

from morlaif_core.plugins.components import Generation, Later, Options, Target, Tuning

from .judge_settings import (
    Budget,
    CascadeSettings,
    JudgeBlock,
    JudgeSettings,
    Judging,
    PanelSettings,
    Price,
    Use,
)
from .principle_settings import (
    PreferenceModelSettings as PreferenceModelSettings,
    PrincipleSettings as PrincipleSettings,
    Quantile as Quantile,
    WinRate as WinRate,
)

StageName = Literal["sample", "judge", "train_pms", "train_policy", "evaluate"]
STAGES: tuple[StageName, ...] = ("sample", "judge", "train_pms", "train_policy", "evaluate")
# numpy's older generators, which libraries seed too, take 32 bits.
MAX_SEED = 2**32 - 1
"""The largest seed that every generator takes."""
HUMAN_JUDGE = "human"
"""The reserved judge: the data set's own labels."""
NO_JUDGE = "none"
"""Reserved too: nobody judges, for principles whose scores are given."""
UNASKED = (HUMAN_JUDGE, NO_JUDGE)
"""What stands where a judge's name does, and is none that can be asked."""


Count = Annotated[int, Field(ge=2)]
AUTO = "auto"
"""A count that fits the data."""


class PromptSettings(Options):
    """How many prompts each set has. The sets are disjoint and drawn by hash."""

    pm: Count | Literal["auto"] = Field(
        2000,
        description="prompts whose pairs train and validate the preference models; auto: half of the train split, at most "
        "2000",
    )
    validation: float = Field(0.1, gt=0, lt=1, description="share of `pm` kept for the held-out accuracy")
    calibration: Count | Literal["auto"] = Field(
        200, description="prompts whose responses fix zero and unit of every score; auto: a tenth, at most 200"
    )
    rl: int | None = Field(None, ge=1, description="prompts of policy training; null: the rest")
    evaluation: Count | Literal["auto"] = Field(
        200, description="prompts of the final evaluation, from the test split; auto: all of it, at most 200"
    )
    max_tokens: int | None = Field(None, ge=1, description="longer prompts are left out and counted")

    @field_validator("rl", mode="before")
    @classmethod
    def _the_rest(cls, value: Any) -> Any:
        """Who writes auto for the others may write it here too."""
        return None if value == AUTO else value


class PairSettings(Options):
    """Where pairs come from."""

    source: Literal["sampled", "dataset"] = Field(
        "sampled", description="sampled from the target, or the data set's own"
    )
    per_prompt: int = Field(2, ge=2, le=16, description="responses per prompt; every two of them make a pair")
    ties: Literal["half", "drop"] = Field("half", description="ties in PM training: a label of one half, or left out")


class TrainerSettings(Use):
    """The trainer of the policy, and which of its responses are kept."""

    rollouts_every: Annotated[int, Field(ge=0)] | Literal["auto"] = Tuning(
        "auto",
        description="steps from one whose responses are kept to the next; auto: about 100 are kept; 0: none is",
    )
    rollouts_per_step: int = Tuning(32, ge=1, description="responses kept of such a step at most: the first ones")


class RewardSettings(Options):
    """From raw preference-model scores to one reward."""

    calibrate: Literal["platt", "std", "none"] = Field(
        "std",
        description="unit of a score: one standard deviation of the reference's scores (std), one logit of the judge's "
        "preference (platt), as it is (none)",
    )
    clip: float = Field(3.0, gt=0, description="soft clip c tanh(r / c) of every calibrated score")
    pessimism: float = Later(
        0.0,
        ge=0,
        description="deviations of a score (`spread`) that are taken off it before the scalarizer, within the clip",
    )
    standardize: bool = Field(
        True, description="shift and divide the scalarized reward by its reference mean and deviation"
    )
    length_control: bool = Field(False, description="remove the part of each score that the response's length explains")
    utility: Literal["per_response", "expected"] = Field(
        "per_response", description="what is scalarized: each response, or the running mean scores"
    )
    schedules: dict[str, Schedule] = Field(
        default_factory=dict, description="PRINCIPLE.weight, PRINCIPLE.threshold or temperature over the training steps"
    )


class EvaluationSettings(Options):
    """The final evaluation."""

    judge: str | None = Field(None, description="one judge for all principles; null: each principle's own")


def _model_string(value: Any) -> Any:
    return {"model": value} if isinstance(value, str) else value


def _names_are_defaults(value: Any) -> Any:
    """A list of names is short for a mapping of defaults; a null entry means defaults too."""
    if isinstance(value, list):
        if not all(isinstance(name, str) for name in value):
            raise ValueError(
                "a list holds names alone; to say how one counts, write a mapping: {a: {}, b: {weight: 2}}"
            )
        repeated = sorted({name for name in value if value.count(name) > 1})
        if repeated:
            raise ValueError(f"listed twice: {', '.join(repeated)}")
        return {name: {} for name in value}
    if isinstance(value, dict):
        return {name: {} if terms is None else terms for name, terms in value.items()}
    return value


def _stage_names(value: Any) -> Any:
    """``-`` is the same as ``_`` in a stage's name."""
    return {str(key).replace("-", "_"): seed for key, seed in value.items()} if isinstance(value, dict) else value


Seed = Annotated[int, Field(ge=0, le=MAX_SEED, strict=True)]
Threads = Annotated[int, Field(ge=1, le=1024)]


class Settings(Options):
    """A whole run."""

    version: Literal[1] = Field(1, description="version of the configuration format")
    seed: int = Field(0, ge=0, le=MAX_SEED, strict=True, description="seed of every stage")
    seeds: Annotated[dict[StageName, Seed], BeforeValidator(_stage_names)] = Field(
        default_factory=dict, description="a stage's own seed, by stage"
    )
    judge: str = Field("rules", description="judge of every principle that names none")
    judges: dict[str, JudgeBlock] = Field(default_factory=dict, description="judges by name")
    judging: Judging = Field(default_factory=Judging, description="how all judges are asked")
    budget: Budget = Field(default_factory=Budget, description="a hard cap on what judging costs")
    prices: dict[str, Price] = Field(default_factory=dict, description="the price table, by model")
    principles: Annotated[dict[str, PrincipleSettings], BeforeValidator(_names_are_defaults)] = Field(
        description="the active principles"
    )
    dataset: Use = Field(description="the data set")
    system_prompt: str | None = Field(
        None, min_length=1, description="system turn of every prompt that has none of its own; null: none"
    )
    prompts: PromptSettings = Field(default_factory=PromptSettings, description="disjoint sets of prompts")
    pairs: PairSettings = Field(default_factory=PairSettings, description="the pairs to be judged")
    target: Annotated[Target, BeforeValidator(_model_string)] = Field(description="the model to be trained")
    generation: Generation = Field(default_factory=Generation, description="how responses are sampled")
    sampler: Use = Field(default_factory=lambda: Use(use="transformers"), description="the component that samples")
    preference_model: PreferenceModelSettings = Field(description="the backend that learns the judgements")
    reward: RewardSettings = Field(default_factory=RewardSettings, description="how scores become a reward")
    scalarizer: Use = Field(description="how a response's K scores become one")
    trainer: TrainerSettings = Field(description="the trainer of the policy")
    evaluation: EvaluationSettings = Field(default_factory=EvaluationSettings, description="the final evaluation")
    device: str = Tuning("auto", pattern=r"^(auto|cpu|cuda(:\d+)?)$", description="auto: the GPU where there is one")
    threads: Threads | Literal["auto"] = Tuning("auto", description="auto: 1 for tiny models on a CPU, else all cores")

    def seed_of(self, stage: StageName) -> int:
        """The seed of one stage."""
        return self.seeds.get(stage, self.seed)

    def judge_of(self, principle: str) -> str:
        """The judge of an active principle."""
        return self.principles[principle].judge or self.judge

    def members_of(self, judge: str) -> tuple[str, ...]:
        """The judges that a panel or cascade names; none of a provider's."""
        block = self.judges[judge]
        if isinstance(block, PanelSettings):
            return block.panel
        return block.cascade if isinstance(block, CascadeSettings) else ()

    def singles_of(self, judge: str) -> tuple[str, ...]:
        """The providers' judges that a judge is made of, each once, in order; itself where it is one."""
        found = [single for member in self.members_of(judge) for single in self.singles_of(member)]
        return tuple(dict.fromkeys(found)) or (judge,)

    @property
    def asked(self) -> tuple[str, ...]:
        """The judges that the run asks, panels and cascades as such; sorted."""
        used = {terms.judge or self.judge for terms in self.principles.values()} | {self.evaluation.judge}
        return tuple(sorted(judge for judge in used if judge is not None and judge not in UNASKED))

    @property
    def asked_singles(self) -> tuple[str, ...]:
        """The providers' judges that the run may ask; sorted."""
        return tuple(sorted({single for judge in self.asked for single in self.singles_of(judge)}))

    def single(self, judge: str) -> JudgeSettings:
        """A provider's judge. Raises KeyError for a panel or cascade, which has no options."""
        block = self.judges[judge]
        if not isinstance(block, JudgeSettings):
            raise KeyError(f"{judge} is made of judges: {', '.join(self.members_of(judge))}")
        return block

    def judging_of(self, judge: str) -> Judging:
        """The judging options of a provider's judge, its own keys before the run's."""
        # Validated, not copied: a judge's own keys are a plain mapping until then.
        return Judging.model_validate({**self.judging.model_dump(), **self.single(judge).judging})

    @property
    def pm_base(self) -> Target:
        """What preference models start from, unless a principle names another base."""
        return self.preference_model.base or self.target.model_copy(update={"lora": None})

    def own_preference_models(self) -> dict[str, PreferenceModelSettings]:
        """The backends of principles that have their own, by principle."""
        found = {name: terms.preference_model for name, terms in self.principles.items()}
        return {name: own for name, own in found.items() if own is not None}


class Schedule(Options):
    """A number that changes over the training steps, between given points."""

    shape: Literal["linear", "cosine", "piecewise"] = Field(
        "linear", description="between two points: a line, half a cosine, or the earlier value until the later step"
    )
    points: tuple[tuple[Annotated[int, Field(ge=0)], float], ...] = Field(
        min_length=1, description="[step, value] in the order of steps; before the first and after the last: constant"
    )

    @field_validator("points")
    @classmethod
    def _in_order(cls, points: tuple[tuple[int, float], ...]) -> tuple[tuple[int, float], ...]:
        if any(later[0] <= earlier[0] for earlier, later in pairwise(points)):
            raise ValueError("steps must grow from point to point")
        return points

    def at(self, step: int) -> float:
        """The value at a step."""
        before = [point for point in self.points if point[0] <= step]
        after = [point for point in self.points if point[0] > step]
        if not before or not after:
            return (before[-1] if before else after[0])[1]
        (start, low), (end, high) = before[-1], after[0]
        share = (step - start) / (end - start)
        if self.shape == "piecewise":
            return low
        if self.shape == "cosine":
            share = (1 - math.cos(math.pi * share)) / 2
        return low + (high - low) * share
