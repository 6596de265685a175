"""Options of the preference-model backends; their defaults suit pretrained models, not tiny ones."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from morlaif_core import Options, Tuning


class TrainOptions(Options):
    """What `full` and `lora` share."""

    epochs: float = Field(2.0, gt=0, description="passes over the preferences of a principle")
    learning_rate: float = Field(2e-5, gt=0, description="AdamW's peak learning rate; tiny models need about 1e-3")
    batch: int = Field(16, ge=1, description="pairs per optimiser step")
    # `Tuning`: another value changes speed and memory alone, so what is trained stays valid.
    minibatch: int = Tuning(8, ge=1, description="pairs per forward pass; the gradient of a batch is summed over them")
    max_length: int = Field(
        1024,
        ge=8,
        description="tokens of prompt and response; the prompt is cut on the left, the model's own limit holds too",
    )
    warmup: float = Field(0.03, ge=0, lt=1, description="share of the steps over which the learning rate rises")
    weight_decay: float = Field(0.01, ge=0, description="AdamW's weight decay")
    checkpoint_every: int | None = Tuning(
        200, ge=1, description="optimiser steps between checkpoints, from which a killed run goes on; null: none"
    )
    gradient_checkpointing: bool | Literal["auto"] = Tuning(
        "auto", description="recompute activations to save memory; auto: on a GPU only"
    )
    batch_tokens: int = Tuning(8192, ge=1, description="tokens per forward pass in scoring, padding included")


class FullOptions(TrainOptions):
    """Options of `full`."""

    keep_loaded: Annotated[int, Field(ge=1)] | Literal["auto"] = Tuning(
        "auto",
        description="models that stay in memory between scoring calls, the others are loaded at each; auto: those that fit "
        "in a third of the free memory",
    )


class LoraOptions(TrainOptions):
    """Options of `lora`: an adapter (Hu et al., arXiv 2106.09685) and a linear head per principle."""

    learning_rate: float = Field(2e-4, gt=0, description="AdamW's peak learning rate; tiny models need about 3e-3")
    r: int = Field(16, ge=1, description="rank")
    alpha: float = Field(32, gt=0, description="scale: the update is multiplied by alpha / r")
    dropout: float = Field(0.0, ge=0, lt=1, description="dropout on the adapter's input during training")
    modules: tuple[str, ...] | Literal["auto"] = Field("auto", description="adapted modules; auto: every linear layer")
    top_layers: int | None = Field(None, ge=1, description="adapt only the top N layers; null: all")


class HeadsOptions(LoraOptions):
    """Options of `heads`: one backbone, adapted or trained whole, and K heads."""

    tune: Literal["lora", "full"] = Field(
        "lora",
        description="what is trained below the heads: one adapter, or all weights, which take a learning_rate of 2e-5 (tiny "
        "models: 1e-3)",
    )


class ProbeOptions(Options):
    """Options of `probe`."""

    layer: int | Literal["auto"] = Field(
        "auto",
        description="number of blocks to run; the states after the last one are the features; auto: 0.55 of the depth",
    )
    l2: float | Literal["auto"] = Field(
        "auto",
        description="penalty on the squared weights beside the mean loss; auto: by cross-validation over prompts",
    )
    max_length: int = Field(
        1024,
        ge=8,
        description="tokens of prompt and response; the prompt is cut on the left, the model's own limit holds too",
    )
    batch_tokens: int = Tuning(4096, ge=1, description="tokens per forward pass in scoring, padding included")


class PretrainedOptions(Options):
    """Options of `pretrained`."""

    model: str = Field(
        min_length=1,
        description="a sequence classifier with its tokenizer: a folder that transformers saved, or a hub id",
    )
    revision: str | None = Field(None, description="the hub's revision")
    column: Annotated[int, Field(ge=0)] | str | None = Field(
        None, description="the output that is the score, by number or label; null: the only one"
    )
    reverse: bool = Field(False, description="a lower output is better, as that of a classifier of toxicity")
    outputs: Literal["auto", "raw", "softmax"] = Field(
        "auto",
        description="raw: the output itself; softmax: its log-odds among all; auto: as the model's problem_type says; "
        "where that says nothing, softmax of several outputs",
    )
    template: Literal["auto", "chat", "hh", "pair"] = Field(
        "auto",
        description="chat: its tokenizer's chat template; hh: HH turns; pair: prompt and response as two texts; auto: chat "
        "where there is a template, else pair for encoders and hh for decoders",
    )
    dtype: Literal["auto", "float32", "bfloat16"] = Field(
        "auto", description="auto: float32 on a CPU, bfloat16 on a GPU"
    )
    max_length: int = Field(
        2048,
        ge=8,
        description="tokens of prompt and response; the prompt is cut on the left, the model's own limit holds too",
    )
    batch_tokens: int = Tuning(8192, ge=1, description="tokens per forward pass in scoring, padding included")
