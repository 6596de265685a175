"""What a fault server can be told: whom it plays, what goes wrong, its limits, where it serves."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from morlaif_core.testing.faultserver.simulated.cache import Tokenizer
from morlaif_core.testing.faultserver.simulated.faults import FaultMix, Faults
from morlaif_core.testing.faultserver.simulated.judge import JudgeTraits


@dataclass
class ServerSettings(JudgeTraits):
    """The fields of `FaultServer`, besides those of the judge that it plays."""

    redraws: bool = True
    """whether the same body, asked again after it was answered, may get another letter, as from a model; False, or a
    `seed` in the body: it gets the same one."""
    faults: FaultMix | Faults | None = None
    """what goes wrong with requests to the model, one by one or in batches: drawn, or scripted by request."""
    batch_faults: Faults | None = None
    """what goes wrong with calls to files and batches, by number of such a call, or a function of number and
    ``{"method", "path"}``. With a status of 200 the call has its effect and its reply is spoilt (hang, cut, drip,
    body): a batch may have been made without the client's knowing."""
    latency: float = 0.0
    """seconds until a reply; other requests go on meanwhile."""
    requests_per_minute: float | None = None
    tokens_per_minute: float | None = None
    """of prompts and of the most that is asked for."""
    time_scale: float = 1.0
    """how much faster than the wall's the limits' clock goes: at 10, a minute lasts 6 s. retry-after is in real
    seconds."""
    burst: float = 1.0
    """minutes' worth of the limits that may come at once."""
    batch_seconds: float = 0.1
    """until a batch is done."""
    tokenizer: Tokenizer | None = None
    """text -> ids: counts tokens and turns the prefix cache on; None: four characters are a token."""
    cache_block: int = 16
    """tokens of a block of the prefix cache."""
    ledger_file: Path | None = None
    """where ledger lines are appended, as JSON, each before its request is answered."""
    keep_bodies: bool = True
    """whether `requests` holds the bodies; no header is ever kept."""
    port: int = 0
    """0: any free one."""
    process: bool = False
    """serve from a process of its own, so that the server's work is not the client's: for benchmarks. The oracle is a
    `KnownPreference` then, faults a `FaultMix`; no other functions or spellings, no `requests`; `ledger` needs
    ledger_file."""
