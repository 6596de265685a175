"""The fault server as a command: it says what its options are, and serves under the name that the documentation has."""

from __future__ import annotations

import importlib
import subprocess
import sys

import pytest

from morlaif_core import build, testing
from morlaif_core.testing.faultserver.__main__ import main

COMMAND = [sys.executable, "-m", "morlaif_core.testing.fault_server"]


def test_every_option_is_explained(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--help"])
    shown = capsys.readouterr().out.split("options:\n")[1]
    options = [line for line in shown.splitlines() if line.startswith("  -")]
    assert len(options) > 20
    entries = shown.split("\n  -")
    assert not [entry for entry in entries if len(entry.split()) < 4]


def test_it_serves(capsys: pytest.CaptureFixture[str]) -> None:
    with subprocess.Popen(
        [*COMMAND, "--bias", "1"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as child:
        try:
            assert child.stdout is not None
            assert child.stderr is not None
            address = child.stdout.readline().strip()
            assert f"base_url: {address}/v1" in child.stderr.readline()
            judge = build("feedback_provider", "openai", model="any", base_url=f"{address}/v1", api_key=None)
            assert judge.capabilities.reads == "messages"
        finally:
            child.terminate()
    assert child.returncode == 0


def test_the_module_of_the_command_does_not_hide_the_function() -> None:
    importlib.import_module("morlaif_core.testing.fault_server")
    assert testing.fault_server is testing.FaultServer
