"""A run named by its folder, its run.yaml or its CONFIG is the same run to every command, and nothing is made again."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from morlaif_core import UserError, load_run, open_judges, run
from morlaif_core.runs.named import find_run, load_named
from tests.helpers.commands import Cli
from tests.helpers.small_run import final_files, ledger_rows


@pytest.fixture
def there(finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The finished run as `morlaif run demo` would have left it in this working directory."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(finished, "runs/demo")
    return Path("runs/demo")


@pytest.mark.parametrize("name", ["runs/demo", "runs/demo/", "runs/demo/run.yaml"])
def test_a_run_goes_on_by_its_own_name(there: Path, morlaif: Cli, name: str) -> None:
    files, rows = final_files(there), ledger_rows(there)
    code, out, _ = morlaif("run", name)
    assert (code, "nothing to do" in out) == (0, True)
    assert (final_files(there), ledger_rows(there)) == (files, rows)
    assert [path.name for path in Path("runs").iterdir()] == ["demo"], "no run is begun beside it"


def test_what_is_set_is_changed_in_that_run(there: Path) -> None:
    done = run("runs/demo", sets=["evaluation.judge=rules"], quiet=True)
    assert done.folder == there
    assert done.context().settings.evaluation.judge == "rules"


@pytest.mark.parametrize("name", ["runs/demo", "runs/demo/run.yaml", "demo"])
def test_every_command_takes_a_run_by_each_name(there: Path, morlaif: Cli, name: str) -> None:
    for command in (["status"], ["check"], ["estimate"], ["check-judges"], ["generate", "--prompt", "How are you?"]):
        code, _, error = morlaif(command[0], name, *command[1:])
        assert code == 0, error
    assert load_run(name).folder == there


def test_a_configuration_stays_one_and_another_folder_begins_anew(there: Path) -> None:
    shutil.copy(there / "run.yaml", "run.yaml")
    assert load_named(["run.yaml"])[1] == Path("runs/run"), "a copy is a file like any other"
    config, out = load_named(["runs/demo"], ["seed=7"], "runs/other")
    assert (out, config.settings.seed) == (Path("runs/other"), 7)
    assert tuple(config.settings.principles) == tuple(load_run(there).context().settings.principles)
    with open_judges(["runs/demo"], ["seed=7"], hold=False) as bench:
        assert (bench.folder, bench.settings.seed) == (there, 7)


def test_several_files_stand_for_the_run_that_they_made(there: Path) -> None:
    there.rename("runs/demo+mine")
    Path("mine.yaml").write_text("seed: 1\n")
    assert find_run("demo", "mine.yaml") == Path("runs/demo+mine")
    for name in ("nowhere", "elsewhere/demo+mine"):
        with pytest.raises(UserError, match="not a run folder"):
            find_run(name)
