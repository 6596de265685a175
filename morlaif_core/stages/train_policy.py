"""Stage train-policy: the scalarized reward, then reinforcement learning; policy/ and policy/metrics.jsonl."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from morlaif_core.errors import RunFailed
from morlaif_core.plugins.protocols import Policy, PolicyJob, PolicyTrainer, Scalarizer
from morlaif_core.reward.calibration import Calibration
from morlaif_core.reward.expected_utility import Expected
from morlaif_core.reward.reward import PrincipledReward, fit_reward_scale, load_reward_file, save_reward
from morlaif_core.reward.saved_reward import RunReward
from morlaif_core.reward.scheduled_temperature import heat
from morlaif_core.reward.term_schedules import with_temperature
from morlaif_core.reward.terms import ResolvedTerms, resolve_terms
from morlaif_core.runs.folder import json_line, write_json, write_text
from morlaif_core.runs.progress import Bar
from morlaif_core.types import Prompt, ScoreMatrix

from .context import Context
from .pairs import read_pairs
from .train_pms import CALIBRATION, FOLDER as MODELS, calibration_responses, load_models

if TYPE_CHECKING:
    from morlaif_core.plugins.components import Component, Options
    from morlaif_core.plugins.protocols import Reward

NAME = "train-policy"
FOLDER = "policy"
REWARD = f"{MODELS}/reward.json"
POLICY = f"{FOLDER}/policy.json"
METRICS = f"{FOLDER}/metrics.jsonl"
OUTPUTS = (FOLDER, REWARD)
RESULTS = ()


def inputs(context: Context) -> dict[str, Any]:
    """What this stage reads."""
    # A list: the order of the principles is their priority where none is given.
    terms = [
        [name, item.model_dump(mode="json", exclude={"judge"})] for name, item in context.settings.principles.items()
    ]
    rest = ("target.lora", "generation", "scalarizer", "trainer", "prompts.rl")
    reward = ("reward.standardize", "reward.utility", "reward.schedules")
    return {"seed": context.settings.seed_of("train_policy"), "terms": terms, **context.read(*rest, *reward)}


def run(context: Context) -> str:
    """Fit the reward's scale, then train; goes on from the trainer's checkpoint."""
    trainer: PolicyTrainer = context.plugins.build("policy_trainer", context.config.block("trainer"))
    metrics = Metrics(context.path / METRICS)
    # The models are settled before the bar opens: a bar does not nest in another.
    target, prompts = context.target, context.prompt_sets.sets["rl"]
    reward = _fitted_reward(context)
    with context.screen.bar(NAME) as bar:
        policy = trainer.train(
            PolicyJob(
                target=target,
                prompts=prompts,
                pairs=[item.pair for item in read_pairs(context.path) if item.set in ("pm", "validation")],
                reward=RunReward(context.path, reward),
                generation=context.settings.generation,
                out=context.path / FOLDER,
                seed=context.settings.seed_of("train_policy"),
                report=_Watched(bar, metrics, reward),
                backbones=context.backbones,
            )
        )
    _save_policy(context, policy)
    last = metrics.last()
    write_json(context.path / FOLDER / "reward_state.json", reward.state())
    shown = ", ".join(f"{key} {last[key]:.3g}" for key in ("reward", "kl") if key in last)
    return f"{last.get('step', 0)} steps" + (f", last {shown}" if shown else "")


def _fitted_reward(context: Context) -> PrincipledReward:
    """The reward with thresholds and scale fitted on the calibration responses; kept in reward.json."""
    component = context.plugins.find("scalarizer", context.settings.scalarizer.use)
    model, calibration = load_models(context), Calibration.load(context.path / CALIBRATION)
    file = context.path / REWARD
    if not file.exists():
        prompts, responses = calibration_responses(read_pairs(context.path))
        reference, _ = calibration.apply(model.score(prompts, responses), responses)
        _fit_reward(context, component, calibration, reference)
    name, resolved, scale = load_reward_file(file)
    if name != component.name:
        raise RunFailed(
            f"{file} is of scalarizer {name}, run.yaml says {component.name}; run `morlaif run` with the one that is meant"
        )
    scalarizer = _scalarizer(context, component, resolved, scale.start)
    row_wise = "groups" not in component.all_needs(_options(context))
    return PrincipledReward(
        model, calibration, scalarizer, name=component.name, resolved=resolved, scale=scale, row_wise=row_wise
    )


def _fit_reward(
    context: Context, component: Component[Scalarizer], calibration: Calibration, reference: ScoreMatrix
) -> None:
    """Settle terms and scale on the calibrated reference scores, and write reward.json."""
    settings = context.settings.reward
    resolved = resolve_terms(context.settings.principles, component, settings, calibration, reference)
    start = tuple(resolved.view(reference).values.mean(axis=0).tolist()) if settings.utility == "expected" else ()
    scalarizer, options = _scalarizer(context, component, resolved, start), _options(context)
    scale = fit_reward_scale(
        component, scalarizer, resolved, reference, standardize=settings.standardize, options=options
    )
    save_reward(context.path / REWARD, component.name, resolved, replace(scale, start=start))
    for note in (*resolved.notes, *scale.notes):
        context.screen.say(f"  note: {note}")


def _options(context: Context) -> Options:
    return context.plugins.options("scalarizer", context.config.block("scalarizer"))


def _scalarizer(
    context: Context, component: Component[Scalarizer], resolved: ResolvedTerms, start: Sequence[float]
) -> Scalarizer:
    """The configured scalarizer, its temperature on its schedule; of mean scores where ``start`` says where they begin."""
    options, schedule = _options(context), context.settings.reward.schedules.get("temperature")
    if schedule is None:
        scalarizer = component.build(options)
    else:
        scalarizer = heat(lambda t: component.build(with_temperature(options, t)), schedule)
    if not start:
        return scalarizer
    columns = dict(zip((tier.name for tier in resolved.tiers), start, strict=True))
    return Expected(scalarizer, columns, uses_weight="weight" in component.uses)


def rebuild_reward(context: Context) -> Reward:
    """The reward of a run whose policy was trained, from what the run folder holds."""
    if not (context.path / REWARD).exists():
        raise RunFailed(f"{context.path} has no reward yet; run `morlaif run` up to train-policy first")
    reward = _fitted_reward(context)
    state = context.path / FOLDER / "reward_state.json"
    if state.exists():
        reward.restore(json.loads(state.read_text(encoding="utf-8")))
    return reward


def _save_policy(context: Context, policy: Policy) -> None:
    """Keep what the trainer returned: which folder, if any, and best-of-n."""
    folder = None if policy.folder is None else str(policy.folder.relative_to(context.path))
    write_json(context.path / POLICY, {"folder": folder, "best_of": policy.best_of})


def load_policy(context: Context) -> Policy:
    """The trained policy of a run. Raises `RunFailed` where none is there."""
    file = context.path / POLICY
    if not file.exists():
        raise RunFailed(f"{context.path} has no trained policy yet; run `morlaif run` first")
    saved = json.loads(file.read_text(encoding="utf-8"))
    folder = None if saved["folder"] is None else context.path / saved["folder"]
    return Policy(context.target, folder, saved["best_of"])


class Metrics:
    """metrics.jsonl: a row a step. A resumed trainer repeats steps; its rows replace those of the lost steps."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self._begun = False

    def add(self, step: int, metrics: Mapping[str, float]) -> None:
        """Append one step's row."""
        if not self._begun:
            kept = [row for row in self.rows() if row["step"] < step]
            write_text(self.file, "".join(json_line(row) for row in kept))
            self._begun = True
        with self.file.open("a", encoding="utf-8") as out:
            out.write(json_line({"step": step, **metrics}))

    def rows(self) -> list[dict[str, Any]]:
        """All whole rows; a crash may have left half a line at the end."""
        if not self.file.exists():
            return []
        return list(_whole(self.file.read_text(encoding="utf-8").splitlines()))

    def last(self) -> dict[str, Any]:
        """The last row, empty where there is none."""
        rows = self.rows()
        return rows[-1] if rows else {}


def _whole(lines: Iterable[str]) -> Iterable[dict[str, Any]]:
    for line in lines:
        try:
            yield json.loads(line)
        except ValueError:
            return


class _Watched:
    """The trainer's `Report`: progress bar and metrics file."""

    def __init__(self, bar: Bar, metrics: Metrics, reward: PrincipledReward) -> None:
        self.bar, self.metrics, self.reward = bar, metrics, reward

    def __call__(
        self,
        step: int,
        total: int,
        metrics: Mapping[str, float],
        *,
        generate: Callable[[Sequence[Prompt]], Sequence[str]] | None = None,
    ) -> Literal["go", "raise_kl", "stop"]:
        self.metrics.add(step, {**metrics, **self.reward.metrics()})
        return self.bar(step, total, metrics, generate=generate)
