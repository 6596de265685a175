"""`python -m morlaif_core.testing.fault_server`: prints its address, serves until it is interrupted."""

from __future__ import annotations

import argparse
import inspect
import re
import signal
import sys
import threading
from dataclasses import fields
from pathlib import Path

from morlaif_core.testing.faultserver.simulated.faults import ANSWERS, LASTING, PASSING, FaultMix
from morlaif_core.testing.faultserver.simulated.oracle import KnownPreference

from .process import NUMBERS
from .server import FaultServer

SHORT = tuple(kind for kind in PASSING if kind != "retry_after_600")
"""Passing kinds that a first try by hand gets: none asks to wait for minutes, at which a run ends."""
GROUPS = {"short": SHORT, "passing": PASSING, "lasting": LASTING, "answers": ANSWERS}


def main(arguments: list[str] | None = None) -> None:
    """Serve until SIGINT or SIGTERM."""
    options = _parser().parse_args(arguments)
    server = _server(options)
    with server:
        print(server.anthropic_url, flush=True)
        if not options.with_parent:
            judge = f"judges.NAME: {{use: openai, model: any, base_url: {server.url}, api_key: null}}"
            print(f"{judge}; for anthropic the address above; Ctrl-C ends it", file=sys.stderr, flush=True)
        ended = threading.Event()
        for name in (signal.SIGINT, signal.SIGTERM):
            signal.signal(name, lambda *_: ended.set())
        if options.with_parent:
            threading.Thread(target=_outlive_nobody, args=(ended,), daemon=True).start()
        ended.wait()


def _outlive_nobody(ended: threading.Event) -> None:
    sys.stdin.read()
    ended.set()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m morlaif_core.testing.fault_server",
        description="A judge on 127.0.0.1 with known verdicts and faults, for OpenAI's and Anthropic's SDKs."
        " Prints its address, without the /v1 that OpenAI's SDK wants.",
    )
    defaults, said = {each.name: each.default for each in fields(FaultServer)}, explained(FaultServer)
    for name in NUMBERS:
        number = int if name in ("seed", "port") else float
        parser.add_argument(
            f"--{name.replace('_', '-')}", type=number, default=defaults[name], metavar="N", help=said[name]
        )
    oracle = explained(KnownPreference)
    parser.add_argument("--oracle-seed", type=int, default=0, metavar="N", help=f"of the verdicts: {oracle['seed']}")
    parser.add_argument("--spread", type=float, default=KnownPreference.spread, metavar="N", help=oracle["spread"])
    parser.add_argument("--no-redraws", action="store_true", help="the same body always gets the same letter")
    parser.add_argument("--ledger-file", type=Path, metavar="FILE", help="append a line per attempt")
    parser.add_argument("--fault-rate", type=float, default=0.0, metavar="N", help="share of attempts that go wrong")
    parser.add_argument("--fault-seed", type=int, default=0, metavar="N", help="of what goes wrong")
    parser.add_argument(
        "--kinds",
        default="short",
        help=f"of faults: {', '.join(GROUPS)} or names, by commas; passing: short, and a wait of 600 s that ends a run",
    )
    parser.add_argument("--most", type=int, metavar="N", help="faulty attempts of one body before it passes")
    parser.add_argument(
        "--hang", type=float, default=30.0, metavar="SECONDS", help="of silence before a reply that hangs"
    )
    parser.add_argument("--drip", type=float, default=30.0, metavar="SECONDS", help="over which a reply trickles")
    parser.add_argument("--retry-after", type=float, default=0.2, metavar="SECONDS", help="that retry_after asks for")
    parser.add_argument("--with-parent", action="store_true", help="end when standard input is closed")
    return parser


def explained(kind: type) -> dict[str, str]:
    """What a class's docstring says of its arguments or attributes, by name; percent signs as argparse wants them."""
    section = re.split(r"^(?:Args|Attributes):\n", inspect.getdoc(kind) or "", flags=re.M)[1].split("\n\n")[0]
    entries = re.findall(r"^    (\w+): (.*(?:\n {5,}.*)*)", section, re.M)
    return {name: " ".join(text.split()).replace("%", "%%") for name, text in entries}


def _server(options: argparse.Namespace) -> FaultServer:
    kinds = tuple(kind for name in options.kinds.split(",") for kind in GROUPS.get(name, (name,)))
    mix = FaultMix(
        options.fault_rate, options.fault_seed, kinds, options.most, options.hang, options.drip, options.retry_after
    )
    return FaultServer(
        KnownPreference(options.oracle_seed, options.spread),
        **{name: getattr(options, name) for name in NUMBERS},
        redraws=not options.no_redraws,
        faults=mix if mix.rate > 0 else None,
        ledger_file=options.ledger_file,
        keep_bodies=False,
    )


if __name__ == "__main__":
    main()
