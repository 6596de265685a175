"""A full disk, a read-only folder, a broken ledger: the error says what to do, and earlier labels stay as they were."""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers.ledger_rows import as_anybody
from tests.helpers.small_run import PRINCIPLES, options

SAYS = {
    "full": ("cannot write", "make room and run again"),
    "read-only": ("Permission denied",),
    "broken": ("judgements.sqlite is damaged", "move it away to judge anew, or put back a copy"),
}


def judge_anew(run: Path, limit: int | None) -> subprocess.CompletedProcess[str]:
    """Ask for one more principle, so that there is something to judge."""

    def child() -> None:
        as_anybody()
        if limit is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    command = [sys.executable, "-m", "morlaif_core.cli.main", "run", "demo", "--out", str(run), "--until", "judge"]
    more = f"principles=[{', '.join((*PRINCIPLES, 'understandability'))}]"
    return subprocess.run(
        [*command, *options(more)], capture_output=True, text=True, check=False, timeout=120, preexec_fn=child
    )


@pytest.mark.parametrize("trouble", SAYS)
def test_the_error_is_clear_and_the_earlier_labels_are_intact(finished: Path, tmp_path: Path, trouble: str) -> None:
    run = Path(shutil.copytree(finished, tmp_path / "run"))
    before = (run / "preferences.jsonl").read_bytes()
    ledger, limit = run / "judgements.sqlite", None
    whole = ledger.read_bytes()
    if trouble == "broken":
        ledger.write_bytes(whole[:4096] + b"\xff" * (len(whole) - 4096))
    if trouble == "full":
        limit = 30_000  # room for the manifest, not for the ledger's log
    if trouble == "read-only":
        run.chmod(0o500)
    failed = judge_anew(run, limit)
    run.chmod(0o700)
    assert failed.returncode in (1, 2)
    assert "Traceback" not in failed.stderr, failed.stderr
    for words in SAYS[trouble]:
        assert words in failed.stderr, failed.stderr
    labels = [
        file.read_bytes()
        for file in (run / "preferences.jsonl", *run.glob("replaced/*/preferences.jsonl"))
        if file.exists()
    ]
    assert labels == [before]
    if trouble == "broken":
        for beside in run.glob("judgements.sqlite-*"):
            os.unlink(beside)
        ledger.write_bytes(whole)
    done = judge_anew(run, None)
    assert done.returncode == 0, done.stderr
    assert "understandability" in (run / "preferences.jsonl").read_text()
