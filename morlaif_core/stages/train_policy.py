"""Stage train-policy: the scalarized reward, then reinforcement learning; policy/ and policy/metrics.jsonl."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from morlaif_core.errors import RunFailed
from morlaif_core.plugins.protocols import Policy, PolicyJob, PolicyTrainer
from morlaif_core.reward.build import build_reward
from morlaif_core.reward.calibration import Calibration
from morlaif_core.reward.reward import PrincipledReward
from morlaif_core.reward.saved_reward import FILE as REWARD, RunReward
from morlaif_core.reward.steps import SteppedReward
from morlaif_core.runs.folder import write_json
from morlaif_core.runs.progress import Bar
from morlaif_core.runs.stopping import stoppable
from morlaif_core.types import Prompt, ScoreMatrix
from morlaif_core.types.scores import short_number

from .context import Context
from .metrics import StepRows
from .pairs import FILE as PAIRS, read_pairs, says_ends, share_ended
from .preference_models import load_models
from .rollouts import Rollouts
from .train_pms import CALIBRATION, calibration_responses

if TYPE_CHECKING:
    from morlaif_core.plugins.protocols import Reward

NAME = "train-policy"
FOLDER = "policy"
POLICY = f"{FOLDER}/policy.json"
METRICS = f"{FOLDER}/metrics.jsonl"
OUTPUTS = (FOLDER, REWARD)
RESULTS = ("reward", "reference_ended")


def inputs(context: Context) -> dict[str, Any]:
    """What this stage reads."""
    # A list: the order of the principles is their priority where none is given.
    terms = [
        [name, item.model_dump(mode="json", exclude={"judge", "preference_model"})]
        for name, item in context.settings.principles.items()
    ]
    rest = ("target.lora", "generation", "scalarizer", "trainer", "prompts.rl")
    reward = ["reward.standardize", "reward.utility", "reward.schedules"]
    if context.settings.reward.pessimism > 0:  # what came later changes nothing where it says nothing
        reward.append("reward.pessimism")
    return {"seed": context.settings.seed_of("train_policy"), "terms": terms, **context.read(*rest, *reward)}


def run(context: Context) -> str:
    """Fit the reward's scale, then train; goes on from the trainer's checkpoint."""
    trainer: PolicyTrainer = context.plugins.build("policy_trainer", context.config.block("trainer"))
    metrics, kept = StepRows(context.path / METRICS), context.settings.trainer
    rollouts = Rollouts(context.path, kept.rollouts_every, kept.rollouts_per_step)
    # The models are settled before the bar opens: a bar does not nest in another.
    target, prompts = context.target, context.prompt_sets.sets["rl"]
    if not says_ends(context.path / PAIRS):
        context.screen.say(
            "  note: pairs.jsonl does not say which of its responses ended, being of an earlier version: responses that are "
            "cut off are scored and judged as if they had ended; a new run tells them apart"
        )
    reward, ended = _reward(context), _reference_ended(context)
    stepped = SteppedReward(reward)
    with context.screen.bar(NAME, "steps") as bar, stoppable(context.screen.quiet) as stop:
        policy = trainer.train(
            PolicyJob(
                target=target,
                prompts=prompts,
                # Not those of calibration or evaluation: a trainer that learns from pairs must not have seen them.
                pairs=[item.pair for item in read_pairs(context.path) if item.set in ("pm", "validation")],
                reward=RunReward(context.path, stepped, watch=rollouts.scored),
                generation=context.settings.generation,
                out=context.path / FOLDER,
                seed=context.settings.seed_of("train_policy"),
                report=_Watched(bar, metrics, rollouts, stepped, context.settings.trainer.use),
                backbones=context.backbones,
                reference_ended=1.0 if ended is None else ended,
                stop=stop,
                keep=rollouts.keep,
            )
        )
    _save_policy(context, policy)
    last = metrics.last()
    # With the policy: a scalarizer with state scores as it did at the end of the training.
    write_json(context.path / FOLDER / "reward_state.json", reward.state())
    shown = ", ".join(f"{key} {short_number(last[key])}" for key in ("reward", "kl") if key in last)
    shares = _effective_weights(context, reward)
    said = ", ".join(f"{name} {share:.2f}" for name, share in shares.items())
    return (
        f"{last.get('step', 0)} steps"
        + (f", last {shown}" if shown else "")
        + (f"; effective weights {said}" if said else "")
        + (f"; {ended:.2f} of the untrained model's responses ended" if ended is not None else "")
    )


def _reference_ended(context: Context) -> float | None:
    """Write the share of the calibration responses that ended to results.json; None where pairs.jsonl does not say."""
    pairs = [item.pair for item in read_pairs(context.path) if item.set == "calibration"]
    # Each response counts, not each text: those that are often equal are the short ones, which end.
    share = share_ended([text for pair in pairs for text in (pair.a, pair.b)])
    known = share if says_ends(context.path / PAIRS) else None
    context.write_results(reference_ended=known)
    return known


def _effective_weights(context: Context, reward: PrincipledReward) -> dict[str, float]:
    """Write what each principle has in the reward to results.json; its shares where the scalarizer uses weights."""
    calibration = reward.calibration
    deviation = dict(zip(calibration.principles, calibration.deviation, strict=False))
    component = context.plugins.find("scalarizer", context.settings.scalarizer.use)
    # A calibration of an earlier version has no deviations.
    shares = reward.resolved.effective_weights(deviation) if deviation and "weight" in component.uses else {}
    context.write_results(
        reward={name: {"deviation": value, "effective_weight": shares.get(name)} for name, value in deviation.items()}
    )
    return shares


def _reward(context: Context) -> PrincipledReward:
    """The run's reward; what it fits, it fits on the calibration responses and keeps in reward.json."""
    model, calibration = load_models(context), Calibration.load(context.path / CALIBRATION)

    def reference() -> ScoreMatrix:
        prompts, responses = calibration_responses(read_pairs(context.path))
        return calibration.apply(model.score(prompts, responses), responses)[0]

    return build_reward(
        context.config,
        model,
        calibration,
        reference,
        context.path / REWARD,
        lambda text: context.screen.say(f"  note: {text}"),
    )


