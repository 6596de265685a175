"""Options of the demo's data set and base model."""

from __future__ import annotations

from pydantic import Field, model_validator

from morlaif_core import Options


class DemoOptions(Options):
    """What the data set ``demo`` may be told."""

    prompts: int = Field(5000, ge=20, le=17_280, description="distinct prompts, a tenth of them in the test split")


class DemoBaseOptions(Options):
    """Size and pretraining of ``demo-base``. All of it changes the model, so nothing here is mere tuning."""

    vocabulary: int = Field(768, ge=300, le=32_768, description="tokens of the byte-level BPE, special tokens included")
    context: int = Field(
        256, ge=32, le=4096, description="longest sequence in tokens; longer texts lose their beginning"
    )
    layers: int = Field(2, ge=1, le=48, description="transformer blocks")
    width: int = Field(96, ge=8, le=4096, description="size of the hidden states; a multiple of heads")
    heads: int = Field(4, ge=1, le=64, description="attention heads")
    steps: int = Field(600, ge=1, description="optimizer steps")
    batch: int = Field(16, ge=1, description="conversations in a step")
    learning_rate: float = Field(3e-3, gt=0, description="AdamW's highest rate")

    @model_validator(mode="after")
    def _heads_divide_width(self) -> DemoBaseOptions:
        if self.width % self.heads:
            raise ValueError(f"width {self.width} is not a multiple of heads {self.heads}")
        return self
