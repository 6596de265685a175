"""Responses to preview with, kept in RUN/preview/: sampled cell by cell, only what is missing."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from morlaif_core import Prompt, ScoreMatrix, UserError, content_hash, load_run

from ..failed import by_principle, failed_rows
from .stored_responses import CHUNK, FILE, ROUND, Stored, append, append_cell, begin, read_responses

if TYPE_CHECKING:
    from morlaif_core import Workbench

PROMPTS = 200
"""Prompts where the user says nothing."""


@dataclass(frozen=True)
class Wanted:
    """How many responses are wanted.

    Attributes:
        prompts: the first ones of the RL set; None: 200, or all of them where there are fewer.
        responses: of each prompt.
        judged: on how many of the prompts the picks will be judged; None: on none.
    """

    prompts: int | None
    responses: int
    judged: int | None = None

    def count(self, size: int) -> int:
        """How many prompts of a set of this size. Raises `UserError` where there are too few."""
        count = min(PROMPTS, size) if self.prompts is None else self.prompts
        if count > size:
            raise UserError(f"--prompts {count}: the run's RL set has {size}; say --prompts {size} or fewer")
        self.check_judged(count)
        return count

    def check_judged(self, count: int) -> None:
        """Raise `UserError` where more are judged than there are."""
        if self.judged is not None and self.judged > count:
            raise UserError(f"--judge {self.judged}: there are {count} prompts; say --prompts {self.judged}")


@dataclass(frozen=True, eq=False)
class Sampled:
    """m prompts with n scored responses each.

    Attributes:
        prompts: m.
        responses: by prompt, n each.
        scores: calibrated scores (m * n, k), prompt by prompt.
        reference: calibrated scores of the calibration responses.
        fingerprint: of all that responses and scores depend on, the seed among it.
        failed: prompts that were left out since a response had no score; by principle, how many had none.
    """

    prompts: tuple[Prompt, ...]
    responses: tuple[tuple[str, ...], ...]
    scores: ScoreMatrix
    reference: ScoreMatrix
    fingerprint: str
    failed: dict[str, Any]


def sampled(bench: Workbench, folder: Path, wanted: Wanted, seed: int) -> Sampled:
    """Return scored responses of the RL set's first prompts; what is missing is sampled and scored first.

    A prompt with a response whose score failed is left out: best of n needs n.

    Args:
        bench: the run.
        folder: where the files lie; made where it is not there.
        wanted: how many.
        seed: of the sampling.

    Raises:
        UserError: the set has fewer prompts, the run has no preference models, or more than half of the scores failed.
    """
    from .stored_scores import scored

    if wanted.prompts is not None:
        wanted.check_judged(wanted.prompts)
    # The sizes of a cell are part of it: cells of another size would be drawn otherwise.
    key = content_hash("preview", bench.fingerprint, seed, CHUNK, ROUND)
    stored = read_responses(bench, folder / FILE, key, seed)
    names, count = _sample_missing(bench, folder, key, stored, wanted, seed)
    groups = [chunk for chunk, _ in cells(names, count, 1)]
    scores, reference = scored(bench, folder, key, stored, groups, count, wanted.responses)
    rounds = range(ceil(wanted.responses / ROUND))
    answers = [[text for number in rounds for text in stored.responses[name, number]] for name in names[:count]]
    rows, by = failed_rows(scores.values, scores.principles, "responses")
    whole = ~rows.reshape(count, wanted.responses).any(axis=1)
    if not whole.any():
        raise UserError(f"each prompt has a response without a score ({by_principle(by)}); say --responses with fewer")
    scores = scores.take(np.flatnonzero(whole.repeat(wanted.responses)))
    kept = np.flatnonzero(whole).tolist()
    failed = {"prompts": count - len(kept), "principles": by}
    return Sampled(
        tuple(stored.prompts[names[row]] for row in kept),
        tuple(tuple(answers[row][: wanted.responses]) for row in kept),
        scores,
        reference,
        key,
        failed,
    )


def cells(names: Sequence[str], prompts: int, responses: int) -> list[tuple[Sequence[str], int]]:
    """The cells that hold so many prompts of a set and so many responses: the ids of a chunk, and a round."""
    return [
        (names[chunk * CHUNK : (chunk + 1) * CHUNK], number)
        for chunk in range(ceil(prompts / CHUNK))
        for number in range(ceil(responses / ROUND))
    ]


def _sample_missing(
    bench: Workbench, folder: Path, key: str, stored: Stored, wanted: Wanted, seed: int
) -> tuple[Sequence[str], int]:
    """Sample what is missing into what is stored; returns the RL set's ids in their order, and how many are wanted."""
    file = folder / FILE
    names = _known_set(bench, stored.rest)
    if names is not None and (wanted.prompts or 0) <= len(names):
        count = wanted.count(len(names))
        if not _missing(stored, names, count, wanted.responses):
            return names, count  # without reading the prompt set, which would load the target's tokenizer
    prompts = {prompt.id: prompt for prompt in bench.prompts("rl")}
    names = list(prompts)
    count = wanted.count(len(names))
    if stored.refused:
        _set_aside(bench, folder, stored.refused)
    if not file.exists():
        begin(file, key, seed)
    if bench.settings.prompts.rl is None and stored.rest != len(names):
        append(file, {"rest": len(names)})
    missing = _missing(stored, names, count, wanted.responses)
    if not missing:
        return names, count
    bench.say(f"sampling {sum(len(lacking) for lacking, _ in missing) * ROUND:,} responses")
    with bench.bar("sample") as bar:
        for done, (lacking, number) in enumerate(missing, 1):
            asked = [prompts[name] for name in lacking]
            # A seed for each round, so that more responses later are those that would have come at once.
            drawn = bench.sample(asked, n=ROUND, seed=int(content_hash("preview", seed, number)[:8], 16))
            append_cell(file, number, asked, drawn)
            stored.add(number, asked, drawn)
            bar(done, len(missing))
    return names, count


def _known_set(bench: Workbench, rest: int | None) -> Sequence[str] | None:
    """The RL set's ids as the run's manifest has them; None where the settings take more than were drawn.

    A set that grows or shrinks keeps its order: `prompts.rl` prompts are the first ones of the rest.
    """
    drawn: list[str] = load_run(bench.folder).manifest.get("prompt_sets", {}).get("rl", [])
    size = rest if bench.settings.prompts.rl is None else bench.settings.prompts.rl
    return drawn[:size] if size is not None and size <= len(drawn) else None


def _missing(stored: Stored, names: Sequence[str], prompts: int, responses: int) -> list[tuple[list[str], int]]:
    """The cells that are wanted, each with its prompts that have no responses in that round yet."""
    wanted = (
        ([name for name in chunk if (name, number) not in stored.responses], number)
        for chunk, number in cells(names, prompts, responses)
    )
    return [(lacking, number) for lacking, number in wanted if lacking]


def _set_aside(bench: Workbench, folder: Path, why: str) -> None:
    """Move the folder to RUN/replaced/TIME/, where all goes that is made anew."""
    stamp, number = time.strftime("%Y%m%d-%H%M%S"), 1
    away = folder.parent / "replaced" / stamp / folder.name
    while away.exists():
        number += 1
        away = folder.parent / "replaced" / f"{stamp}-{number}" / folder.name
    away.parent.mkdir(parents=True, exist_ok=True)
    folder.replace(away)
    bench.say(f"{folder / FILE} {why}: {folder} moved to {away}")
