"""Commands by plugins: listed like the core's, built when called, with the core's errors and exit codes."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import click
import pytest

from morlaif_core import UserError, build, load_run
from morlaif_core.cli.main import cli
from morlaif_core.plugins.manager import CORE_COMMANDS, Plugins
from morlaif_core.runs.folder import RunFolder
from tests.helpers.commands import COMMAND, Cli
from tests.helpers.distributions import HEAD, add_distribution, command, hook, install_third_party


def fresh(site: Path, *arguments: str, **environment: str) -> subprocess.Popen[str]:
    """Start a command in a process of its own that sees the distributions of a folder."""
    path = os.pathsep.join([str(site), os.environ["PYTHONPATH"]])
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen(
        [*COMMAND, *arguments], text=True, env={**os.environ, "PYTHONPATH": path, **environment}, **pipes
    )


def listed(out: str) -> list[str]:
    """The names under Commands in a help text."""
    return [line.split()[0] for line in out.partition("Commands:\n")[2].splitlines() if line.startswith("  ")]


def test_the_names_of_the_core_are_known_to_the_plugins() -> None:
    assert {name.replace("-", "_") for name in cli.commands} == CORE_COMMANDS


def test_help_lists_what_plugins_offer_like_any_other_and_builds_nothing(site: Path, morlaif: Cli) -> None:
    add_distribution(site, "moody", command("moody", build="1 / 0"))
    install_third_party(site)
    code, out, err = morlaif("--help")
    assert (code, err) == (0, "")
    assert {"run", "lengths", "moody"} <= set(listed(out))
    assert listed(out) == sorted(listed(out))
    assert "Say how long a run's answers are." in out
    assert "Do what moody does" in out
    assert "called" not in out


def test_a_strangers_command_works_like_a_built_in(site: Path, morlaif: Cli, finished: Path) -> None:
    install_third_party(site)
    pairs = [stored.pair for stored in load_run(finished).pairs()]
    mean = sum(len(pair.a) + len(pair.b) for pair in pairs) / (2 * len(pairs))
    for name in ("lengths", "moderate/lengths"):
        assert morlaif(name, str(finished)) == (0, f"{mean:.1f}\n", "")
    code, out, _ = morlaif("lengths", "-h")
    assert code == 0
    assert "Usage: " in out
    assert "lengths [OPTIONS] RUN" in out
    code, _, err = morlaif("lengths", "nowhere")
    assert code == 2
    assert err.startswith("morlaif: ")
    code, _, err = morlaif("lengths")
    assert code == 2
    assert "Missing argument" in err
    offers = json.loads(morlaif("plugins", "--json")[1])["offers"]
    assert {"kind": "command", "name": "lengths", "plugin": "moderate"}.items() <= {
        key: value for offer in offers if offer["name"] == "lengths" for key, value in offer.items()
    }.items()


def test_dash_and_underscore_are_the_same(site: Path, morlaif: Cli) -> None:
    add_distribution(site, "one", command("say-it"))
    assert [morlaif(name)[1] for name in ("say-it", "say_it", "one/say_it")] == ["called\n"] * 3
    assert morlaif("check_judges", "--help")[0] == 0


@pytest.mark.parametrize(("typed", "meant"), [("lenghts", "lengths"), ("rnu", "run"), ("check-juges", "check-judges")])
def test_an_unknown_command_gets_advice_over_all_commands(site: Path, morlaif: Cli, typed: str, meant: str) -> None:
    install_third_party(site)
    code, _, err = morlaif(typed)
    assert code == 2
    assert f"there is no command '{typed}'. Did you mean '{meant}'?" in err


def test_an_unknown_command_repeats_what_was_set_aside(site: Path, morlaif: Cli) -> None:
    add_distribution(site, "raises", "1/0\n")
    code, _, err = morlaif("zzzzzz")
    assert code == 2
    assert "morlaif --help" in err
    assert "plugin 'raises' of raises 1.0 was set aside" in err
    with pytest.warns(UserWarning, match="plugin 'raises'"):
        assert morlaif("--help")[0] == 0


def test_an_unknown_option_is_no_command(morlaif: Cli) -> None:
    code, _, err = morlaif("--nonsense")
    assert code == 2
    assert "No such option" in err


def test_a_command_that_two_plugins_offer(site: Path, morlaif: Cli) -> None:
    add_distribution(site, "one", command("say-it", "click.echo('one')"))
    add_distribution(site, "two", command("say_it", "click.echo('two')"))
    assert {"one/say-it", "two/say_it"} <= set(listed(morlaif("--help")[1]))
    assert "say-it" not in listed(morlaif("--help")[1])
    assert morlaif("one/say-it")[:2] == (0, "one\n")
    assert morlaif("two/say-it")[:2] == (0, "two\n")
    code, _, err = morlaif("say-it")
    assert code == 2
    assert "command 'say-it' is offered more than once; say one/say-it or two/say_it" in err


BROKEN = {
    "raises": ("1 / 0", 1, "ZeroDivisionError: division by zero"),
    "leaves": ("__import__('sys').exit(0)", 1, "SystemExit"),
    "unimportable": ("__import__('not_there_at_all')", 1, "No module named 'not_there_at_all'"),
    "nothing": ("None", 1, "it is a NoneType, not a click.Command"),
    "class": ("click.Command", 1, "it is a type, not a click.Command"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_command_that_cannot_be_built_is_told_with_plugin_and_command(
    site: Path, morlaif: Cli, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    expression, expected, cause = BROKEN[name]
    add_distribution(site, name, command("broken", build=expression), version="0.9")
    for arguments in (["broken"], ["broken", "--help"]):
        code, _, err = morlaif(*arguments)
        assert code == expected
        assert f"morlaif: the command 'broken' of plugin '{name}' ({name} 0.9) cannot be built: " in err
        assert cause in err
    assert morlaif("status", "--help")[0] == 0
    monkeypatch.setenv("MORLAIF_STRICT", "1")
    if name in ("raises", "unimportable"):
        with pytest.raises((ZeroDivisionError, ModuleNotFoundError)):
            morlaif("broken")


def test_what_a_plugin_says_is_missing_is_said_as_it_is(site: Path, morlaif: Cli) -> None:
    code = command("pictures", build="absent()") + "from morlaif_core import UserError\n"
    add_distribution(site, "one", code + "def absent():\n    raise UserError('install pens')\n")
    assert morlaif("pictures") == (2, "", "morlaif: install pens\n")


ENDINGS = {
    "done": ("return {'rows': 3}", 0, ""),
    "number": ("return 7", 0, ""),
    "exit": ("click.get_current_context().exit(3)", 3, ""),
    "use": ("raise click.UsageError('say more')", 2, "say more"),
    "user": ("from morlaif_core import UserError\n    raise UserError('too wide')", 2, "morlaif: too wide"),
    "interrupt": ("raise KeyboardInterrupt", 130, "interrupted"),
    "disk": ("open('/proc/nothing/here', 'w')", 1, "No such file"),
}


@pytest.mark.parametrize("name", ENDINGS)
def test_exit_codes_are_the_cores(site: Path, morlaif: Cli, name: str) -> None:
    body, expected, said = ENDINGS[name]
    add_distribution(site, "one", command("end-so", body))
    code, _, err = morlaif("end-so")
    assert code == expected
    assert said in err


def test_a_run_folder_that_another_holds_is_75(site: Path, morlaif: Cli, finished: Path) -> None:
    shutil.copytree(finished, site / "run")
    body = f"from morlaif_core import load_run\n    with load_run({str(site / 'run')!r}).workbench():\n        pass"
    add_distribution(site, "one", command("hold-it", body))
    held = RunFolder.open(site / "run")
    try:
        code, _, err = morlaif("hold-it")
    finally:
        held.close()
    assert code == 75
    assert err.startswith("morlaif: ")
    assert morlaif("hold-it")[0] == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_is_130_without_a_traceback(site: Path, number: signal.Signals) -> None:
    add_distribution(site, "one", command("wait", "print('here', flush=True)\n    import time\n    time.sleep(60)"))
    with fresh(site, "wait") as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "here\n"
        process.send_signal(number)
        out, err = process.communicate(timeout=30)
    assert (process.returncode, out, err.strip()) == (130, "", "interrupted")


def test_a_group_is_a_command_too(site: Path, morlaif: Cli) -> None:
    code = "import click\n" + HEAD + "@click.group(help='Both.')\ndef tools():\n    pass\n"
    code += "@tools.command(help='Left.')\ndef left():\n    click.echo('left')\n"
    offer = "[component('tools', lambda options: tools, NoOptions, 'two tools')]"
    add_distribution(site, "one", code + hook("morlaif_commands", offer))
    assert morlaif("tools", "left")[:2] == (0, "left\n")
    assert listed(morlaif("tools", "--help")[1]) == ["left"]


def test_the_cores_commands_load_no_plugin(site: Path) -> None:
    mark = site / "loaded"
    add_distribution(site, "one", f"open({str(mark)!r}, 'w').close()\n" + command("say-it"))
    for arguments in (["--version"], ["-V"], ["run", "--help"], ["status", "nowhere"]):
        with fresh(site, *arguments) as process:
            process.communicate(timeout=60)
        assert not mark.exists(), arguments
    with fresh(site, "say-it") as process:
        assert process.communicate(timeout=60)[0] == "called\n"
    assert mark.exists()


HEAVY = """
import sys
from morlaif_core.cli.main import cli
cli.main(["--help"], standalone_mode=False)
heavy = {"torch", "transformers", "numpy", "trl", "peft", "datasets", "scipy", "sklearn", "matplotlib", "moocore",
         "PIL", "pandas", "openai", "anthropic", "rich", "morlaif_moderate_heavy"} & set(sys.modules)
