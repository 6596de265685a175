"""The options of `ppo`, one description each; derived values stand apart, at the end."""

from __future__ import annotations

import json
from typing import Any, Literal

from pydantic import Field, model_validator

from morlaif_core import Options, Tuning


class PPOOptions(Options):
    """What can be set beside ``use: ppo``.

    Where eos and padding bite: a response that ends by eos or at the next human turn counts as *ended*; one that runs
    into ``generation.max_new_tokens`` does not, and pays ``missing_eos_penalty`` times the share of the
    untrained target's responses that end. The token that ended a response is
    kept, trained on and carries the reward; nothing after it is. Prompts are padded on the left and responses on the
    right; no padded position enters a mean, a loss or a baseline. Dropout is off everywhere, and that of LoRA refused:
    with it the first ratio would not be 1.
    """

    steps: int = Field(60, ge=1, description="steps: each samples, scores and updates once")
    prompts_per_step: int = Field(
        32, ge=1, description="prompts of a step; drawn without replacement until all are used, then anew"
    )
    responses_per_prompt: int = Field(
        1, ge=1, description="responses to each prompt; above 1 they are each other's baseline"
    )
    baseline: Literal["auto", "value", "leave_one_out"] = Field(
        "auto",
        description="value: value head, GAE; leave_one_out: mean return of the prompt's other responses, no value head; "
        "auto: leave_one_out where responses_per_prompt is above 1",
    )
    value_heads: Literal["one", "principles"] = Field(
        "one",
        description="one: a value of the whole return; principles: a value of each principle's score and one of the rest "
        "(KL penalty and constants), whose advantages are added by the step's weights; needs a value head and a reward "
        "linear in the scores (`reward.utility: expected`, or scalarizer `weighted` or `single`)",
    )
    epochs: int = Field(2, ge=1, description="passes over a step's episodes")
    minibatch: int = Field(
        16, ge=1, description="episodes of one optimizer step; the last one of an epoch may be smaller"
    )
    # `Tuning`: another value changes speed and memory alone, so a run goes on from its checkpoint with it.
    accumulation: int = Tuning(1, ge=1, description="parts a minibatch is computed in; more parts take less memory")
    batch: int = Tuning(32, ge=1, description="episodes of one pass without gradient (reference, old values, trunk)")
    rollout_batch: int | None = Tuning(None, ge=1, description="responses sampled at once; null: all of a step")
    learning_rate: float = Field(
        1e-4, gt=0, description="Adam's learning rate for the policy; LoRA takes about ten times that of a full policy"
    )
    value_learning_rate: float = Field(5e-3, gt=0, description="Adam's learning rate for the value head")
    schedule: Literal["linear", "constant"] = Field(
        "linear", description="learning rates: linear falls to 0 over `steps`"
    )
    warmup: int = Field(0, ge=0, description="steps over which learning rates rise from 0")
    clip: float = Field(0.2, gt=0, description="policy clip: a ratio outside 1 - clip .. 1 + clip gains nothing more")
    value_clip: float | None = Field(
        None, gt=0, description="clip range of the value loss, in units of the reward; null: no clip"
    )
    value_coefficient: float = Field(
        0.1, ge=0, description="weight of the value loss, whose gradient reaches the policy's layers"
    )
    kl: float = Field(0.05, ge=0, description="coefficient of the per-token penalty on log policy - log reference")
    gamma: float = Field(1.0, gt=0, le=1, description="discount per token")
    lam: float = Field(
        1.0,
        ge=0,
        le=1,
        description="lambda of GAE; below 1 early tokens get less of the reward until the value head fits",
    )
    whiten: bool = Field(True, description="advantages to mean 0, deviation 1 over the step's response tokens")
    missing_eos_penalty: float = Field(
        0.5,
        ge=0,
        description="deviations of the reward, taken off where a response did not end, times the share of the untrained "
        "target's responses that end: where the limit cuts most of them off, being cut off is no fault",
    )
    max_grad_norm: float = Field(
        1.0, gt=0, description="gradients are scaled down to this norm, the value head's apart"
    )
    stop_at_kl: float | None = Field(
        None,
        gt=0,
        description="nats a response: training ends before the update of the step whose mean KL passes it; null: never",
    )
    checkpoint_every: int = Tuning(10, ge=1, description="steps between checkpoints; the last two are kept")
    old_logprobs: Literal["auto", "recorded", "recomputed"] = Field(
        "auto",
        description="the sampling policy's log-probabilities: recorded while sampling, or recomputed by one more pass; "
        "auto: recorded in float32, where both agree to 1e-5",
    )
    dtype: Literal["auto", "float32", "bfloat16"] = Field(
        "auto",
        description="arithmetic of the passes; auto: float32 on a CPU, bfloat16 on a GPU; trained weights are float32",
    )

    @model_validator(mode="after")
    def _baseline_has_peers(self) -> PPOOptions:
        if self.baseline == "leave_one_out" and self.responses_per_prompt < 2:
            raise ValueError("baseline leave_one_out needs responses_per_prompt of 2 or more")
        return self

    @model_validator(mode="after")
    def _heads_have_a_value(self) -> PPOOptions:
        if self.value_heads == "principles" and not self.uses_value:
            raise ValueError(
                "value_heads principles needs a value head; set baseline: value, or responses_per_prompt: 1 with "
                "baseline: auto"
            )
        return self

    @property
    def uses_value(self) -> bool:
        """Whether a value head is trained."""
        return self.baseline == "value" or (self.baseline == "auto" and self.responses_per_prompt == 1)

    @property
    def episodes(self) -> int:
        """Episodes of a step."""
        return self.prompts_per_step * self.responses_per_prompt


def results(options: PPOOptions) -> dict[str, Any]:
    """Return the options that change results, as JSON gives them back."""
    extras = {name: field.json_schema_extra for name, field in PPOOptions.model_fields.items()}
    # What `Tuning` marks; `Later`, which marks too, declares options that change results.
    tuning = {name for name, extra in extras.items() if isinstance(extra, dict) and extra.get("tuning")}
    return json.loads(options.model_dump_json(exclude=tuning))  # type: ignore[no-any-return]


def goes_on(old: PPOOptions, new: PPOOptions) -> str | None:
    """Return None where a training with the old options is the beginning of one with the new ones; else why not, or ""."""
    if new.steps < old.steps or {**results(old), "steps": new.steps} != results(new):
        return ""
    if new.schedule == "linear":
        return (
            "with trainer.schedule: linear, the learning rate of every step depends on trainer.steps; a training with "
            "trainer.schedule: constant goes on"
        )
    return None
