"""The command line, called in this process."""

from __future__ import annotations

import pytest

from morlaif_core.cli.main import cli, guarded
from tests.helpers.commands import Cli


@pytest.fixture
def morlaif(capsys: pytest.CaptureFixture[str]) -> Cli:
    """Run a command in this process; returns exit code, stdout and stderr."""

    def called(*arguments: str) -> tuple[int, str, str]:
        capsys.readouterr()
        code = guarded(lambda: cli.main(list(arguments), standalone_mode=False))
        out, err = capsys.readouterr()
        assert "Traceback" not in out + err
        return code, out, err

    return called
