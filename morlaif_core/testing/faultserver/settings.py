"""What a fault server can be told: whom it plays, what goes wrong, its limits, where it serves."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from morlaif_core.testing.faultserver.simulated.cache import Tokenizer
from morlaif_core.testing.faultserver.simulated.faults import FaultMix, Faults
from morlaif_core.testing.faultserver.simulated.judge import JudgeTraits


@dataclass
class ServerSettings(JudgeTraits):
    """The fields of `FaultServer`, which describes them, besides those of the judge that it plays."""

    redraws: bool = True
    faults: FaultMix | Faults | None = None
    batch_faults: Faults | None = None
    latency: float = 0.0
    requests_per_minute: float | None = None
    tokens_per_minute: float | None = None
    time_scale: float = 1.0
    burst: float = 1.0
    batch_seconds: float = 0.1
    tokenizer: Tokenizer | None = None
    cache_block: int = 16
    ledger_file: Path | None = None
    keep_bodies: bool = True
    port: int = 0
    process: bool = False
