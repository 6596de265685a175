"""What a preference-model backend must do: `check_pm_backend`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from morlaif_core.plugins.components import Component, Target
from morlaif_core.plugins.protocols import Backbones, PMBackend, PMJob, PreferenceModel
from morlaif_core.testing.components import check_component, require
from morlaif_core.types import CutOff, Floats, ScoreMatrix

from .models import logits_of, stamps
from .planted import FAINT, NAMES, PRINCIPLES, STRONG, Plant, planted
from .watched import Killed, Recorder, Stop

RIGHT, WRONG = 0.8, 0.2
"""Shares of the pairs held out whose better response has the higher score: learnt, learnt the wrong way round."""
SOFT = 0.7
"""What a label of 0.52 may move scores, as a share of what one of 0.95 does. Their gradients are as 1 to 22, but the
features of tiny models overlap."""
SAME = 1e-3
"""Difference of two scores that are one and the same."""


@dataclass
class Bench:
    """What all parts of a check share."""

    name: str
    component: Component[PMBackend]
    options: Any
    base: Target
    plant: Plant
    backbones: Backbones
    folder: Path

    def train(
        self,
        part: str,
        report: Recorder | None = None,
        *,
        signal_after: int | None = None,
        names: Sequence[str] = NAMES,
    ) -> tuple[Recorder, Stop]:
        """Train in a folder with a backend built anew, as another process would."""
        report = report or Recorder()
        stop, out = Stop(report, signal_after), self.folder / part
        out.mkdir(parents=True, exist_ok=True)
        chosen = tuple(principle for principle in PRINCIPLES if principle.name in names)
        labels = (self.plant.train, self.plant.held_out)
        train, held_out = ({name: rows[name] if self.component.learns else () for name in names} for rows in labels)
        job = PMJob(chosen, train, held_out, self.base, out, 0, report, self.backbones, stop=stop)
        self.component.build(self.options).train(job)
        for name in names:
            self.require((out / name / "done.json").is_file(), f"{name}/done.json is missing after training")
        return report, stop

    def load(self, part: str, names: tuple[str, ...] = NAMES) -> PreferenceModel:
        return self.component.build(self.options).load(self.folder / part, names, self.base, self.backbones)

    def score(self, part: str, names: tuple[str, ...] = NAMES) -> ScoreMatrix:
        return self.load(part, names).score(self.plant.prompts, self.plant.responses)

    def require(self, holds: bool, message: str) -> None:
        require(holds, f"{self.name}: {message}")


def check_pm_backend(
    component: Component[PMBackend], base: Path, folder: Path, options: Mapping[str, object] | None = None
) -> None:
    """Check a preference-model backend on a small base model and planted preferences, within some seconds.

    Under each of two principles one word is better, with labels of 0.95, and the other principle's a little, with 0.52.
    On responses to other questions the higher score is the better response's, in its principle's column, and the little
    moves scores less far, by three tenths or more. Training reports; leaves done.json for each principle; called again
    changes nothing; goes on after a kill to the same scores, with what was done left alone, as where a principle is
    added (``independent``); and leaves the base alone. Loading gives finite scores (n, k) with the principles in the
    order asked, a row's score not depending on the batch; a missing principle is an error.

    One whose scores are given (``learns=False``) gets no preferences, and need learn nothing.

    Args:
        component: what the plugin's hook returned.
        base: folder of a small causal LM with its tokenizer.
        folder: an empty folder to train in.
        options: options other than the defaults. They must be such that a model as small as the base learns from 64
            pairs a principle: two epochs or more, a learning rate of about 3e-3.

    Raises:
        ContractError: what does not hold, and what to do.
    """
    from morlaif_core.models.backbones import LocalBackbones

    check_component("pm_backend", component)
    chosen = component.options.model_validate(dict(options or {}))
    target, backbones = Target.model_validate({"model": str(base)}), LocalBackbones(device="cpu", threads=1)
    bench = Bench(component.name, component, chosen, target, planted(), backbones, folder)
    independent = component.build(chosen).independent
    bench.require(isinstance(independent, bool), f"independent is {independent!r}, neither True nor False")
    files, logits = stamps(base), logits_of(target, backbones)
    report, stop = bench.train("whole")
    report.check_order(bench.name)
    whole, total = bench.score("whole"), report.steps[0][1]
    bench.require(report.last == total, f"the last step reported is {report.last} of {total}")
    _check_form(bench, whole)
    if component.learns:
        _check_learnt(bench, whole)
    _check_rows(bench, whole)
    _check_done(bench)
    if independent:
        _check_added(bench, whole)
    _check_resumed(bench, whole, total, asks=stop.asked > 0, independent=independent)
    bench.require(stamps(base) == files, "it changed files of the base model; write into job.out alone")
    moved = not np.array_equal(logits_of(target, backbones), logits)
    advice = "train a copy, job.backbones.get(job.base, own=True), or an adapter"
    bench.require(not moved, f"the shared copy of the base was moved; {advice}")
    backbones.release()


def _check_form(bench: Bench, scores: ScoreMatrix) -> None:
    n = len(bench.plant.prompts)
    bench.require(scores.principles == NAMES, f"asked for {NAMES}, it scores {scores.principles}")
    same = scores.prompt_ids == tuple(prompt.id for prompt in bench.plant.prompts)
    bench.require(same, "prompt_ids are not those of the prompts asked, in their order")
    bench.require(scores.values.shape == (n, 2), f"scores have shape {scores.values.shape}, not ({n}, 2)")
    bench.require(scores.values.dtype == np.float32, f"scores are {scores.values.dtype}, not float32")
    bench.require(bool(np.isfinite(scores.values).all()), "scores are not finite")


def _check_learnt(bench: Bench, scores: ScoreMatrix) -> None:
    """Each column says which response its principle's words make better, and by how much."""
    flat = [name for name, column in zip(NAMES, scores.values.T, strict=True) if np.ptp(column) == 0]
    bench.require(
        not flat, f"all scores under {', '.join(flat)} are equal; nothing was learnt from p_a, P(a is better)"
    )
    for column, name, other in zip(scores.values.T, NAMES, NAMES[::-1], strict=True):
        strong, faint = (bench.plant.margin(column, word) for word in (name, other))
        follows = SOFT * faint > strong and bench.plant.right(column, other) >= RIGHT
        told = f"scores under {name} follow what is better under {other}"
        advice = "columns are in the order of load's `principles`, and job.train is read by name"
        bench.require(not follows, f"{told}; {advice}")
        share = bench.plant.right(column, name)
        seen = f"of responses to other questions, it has {share:.0%} right under {name}"
        bench.require(share > WRONG, f"{seen}: scores are turned round; higher is better, p_a is P(a is better)")
        advice = "learn from p_a, P(a is better); if it does, give options with more epochs or a higher learning rate"
        bench.require(share >= RIGHT, f"{seen}; {advice}")
        seen = f"under {name}, labels of {FAINT} move scores by {faint:.3g} and labels of {STRONG} by {strong:.3g}"
        bench.require(faint < SOFT * strong, f"{seen}; p_a is a soft label: its loss is -p log q - (1 - p) log(1 - q)")


