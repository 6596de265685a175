"""The values that flow: frozen, no torch; numpy is imported by who computes. Arrays compare by identity (eq=False)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal, TypeAlias

from .errors import ProviderError as ProviderError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Floats: TypeAlias = "NDArray[np.float32]"
Doubles: TypeAlias = "NDArray[np.float64]"
Ints: TypeAlias = "NDArray[np.int64]"
Split: TypeAlias = Literal["train", "test"]
"""The data set's own split."""
Need: TypeAlias = Literal["groups", "spread", "features", "labels", "linear"]
"""What one component may need of another: grouped responses, ensemble spread, prompt features, human labels, a reward
that is linear in the scores."""


Labels: TypeAlias = Mapping[str, float | None]
"""P(a preferred) by principle."""


@dataclass(frozen=True)
class Message:
    """One turn of a conversation."""

    role: Literal["system", "user", "assistant"]
    content: str


@dataclass(frozen=True)
class Prompt:
    """A conversation that ends with the user's turn. ``id`` is a hash of the messages: see `make_prompt`."""

    id: str
    messages: tuple[Message, ...]


class CutOff(str):
    """A response that was stopped at ``generation.max_new_tokens`` instead of ending. Who reads its text need not know."""

    # A str, so that it passes through every plugin that takes responses as text; see `response_key`.
    __slots__ = ()


def ended(response: str) -> bool:
    """Say whether a response ended by itself; one that nobody calls `CutOff` did."""
    return not isinstance(response, CutOff)


def response_key(response: str) -> tuple[str, bool]:
    """Return what tells a response from others: its text, and whether it ended, as judges and preference models see it."""
    return str(response), ended(response)


@dataclass(frozen=True)
class ResponsePair:
    """Two responses to one prompt, each a `CutOff` where it did not end. ``human``: P(a preferred) overall, where the data
    set says so; ``labels``: the same by principle (see `Preference`)."""

    id: str
    prompt: Prompt
    a: str
    b: str
    human: float | None = None
    labels: Labels | None = field(default=None, hash=False)

    @property
    def identical(self) -> bool:
        """Whether a is the same response as b: a tie that nobody is asked about."""
        return response_key(self.a) == response_key(self.b)


@dataclass(frozen=True)
class Preference:
    """A pair with a soft label ``p_a`` in [0, 1]; higher: a is better.

    ``labels``: a principle's own label, where the data set has one; None: this pair is not labelled under it. `p_a` is the
    label of the principles that are not there.
    """

    prompt: Prompt
    a: str
    b: str
    p_a: float
    labels: Labels | None = field(default=None, hash=False)


@dataclass(frozen=True)
class Example:
    """A pair whose winner under a principle is known."""

    prompt: str
    a: str
    b: str
    winner: Literal["a", "b"]


@dataclass(frozen=True)
class Principle:
    """What a judge is asked. ``picks`` worse: the question names the worse response; applied once, on reading."""

    name: str
    question: str
    picks: Literal["better", "worse"] = "better"
    phrasings: tuple[str, ...] = ()
    examples: tuple[Example, ...] = ()


@dataclass(frozen=True)
class Request:
    """A principle asked of a pair in one order: the provider sees what stands first and second, never which is a."""

    prompt: Prompt
    first: str
    second: str
    principle: Principle
    messages: tuple[Message, ...] = ()
    max_tokens: int = 1
    temperature: float | None = None
    top_logprobs: int = 0
    schema: Mapping[str, object] | None = None
    """JSON schema that the answer's text must follow; None: free text."""
    sample: int = 0
    """Which of several samples of the same question this is."""
    principles: tuple[Principle, ...] = ()
    """All principles of a joint request, in the order asked; empty where `principle` is asked alone."""
    shared: int = 0
    """How many leading characters of the last message all requests about this pair in this order have in common."""


@dataclass(frozen=True)
class Usage:
    """Tokens of one request. input: all that was read; among them are those that came from a cache (``cached``) and
    those that were put into one at a price of its own (``written``)."""

    input: int = 0
    cached: int = 0
    output: int = 0
    written: int = 0


@dataclass(frozen=True)
class Answer:
    """What a provider says. ``p_first``: P(first is what the question asks for), before `picks`; only from
    providers that read pairs, which may also finish with not_applicable."""

    text: str = ""
    finish: Literal["stop", "length", "refused", "filtered", "not_applicable"] = "stop"
    top_logprobs: tuple[Mapping[str, float], ...] = ()
    """Per position: token -> natural log-probability."""
    p_first: float | None = None
    model: str = ""
    usage: Usage = field(default_factory=Usage)
    tokens: tuple[str, ...] = ()
    """The tokens drawn, one per position; needed where a verdict follows a rationale."""


@dataclass(frozen=True)
class Capabilities:
    """What a provider's model can do. ``reads`` pair: it wants the responses, not rendered messages."""

    reads: Literal["messages", "pair"] = "messages"
    max_top_logprobs: int = 0
    structured: bool = False
    """It can be held to a JSON schema."""
    temperature: bool = True
    max_batch: int = 1
    generates: bool = True
    """False: it gives the next token's log-probabilities and writes no text."""
    thinking_tokens: int = 0
    """Tokens that it may write before its answer, hidden from us; the core adds them to `Request.max_tokens`."""


