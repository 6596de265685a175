"""The options of the judge `transformers`."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from morlaif_core import Capabilities, Options, Target, Tuning

TOP = 20
"""Tokens whose log-probability an answer gives, besides all spellings of the labels."""


class TransformersJudgeOptions(Options):
    """Which local model judges, how it is loaded, and how much it reads at once."""

    model: str | dict[str, object] = Field(description="{use: NAME, ...}, an offered name, a folder, or a hub id")
    revision: str | None = Field(None, description="the hub's revision")
    dtype: Literal["auto", "float32", "bfloat16"] = Field(
        "auto", description="auto: float32 on a CPU, bfloat16 on a GPU"
    )
    quantize: Literal["4bit", "8bit"] | None = Field(
        None, description="load quantised weights (needs bitsandbytes, a GPU)"
    )
    template: Literal["auto", "chat", "plain"] = Field(
        "auto", description="auto: the tokenizer's chat template, else plain text that ends with `Answer:`"
    )
    max_batch: int = Tuning(
        96, ge=1, le=4096, description="requests answered and stored together; a pair's belong into one batch"
    )
    tokens_per_pass: int = Tuning(
        16384,
        ge=1,
        description="tokens in one forward pass at most, shared ones counted per request; bounds the memory",
    )

    @property
    def target(self) -> Target:
        """The model as the core names it."""
        return Target(model=self.model, revision=self.revision, dtype=self.dtype, quantize=self.quantize)

    def capabilities(self) -> Capabilities:
        """Log-probabilities of one token; no text is written."""
        return Capabilities(max_top_logprobs=TOP, max_batch=self.max_batch, generates=False)
