"""Rows of a ledger, and a process that may write nowhere."""

from __future__ import annotations

import ctypes
import os
from dataclasses import replace

from morlaif_core.feedback.ledger.tables import Row

ROW = Row(
    key="k0", pair="p", principle="toxicity", question_hash="h", order="ab", judge="j", model="m", model_returned="m1",
    mode="logprob", template="t", status="ok", verdict="first", p_first=0.75, logit=1.1, label_mass=0.9, censored=False,
    tokens_in=10, tokens_cached=2, tokens_out=1, cost=None, attempts=1, maybe_billed=0, seconds=0.2, error=None,
    answer="{}",
)  # fmt: skip


def rows(n: int, start: int = 0) -> list[Row]:
    return [replace(ROW, key=f"k{start + i:05d}") for i in range(n)]


def as_anybody() -> None:
    """In a child: permissions count for root too (the capabilities to pass over them are given up)."""
    if os.geteuid() == 0:
        libc = ctypes.CDLL(None, use_errno=True)
        for capability in (1, 2):  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH
            if libc.prctl(24, capability, 0, 0, 0) != 0:  # PR_CAPBSET_DROP
                raise OSError(ctypes.get_errno(), "prctl")
