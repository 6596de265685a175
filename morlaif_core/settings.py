"""The run's configuration as validated models: every core key, its default and what it means."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator

from .options import Generation, Options, Target, Tuning

StageName = Literal["sample", "judge", "train_pms", "train_policy", "evaluate"]
STAGES: tuple[StageName, ...] = ("sample", "judge", "train_pms", "train_policy", "evaluate")
MAX_SEED = 2**32 - 1
"""The largest seed that every generator takes."""
HUMAN_JUDGE = "human"
"""The reserved judge: the data set's own labels."""


class Use(BaseModel):
    """A block that names a component by ``use``; the keys beside it are the component's own options."""

    model_config = ConfigDict(frozen=True, extra="allow")
    use: str = Field(description="the name of an offered component, or plugin/name")

    @property
    def component_options(self) -> dict[str, Any]:
        """The keys beside ``use`` that are not the core's."""
        return dict(self.__pydantic_extra__ or {})


class Price(Options):
    """What a model costs, in USD per million tokens."""

    input: float = Field(ge=0, description="USD per million tokens read")
    cached: float | None = Field(None, ge=0, description="USD per million tokens read from a cache; null: as `input`")
    output: float = Field(ge=0, description="USD per million tokens written")
    batch: float = Field(0.5, ge=0, le=1, description="factor on all of these in a batch (`judging.batch`)")
    as_of: date | None = Field(None, description="the day of this price")


class Judging(Options):
    """How a judge is asked."""

    orders: Literal["both", "one_random"] = Field(
        "both", description="both: each pair in both orders; one_random: seeded"
    )
    mode: Literal["auto", "logprob", "rationale", "structured", "text"] = Field(
        "auto", description="how a verdict is read; auto: logprob, else structured, else text, as the model can"
    )
    samples: int = Field(1, ge=1, le=100, description="times a question is asked where verdicts are read from text")
    few_shots: int = Field(0, ge=0, le=16, description="the principle's example pairs shown with the question")
    abstain: bool = Field(False, description="the judge may say that a question does not apply to a pair")
    joint: bool = Field(False, description="one structured request asks all principles that share the judge")
    min_label_mass: float = Field(
        0.5, ge=0, le=1, description="least probability of the labels together; below it an answer is off_label"
    )
    concurrency: int = Tuning(16, ge=1, description="requests in flight at most")
    requests_per_minute: float | None = Tuning(None, gt=0, description="the server's limit; null: none known")
    tokens_per_minute: float | None = Tuning(None, gt=0, description="the server's limit; null: none known")
    price: Price | None = Tuning(None, description="what the model costs; null: as `prices` lists it")
    batch: bool = Tuning(False, description="use the provider's batch API: half the price, hours to wait")
    ledger: str | None = Tuning(None, description="null: RUN/judgements.sqlite; a path shares the ledger between runs")


class Budget(Options):
    """What the run's judges may cost, all stages together: a hard cap. null: no cap."""

    usd: float | None = Tuning(None, ge=0, description="US dollars")
    requests: int | None = Tuning(None, ge=0, description="requests sent")
    tokens: int | None = Tuning(None, ge=0, description="tokens read and written")


class JudgeSettings(Use):
    """A judge: a feedback provider with its options; ``judging`` goes before the run's."""

    judging: dict[str, Any] = Field(default_factory=dict, description="keys of `judging` for this judge alone")


class Quantile(Options):
    """A threshold at a quantile of the reference responses' scores."""

    quantile: float = Field(gt=0, lt=1, description="0.5: the median reference response")


class WinRate(Options):
    """A threshold as the probability to win against a reference response."""

    win_rate: float = Field(gt=0, lt=1, description="0.6: preferred to a reference response in 60 of 100 cases")


class PrincipleSettings(Options):
    """How a principle counts, and who judges it."""

    judge: str | None = Field(None, description="a name under `judges`, or human; null: the run's `judge`")
    weight: float = Field(1.0, ge=0, description="0: judged, trained and logged, but not in the reward")
    threshold: float | Quantile | WinRate = Field(
        0.0, description="in calibrated units, or {quantile: q}, {win_rate: w}"
    )
    priority: int | None = Field(None, description="lower comes first; null: its place in the mapping")


