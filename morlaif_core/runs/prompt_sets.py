"""Disjoint sets of prompts, drawn by hash: PM training, PM validation, calibration, RL, evaluation.

Each set begins in a region of its own, by another hash of the prompt: while it fits there, its size moves no other set.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from morlaif_core.config.settings import AUTO, PromptSettings
from morlaif_core.errors import UserError
from morlaif_core.types import Prompt, content_hash

SETS = ("pm", "validation", "calibration", "rl", "evaluation")
PAIR_SETS = ("pm", "validation", "calibration")
"""The sets whose prompts get pairs in the stage sample."""
REGIONS = {"pm": 0.45, "validation": 0.1, "calibration": 0.1, "rl": 0.35}
"""Shares of the training split. A set that is larger goes on in what the others leave over."""
MOST = {"pm": 2000, "calibration": 200, "evaluation": 200}
"""The most prompts that `auto` gives a set."""
SHARES = {"pm": 5, "calibration": 1, "rl": 4}
"""How those sets of the training split whose counts are not given share what the others leave."""


@dataclass(frozen=True)
class PromptSets:
    """Prompts by set, and why how many were left out."""

    sets: dict[str, tuple[Prompt, ...]]
    left_out: dict[str, int]

    def ids(self) -> dict[str, list[str]]:
        """Prompt ids by set, for the manifest."""
        return {name: [prompt.id for prompt in prompts] for name, prompts in self.sets.items()}


def draw_prompt_sets(
    train: Iterable[Prompt],
    test: Iterable[Prompt],
    wanted: PromptSettings,
    fits: Callable[[Sequence[Prompt]], Sequence[bool]],
    too_long: Callable[[], str] = lambda: "too long",
    *,
    old: bool = False,
) -> PromptSets:
    """Draw all sets. fits: which prompts are short enough; too_long: how the others are counted; old: as earlier versions
    did, one set behind the other.

    Raises `UserError` with the table of what is needed. Leaves out: near-duplicates, as only equal messages count as one
    prompt."""
    left_out: dict[str, int] = {}
    evaluation_pool = _distinct(test, left_out)
    # The whole test split, not the prompts drawn: another size of it must not reach into what was trained on.
    held_out = {prompt.id for prompt in evaluation_pool}
    pool = _distinct(train, left_out)
    shared = [prompt for prompt in pool if prompt.id in held_out]
    if shared:
        left_out["in both splits"] = len(shared)
        pool = [prompt for prompt in pool if prompt.id not in held_out]
    pool = _short(pool, fits, left_out, too_long)
    evaluation_pool = _short(evaluation_pool, fits, left_out, too_long)
    sizes = set_sizes(wanted, len(pool), len(evaluation_pool))
    _check_enough(sizes, wanted.rl, len(pool), len(evaluation_pool), left_out)
    sets = _slices(pool, sizes) if old else _by_region(pool, sizes, rest=wanted.rl is None)
    sets["evaluation"] = tuple(evaluation_pool[: sizes["evaluation"]])
    return PromptSets(sets, left_out)


def _slices(pool: Sequence[Prompt], sizes: dict[str, int]) -> dict[str, tuple[Prompt, ...]]:
    sets, start = {}, 0
    for name in REGIONS:
        sets[name] = tuple(pool[start : start + sizes[name]])
        start += sizes[name]
    return sets


def _by_region(pool: Sequence[Prompt], sizes: dict[str, int], *, rest: bool) -> dict[str, tuple[Prompt, ...]]:
    """Each set from the beginning of its region, then from the far ends of what is left over. rest: rl gets all of it."""
    regions: dict[str, list[Prompt]] = {name: [] for name in REGIONS}
    for prompt in pool:
        regions[_region(prompt)].append(prompt)
    own = {name: 0 if rest and name == "rl" else sizes[name] for name in REGIONS}
    sets = {name: regions[name][: own[name]] for name in REGIONS}
    # rl's region first and from its end, where a set of a given size is the last to come.
    spare = [prompt for name in reversed(REGIONS) for prompt in reversed(regions[name][own[name] :])]
    for name in REGIONS:
        short = sizes[name] - len(sets[name])
        sets[name] += spare[:short]
        spare = spare[short:]
    if rest:
        sets["rl"].sort(key=draw_key)
    return {name: tuple(found) for name, found in sets.items()}


def _region(prompt: Prompt) -> str:
    place = int(content_hash("region", prompt.id)[:8], 16) / 16**8
    for name, share in REGIONS.items():
        if place < share:
            return name
        place -= share
    return "rl"


def draw_key(prompt: Prompt) -> str:
    """What prompts are drawn by: a hash, the same in every run."""
    return content_hash("draw", prompt.id)


def set_sizes(wanted: PromptSettings, train: int | None = None, test: int | None = None) -> dict[str, int]:
    """Return how many prompts each set gets.

    train, test: usable prompts of the splits, where they are known: `auto` gets a share of them, `rl` the rest.
    """
    given = {"pm": wanted.pm, "calibration": wanted.calibration, "rl": wanted.rl}
    numbers = {name: count for name, count in given.items() if isinstance(count, int)}
    free = None if train is None else max(0, train - sum(numbers.values()))
    of = sum(share for name, share in SHARES.items() if name not in numbers)
    for name in ("pm", "calibration"):
        if name not in numbers:
            numbers[name] = _auto(name, None if free is None else free * SHARES[name] // of)
    # At least one each, whatever the share: `prompts.pm` is 2 or more.
    validation = min(max(1, round(numbers["pm"] * wanted.validation)), numbers["pm"] - 1)
    sizes = {"pm": numbers["pm"] - validation, "validation": validation, "calibration": numbers["calibration"]}
    sizes["rl"] = numbers["rl"] if "rl" in numbers else max(0, (train or 0) - sum(sizes.values()))
    return sizes | {"evaluation": _auto("evaluation", test) if wanted.evaluation == AUTO else int(wanted.evaluation)}


def _auto(name: str, there: int | None) -> int:
    return MOST[name] if there is None else min(MOST[name], max(2, there))


def as_drawn(wanted: PromptSettings, drawn: Mapping[str, Sequence[object]]) -> PromptSettings:
    """Put the counts of sets that were drawn before in place of `auto`."""
    counts = {name: len(drawn.get(name, ())) for name in MOST}
    counts["pm"] += len(drawn.get("validation", ()))
    return wanted.model_copy(update={name: n for name, n in counts.items() if n and getattr(wanted, name) == AUTO})


def _distinct(prompts: Iterable[Prompt], left_out: dict[str, int]) -> list[Prompt]:
    """Each prompt once, in the order of its hash: the same draw in every run."""
    seen: dict[str, Prompt] = {}
    repeated = 0
    for prompt in prompts:
        repeated += prompt.id in seen
        seen.setdefault(prompt.id, prompt)
    if repeated:
        left_out["repeated prompts"] = left_out.get("repeated prompts", 0) + repeated
    return sorted(seen.values(), key=draw_key)


def _short(
    prompts: list[Prompt],
    fits: Callable[[Sequence[Prompt]], Sequence[bool]],
    left_out: dict[str, int],
    too_long: Callable[[], str],
) -> list[Prompt]:
    kept = [prompt for prompt, good in zip(prompts, fits(prompts), strict=True) if good]
    if len(kept) < len(prompts):
        why = too_long()
        left_out[why] = left_out.get(why, 0) + len(prompts) - len(kept)
    return kept


def _check_enough(sizes: dict[str, int], rl: int | None, train: int, test: int, left_out: dict[str, int]) -> None:
    pm, need_rl = sizes["pm"] + sizes["validation"], rl if rl is not None else 1
    needed = pm + sizes["calibration"] + need_rl
    if needed <= train and sizes["evaluation"] <= test:
        return
    rows = [
        f"  pm          {pm:>7,}  (of these {sizes['validation']:,} for validation)",
        f"  calibration {sizes['calibration']:>7,}",
        f"  rl          {need_rl:>7,}{'  (null: the rest, at least 1)' if rl is None else ''}",
        f"  together    {needed:>7,}  of {train:,} usable prompts in the training split",
        f"  evaluation  {sizes['evaluation']:>7,}  of {test:,} usable prompts in the test split",
    ]
    lost = ", ".join(f"{count:,} {why}" for why, count in left_out.items())
    advice = (
        "Lower prompts.pm, prompts.calibration, prompts.rl or prompts.evaluation (prompts: auto fits all of them to the "
        "data), or take a larger data set."
    )
    if needed <= train:
        advice = (
            "Lower prompts.evaluation, take a larger data set or, where a share of a single file is the test split, raise "
            "dataset.held_out."
        )
    raise UserError(
        "too few prompts for the sets under `prompts`:\n"
        + "\n".join(rows)
        + (f"\n  left out: {lost}" if lost else "")
        + f"\n{advice}"
    )
