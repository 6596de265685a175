"""A prefix cache as servers have them: blocks of tokens, each known by all that stands before it."""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Callable, Sequence
from typing import NamedTuple

Tokenizer = Callable[[str], Sequence[int]]


class Counted(NamedTuple):
    """A prompt's tokens: all, read from the cache, to be written to it; and its blocks, for `PrefixCache.learn`."""

    prompt: int
    cached: int
    written: int
    blocks: list[bytes]


class PrefixCache:
    """Counts prompt tokens that a server with a prefix cache computes. It never forgets.

    A prompt's longest run of whole leading blocks that are known is served from the cache; at least one token is
    computed. Blocks are known once the first request that held them has been answered.
    """

    def __init__(self, tokenizer: Tokenizer | None, block: int = 16) -> None:
        """tokenizer: text -> token ids; None: four characters count as a token and nothing is cached."""
        if block < 1:
            raise ValueError("a block holds a token at least")
        self._tokenizer, self._block = tokenizer, block
        self._known: set[bytes] = set()
        self.prompt = self.cached = 0

    def count(self, text: str, prefix: str) -> Counted:
        """Count a prompt's tokens. prefix: the leading part of the text that may be cached."""
        if self._tokenizer is None:
            return Counted(-(-len(text) // 4), 0, 0, [])
        ids = self._tokenizer(text)
        may = len(ids) if prefix == text else min(len(self._tokenizer(prefix)), len(ids))
        blocks = self._blocks(ids[:may])
        hits = 0
        for block in blocks[: (len(ids) - 1) // self._block]:
            if block not in self._known:
                break
            hits += 1
        return Counted(len(ids), hits * self._block, (len(blocks) - hits) * self._block, blocks)

    def learn(self, counted: Counted) -> None:
        """Note an answered request."""
        self.prompt, self.cached = self.prompt + counted.prompt, self.cached + counted.cached
        self._known.update(counted.blocks)

    def _blocks(self, ids: Sequence[int]) -> list[bytes]:
        chain, blocks = hashlib.sha256(), []
        for start in range(0, len(ids) - self._block + 1, self._block):
            chain.update(array("q", ids[start : start + self._block]).tobytes())
            blocks.append(chain.digest())
        return blocks
