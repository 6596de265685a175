"""Stage judge: every pair under every principle, asked of that principle's judge; ledger and preferences.jsonl."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from morlaif_core.config.pm_groups import learns
from morlaif_core.config.principles import principle_hash
from morlaif_core.config.settings import HUMAN_JUDGE
from morlaif_core.errors import RunFailed
from morlaif_core.feedback.answers.panels_and_cascades import incomplete
from morlaif_core.feedback.ledger.ledger import commonest_error
from morlaif_core.feedback.types import Task, Verdict
from morlaif_core.runs.folder import read_jsonl, write_jsonl
from morlaif_core.types import Preference, Principle, ResponsePair, content_hash, distinct_pairs, ended

from .context import Context
from .pairs import StoredPair, read_pairs

NAME = "judge"
FILE = "preferences.jsonl"
OUTPUTS = (FILE,)
RESULTS = ("judge",)
HUMAN = "the data set's own labels: nobody was asked"
UNLABELLED = ("refused", "filtered", "off_label", "parse_error", "failed")
"""Statuses of pairs that lack a label which they should have; "does not apply" is none of them."""


def inputs(context: Context) -> dict[str, Any]:
    """What this stage reads."""
    given = given_principles(context)
    learned = [item for item in context.config.principles if item.name not in given]
    judges = sorted({context.settings.judge_of(item.name) for item in learned})
    asked: dict[str, Any] = dict.fromkeys(given)
    asked |= {item.name: [context.settings.judge_of(item.name), principle_hash(item)] for item in learned}
    found = {name: context.judges.identity(name) for name in judges}
    return {"seed": context.settings.seed_of("judge"), "principles": asked, "judges": found}


def given_principles(context: Context) -> list[str]:
    """The active principles whose scores are given, not learned from labels; those that people judge have some all the
    same, which measure them."""
    settings, names = context.settings, (item.name for item in context.config.principles)
    return [name for name in names if settings.judge_of(name) != HUMAN_JUDGE and not learns(context.config, name)]


def run(context: Context) -> str:
    """Judge all pairs but the evaluation's; what the ledger holds is not asked again, but for requests that failed."""
    from morlaif_core.feedback.statistics.judge_statistics import judge_statistics

    # The evaluation's pairs are judged once, with the trained policy's, by its stage.
    pairs = distinct_pairs(item.pair for item in read_pairs(context.path) if item.set != "evaluation")
    verdicts = judge_pairs(context, pairs, context.judges.learned, NAME)
    write_jsonl(context.path / FILE, _rows(verdicts))
    blocks = judge_statistics(verdicts, pairs)
    for name, block in blocks.items():
        note_unlabelled(block, [item for item in verdicts if item.principle == name])
    context.write_results(judge=_in_order(context, blocks))
    context.unfinished = unfinished(verdicts)
    # Last: the figures that show what is wrong are written before it raises.
    _check_labels(context, verdicts)
    return "; ".join([f"{_summary(verdicts)}{_why(context)}", *few_labels(blocks)])


def unfinished(verdicts: Iterable[Verdict]) -> int:
    """How many verdicts lack answers that the next run asks for again: their own, or those of a panel's members."""
    return sum(map(incomplete, verdicts))


def note_unlabelled(block: dict[str, Any], verdicts: Sequence[Verdict]) -> None:
    """Say in a principle's notes which verdicts are not what they seem: what does not apply, and short panels."""
    found = {}
    off = sum(verdict.status == "not_applicable" for verdict in verdicts)
    if off:
        found["not_applicable"] = (
            f"{off:,} of {len(verdicts):,} verdicts say that the principle does not apply; these pairs are left out"
        )
    short = sum(map(_is_short, verdicts))
    if short:
        found["short"] = f"{short:,} labels lack a panel's member that failed; it is asked again by the next run"
    if found:
        block["notes"] = {**block.get("notes", {}), **found}


