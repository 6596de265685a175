"""Picks against an ordinary response, judged by the run's judges."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from morlaif_core import ResponsePair, UserError, make_pair, mean_figure

if TYPE_CHECKING:
    from morlaif_core import Ints, Workbench

    from .samples import Sampled


def check_judges(bench: Workbench) -> None:
    """Raise `UserError` where nobody can be asked, or the judges lack what they need."""
    if not bench.judged_principles:
        raise UserError("--judge: people judge every principle of this run, so there is no judge to ask")
    # Asks nothing, but makes the judges, and so tells what they lack.
    bench.judge(())


def judge_picks(
    bench: Workbench, found: Sampled, picked: Mapping[str, Ints], count: int
) -> dict[str, dict[str, dict[str, Any]]]:
    """Return the judge score of each choice: mean P(pick preferred to the prompt's first response).

    Args:
        bench: the run; its judges and budget.
        found: prompts and responses.
        picked: by choice, which response of each prompt (m,).
        count: on how many of the prompts, the first ones.

    Returns:
        by choice and judged principle: mean, ci95, n (Student's interval over prompts); a pick that is the first response
        counts 0.5. Null where no prompt has a label.

    Raises:
        UserError: the judges could not finish.
    """
    asked = [principle.name for principle in bench.judged_principles]
    pairs = {
        name: [
            # The first response is drawn like any other and chosen by nobody: an ordinary one.
            make_pair(prompt, responses[index], responses[0])
            for prompt, responses, index in list(zip(found.prompts, found.responses, picks, strict=True))[:count]
        ]
        for name, picks in picked.items()
    }
    distinct = {pair.id: pair for row in pairs.values() for pair in row if not pair.identical}
    bench.say(
        f"judging {len(distinct):,} pairs under {len(asked)} principles: at most "
        f"{len(distinct) * requests_a_pair(bench, asked):,} requests; what the ledger holds is not asked again"
    )
    labels = bench.judge(list(distinct.values()))
    return {
        name: {principle: _measured([_label(pair, principle, labels) for pair in row]) for principle in asked}
        for name, row in pairs.items()
    }


def requests_a_pair(bench: Workbench, principles: Iterable[str]) -> int:
    """Return how many requests a pair takes at most under these principles, members of a panel among them."""
    total = 0
    for principle in principles:
        for judge in bench.settings.singles_of(bench.settings.judge_of(principle)):
            judging = bench.settings.judging_of(judge)
            total += (2 if judging.orders == "both" else 1) * judging.samples
    return total


def _label(pair: ResponsePair, principle: str, labels: Mapping[tuple[str, str], float | None]) -> float | None:
    return 0.5 if pair.identical else labels.get((pair.id, principle))


def _measured(labels: list[float | None]) -> dict[str, Any]:
    """Mean and interval of the labels that are there."""
    known = np.array([label for label in labels if label is not None], dtype=np.float64)
    if not len(known):
        return {"mean": None, "ci95": None, "n": 0}
    # Prompts that do not differ, ties for example, say nothing of their spread.
    figure = mean_figure(known, np.arange(len(known)), within=(0, 1))
    return {"mean": figure.mean, "ci95": figure.ci95 if np.ptp(known) else None, "n": len(known)}