assert not heavy, heavy
"""


def test_the_list_of_commands_imports_nothing_heavy(site: Path) -> None:
    install_third_party(site)
    path = os.pathsep.join([str(site), os.environ["PYTHONPATH"]])
    done = subprocess.run(
        [sys.executable, "-c", HEAVY],
        env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "lengths" in done.stdout


def offered(name: str, options: str = "NoOptions", summary: str = "'x'") -> str:
    return HEAD + hook("morlaif_commands", f"[component({name!r}, print, {options}, {summary})]")


REFUSED = {
    "thief": (offered("run"), "command 'run' is one of the core's and its name cannot be taken"),
    "second-thief": (offered("check_judges"), "command 'check_judges' is a built-in name"),
    "options": (
        "from morlaif_core import Options\nclass Mine(Options):\n    pass\n" + offered("mine", "Mine"),
        "the options of command 'mine' are not NoOptions",
    ),
    "summary": (offered("mine", summary="'one\\ntwo'"), "the summary of command 'mine' is more than one line"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_command_is_set_aside_with_the_cause(site: Path, morlaif: Cli, name: str) -> None:
    code, cause = REFUSED[name]
    add_distribution(site, name, code)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        Plugins.load()
    (said,) = [str(item.message) for item in caught if f"plugin '{name}'" in str(item.message)]
    assert cause in said
    assert morlaif("run", "--help")[0] == 0
    assert "[CONFIG]…" in morlaif("run", "--help")[1]


def test_strict_mode_raises_what_is_set_aside(site: Path, morlaif: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    add_distribution(site, "thief", offered("run"))
    monkeypatch.setenv("MORLAIF_STRICT", "1")
    assert morlaif("--help")[0] == 2


def test_a_command_can_be_built_from_a_program(site: Path) -> None:
    install_third_party(site)
    assert isinstance(build("command", "lengths"), click.Command)


def test_errors_at_load_are_the_users_to_mend() -> None:
    with pytest.raises(UserError, match="there is no command 'previw'"):
        Plugins.load().find("command", "previw")
