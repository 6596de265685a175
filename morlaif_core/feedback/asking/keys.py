"""The keys of many requests, without building them: what the requests of a pair share is rendered and hashed once."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from json.encoder import encode_basestring
from typing import TYPE_CHECKING, TypeAlias

from morlaif_core.types import Principle, ResponsePair

from .prompt import asked_text, shared_text
from .requests import Asking, Order, build_request, canonical, in_order, request_key
from .wordings import wording_of

if TYPE_CHECKING:
    from hashlib import _Hash

Asked: TypeAlias = tuple[ResponsePair, Sequence[Principle]]


class Keys:
    """Computes what `request_key` returns for a judge's requests, five times as fast; those of a pair one after another."""

    def __init__(self, identity: str, asking: Asking) -> None:
        self._identity, self._asking = identity, asking
        self.joint = asking.mode == "joint"
        self._heads: dict[Order, tuple[ResponsePair, _Hash]] = {}
        self._asked: tuple[Asked, str] | None = None
        self._frames: dict[tuple[int, int], tuple[str, str]] = {}

    def key(self, pair: ResponsePair, principles: Sequence[Principle], order: Order, sample: int) -> str:
        """Return the key of a request, given as `build_request` takes it."""
        # A provider that reads pairs has no user turn: nothing is shared that would be worth keeping.
        if self._asking.mode == "pair":
            return request_key(self._identity, build_request(pair, principles, order, self._asking, sample))
        before, after = self._frame(pair, principles, order, sample)
        # A copy, since the hash so far serves all principles of the pair.
        digest = self._head(pair, order, before).copy()
        digest.update(_bytes(self._tail(pair, principles) + after))
        return digest.hexdigest()

    def _frame(self, pair: ResponsePair, principles: Sequence[Principle], order: Order, sample: int) -> tuple[str, str]:
        """Return the canonical text around a request's user turn; it is the same for all pairs and principles."""
        shape = len(principles), sample
        if shape not in self._frames:
            request = build_request(pair, principles, order, self._asking, sample)
            # Cut from the real thing, so that a change of `canonical` cannot be forgotten here.
            before, _, after = canonical(self._identity, request).partition(_escaped(request.messages[-1].content))
            self._frames[shape] = before, after
        return self._frames[shape]

    def _head(self, pair: ResponsePair, order: Order, before: str) -> _Hash:
        """Return the hash so far, behind the texts of a pair."""
        known = self._heads.get(order)
        # By identity: comparing long texts would take the time that this saves.
        if known is None or known[0] is not pair:
            known = pair, hashlib.sha256(_bytes(before + _escaped(self._shared(pair, order))))
            self._heads[order] = known
        return known[1]

    def _shared(self, pair: ResponsePair, order: Order) -> str:
        first, second = in_order(pair, order, self._asking)
        how = self._asking
        return shared_text(pair.prompt, first, second, how.mode, how.abstain, how.template)

    def _tail(self, pair: ResponsePair, principles: Sequence[Principle]) -> str:
        """Return what is asked, escaped: the same in both orders and all samples."""
        known = self._asked
        if known is None or known[0][0] is not pair or known[0][1] is not principles:
            wordings = [wording_of(principle, pair, self._asking.few_shots) for principle in principles]
            how = self._asking
            known = (pair, principles), _escaped(asked_text(wordings, how.mode, how.abstain, how.template))
            self._asked = known
        return known[1]


def _escaped(text: str) -> str:
    """Return a text as it stands between the quotes of a JSON string: character by character, so parts may be joined."""
    # The very function by which `canonical` escapes without ensure_ascii: joined parts must be its bytes.
    return encode_basestring(text)[1:-1]


def _bytes(text: str) -> bytes:
    # Half a surrogate pair, which JSON can bring in, must have a key too.
    return text.encode(errors="surrogatepass")
