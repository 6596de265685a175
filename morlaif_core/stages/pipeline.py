"""The pipeline: which stages a run needs, which are done, which are made anew and why."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from morlaif_core.config.prices import unpriced
from morlaif_core.config.resolved import resolved_values
from morlaif_core.errors import RunFailed, UserError, did_you_mean, needed
from morlaif_core.feedback.ledger.spending import spent_by
from morlaif_core.runs.folder import write_json, write_text
from morlaif_core.runs.named import own_config
from morlaif_core.types import content_hash

from . import evaluate, judge, sample, train_pms, train_policy
from .context import Context
from .longer import goes_on
from .pm_accuracy import at_chance


@dataclass(frozen=True)
class Stage:
    """A stage as its module describes it."""

    name: str
    inputs: Callable[[Context], dict[str, Any]]
    run: Callable[[Context], str]
    outputs: tuple[str, ...]
    results: tuple[str, ...]


STAGES = tuple(
    Stage(module.NAME, module.inputs, module.run, module.OUTPUTS, module.RESULTS)
    for module in (sample, judge, train_pms, train_policy, evaluate)
)


def stage_named(name: str) -> Stage:
    """Look a stage up; ``_`` is the same as ``-``. Raises `UserError`."""
    names = [stage.name for stage in STAGES]
    found = next((stage for stage in STAGES if stage.name == name.replace("_", "-")), None)
    if found is None:
        raise UserError(f"there is no stage '{name}'.{did_you_mean(name, names)} Stages: {', '.join(names)}")
    return found


def last_stage(until: str | None, only: str | None) -> int:
    """The place of the last stage that is asked for. Raises `UserError`."""
    if until and only:
        raise UserError("--until and --only exclude each other")
    return STAGES.index(stage_named(until or only or STAGES[-1].name))


def run_pipeline(
    context: Context,
    until: str | None = None,
    only: str | None = None,
    missing: Sequence[str] = (),
    *,
    strict: bool = False,
) -> None:
    """Run every stage that is not done, up to ``until``, or one alone.

    missing: what a run needs from outside and lacks; nothing is begun then. strict: stop before the policy where a
    preference model of the reward is not shown to be better than chance. Raises `UserError`.
    """
    prints = _fingerprints(context)
    stages = _asked(until, only)
    if only:
        _require_upstream(context, STAGES[: STAGES.index(stages[0])], prints)
    todo = [stage for stage in stages if not _done(context, stage, prints)]
    if todo and missing:
        raise needed("this run", list(missing))
    if any(_is_of_other_settings(context, stage, prints) for stage in todo):
        sample.check(context)  # before what was made of other settings moves away
    _announce(context, stages, todo, prints)
    _make_way(context, todo, prints)
    _keep_settings(context, stages, todo, prints)
    strict = strict and STAGES.index(stages[-1]) >= STAGES.index(stage_named(train_pms.NAME))
    for stage in stages:
        # Looked at anew: what a stage asked again may have made those behind it out of date.
        if not _done(context, stage, prints):
            if strict:
                _stop_at_chance(context, prints)
            _run_stage(context, stage, prints[stage.name])
    if strict:
        _stop_at_chance(context, prints)


def _stop_at_chance(context: Context, prints: dict[str, dict[str, Any]]) -> None:
    """Raise `RunFailed` where trained preference models that count in the reward are not shown to be better than chance."""
    if not _done(context, stage_named(train_pms.NAME), prints):
        return  # the numbers that are there, if any, are of other settings
    counted = [name for name, terms in context.settings.principles.items() if terms.weight > 0]
    chance = at_chance(context.folder.section("results").get("preference_models", {}), counted)
    if chance:
        raise RunFailed(f"--strict: {chance}; or give such a principle weight 0, or run without --strict")


def _keep_settings(
    context: Context, stages: Sequence[Stage], todo: Sequence[Stage], prints: dict[str, dict[str, Any]]
) -> None:
    """Write run.yaml. Where nothing that is asked for changes, commands that look at the run still get its settings.

    Not where a stage that stays was done with others: run.yaml says what everything that is there was made of.
    """
    file, text = context.path / "run.yaml", run_yaml(context)
    if file.exists() and file.read_bytes() == text.encode():
        return
    if file.exists() and _says_the_same(context, text):
        write_text(file, text)
        return
    stays = [stage.name for stage in STAGES if stage not in stages and _is_of_other_settings(context, stage, prints)]
    if stays and file.exists():
        context.screen.say(f"the changed settings are not kept: {stays[0]} was done with others; run it to use them")
        return
    if not todo:
        context.screen.say("run.yaml now has the changed settings, for the next stages")
    write_text(file, text)


def _make_way(context: Context, todo: Sequence[Stage], prints: dict[str, dict[str, Any]]) -> None:
    """Move away what was made of other settings, and all behind it, while run.yaml still says of which."""
    first = next((stage for stage in todo if _is_of_other_settings(context, stage, prints)), None)
    if first is None:
        return
    start, record = STAGES.index(first), _record(context, first)
    if first.name == train_policy.NAME and goes_on(context, record["inputs"], prints[first.name]):
        record |= {"inputs": prints[first.name], "state": "started"}
        start += 1
    _drop(context, STAGES[start:])


def _is_of_other_settings(context: Context, stage: Stage, prints: dict[str, dict[str, Any]]) -> bool:
    record = _record(context, stage)
    return record.get("state") in ("started", "done") and record.get("inputs") != prints[stage.name]


def is_finished(context: Context, until: str | None = None, only: str | None = None) -> bool:
    """Whether every stage that is asked for is done with these settings: `run_pipeline` would do nothing."""
    prints = _fingerprints(context)
    return all(_done(context, stage, prints) for stage in _asked(until, only))


def _asked(until: str | None, only: str | None) -> list[Stage]:
    last = last_stage(until, only)
    return [STAGES[last]] if only else list(STAGES[: last + 1])


def _fingerprints(context: Context) -> dict[str, dict[str, Any]]:
    """Every stage's inputs, those of the stages before it in a hash. Leaves out: versions of libraries and of this code, as
    an update should not make a paid-for run anew; the manifest names them."""
    found: dict[str, dict[str, Any]] = {}
    upstream = ""
    for stage in STAGES:
        inputs = stage.inputs(context)
        # Hash single values, so that the manifest says which one changed without repeating the configuration.
        found[stage.name] = {key: content_hash(value) for key, value in inputs.items()}
        if upstream:
            found[stage.name]["the stage before"] = upstream
        upstream = content_hash(found[stage.name])
    return found


def _record(context: Context, stage: Stage) -> dict[str, Any]:
    record: dict[str, Any] = context.folder.section("stages").get(stage.name, {})
    return record


def _done(context: Context, stage: Stage, prints: dict[str, dict[str, Any]]) -> bool:
    record = _record(context, stage)
    # A hidden output is a stage's note to itself, of use only while it is not done.
    whole = all((context.path / name).exists() for name in stage.outputs if not name.startswith("."))
    same = record.get("state") == "done" and record.get("inputs") == prints[stage.name]
    return whole and same and not record.get("failed")


def _require_upstream(context: Context, before: Sequence[Stage], prints: dict[str, dict[str, Any]]) -> None:
    missing = [stage.name for stage in before if not _done(context, stage, prints)]
    if missing:
        raise UserError(
            f"--only needs all earlier stages to be done with these settings; run `--until {missing[-1]}` first"
        )


def _announce(
    context: Context, stages: Sequence[Stage], todo: Sequence[Stage], prints: dict[str, dict[str, Any]]
) -> None:
    """Say what will happen before it happens."""
    if not todo:
        context.screen.say(f"{context.path}: every stage is done and no setting has changed; nothing to do")
        return
    skipped = [stage.name for stage in stages if stage not in todo]
    if skipped:
        context.screen.say(f"already done: {', '.join(skipped)}")
    for stage in todo:
        failed = _record(context, stage).get("failed")
        if failed:
            context.screen.say(f"{stage.name}: {failed:,} judgements failed; they are asked again")
        old = _record(context, stage).get("inputs")
        if old and old != prints[stage.name]:
            new = prints[stage.name]
            changed = sorted(key for key in {*old, *new} if old.get(key) != new.get(key))
            context.screen.say(f"{stage.name} runs again (changed: {', '.join(changed)})")


def _run_stage(context: Context, stage: Stage, inputs: dict[str, Any]) -> None:
    """Run one stage; its state, inputs and seconds go into the manifest whatever happens."""
    stages = context.folder.section("stages")
    record = _record(context, stage)
    known = record.get("state") in ("started", "done") and record.get("inputs") == inputs
    if not known:
        # Files that nobody knows of: a kill left them half moved, or another state of the run was put back.
        if record or any((context.path / name).exists() for name in stage.outputs):
            _drop(context, STAGES[STAGES.index(stage) :])
        record = {}
    seconds = float(record.get("seconds", 0.0))
    # What those behind it were made of: it outlives a kill of a stage that asks again.
    made_before = record.get("made")
    kept = {"failed": record.get("failed", 0), "made": made_before}
    stages[stage.name] = {"state": "started", "inputs": inputs, "seconds": seconds, **kept}
    context.folder.save()
    context.screen.say(f"{stage.name} …")
    start = time.monotonic()
    context.unfinished = 0
    try:
        summary = stage.run(context)
        made = _content(context, stage)
        stages[stage.name].update(state="done", failed=context.unfinished, made=made)
        # Asked again with the same settings: what stands behind stays, unless the answers changed something.
        if made_before not in (None, made):
            _drop(context, STAGES[STAGES.index(stage) + 1 :])
    # Also after an interruption: the time was spent, and the next start adds to it.
    finally:
        context.release()
        seconds += time.monotonic() - start
        stages[stage.name]["seconds"] = round(seconds, 1)
        context.folder.save()
    everything = context.folder.section("results").get("seconds", {})
    context.folder.section("results").pop("notes", None)
    context.write_results(seconds={**everything, stage.name: round(seconds, 1)}, **cost(context))
    context.screen.say(f"{stage.name}: {summary} ({seconds:.0f} s)")


def cost(context: Context) -> dict[str, Any]:
    """What the run has spent on its judges so far, for results.json: null where a price is not known, and why."""
    unknown = list(unpriced(context.config).values())
    if unknown:
        return {"cost_usd": None, "notes": {"cost_usd": "; ".join(unknown)}}
    return {"cost_usd": spent_by(context.run_id, context.judges.ledgers).usd}


def _content(context: Context, stage: Stage) -> str:
    """A hash of a stage's files, to see whether asking again changed anything."""
    files = [context.path / name for name in stage.outputs]
    return content_hash([hashlib.sha256(file.read_bytes()).hexdigest() for file in files if file.is_file()])


