"""A judge on loopback with known verdicts, known faults and its own ledger of what was paid: see `FaultServer`.

It speaks OpenAI chat completions and Anthropic messages, and the batch APIs of both, to the real SDKs. Where
`morlaif_core`'s prompt offers them, it answers with one letter and log-probabilities, with a rationale and a verdict,
by a JSON schema, or that a question does not apply.
"""

from __future__ import annotations

from .paid import Line as Line, read_lines as read_lines
from .server import FaultServer as FaultServer, Statistics as Statistics
from .simulated.asking import (
    Asked as Asked,
    Reader as Reader,
    read_prompt as read_prompt,
)
from .simulated.faults import (
    ANSWERS as ANSWERS,
    KINDS as KINDS,
    LASTING as LASTING,
    PASSING as PASSING,
    Fault as Fault,
    FaultMix as FaultMix,
    Faults as Faults,
    named as named,
)
from .simulated.labels import label_tokens as label_tokens
from .simulated.oracle import (
    Abstains as Abstains,
    KnownPreference as KnownPreference,
    Oracle as Oracle,
)

fault_server = FaultServer


def judge_server(oracle: Oracle, *, bias: float = 0.0, mass: float = 0.98, faults: Faults | None = None) -> FaultServer:
    """Return a `FaultServer` with the fields that most tests of a judge need.

    oracle, bias, mass, faults: as of `FaultServer`.

    >>> with judge_server(KnownPreference()) as server:
    ...     server.url.startswith("http://127.0.0.1:")
    True
    """
    return FaultServer(oracle, bias=bias, mass=mass, faults=faults)
