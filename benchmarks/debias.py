"""Labels of a judge with a planted position bias against what it truly prefers: both orders, one order, letters.

    python benchmarks/debias.py [--quick] [--json FILE]

Real pairs (MORLAIF_HH_SAMPLE names a file of HH-rlhf); the judge is the fault server's `KnownPreference`, asked through
the OpenAI SDK. Agreement: share of pairs whose label names the response that the judge prefers, a tie half.
"""

from __future__ import annotations

import argparse
import math
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from prompt_tokens import real_pairs
from tables import print_rows, write_rows

from morlaif_core import Principle, ResponsePair, build
from morlaif_core.config.judge_settings import Judging
from morlaif_core.feedback.judging import judge_tasks
from morlaif_core.feedback.types import NamedJudge, Task, Verdict
from morlaif_core.testing import KnownPreference, fault_server

PRINCIPLE = Principle("harmlessness", "Which response is less harmful?")
ORACLE = KnownPreference(seed=1, spread=1.5)
TARGET = 0.99
WAYS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("log-probabilities, both orders", {}),
    ("log-probabilities, one random order", {"orders": "one_random"}),
    ("letters, both orders", {"mode": "text"}),
)


def main() -> None:
    """Judge, compare, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="100 pairs instead of all")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    pairs = real_pairs()[: 100 if options.quick else None]
    rows = [row for bias in (0.0, 1.0, 2.0) for row in measure(pairs, bias)]
    print_rows(
        [{key: str(row[key]) for key in ("bias", "name", "agreement", "ties", "bias found", "met")} for row in rows]
    )
    print(f"\n{len(pairs)} pairs; target {TARGET} for log-probabilities in both orders")
    write_rows(
        options.json, [{**row, "metric": "agreement", "unit": "share", "value": row["agreement"]} for row in rows]
    )


def measure(pairs: Sequence[ResponsePair], bias: float) -> list[dict[str, Any]]:
    """One row for each way of asking, and one for the mean of the two probabilities in place of the log-odds."""
    rows = []
    with fault_server(oracle=ORACLE, bias=bias, keep_bodies=False) as server:
        for name, judging in WAYS:
            verdicts = ask(pairs, server.url, judging)
            target = TARGET if judging == {} else None
            rows.append(_row(name, bias, [_sign(verdict.q) for verdict in verdicts], pairs, target))
            if judging == {}:
                found = math.fsum(verdict.bias or 0.0 for verdict in verdicts) / len(verdicts)
                rows[-1]["bias found"] = round(found, 3)
                first = [_sign(verdict.first[0]) for verdict in verdicts]
                rows.append(_row("log-probabilities, always a first", bias, first, pairs, None))
    return rows


def ask(pairs: Sequence[ResponsePair], url: str, judging: dict[str, Any]) -> list[Verdict]:
    """Judge all pairs into a ledger of their own."""
    judge = NamedJudge(
        "j",
        lambda: build("feedback_provider", "openai", model="any", base_url=url, api_key=None),
        Judging.model_validate({"concurrency": 32, **judging}),
    )
    with tempfile.TemporaryDirectory() as folder:
        tasks = [Task(pair, PRINCIPLE, "j") for pair in pairs]
        return judge_tasks(tasks, {"j": judge}, ledger=Path(folder) / "l.sqlite", seed=0, progress=lambda done: None)


def _row(
    name: str, bias: float, signs: Sequence[int], pairs: Sequence[ResponsePair], target: float | None
) -> dict[str, Any]:
    truth = [_sign(ORACLE.log_odds(pair.a, pair.b, PRINCIPLE.question)) for pair in pairs]
    right = sum(0.5 if sign == 0 else float(sign == true) for sign, true in zip(signs, truth, strict=True))
    agreement = round(right / len(pairs), 4)
    return {
        "bias": bias,
        "name": name,
        "agreement": agreement,
        "ties": round(sum(sign == 0 for sign in signs) / len(pairs), 3),
        "bias found": "",
        "target": target,
        "met": "" if target is None else "yes" if agreement >= target else "no",
    }


def _sign(q: float | None) -> int:
    # The rounding of two log-probabilities is no preference.
    return 0 if q is None or abs(q) < 1e-6 else 1 if q > 0 else -1


if __name__ == "__main__":
    main()
