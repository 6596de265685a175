"""The command line, thin: parse, call the API, print; errors that a user can cause have no traceback."""

from __future__ import annotations

import os
import signal
import sys
import warnings
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import click

from morlaif_core import __version__
from morlaif_core.errors import RunFailed, UserError, disk_trouble

from .plugin_commands import Commands

INTERRUPTED = 130
_SIGNALS: list[int] = []
"""What has interrupted this process."""
CONFIGS = click.argument("configs", nargs=-1, metavar="[CONFIG]…")
SETS = click.option(
    "--set", "sets", multiple=True, metavar="KEY=VALUE", help="Change one value; VALUE is YAML. Repeatable."
)
JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, "-V", "--version", prog_name="morlaif")
def cli() -> None:
    """From a YAML list of principles to a trained policy: multi-objective RL from AI feedback."""


@cli.command()
@CONFIGS
@SETS
@click.option(
    "--out", type=click.Path(path_type=Path), help="The run folder; by default the run that is named, or runs/CONFIG."
)
@click.option("--until", metavar="STAGE", help="Stop after a stage.")
@click.option("--only", metavar="STAGE", help="Run only this stage; the stages before it must be done.")
@click.option("-q", "--quiet", is_flag=True, help="Print errors alone; log.txt in the run folder has the rest.")
@click.option(
    "-v", "--verbose", is_flag=True, help="Say every second how far a stage is, with all metrics of training."
)
@click.option(
    "--strict", is_flag=True, help="Stop before the policy if a preference model is not shown to be better than chance."
)
def run(
    configs: tuple[str, ...],
    sets: tuple[str, ...],
    out: Path | None,
    until: str | None,
    only: str | None,
    quiet: bool,
    verbose: bool,
    strict: bool,
) -> None:
    """Run the pipeline: sample, judge, train-pms, train-policy, evaluate.

    CONFIG is a file or a shipped name (demo); several layer from left to right. Or it is a run folder (or its
    run.yaml), which goes on with its own configuration. Finished stages whose inputs have not changed are
    skipped. An interrupted run resumes.
    """
    from morlaif_core.api import run_config
    from morlaif_core.runs.named import load_named
    from morlaif_core.runs.processes import ranks
    from morlaif_core.runs.progress import Screen

    from .output import show_results

    config, folder = load_named(configs, sets, out)
    # Of several processes only the first speaks, or each line would stand there several times.
    quiet = quiet or not ranks().first
    screen = Screen(quiet, verbose=verbose and not quiet)
    try:
        done = run_config(config, folder, screen, until, only, strict=strict)
    except BaseException as error:
        if not was_interrupted(error):
            raise
        screen.say(f"\ninterrupted; nothing is lost. Run the same command to resume ({folder})")
        sys.exit(INTERRUPTED)
    show_results(done.results, screen)
    screen.say(f"run folder: {folder}")


@cli.command()
@CONFIGS
@SETS
@click.option("--all", "everything", is_flag=True, help="Show judges and prices that the run does not use, too.")
@JSON
def check(configs: tuple[str, ...], sets: tuple[str, ...], everything: bool, as_json: bool) -> None:
    """Check a configuration, print what the run uses with the origin of each value, and say what it still needs.

    Local data are read, within bounds, and the prompt sets are shown. Exit 1 where a run would stop at its data.
    """
    from morlaif_core.readiness import check_judging, check_reward, needed_before_run
    from morlaif_core.runs.named import load_named
    from morlaif_core.stages.look_at_data import look_at_data

    from .show_config import show_config

    config, _ = load_named(configs, sets)
    check_judging(config)
    notes = check_reward(config)
    data = look_at_data(config)
    show_config(config, notes, needed_before_run(config), data, everything=everything, as_json=as_json)
    if data is not None and data.problem:
        raise RunFailed(f"not ready to run: {data.problem}")


@cli.command()
@click.argument("file", type=click.Path(path_type=Path), default=Path("morlaif.yaml"))
@click.option("--from", "source", default="demo", show_default=True, metavar="NAME", help="A shipped configuration.")
def init(file: Path, source: str) -> None:
    """Write a commented configuration to start from."""
    from morlaif_core.config.load import find_config
    from morlaif_core.runs.folder import write_text

    # A folder without files, so that only shipped names are found.
    shipped, _ = find_config(source, Path("/nonexistent"))
    if file.exists():
        raise UserError(f"{file} already exists; name another file")
    write_text(file, shipped.read_text(encoding="utf-8"))
    click.echo(f"wrote {file}; run it with: morlaif run {file}")