def rebuild_reward(context: Context) -> Reward:
    """The reward of a run whose policy was trained, from what the run folder holds."""
    if not (context.path / REWARD).exists():
        raise RunFailed(f"{context.path} has no reward yet; run `morlaif run` up to train-policy first")
    reward = _reward(context)
    state = context.path / FOLDER / "reward_state.json"
    if state.exists():
        reward.restore(json.loads(state.read_text(encoding="utf-8")))
    return reward


def _save_policy(context: Context, policy: Policy) -> None:
    """Keep what the trainer returned: which folder, if any, and best-of-n."""
    if policy.best_of > 1:
        context.screen.say(
            f"  note: the policy asks for the best of {policy.best_of} responses; sampler '{context.settings.sampler.use}' "
            "must draw and pick them, as the core does not"
        )
    # Relative, so that a run folder can be moved.
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


class _Watched:
    """The trainer's `Report`: the step's end, progress bar, metrics file and rollouts."""

    def __init__(self, bar: Bar, metrics: StepRows, rollouts: Rollouts, reward: SteppedReward, trainer: str) -> None:
        self.bar, self.metrics, self.rollouts, self.reward, self.trainer = bar, metrics, rollouts, reward, trainer

    def __call__(
        self,
        step: int,
        total: int,
        metrics: Mapping[str, float],
        *,
        generate: Callable[[Sequence[Prompt]], Sequence[str]] | None = None,
    ) -> Literal["go", "raise_kl", "stop"]:
        self.reward.reported(step, self.trainer)
        self.rollouts.end_step(step, total)
        self.metrics.add(step, {**metrics, **self.reward.reward.metrics()})
        return self.bar(step, total, metrics, generate=generate)
