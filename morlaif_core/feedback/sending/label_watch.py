"""A judge whose answers hold no labels is stopped early, with what to set, before every request is paid for nothing."""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import Sequence
from typing import Any

from morlaif_core.errors import RunFailed
from morlaif_core.feedback.answers.json_objects import thinks
from morlaif_core.feedback.answers.verdict import Reading
from morlaif_core.feedback.ledger.ledger import Ledger
from morlaif_core.feedback.types import Mode, Status
from morlaif_core.redaction import one_line

log = logging.getLogger(__name__)
FIRST = 20
"""Answered requests of a judge that tell."""
NEARLY_NONE, FEW = 0.1, 0.5
"""Shares of answers with a label up to which a judge is stopped, and below which a warning is given."""
EXCERPT = 120
"""Characters of an answer that are shown."""


class LabelWatch:
    """Counts the first answers of a judge that have a label, those of earlier commands in the ledger included.

    A label is a preference, a tie, or "does not apply" where that was offered. Requests that failed were not answered,
    and do not count. stops: False: the judge is only warned of.
    """

    def __init__(self, judge: str, mode: Mode, ledger: Ledger, *, stops: bool) -> None:
        self._judge, self._mode, self._ledger, self._stops = judge, mode, ledger, stops
        self._answered, self._labelled, self._told = 0, 0.0, False
        self._without: Counter[Status] = Counter()
        self._example: dict[Status, str] = {}

    def see(self, keys: Sequence[str], readings: Sequence[Reading]) -> None:
        """Count the answer to a request: its rows' keys in the ledger, and their readings; a joint one has several."""
        if self._told or not keys or any(reading.status == "failed" for reading in readings):
            return
        self._answered += 1
        for key, reading in zip(keys, readings, strict=True):
            if reading.logit is not None or reading.status == "not_applicable":
                self._labelled += 1 / len(keys)
            else:
                self._without[reading.status] += 1
                self._example.setdefault(reading.status, key)

    def check(self) -> None:
        """Look once, as soon as enough has been answered. Raises `RunFailed` where (nearly) nothing has a label."""
        if self._told or self._answered < FIRST:
            return
        self._told = True
        share = self._labelled / self._answered
        if share >= FEW:
            return
        found = f"{self._labelled:.0f} of the first {self._answered:,} answers have a label; {self._explained()}"
        if share <= NEARLY_NONE and self._stops:
            raise RunFailed(
                f"{found}. Answers so far are kept, and the same command goes on with the changed setting; if the server "
                "was changed instead, name another file as judging.ledger, so that it is asked anew"
            )
        log.warning("judge '%s': only %s", self._judge, found)

    def _explained(self) -> str:
        """Name the statuses, the commonest with its reason, an excerpt and what to set."""
        counts = ", ".join(f"{count:,} {status}" for status, count in self._without.most_common())
        commonest = self._without.most_common(1)[0][0]
        said: dict[str, Any] = json.loads(self._ledger.answer(self._example[commonest]) or "{}")
        reason, advice = diagnosis(self._mode, commonest, said)
        text = one_line(str(said.get("text", "")), EXCERPT)
        return f"{counts} (such as {text!r}: {reason}). {advice}"


def diagnosis(mode: Mode, status: Status, said: dict[str, Any]) -> tuple[str, str]:
    """Return why an answer has no label, and what to set. said: the answer as a ledger keeps it."""
    text, top = str(said.get("text", "")).strip(), said.get("top_logprobs") or []
    room = "" if mode in ("structured", "joint", "text") else " and top_logprobs: 0"
    answer_at_once = (
        "turn its thinking off (OpenAI-compatible servers: extra: {reasoning_effort: none}), give it room to think by "
        f"thinking_tokens{room}, or use another model"
    )
    if status in ("refused", "filtered"):
        return f"the answer was {status}", "use another model"
    if thinks(text):
        return "the model thinks first", answer_at_once
    if (mode == "logprob" and not any(top)) or (mode == "rationale" and not top):
        return "no log-probabilities came with it", "set top_logprobs: 0, so that verdicts are asked for in JSON"
    if mode != "logprob" and (not text or said.get("finish") == "length"):
        return "it was cut off, perhaps while the model was thinking", answer_at_once
    if status == "off_label":
        advice = "set top_logprobs: 0 for verdicts in JSON, a lower judging.min_label_mass, or use another model"
        return "its labels have too little of the probability", advice
    if mode in ("structured", "joint"):
        return "it is not the one JSON object that was asked for", "set structured: false, or use another model"
    return "it is not what was asked for", "use another model"
