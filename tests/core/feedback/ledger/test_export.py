"""The export of a ledger: answered rows, equal bytes whatever happened on the way, whole or not at all."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from morlaif_core import load_run
from morlaif_core.feedback.ledger.export import export_rows
from morlaif_core.feedback.ledger.ledger import Ledger
from morlaif_core.stages.comparison_rows import read_compared_pairs
from tests.helpers.ledger_rows import ROW, as_anybody
from tests.helpers.small_run import PRINCIPLES, ledger_rows


def test_rows_are_the_same_whenever_and_however_they_were_bought(tmp_path: Path) -> None:
    rows = [replace(ROW, key=f"k{i}", pair=f"p{i % 2}", answer='{"text": "Ä"}') for i in range(6)]
    one, other, third = (tmp_path / f"{name}.sqlite" for name in ("one", "other", "third"))
    Ledger(one).write([*rows, replace(ROW, key="lost", status="failed", answer=None)])
    trouble = {"cost": 2.0, "attempts": 5, "maybe_billed": 1, "seconds": 9.9, "run": "r", "batch": True}
    late = [replace(row, tokens_cached=9, **trouble) for row in rows]  # type: ignore[arg-type]
    Ledger(other).write(late[3:])
    Ledger(third).write(late[:3])
    pairs = {"p", "p0", "p1"}
    export_rows([one], pairs, tmp_path / "one.jsonl")
    export_rows([other, tmp_path / "absent.sqlite", third], pairs, tmp_path / "two.jsonl")
    assert (tmp_path / "one.jsonl").read_bytes() == (tmp_path / "two.jsonl").read_bytes()
    lines = [json.loads(line) for line in (tmp_path / "one.jsonl").read_text().splitlines()]
    assert [line["key"] for line in lines] == [row.key for row in rows]
    assert lines[0]["answer"] == {"text": "Ä"}
    assert not {"seconds", "cost", "attempts", "maybe_billed", "run", "batch"} & lines[0].keys()
    export_rows([one], {"p1"}, tmp_path / "one.jsonl")
    assert [json.loads(line)["key"] for line in (tmp_path / "one.jsonl").open()] == ["k1", "k3", "k5"]


def test_a_run_exports_its_judgements(finished: Path, tmp_path: Path) -> None:
    load_run(finished).export_judgements(tmp_path / "judgements.jsonl")
    lines = [json.loads(line) for line in (tmp_path / "judgements.jsonl").open()]
    pairs = {stored.pair.id for stored in load_run(finished).pairs()}
    pairs |= {pair.id for pair in read_compared_pairs(finished)}
    counted = {name: sum(line["principle"] == name for line in lines) for name in PRINCIPLES}
    assert {line["pair"] for line in lines} <= pairs
    assert lines == sorted(lines, key=lambda line: line["key"])
    assert counted == {name: ledger_rows(finished)[name] for name in PRINCIPLES}, "the evaluation's pairs too"


FULL = """
import resource, sys
from pathlib import Path
from morlaif_core.feedback.ledger.export import export_rows
resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))
export_rows([Path(sys.argv[1])], {"p"}, Path(sys.argv[2]))
"""


@pytest.mark.parametrize("trouble", ["full", "read-only", "broken"])
def test_an_earlier_export_survives_a_full_disk_a_read_only_folder_and_a_broken_ledger(
    tmp_path: Path, trouble: str
) -> None:
    ledger, file = tmp_path / "l.sqlite", tmp_path / "out" / "judgements.jsonl"
    book = Ledger(ledger)
    book.write([ROW])
    export_rows([ledger], {"p"}, file)
    before = file.read_bytes()
    book.write([replace(ROW, key=f"k{i}", answer=json.dumps({"text": "x" * 500})) for i in range(500)])
    book.close()
    if trouble == "broken":
        ledger.write_bytes(ledger.read_bytes()[:5000] + b"\xff" * 20000)
    if trouble == "read-only":
        file.parent.chmod(0o500)
    code = FULL if trouble == "full" else FULL.replace("50_000, 50_000", "-1, -1")
    arguments = [sys.executable, "-c", code, str(ledger), str(file)]
    done = subprocess.run(arguments, capture_output=True, text=True, check=False, preexec_fn=as_anybody)
    file.parent.chmod(0o700)
    says = {"full": "File too large", "read-only": "Permission denied", "broken": f"the ledger {ledger} is damaged"}
    assert says[trouble] in done.stderr, done.stderr
    assert file.read_bytes() == before