def _drop(context: Context, behind: Sequence[Stage]) -> None:
    """Move what stages made to ``replaced/``, and take their numbers out of the results."""
    results = context.folder.section("results")
    for item in behind:
        for block in item.results:
            results.pop(block, None)
        results.get("seconds", {}).pop(item.name, None)
        if item.name in context.folder.section("stages"):
            context.folder.section("stages")[item.name]["state"] = "replaced"
    if STAGES[0] in behind:
        # They belong to the pairs: with other settings other prompts and another model are right.
        context.folder.manifest.pop("prompt_sets", None)
        context.folder.manifest.pop("models", None)
    # The manifest first: what a kill leaves half moved is then not taken for done, whatever is run next.
    context.folder.save()
    write_json(context.path / "results.json", results)
    context.replace([name for item in behind for name in item.outputs])


def run_yaml(context: Context) -> str:
    """The resolved configuration as YAML that can be run again: see `resolved_values`."""
    import yaml

    text: str = yaml.safe_dump(resolved_values(context.config), sort_keys=False, allow_unicode=True, width=120)
    return (
        "# Every setting of this run, those that nobody set too; `morlaif run FOLDER` goes on with it, and "
        "`morlaif run FILE --out NEW` begins another.\n" + text
    )


def _says_the_same(context: Context, text: str) -> bool:
    """Whether the run.yaml, as an earlier version wrote it, resolves to this text."""
    try:
        config = own_config(context.path)
    except UserError:
        return False
    return run_yaml(Context(config, context.folder, context.screen)) == text
