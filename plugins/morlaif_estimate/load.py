"""What judging takes before anything is sent: the run's own requests are planned and counted, and none goes out.

Leaves out: tokenizing, because the tokenizer of a judge behind an API is not at hand: bytes stand for tokens; and requests
that are made again after a failure.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import astuple, dataclass

from morlaif_core import PlannedJudge, PlannedRequest, Principle, Request, ResponsePair, Usage

BYTES_PER_TOKEN = 3.0
"""Of a judge's prompt. Measured: 2.9 over 400 prompts of HH-rlhf with a vocabulary of 49,152; plain text has 4.3, but the
fences around it are hexadecimal digits. Larger vocabularies have more."""


@dataclass(frozen=True)
class Share:
    """Pairs that stand for a number of pairs like them: each counts ``times``."""

    pairs: Sequence[ResponsePair]
    times: float = 1.0


@dataclass(frozen=True)
class Load:
    """Requests and tokens. sure: requests sent in any case; the others a cascade's later judges may be spared.

    known: requests that the ledger answers, not among ``requests``. prompt: tokens read, estimated; most: the same at
    most (a token is a byte at least); cacheable: those that a server which caches prefixes need not read again; output:
    tokens written at most.
    """

    requests: float = 0
    sure: float = 0
    known: float = 0
    prompt: float = 0
    most: float = 0
    cacheable: float = 0
    output: float = 0

    def __add__(self, other: Load) -> Load:
        return Load(*(mine + its for mine, its in zip(astuple(self), astuple(other), strict=True)))

    def __mul__(self, times: float) -> Load:
        return Load(*(value * times for value in astuple(self)))

    def cost(
        self, judge: PlannedJudge, *, cached: bool = False, most: bool = False, batch: bool = False
    ) -> float | None:
        """Return the money in USD, None where no price of the judge is known.

        cached: what a cache can serve it does, and the rest is put into it. most: all is put into a cache, which costs
        most, and tokens are as many as can be.
        """
        read = round(self.most if most else self.prompt)
        served = round(self.cacheable) if cached else 0
        # What is put into a cache costs more than what is read, so it is counted apart.
        usage = Usage(read, served, round(self.output), written=read - served if cached or most else 0)
        return judge.cost(usage, batch=batch)


def load(judge: PlannedJudge, shares: Iterable[Share], asked: dict[str, tuple[Principle, bool]], seed: int) -> Load:
    """Count what a judge is asked about pairs. asked: its principles by name, and whether each is asked in any case."""
    return sum((_load(judge, share.pairs, asked, seed) * share.times for share in shares), Load())


def _load(
    judge: PlannedJudge, pairs: Sequence[ResponsePair], asked: dict[str, tuple[Principle, bool]], seed: int
) -> Load:
    planned = sure = judge.requests(pairs, [principle for principle, _ in asked.values()], seed)
    certain = [principle for principle, in_any_case in asked.values() if in_any_case]
    if len(certain) < len(asked):
        sure = judge.requests(pairs, certain, seed)
    total, seen = Load(sure=sum(1 for request in sure if not request.answered)), set[int]()
    for request in planned:
        total += Load(known=1) if request.answered else _counted(request, seen)
    return total


def _counted(planned: PlannedRequest, seen: set[int]) -> Load:
    request = planned.request
    texts = [turn.content for turn in request.messages]
    # surrogatepass: half a surrogate pair, which JSON can spell, is no reason to refuse an estimate.
    tokens = sum(len(text.encode(errors="surrogatepass")) for text in texts) / BYTES_PER_TOKEN
    cacheable = _served(request, seen) / BYTES_PER_TOKEN
    # A provider that reads pairs gets no messages and writes no tokens.
    output = request.max_tokens if texts else 0
    return Load(requests=1, prompt=tokens, most=planned.most_tokens, cacheable=cacheable, output=output)


def _served(request: Request, seen: set[int]) -> int:
    """Return the bytes of a request that stood at the beginning of an earlier one; note its own beginnings by hash."""
    if not request.messages:
        return 0
    *before, last = (turn.content for turn in request.messages)
    # The longest first: a cache serves the longest beginning that it has seen.
    beginnings = [(*before, last), (*before, last[: request.shared]), tuple(before)]
    served = next((texts for texts in beginnings if hash(texts) in seen), ())
    # Hashes in place of long texts, to save memory; they are compared within this process alone.
    seen |= set(map(hash, beginnings))
    return sum(len(text.encode(errors="surrogatepass")) for text in served)
