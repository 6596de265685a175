"""The words of a judge's prompt, one style for each way of asking; the texts stand in ``words/``, to be read and diffed.

A file holds the system turn, a line ``---``, and the last line of the user turn. Ledgers hold answers to requests in just
these words: a changed byte is another question, and everything is asked and paid anew.
"""

from __future__ import annotations

from importlib import resources
from typing import NamedTuple

from morlaif_core.feedback.types import Mode
from morlaif_core.types import content_hash

from .template import Template

SHOTS = "Right answers for other responses:\n"
CUT_OFF = " was cut off at the length limit: it goes on, but nobody sees how.\n"
STEM = "Which response "
STEMMED = f" {STEM}…"


class Style(NamedTuple):
    """What a mode's prompt says around the texts. answer: what stands before the letter of an example.

    fence: least number of digits; each costs a token, often, at every turn. Any number is safe: see `_fence`.
    """

    system: str
    ask: str
    answer: str = "Answer: "
    fence: int = 4


def _style(name: str, answer: str = "Answer: ", fence: int = 4) -> Style:
    text = resources.files(__package__).joinpath("words", f"{name}.txt").read_text(encoding="utf-8")
    system, _, ask = text.removesuffix("\n").partition("\n---\n")
    return Style(system, ask, answer, fence)


# The first style's long introduction and fence could be shorter, as the others' are: they stay for the ledgers' sake.
_LETTER, _LETTER_OR_NONE = _style("letter", fence=16), _style("letter_or_none")
STYLES: dict[tuple[Mode, bool], Style] = {
    ("logprob", False): _LETTER,
    ("logprob", True): _LETTER_OR_NONE,
    ("text", False): _LETTER,
    ("text", True): _LETTER_OR_NONE,
    ("rationale", False): _style("rationale", "Verdict: "),
    ("rationale", True): _style("rationale_or_none", "Verdict: "),
    ("structured", False): _style("structured"),
    ("structured", True): _style("structured_or_none"),
    ("joint", False): _style("joint"),
    ("joint", True): _style("joint_or_none"),
}
"""By mode, and whether the judge may say that the question does not apply."""


def template_hash(mode: Mode, abstain: bool = False, template: Template | None = None) -> str:
    """Return what is stored with every row: which wording the judge was asked with; empty where it reads pairs."""
    style = STYLES.get((mode, abstain))
    if style is None:
        return ""
    if template is not None:
        return content_hash(template.hash, style.ask)
    # The last text stands for what `prompt` sets around a style: to be changed with it.
    return content_hash(
        "judge template 1", style.system, style.ask, "user/assistant turns, response_A, response_B, Question"
    )