def _check_rows(bench: Bench, scores: ScoreMatrix) -> None:
    """A score depends on its row alone; principles come in the order asked; a missing one is an error."""
    model, rows = bench.load("whole"), range(0, len(bench.plant.prompts), 4)
    alone = [model.score([bench.plant.prompts[row]], [bench.plant.responses[row]]).values[0] for row in rows]
    same = np.allclose(np.array(alone), scores.values[list(rows)], atol=SAME)
    bench.require(
        bool(same), "a response's score depends on its batch; mask what is padded, normalise nothing over rows"
    )
    cut = model.score(bench.plant.prompts[:1], [CutOff(bench.plant.responses[0])]).values
    bench.require(bool(np.isfinite(cut).all()), "the score of a response that was cut off (`CutOff`) is not finite")
    turned = bench.score("whole", NAMES[::-1])
    same = turned.principles == NAMES[::-1] and np.allclose(turned.values, scores.values[:, ::-1], atol=SAME)
    bench.require(bool(same), "loaded in another order, scores differ; columns are in the order of load's `principles`")
    try:
        bench.score("whole", (NAMES[0], "absent"))
    except Exception:  # which one is the backend's own affair
        return
    require(False, f"{bench.name}: loading a principle that was never trained is no error; raise UserError")


def _check_done(bench: Bench) -> None:
    before = stamps(bench.folder / "whole")
    bench.train("whole")
    same = stamps(bench.folder / "whole") == before
    bench.require(same, "called again where all is done, it changes files; leave a principle with done.json alone")


def _check_added(bench: Bench, whole: ScoreMatrix) -> None:
    """A principle that comes later is trained alone, and is what it would have been."""
    first = bench.folder / "added" / NAMES[0]
    bench.train("added", names=NAMES[:1])
    before = stamps(first)
    bench.train("added")
    told = "independent is True, but"
    bench.require(stamps(first) == before, f"{told} where a principle is added, those that were done are trained again")
    _check_same(bench, f"{told} with a principle added later", bench.score("added"), whole.values)


def _check_resumed(bench: Bench, whole: ScoreMatrix, total: int, *, asks: bool, independent: bool) -> None:
    """Ended on its way, it goes on to the same scores; what was done by then stays."""
    ends: list[tuple[str, dict[str, Any]]] = [("killed", {"report": Recorder(kill=_first_is_done(bench, total))})]
    if asks:
        ends.append(("told by job.stop() to end", {"signal_after": total // 2}))
    for place, (how, end) in enumerate(ends):
        part = f"resumed-{place}"
        try:
            bench.train(part, **end)
        except (Killed, KeyboardInterrupt):
            pass
        else:
            advice = "raise KeyboardInterrupt" if "signal_after" in end else "let what job.report raises pass"
            require(False, f"{bench.name}: {how}, it went on; {advice}")
        done = [name for name in NAMES if (bench.folder / part / name / "done.json").exists()]
        before = {name: stamps(bench.folder / part / name) for name in done}
        bench.train(part)
        kept = all(stamps(bench.folder / part / name) == before[name] for name in done)
        advice = "leave a principle with done.json alone"
        bench.require(kept or not independent, f"{how}, and called again, it trains {done} again; {advice}")
        _check_same(bench, f"{how}, and called again", bench.score(part), whole.values)


def _first_is_done(bench: Bench, total: int) -> Any:
    """Return when to kill: once a principle is done and another is not, or past half of the steps."""

    def kill(step: int) -> bool:
        done = list((bench.folder / "resumed-0").glob("*/done.json"))
        return len(done) == 1 or step > total // 2

    return kill


def _check_same(bench: Bench, how: str, scores: ScoreMatrix, expected: Floats) -> None:
    apart = float(np.abs(scores.values - expected).max())
    advice = "draw by job.seed and the principle, and restore all of a checkpoint"
    bench.require(apart <= SAME, f"{how}, scores are others than without (by up to {apart:.2g}); {advice}")
