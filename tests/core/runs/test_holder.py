"""Whether the process that holds a run folder lives."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from morlaif_core.errors import Busy
from morlaif_core.runs.folder import RunFolder
from morlaif_core.runs.holder import Holder, holder_of

HOLD = """
import sys, time
from pathlib import Path
from morlaif_core.runs.folder import RunFolder
folder = RunFolder.open(Path(sys.argv[1]))
print("held", flush=True)
time.sleep(600)
"""


def test_nobody_this_process_and_who_let_go(tmp_path: Path) -> None:
    assert holder_of(tmp_path / "absent") is None
    folder = RunFolder.open(tmp_path)
    assert holder_of(tmp_path) == Holder(os.getpid(), socket.gethostname(), True)
    with pytest.raises(Busy, match=f"pid {os.getpid()} on {socket.gethostname()}"):
        RunFolder.open(tmp_path)
    folder.close()
    assert holder_of(tmp_path) is None


def test_a_killed_process_is_dead(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        held = Holder(process.pid, socket.gethostname(), True)
        assert holder_of(tmp_path) == held
        process.send_signal(signal.SIGKILL)
    assert holder_of(tmp_path) == Holder(held.pid, held.host, False)
    # Its number given to another process, here this one: that one does not hold the folder.
    (tmp_path / ".lock").write_text(f"pid {os.getpid()} on {socket.gethostname()}")
    found = holder_of(tmp_path)
    assert found
    assert found.alive is False
    RunFolder.open(tmp_path).close()


def test_of_another_machine_nothing_is_claimed_and_an_old_lock_is_read(tmp_path: Path) -> None:
    (tmp_path / ".lock").write_text("pid 1 on node-17.cluster")
    found = holder_of(tmp_path)
    assert found == Holder(1, "node-17.cluster", None)
    assert str(found) == "pid 1 on node-17.cluster"
    (tmp_path / ".lock").write_text("pid 4194305")  # above the largest that Linux gives
    found = holder_of(tmp_path)
    assert found == Holder(4194305, None, False)
    assert str(found) == "pid 4194305"