class PromptSettings(Options):
    """How many prompts each set has. The sets are disjoint and drawn by hash."""

    pm: int = Field(2000, ge=2, description="prompts whose pairs train and validate the preference models")
    validation: float = Field(0.1, gt=0, lt=1, description="share of `pm` kept for the held-out accuracy")
    calibration: int = Field(200, ge=2, description="prompts whose responses fix zero and unit of every score")
    rl: int | None = Field(None, ge=1, description="prompts of policy training; null: the rest")
    evaluation: int = Field(200, ge=2, description="prompts of the final evaluation, from the test split")
    max_tokens: int | None = Field(None, ge=1, description="longer prompts are left out and counted")


class PairSettings(Options):
    """Where pairs come from."""

    source: Literal["sampled", "dataset"] = Field(
        "sampled", description="sampled from the target, or the data set's own"
    )
    per_prompt: int = Field(2, ge=2, le=16, description="responses a prompt; every two make a pair")
    ties: Literal["half", "drop"] = Field("half", description="ties in PM training: a label of one half, or left out")


class PreferenceModelSettings(Use):
    """The preference-model backend."""

    base: Target | None = Field(None, description="the base model; null: the target's, without its adapter")

    @model_validator(mode="before")
    @classmethod
    def _string_is_a_model(cls, data: Any) -> Any:
        if isinstance(data, dict) and isinstance(data.get("base"), str):
            return {**data, "base": {"model": data["base"]}}
        return data

    @field_validator("base")
    @classmethod
    def _no_adapter(cls, base: Target | None) -> Target | None:
        if base is not None and base.lora is not None:
            raise ValueError("takes no lora: the backend's own options say how a preference model is trained")
        return base


class RewardSettings(Options):
    """From raw preference-model scores to one reward."""

    calibrate: Literal["platt", "std", "none"] = Field(
        "platt", description="unit of a score: a logit, a deviation, raw"
    )
    clip: float = Field(3.0, gt=0, description="soft clip c tanh(r / c) of every calibrated score")
    standardize: bool = Field(
        True, description="shift and divide the scalarized reward by its reference mean and deviation"
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

    version: Literal[1] = Field(1, description="of the configuration's format")
    seed: int = Field(0, ge=0, le=MAX_SEED, strict=True, description="of every stage")
    seeds: Annotated[dict[StageName, Seed], BeforeValidator(_stage_names)] = Field(
        default_factory=dict, description="one stage's seed set apart"
    )
    judge: str = Field("rules", description="of every principle that names none")
    judges: dict[str, JudgeSettings] = Field(default_factory=dict, description="judges by name")
    judging: Judging = Field(default_factory=Judging, description="of every judge")
    budget: Budget = Field(default_factory=Budget, description="a hard cap on what judging costs")
    prices: dict[str, Price] = Field(default_factory=dict, description="the price table, by model")
    principles: Annotated[dict[str, PrincipleSettings], BeforeValidator(_names_are_defaults)] = Field(
        description="the active principles"
    )
    dataset: Use = Field(description="the data set")
    prompts: PromptSettings = Field(default_factory=PromptSettings, description="disjoint sets of prompts")
    pairs: PairSettings = Field(default_factory=PairSettings, description="the pairs to be judged")
    target: Annotated[Target, BeforeValidator(_model_string)] = Field(description="the model to be trained")
    generation: Generation = Field(default_factory=Generation, description="how responses are sampled")
    sampler: Use = Field(default_factory=lambda: Use(use="transformers"), description="who samples")
    preference_model: PreferenceModelSettings = Field(description="who learns the judgements")
    reward: RewardSettings = Field(default_factory=RewardSettings, description="scores to reward")
    scalarizer: Use = Field(description="K scores to one")
    trainer: Use = Field(description="who trains the policy")
    evaluation: EvaluationSettings = Field(default_factory=EvaluationSettings, description="the final evaluation")
    device: str = Tuning("auto", pattern=r"^(auto|cpu|cuda(:\d+)?)$", description="auto: the GPU where there is one")
    threads: Threads | Literal["auto"] = Tuning("auto", description="auto: 1 for tiny models on a CPU, else all cores")

    def seed_of(self, stage: StageName) -> int:
        """The seed of one stage."""
        return self.seeds.get(stage, self.seed)

    def judge_of(self, principle: str) -> str:
        """The judge of an active principle."""
        return self.principles[principle].judge or self.judge

    def judging_of(self, judge: str) -> Judging:
        """The judging options of one judge, its own keys before the run's."""
        return Judging.model_validate({**self.judging.model_dump(), **self.judges[judge].judging})

    @property
    def pm_base(self) -> Target:
        """What preference models start from."""
        return self.preference_model.base or self.target.model_copy(update={"lora": None})
