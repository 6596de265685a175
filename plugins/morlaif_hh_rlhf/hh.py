"""HH-rlhf (Bai et al., arXiv 2204.05862): pairs of conversations that differ in the last turn of the assistant.

Leaves out: records that are no such pair (of 2,312 real ones 5 have two prompts and 4 an empty response), each counted with
its reason; and the red-team transcripts, because they hold no pairs.
"""

from __future__ import annotations

import re
from typing import Literal

from morlaif_core import Message, Prompt, UserError, make_prompt

from .files import Row
from .options import HHOptions
from .rows import Bad, Pair, Parsed, RowsDataset, Skip
from .source import FileSource, HubSource, HubSplits

HUB_NAME = "Anthropic/hh-rlhf"
SUBSETS = ("harmless-base", "helpful-base", "helpful-online", "helpful-rejection-sampled")
ASSISTANT = "\n\nAssistant:"
_HEAD = re.compile(r"\n\n(Human|Assistant):")
_ROLES: dict[str, Literal["user", "assistant"]] = {"Human": "user", "Assistant": "assistant"}


def hh_dataset(options: HHOptions) -> RowsDataset:
    """Build the data set that the options name. Raises UserError for a local file that is not there."""
    if options.path is not None:
        return RowsDataset(FileSource(options.path), parse_hh, options.held_out, options.bad_rows)
    subsets = SUBSETS if options.subset == "all" else (options.subset,)
    parts = tuple({"data_dir": subset, "revision": options.revision} for subset in subsets)
    source = HubSource(HUB_NAME, parts, HubSplits("train", None))
    return RowsDataset(source, parse_hh, options.held_out, options.bad_rows)


def parse_hh(row: Row) -> Parsed:
    """Read a record with ``chosen`` and ``rejected``. Raises Skip, or UserError where a key is missing."""
    prompt, good, bad = hh_pair(_text(row, "chosen"), _text(row, "rejected"))
    return Parsed(prompt, (Pair(good, bad),))


def hh_pair(chosen: str, rejected: str) -> tuple[Prompt, str, str]:
    """Split two conversations into their prompt and its two responses. Raises Skip where they are no such pair."""
    (prompt, good), (other, bad) = _split(chosen), _split(rejected)
    if prompt != other:
        raise Skip("prompts differ")
    turns = hh_messages(prompt)
    if turns[-1].role != "user":
        raise Skip("prompt does not end with a Human turn")
    if not good or not bad:
        raise Bad("empty response")
    return make_prompt(turns), good, bad


def hh_messages(text: str) -> list[Message]:
    """Cut a text at its heads into turns, stripped; turns in a row of one role stay apart. Raises Skip where text
    stands before the first head or a turn is empty."""
    start, *parts = _HEAD.split(text)
    turns = [Message(_ROLES[role], content.strip()) for role, content in zip(parts[::2], parts[1::2], strict=True)]
    if start.strip() or not turns:
        raise Bad("not a conversation of Human and Assistant turns")
    if not all(turn.content for turn in turns):
        raise Bad("empty turn in the prompt")
    return turns


def _split(text: str) -> tuple[str, str]:
    """Return what stands before the last turn of the assistant, and that turn."""
    # The last head: earlier turns of the assistant are part of the prompt.
    prompt, head, response = text.rpartition(ASSISTANT)
    if not head or _HEAD.search(response):
        raise Bad("does not end with an Assistant turn")
    # Spaces alone: the line breaks before the first Human are part of its head.
    return prompt.strip(" "), response.strip()


def _text(row: Row, key: str) -> str:
    value = row.values.get(key)
    if isinstance(value, str):
        return value
    found = (
        f"it is {type(value).__name__}" if key in row.values else f"the record has: {', '.join(map(str, row.values))}"
    )
    expected = "a conversation of \\n\\nHuman: and \\n\\nAssistant: turns as text; for other forms use: preferences"
    raise UserError(f"{row.place}: key '{key}' is needed, {expected} ({found})")
