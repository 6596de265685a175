"""Options of the data sets ``hh-rlhf`` and ``preferences``."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from morlaif_core import Later, Options, Tuning

Subset = Literal["harmless-base", "helpful-base", "helpful-online", "helpful-rejection-sampled", "all"]
HELD_OUT = "share of a data set without test split that becomes one, cut by hash of the prompt"
PATH = "a local .jsonl, .json, .csv, .tsv or .parquet file (also .gz), or a folder with files train.… and test.…"
BAD_ROWS = (
    "share of a split's rows that may be bad (unreadable, of wrong columns, null or empty): they are left out and counted, "
    "and with more of them the run stops; repeats no stage"
)


def _held_out() -> Any:
    return Field(0.1, ge=0, lt=1, description=HELD_OUT)


def _bad_rows() -> Any:
    # No fingerprint counts it: it says when to stop, and changes nothing of what is read.
    return Tuning(0.05, ge=0, le=1, description=BAD_ROWS)


class HHOptions(Options):
    """Where HH-rlhf is read from."""

    path: str | None = Field(None, description=f"{PATH}; null: the hub's")
    subset: Subset = Field("harmless-base", description="subset of the hub's data set; a local file is used whole")
    revision: str | None = Field(None, description="revision of the hub's data set; null: the newest")
    held_out: float = _held_out()
    bad_rows: float = _bad_rows()


class PreferencesOptions(Options):
    """Where a data set of prompts or preferences is read from, and how its columns are called."""

    path: str | None = Field(None, description=PATH)
    name: str | None = Field(None, min_length=1, description="the hub's id; either this or path")
    subset: str | None = Field(None, description="the hub's configuration of that data set")
    revision: str | None = Field(None, description="the hub's revision; null: the newest")
    split_train: str = Field("train", min_length=1, description="the hub's split to learn from")
    split_test: str | None = Field(None, description="the hub's split to evaluate on; null: 'test' where there is one")
    held_out: float = _held_out()
    bad_rows: float = _bad_rows()
    prompt_column: str = Field("prompt", min_length=1, description="column of the prompt: text or messages")
    chosen_column: str = Field("chosen", min_length=1, description="column of the preferred response")
    rejected_column: str = Field("rejected", min_length=1, description="column of the other response")
    label_column: str | None = Later(None, description="column of the overall label; null: the layout's own")
    labels: dict[str, str] = Later(
        {},
        description="PRINCIPLE: the column of its own labels; the others have the overall label",
    )

    @field_validator("labels")
    @classmethod
    def _names(cls, labels: dict[str, str]) -> dict[str, str]:
        named = {name.replace("-", "_"): column for name, column in labels.items()}
        if len(named) < len(labels):
            raise ValueError("one principle is named twice, once with - and once with _")
        return named

    @model_validator(mode="after")
    def _one_place(self) -> PreferencesOptions:
        if (self.path is None) == (self.name is None):
            raise ValueError("give either path (a local file) or name (a hub id)")
        return self