@dataclass(frozen=True, eq=False)
class ScoreMatrix:
    """Scores of n responses under k principles. Equal prompt ids form one group."""

    values: Floats
    """(n, k) float32; higher is better. NaN: a score that failed, which counts for nothing."""
    principles: tuple[str, ...]
    """k names, the columns."""
    prompt_ids: tuple[str, ...]
    """n ids, the rows."""
    spread: Floats | None = None
    """(n, k) standard deviation over an ensemble."""
    features: Floats | None = None
    """(n, h) features of the prompt."""

    def take(self, rows: Ints) -> ScoreMatrix:
        """Return these rows, by number (m,)."""
        spread, features = (None if part is None else part[rows] for part in (self.spread, self.features))
        ids = tuple(self.prompt_ids[row] for row in rows)
        return replace(self, values=self.values[rows], prompt_ids=ids, spread=spread, features=features)


@dataclass(frozen=True, eq=False)
class Terms:
    """How each principle counts: arrays of shape (k,), in the order of `ScoreMatrix.principles`."""

    weight: Floats
    """sums to 1."""
    threshold: Floats
    """in calibrated units."""
    priority: Ints
    """lower comes first."""
    lower: Floats
    """lower end of the calibration's clip range."""
    upper: Floats
    """upper end of the calibration's clip range."""
    step: int = 0


@dataclass(frozen=True, eq=False)
class RewardBatch:
    """What a `Reward` returns."""

    rewards: Floats
    """(n,); NaN where a score failed: such a response has no reward, and enters no mean or baseline."""
    scores: ScoreMatrix
    """calibrated, (n, all principles), those of weight 0 too."""
    clipped: float
    """share of scores beyond the clip, in [0, 1]."""
    raw: ScoreMatrix | None = None
    """the preference models' scores before calibration, (n, all principles); None: not known."""

    def take(self, rows: Ints) -> RewardBatch:
        """Return these rows, by number (m,); `clipped` stays that of the whole batch."""
        raw = None if self.raw is None else self.raw.take(rows)
        return replace(self, rewards=self.rewards[rows], scores=self.scores.take(rows), raw=raw)


@dataclass(frozen=True, eq=False)
class Explanation:
    """What moved each reward of a batch."""

    principles: tuple[str, ...]
    """The scalarizer's k columns; principles that share a priority are one, joined by ``+``."""
    influence: Floats
    """(n, k) what a small gain in that principle adds to the reward, per calibrated unit."""
    decided: tuple[str, ...]
    """n names: the principle of the greatest influence in size, the first of those that are level."""
    scores: Floats
    """(n, k) calibrated: the columns' values; influence belongs to them."""


# Every id and fingerprint is a hash of these bytes: with another form every run would be made anew.
_JSON = json.JSONEncoder(ensure_ascii=False, sort_keys=True, separators=(",", ":"), default=str)


def content_hash(*parts: object) -> str:
    """Return 16 hex digits that depend on the JSON form of the parts alone: the same in every run."""
    # 64 bits: among ten million ids a collision has a chance of 3 in 1,000,000.
    return hashlib.sha256(_JSON.encode(parts).encode(errors="surrogatepass")).hexdigest()[:16]


_CUT = ":cut-"


def make_prompt(messages: Iterable[Message]) -> Prompt:
    """Build a `Prompt` with its id. Raises ValueError where the last turn is not the user's."""
    turns = tuple(messages)
    # Else a response would follow a response, and every chat template renders that in another way.
    if not turns or turns[-1].role != "user":
        raise ValueError("a prompt ends with the user's turn")
    return Prompt(content_hash("prompt", [(turn.role, turn.content) for turn in turns]), turns)


def make_pair(prompt: Prompt, a: str, b: str, human: float | None = None, labels: Labels | None = None) -> ResponsePair:
    """Build a `ResponsePair` with its id, a hash of prompt and responses, and which of these were cut off."""
    texts = content_hash("pair", prompt.id, a, b)
    cut = "".join(side for side, text in (("a", a), ("b", b)) if not ended(text))
    return ResponsePair(f"{texts}{_CUT}{cut}" if cut else texts, prompt, a, b, human, labels)


def texts_id(pair: str) -> str:
    """Return a pair's id as if both responses had ended: all that is drawn for its texts is drawn by that."""
    # A judge that is not told what was cut off is then asked the same, and not paid again.
    return pair.partition(_CUT)[0]


def label_under(principle: str, overall: float | None, labels: Labels | None) -> float | None:
    """Return what people chose under a principle: its own label or, where the data set has none, the overall one."""
    # Written with - or _, as everywhere.
    canonical = principle.replace("-", "_")
    return next((label for name, label in (labels or {}).items() if name.replace("-", "_") == canonical), overall)


def distinct_pairs(pairs: Iterable[ResponsePair]) -> list[ResponsePair]:
    """Pairs whose responses differ, each once; equal responses are a tie without asking."""
    return list({pair.id: pair for pair in pairs if not pair.identical}.values())