@cli.command()
@click.argument("run", nargs=-1, required=True, metavar="RUN|CONFIG…")
@JSON
def status(run: tuple[str, ...], as_json: bool) -> None:
    """Say which stages of a run are done, how far it is, whether its process lives, and its numbers so far.

    RUN is a run folder or its run.yaml; a CONFIG stands for the run in runs/CONFIG.
    """
    from morlaif_core.api import load_run
    from morlaif_core.config.prices import is_missed
    from morlaif_core.runs.named import find_run
    from morlaif_core.runs.tables import print_json

    from .output import show_status
    from .under_way import under_way

    done = load_run(find_run(*run))
    results, missed = done.results, True
    with suppress(UserError):  # a run without a configuration yet, or one that cannot be read here any more
        results = results | done.spent()
        missed = is_missed(done.context().config)
    manifest = done.manifest
    now = under_way(done.folder, manifest)
    if as_json:
        print_json({"stages": manifest.get("stages", {}), **now.as_json(), "results": results})
    else:
        show_status(manifest, results, now, missed)


@cli.command()
@JSON
def plugins(as_json: bool) -> None:
    """List what installed plugins offer, and which are set aside and why."""
    from morlaif_core.plugins.manager import Plugins

    from .output import show_plugins

    with warnings.catch_warnings():
        # The list itself says what is set aside.
        warnings.simplefilter("ignore")
        show_plugins(Plugins.load(), as_json)


@cli.command()
@click.argument("name", required=False)
@JSON
def principles(name: str | None, as_json: bool) -> None:
    """List the principles; with a NAME, show the question as a judge gets it."""
    from morlaif_core.config.principles import known_principles, pick_principles
    from morlaif_core.plugins.manager import Plugins

    from .output import show_principle, show_principles

    known = known_principles(Plugins.load())
    if name is None:
        show_principles(known, as_json)
    else:
        (principle,) = pick_principles([name], known)
        show_principle(next(item for item in known.values() if item.principle is principle), as_json)


def main() -> None:
    """Run the command line and exit: 0 done, 1 failed, 2 wrong use, 75 busy, 130 interrupted."""
    warnings.formatwarning = _plain_warning
    if not sys.stderr.isatty():
        # Bars of the libraries are as unreadable in a log as ours would be.
        os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    # Both alike: a batch system ends a job by SIGTERM, and it goes on by the same command.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _interrupt)
    # standalone_mode off: click would print errors and choose exit codes by itself.
    sys.exit(guarded(lambda: cli(standalone_mode=False)))


def guarded(call: Callable[[], Any]) -> int:
    """Call, print what a user can cause without a traceback, and return the exit code."""
    try:
        return int(call() or 0)
    except BaseException as error:
        if was_interrupted(error):
            click.echo("interrupted", err=True)
            return INTERRUPTED
        return _exit_code(error)


def was_interrupted(error: BaseException) -> bool:
    """Say whether an error comes of Ctrl-C or SIGTERM.

    A library whose import or loading is interrupted may turn the interruption into an error of its own.
    """
    return isinstance(error, (KeyboardInterrupt, click.Abort)) or (bool(_SIGNALS) and isinstance(error, Exception))


def _exit_code(error: BaseException) -> int:
    """Print an error that a user can cause and return its exit code; raise any other."""
    from morlaif_core.redaction import redact

    if isinstance(error, click.exceptions.Exit):
        return error.exit_code
    if isinstance(error, click.ClickException):
        error.show()
        return error.exit_code
    if isinstance(error, UserError):
        click.echo(f"morlaif: {redact(str(error))}", err=True)
        return error.exit_code
    if isinstance(error, BrokenPipeError):
        # Who read our output left. Python would complain once more when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    trouble = disk_trouble(error) if isinstance(error, Exception) else None
    if trouble is None or os.environ.get("MORLAIF_STRICT") == "1":
        raise error
    advice = "everything committed is kept; fix this (free some space?), then run the same command"
    click.echo(f"morlaif: {redact(trouble)}; {advice}", err=True)
    return 1


def _interrupt(number: int, frame: Any) -> None:
    """SIGTERM ends a run as Ctrl-C does."""
    # Kept, since a library may catch the KeyboardInterrupt and raise an error of its own.
    _SIGNALS.append(number)
    if _is_imported_now("torch"):
        # In the part of its import that is C++, an exception aborts the process with a dump: soon, then.
        signal.signal(signal.SIGALRM, lambda again, frame: _interrupt(number, frame))
        signal.setitimer(signal.ITIMER_REAL, 0.1)
        return
    raise KeyboardInterrupt


def _is_imported_now(name: str) -> bool:
    spec = getattr(sys.modules.get(name), "__spec__", None)
    return bool(getattr(spec, "_initializing", False))


def _plain_warning(message: Any, category: Any, filename: str, lineno: int, line: str | None = None) -> str:
    """A warning as one line, without the source line that caused it."""
    return f"warning: {message}\n"


if __name__ == "__main__":
    main()
