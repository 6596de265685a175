"""Stage judge: every pair under every principle, asked of that principle's judge; ledger and preferences.jsonl."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import RunFailed
from ..principles import principle_hash
from ..settings import HUMAN_JUDGE
from ..store import read_jsonl, write_jsonl
from ..types import Preference, Principle, ResponsePair, content_hash
from .context import Context, stable
from .pairs import StoredPair, read_pairs

if TYPE_CHECKING:
    from ..feedback.judging import NamedJudge, Verdict

NAME = "judge"
FILE = "preferences.jsonl"
OUTPUTS = (FILE,)
RESULTS = ("judge",)


def inputs(context: Context) -> dict[str, Any]:
    """What this stage reads."""
    judges = sorted({context.settings.judge_of(item.name) for item in context.config.principles})
    asked = {
        item.name: [context.settings.judge_of(item.name), principle_hash(item)] for item in context.config.principles
    }
    found = {name: judge_identity(context, name) for name in judges}
    return {"seed": context.settings.seed_of("judge"), "principles": asked, "judges": found}


def judge_identity(context: Context, judge: str) -> Any:
    """All of a judge's configuration that a verdict depends on."""
    if judge == HUMAN_JUDGE:
        return HUMAN_JUDGE
    block = context.config.judge_block(judge)
    options = context.plugins.options("feedback_provider", block)
    return [block["use"], stable(options), context.settings.judging_of(judge).orders]


def run(context: Context) -> str:
    """Judge all pairs but the evaluation's; what the ledger holds is not asked again, but for requests that failed."""
    from ..feedback.statistics import judge_statistics

    pairs = distinct(item.pair for item in read_pairs(context.path) if item.set != "evaluation")
    verdicts = judge_pairs(context, pairs, judged_principles(context), NAME)
    write_jsonl(context.path / FILE, _rows(verdicts))
    context.write_results(judge=_in_order(context, judge_statistics(verdicts, pairs)))
    context.unfinished = sum(verdict.status == "failed" for verdict in verdicts)
    _check_labels(context, verdicts)
    ties = sum(verdict.status == "tie" for verdict in verdicts)
    unlabelled = sum(verdict.p_a is None for verdict in verdicts)
    return f"{len(verdicts):,} verdicts, {ties:,} ties, {unlabelled:,} without a label{_why(context)}"


def distinct(pairs: Iterable[ResponsePair]) -> list[ResponsePair]:
    """Pairs whose responses differ, each once; equal responses are a tie without asking."""
    return list({pair.id: pair for pair in pairs if pair.a != pair.b}.values())


def _check_labels(context: Context, verdicts: Sequence[Verdict]) -> None:
    """A principle whose every request failed stops the run with the reason, before models learn from nothing."""
    labelled = {verdict.principle for verdict in verdicts if verdict.p_a is not None}
    failed = sorted({verdict.principle for verdict in verdicts if verdict.status == "failed"} - labelled)
    if failed:
        raise RunFailed(
            f"the judge gave no label under {', '.join(failed)}{_why(context)}; mend it, then run the same command"
        )


def _why(context: Context) -> str:
    """How many requests failed, with the commonest reason."""
    if not context.unfinished:
        return ""
    from ..feedback.ledger import commonest_error

    ledgers = {context.settings.judging_of(name).ledger for name in context.settings.judges}
    files = [Path(ledger) if ledger else context.path / "judgements.sqlite" for ledger in ledgers]
    reasons = [reason for reason in map(commonest_error, files) if reason]
    return (
        f"; {context.unfinished:,} failed and are asked again by the next run{''.join(f' ({r})' for r in reasons[:1])}"
    )


def judged_principles(context: Context) -> list[Principle]:
    """The active principles that a provider judges."""
    return [item for item in context.config.principles if context.settings.judge_of(item.name) != HUMAN_JUDGE]


def judge_pairs(
    context: Context,
    pairs: Sequence[ResponsePair],
    principles: Sequence[Principle],
    label: str,
    judge: str | None = None,
) -> list[Verdict]:
    """Ask the judges about each pair under each principle. judge: one for all, in place of each principle's own."""
    from ..feedback.judging import Task, judge_tasks

    tasks = [Task(pair, item, judge or context.settings.judge_of(item.name)) for pair in pairs for item in principles]
    judges = {name: _named_judge(context, name) for name in {task.judge for task in tasks}}
    with context.screen.bar(label) as bar:
        return judge_tasks(
            tasks,
            judges,
            ledger=context.path / "judgements.sqlite",
            seed=context.settings.seed_of("judge"),
            progress=lambda done, total: bar(done, total) and None,
        )


def _named_judge(context: Context, name: str) -> NamedJudge:
    from ..feedback.judging import NamedJudge

    block = context.config.judge_block(name)
    return NamedJudge(
        name, lambda: context.plugins.build("feedback_provider", block), context.settings.judging_of(name)
    )


def _rows(verdicts: Iterable[Verdict]) -> list[dict[str, Any]]:
    """The labelled verdicts, sorted by pair, then principle, each once."""
    labelled = {(item.pair, item.principle): item for item in verdicts if item.p_a is not None}
    return [
        {"pair": item.pair, "principle": item.principle, "p_a": item.p_a, "status": item.status}
        for _, item in sorted(labelled.items())
    ]


def _in_order(context: Context, statistics: dict[str, Any]) -> dict[str, Any]:
    """Blocks in the order of the principles; a human-judged one has none of a judge's numbers."""
    human = {"n": None, "notes": {"n": "the data set's own labels: nobody was asked"}}
    return {item.name: statistics.get(item.name, human) for item in context.config.principles}


def read_labels(run: Path) -> dict[str, dict[str, tuple[float, str]]]:
    """preferences.jsonl as principle -> pair id -> (p_a, status)."""
    labels: dict[str, dict[str, tuple[float, str]]] = {}
    for row in read_jsonl(run / FILE):
        labels.setdefault(row["principle"], {})[row["pair"]] = (row["p_a"], row["status"])
    return labels


def labelled(
    stored: Sequence[StoredPair], labels: dict[str, tuple[float, str]], sets: Sequence[str], ties: str
) -> list[Preference]:
    """The labelled pairs of some prompt sets as preferences. ties: half or drop."""
    found = []
    for item in stored:
        if item.set in sets and item.pair.id in labels:
            p_a, status = labels[item.pair.id]
            if not (status == "tie" and ties == "drop"):
                found.append(Preference(item.pair.prompt, item.pair.a, item.pair.b, p_a))
    return found


def labels_hash(preferences: Sequence[Preference]) -> str:
    """A hash of what a preference model learns from."""
    return content_hash([(item.prompt.id, item.a, item.b, item.p_a) for item in preferences])
