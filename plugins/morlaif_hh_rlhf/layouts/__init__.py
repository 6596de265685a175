"""Layouts that people's data sets have, one small reader each; the first that fits a row reads it.

`trl` is the preference form of TRL, `saferlhf`, `helpsteer3`, `arena`, `ultrafeedback` and `hhh` those of these data sets,
`kto` single answers called good or bad, `conversation` a prompt or a whole conversation without labels. `record` is a row
with the names that the options give its columns, `contents` reads text and messages, `labels` what people chose.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from ..rows import Parsed
from . import arena, conversation, helpsteer3, hhh, kto, saferlhf, trl, ultrafeedback
from .record import Record


class Layout(NamedTuple):
    """How a row's layout is told, and how it is read."""

    fits: Callable[[Record], bool]
    read: Callable[[Record], Parsed]


# Those with two responses first: a prompt column alone says nothing of what else there is.
LAYOUTS = tuple(
    Layout(module.fits, module.read)
    for module in (trl, saferlhf, helpsteer3, arena, ultrafeedback, hhh, kto, conversation)
)