def few_labels(blocks: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Name the principles of which less than half of the pairs that they apply to have a label, and what the others have.

    blocks: the `judge` block of results.json.
    """
    said = []
    for name, block in blocks.items():
        without = {status: block[status] for status in UNLABELLED if block.get(status)}
        labels = (block.get("ok") or 0) + (block.get("ties") or 0)
        if labels < sum(without.values()):
            counts = ", ".join(f"{count:,} {status}" for status, count in without.items())
            said.append(f"{name} has few labels: {labels:,} of {labels + sum(without.values()):,} pairs ({counts})")
    return said


def _is_short(verdict: Verdict) -> bool:
    return verdict.p_a is not None and incomplete(verdict)


def _summary(verdicts: Sequence[Verdict]) -> str:
    ties = sum(verdict.status == "tie" for verdict in verdicts)
    off = sum(verdict.status == "not_applicable" for verdict in verdicts)
    unlabelled = sum(verdict.p_a is None for verdict in verdicts) - off
    short = sum(map(_is_short, verdicts))
    parts = [f"{len(verdicts):,} verdicts", f"{ties:,} ties", f"{unlabelled:,} without a label"]
    parts += [f"{off:,} not applicable"] if off else []
    parts += [f"{short:,} panel labels without one member"] if short else []
    return ", ".join(parts)


def _check_labels(context: Context, verdicts: Sequence[Verdict]) -> None:
    """A principle without any label stops the run with the reason, before models learn from nothing."""
    without: dict[str, Counter[str]] = {}
    for verdict in verdicts:
        if verdict.p_a is None and verdict.status in UNLABELLED:
            without.setdefault(verdict.principle, Counter())[verdict.status] += 1
    labelled = {verdict.principle for verdict in verdicts if verdict.p_a is not None}
    bare = [
        f"{name} ({', '.join(f'{count:,} {status}' for status, count in counts.most_common())})"
        for name, counts in sorted(without.items())
        if name not in labelled
    ]
    if bare:
        raise RunFailed(
            f"the judge gave no label under {', '.join(bare)}{_why(context)}; fix this, then run the same command"
        )


def _why(context: Context) -> str:
    """How many requests failed, with the commonest reason."""
    if not context.unfinished:
        return ""
    reasons = [reason for reason in map(commonest_error, context.judges.ledgers) if reason]
    return f"; {context.unfinished:,} failed; the next run asks them again{''.join(f' ({r})' for r in reasons[:1])}"


def judge_pairs(
    context: Context,
    pairs: Sequence[ResponsePair],
    principles: Sequence[Principle],
    label: str,
    judge: str | None = None,
) -> list[Verdict]:
    """Ask the judges about each pair under each principle. judge: one for all, in place of each principle's own."""
    tasks = [Task(pair, item, judge or context.settings.judge_of(item.name)) for pair in pairs for item in principles]
    with context.screen.bar(label, "requests") as bar:
        return context.judges.ask(tasks, bar.judged)


def _rows(verdicts: Iterable[Verdict]) -> list[dict[str, Any]]:
    """The labelled verdicts, sorted by pair, then principle, each once."""
    # Sorted, so that the file has the same bytes however often judging was interrupted.
    labelled = {(item.pair, item.principle): item for item in verdicts if item.p_a is not None}
    return [
        {"pair": item.pair, "principle": item.principle, "p_a": item.p_a, "status": item.status}
        for _, item in sorted(labelled.items())
    ]


def _in_order(context: Context, statistics: dict[str, Any]) -> dict[str, Any]:
    """Blocks in the order of the principles; one that no judge labels has none of its numbers."""
    given, found = given_principles(context), {}
    for item in context.config.principles:
        why = "its scores are given: no pair was judged" if item.name in given else HUMAN
        found[item.name] = statistics.get(item.name, {"n": None, "notes": {"n": why}})
    return found


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
    rows = [(item.prompt.id, item.a, item.b, item.p_a) for item in preferences]
    whole = [(ended(item.a), ended(item.b)) for item in preferences]
    # A response that was cut off is read without its closing token. Where all ended, the hash is that of earlier runs.
    return content_hash(rows) if all(map(all, whole)) else content_hash(rows, whole)
