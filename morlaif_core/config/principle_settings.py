"""A principle's part of a run's configuration: how it counts, who judges it, and the backend that learns it."""

from __future__ import annotations

from typing import Any

from pydantic import Field, field_validator, model_validator

from morlaif_core.plugins.components import Options, Target

from .judge_settings import Use


class PreferenceModelSettings(Use):
    """The preference-model backend."""

    base: Target | None = Field(None, description="the base model; null: the target's, without its adapter")
    # Left out of what is dumped where there is one: run.yaml and fingerprints from before it was there stay the same.
    ensemble: int = Field(
        1,
        ge=1,
        le=64,
        exclude_if=lambda members: members == 1,
        description="models of each principle, each with its own seed: their mean is the score, their deviation its spread",
    )

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


class Quantile(Options):
    """A threshold at a quantile of the reference responses' scores."""

    quantile: float = Field(gt=0, lt=1, description="0.5: the median reference response")


class WinRate(Options):
    """A threshold as the probability to win against a reference response."""

    win_rate: float = Field(gt=0, lt=1, description="0.6: preferred to a reference response in 60 of 100 cases")


class PrincipleSettings(Options):
    """How a principle counts, and who judges it."""

    judge: str | None = Field(None, description="a name under `judges`, human or none; null: the run's `judge`")
    weight: float = Field(1.0, ge=0, description="0: judged, trained and logged, but not in the reward")
    threshold: float | Quantile | WinRate = Field(
        0.0, description="in calibrated units, or {quantile: q}, {win_rate: w}"
    )
    priority: int | None = Field(None, description="lower comes first; null: its place in the mapping")
    # Left out of what is dumped where there is none: run.yaml and fingerprints from before it was there stay the same.
    preference_model: PreferenceModelSettings | None = Field(
        None,
        exclude_if=lambda own: own is None,
        description="its own backend, in place of the run's `preference_model`; its base, where it names none, is the run's",
    )

    @field_validator("preference_model", mode="before")
    @classmethod
    def _string_is_a_backend(cls, value: Any) -> Any:
        return {"use": value} if isinstance(value, str) else value
