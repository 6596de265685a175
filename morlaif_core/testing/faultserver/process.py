"""A fault server in a process of its own: `python -m morlaif_core.testing.faultserver`."""

from __future__ import annotations

import http.client
import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import fields
from typing import Any
from urllib.parse import urlsplit

from morlaif_core.testing.faultserver.simulated.faults import FaultMix
from morlaif_core.testing.faultserver.simulated.oracle import KnownPreference

from .routes import STATE
from .settings import ServerSettings

NUMBERS = (
    "bias", "mass", "ties", "seed", "latency", "requests_per_minute", "tokens_per_minute", "time_scale", "burst",
    "batch_seconds", "port",
)  # fmt: skip
"""Fields of `FaultServer` that are numbers, and options of the command of the same name."""
_HERE = ("abstains", "batch_faults", "tokenizer", "spellings", "reader")


class ServerProcess:
    """Starts a server as `FaultServer`'s fields say; it ends with this process at the latest."""

    def __init__(self, wanted: ServerSettings) -> None:
        command = [sys.executable, "-m", __package__, "--with-parent", *_options(wanted)]
        # Its standard input is a pipe from here: it closes when this process dies, however it dies.
        self._child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self._child.stdout is not None
        self.address = self._child.stdout.readline().strip()
        if not self.address:
            raise RuntimeError(f"the fault server did not start (exit code {self._child.wait()})")

    def state(self) -> dict[str, int]:
        """Ask the server for its counts."""
        connection = http.client.HTTPConnection(urlsplit(self.address).netloc, timeout=10)
        try:
            connection.request("GET", STATE)
            return json.loads(connection.getresponse().read())  # type: ignore[no-any-return]
        finally:
            connection.close()

    def stop(self) -> None:
        """End the server."""
        self._child.communicate(timeout=10)


def _options(wanted: ServerSettings) -> Iterator[str]:
    """Yield the command's options. Raises TypeError where a field is set that no command line carries."""
    held: Any = wanted.oracle
    here = [
        each.name for each in fields(wanted) if each.name in _HERE and getattr(wanted, each.name) is not each.default
    ]
    if here or not isinstance(held, KnownPreference) or not isinstance(wanted.faults, FaultMix | None):
        raise TypeError(f"process=True takes a KnownPreference and a FaultMix, and none of {', '.join(_HERE)}")
    values = {name: getattr(wanted, name) for name in NUMBERS}
    values |= {"oracle_seed": held.seed, "spread": held.spread, "ledger_file": wanted.ledger_file}
    if wanted.faults is not None:
        mix = wanted.faults
        values |= {"fault_rate": mix.rate, "fault_seed": mix.seed, "kinds": ",".join(mix.kinds)}
        values |= {"most": mix.most, "hang": mix.hang, "drip": mix.drip, "retry_after": mix.retry_after}
    for name, value in values.items():
        if value is not None:
            yield f"--{name.replace('_', '-')}={value}"
    if not wanted.redraws:
        yield "--no-redraws"
