"""What a judge reads: the long part first (conversation, both answers), what is asked last; judged text is data."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from functools import lru_cache

from morlaif_core.feedback.types import Mode
from morlaif_core.types import Message, Prompt, Request, ended

from .styles import CUT_OFF, SHOTS, STEM, STEMMED, STYLES, Style
from .template import Template
from .wordings import Shot, Wording


def judge_messages(request: Request) -> tuple[Message, ...]:
    """Render a request as a judge reads it that answers with one letter: see `render`."""
    return render(request.prompt, request.first, request.second, [Wording(request.principle.question)])


def render(
    prompt: Prompt,
    first: str,
    second: str,
    asked: Sequence[Wording],
    mode: Mode = "logprob",
    abstain: bool = False,
    template: Template | None = None,
) -> tuple[Message, ...]:
    """Render what is asked: system turn, then a user turn: conversation, response A (first), response B, examples,
    question (several, numbered, in a joint request).

    The fence depends on the judged texts alone, so that all principles of a pair in one order share a prefix, which
    prefix caches need. Text is joined, never formatted, so no text can act as a template. template: the user's own words
    in place of ours.
    """
    user = shared_text(prompt, first, second, mode, abstain, template) + asked_text(asked, mode, abstain, template)
    system = STYLES[mode, abstain].system if template is None else template.system
    return Message("system", system), Message("user", user)


def shared_text(
    prompt: Prompt, first: str, second: str, mode: Mode, abstain: bool, template: Template | None = None
) -> str:
    """Return the start of the user turn, which all principles of a pair share in this order."""
    *turns, block_a, block_b = _blocks(prompt.messages, first, second, STYLES[mode, abstain].fence)
    # Outside the fences, where no judged text can stand.
    cut = {"A": "" if ended(first) else f"Response A{CUT_OFF}", "B": "" if ended(second) else f"Response B{CUT_OFF}"}
    if template is None:
        return "\n\n".join([*turns, block_a, block_b]) + "\n\n" + cut["A"] + cut["B"]
    said = {"conversation": "\n\n".join(turns)}
    for letter, block in (("A", block_a), ("B", block_b)):
        said[f"response_{letter}"] = f"{block}\n{cut[letter]}".removesuffix("\n")
    return _filled(template.head, said)


def asked_text(asked: Sequence[Wording], mode: Mode, abstain: bool, template: Template | None = None) -> str:
    """Return the rest of the user turn."""
    style = STYLES[mode, abstain]
    if template is not None:
        return _filled(template.tail, _places(asked, mode, style))
    return (_joint_tail(asked, style) if mode == "joint" else _tail(asked[0], style)) + style.ask


def _filled(pieces: Sequence[str], said: Mapping[str, str]) -> str:
    """Put what is said in its places: every second piece is a place's name."""
    return "".join(said[piece] if number % 2 else piece for number, piece in enumerate(pieces))


def _places(asked: Sequence[Wording], mode: Mode, style: Style) -> dict[str, str]:
    """Return what a template's places of what is asked hold. Several questions are numbered, one a line."""
    numbered = list(enumerate(asked, 1)) if mode == "joint" else []
    if numbered:
        shots = [f"{place}. " + _shown(shot, style) for place, wording in numbered for shot in wording.shots]
        question = "\n".join(f"{place}. " + " ".join(wording.question.split()) for place, wording in numbered)
    else:
        shots, question = [_shown(shot, style) for shot in asked[0].shots], asked[0].question
    return {"examples": "".join([SHOTS] * bool(shots) + shots), "question": question, "answer": style.ask}


def _tail(asked: Wording, style: Style) -> str:
    shots = SHOTS + "".join(_shown(shot, style) for shot in asked.shots) if asked.shots else ""
    return shots + "Question: " + asked.question + "\n"


def _joint_tail(asked: Sequence[Wording], style: Style) -> str:
    """Number the questions, each on a line of its own, and say which example belongs to which.

    A beginning that all of them share is written once.
    """
    numbered = list(enumerate(asked, 1))
    shots = "".join(f"{place}. " + _shown(shot, style) for place, wording in numbered for shot in wording.shots)
    # A line break inside a question would begin an unnumbered one.
    questions = [" ".join(wording.question.split()) for wording in asked]
    stem = STEM if all(question.startswith(STEM) for question in questions) else ""
    lines = "".join(f"{place}. " + question.removeprefix(stem) + "\n" for place, question in enumerate(questions, 1))
    return (SHOTS + shots if shots else "") + "Questions:" + (STEMMED if stem else "") + "\n" + lines


def _shown(shot: Shot, style: Style) -> str:
    """Show an example as a line of JSON and a line with its answer."""
    # ensure_ascii off: other scripts as \u escapes would cost several tokens a letter.
    text = json.dumps({"user": shot.prompt, "A": shot.first, "B": shot.second}, ensure_ascii=False)
    return text + "\n" + style.answer + shot.letter + "\n"


def _fenced(name: str, fence: str, text: str) -> str:
    return "<" + name + " " + fence + ">\n" + text + "\n</" + name + " " + fence + ">"


@lru_cache(maxsize=256)  # the principles of a pair follow each other
def _blocks(turns: tuple[Message, ...], first: str, second: str, digits: int) -> tuple[str, ...]:
    """Return the turns and the two responses, each between fences."""
    names = [*(turn.role for turn in turns), "response_A", "response_B"]
    texts = [_sound(text) for text in (*(turn.content for turn in turns), first, second)]
    fence = _fence(texts, digits)
    return tuple(_fenced(name, fence, text) for name, text in zip(names, texts, strict=True))


def _sound(text: str) -> str:
    """Replace halves of surrogate pairs, which JSON can bring in and nobody can send."""
    try:
        text.encode()
    except UnicodeEncodeError:
        # By UTF-16, in which two halves that belong together become their character and a lone one U+FFFD.
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text


def _fence(texts: Sequence[str], digits: int) -> str:
    """Return hex digits that no judged text contains; the author of one text cannot know a hash over all of them.

    A text that holds very many numbers makes the fence longer. Leaves out: a look for orders in the judged text; the fence
    keeps a text from ending its own block, not a judge from obeying it.
    """
    # With the lengths, so that a text cannot stand for two by holding the separator.
    whole = "\0".join([*(str(len(text)) for text in texts), *texts])
    salt = 0
    while True:
        fence = hashlib.sha256((str(salt) + "\0" + whole).encode()).hexdigest()[: digits + salt // 8]
        if fence not in whole:
            return fence
        salt += 1
