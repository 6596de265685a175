"""What a policy trainer must do: `check_policy_trainer`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from morlaif_core.errors import UserError
from morlaif_core.plugins.components import Component, Lora, Target
from morlaif_core.plugins.protocols import Policy, PolicyTrainer, Reward
from morlaif_core.testing.components import check_component, require
from morlaif_core.types import Floats

from .models import GREEDY, LIKE, draw, logits_of, questions, stamps, weights_of
from .trainings import GENERATION, Attempt, Bench
from .watched import Killed, Recorder, plant_reward

DRAWS = 8
"""Answers to each question, by which a policy is compared with the untrained model."""
SURE = 3.0
"""Standard errors by which its mean reward must have risen."""
FEWEST_STEPS = 4
ALONE = "was moved; train a copy, job.backbones.get(job.target, own=True), or an adapter"
SAME = 1e-4
"""Difference of a weight between two trainings that are one and the same."""


def check_policy_trainer(
    component: Component[PolicyTrainer],
    base: Path,
    folder: Path,
    options: Mapping[str, object] | None = None,
    *,
    reward: Reward | None = None,
) -> None:
    """Check a policy trainer on a small base model, within some seconds.

    It learns a planted preference (the mean reward of its answers rises by three standard errors); scores answers to
    the job's prompts, drawn by ``job.generation``, with ``step``; reports steps and obeys; leaves out a response whose
    score failed; writes finite weights and a tokenizer; leaves the shared copy of the target alone; goes on after a kill
    to the weights that it would have had, with the reward's state; does nothing where it is done; another seed is
    another training; a target with ``lora`` is refused by a `UserError` or gives an adapter.

    Args:
        component: what the plugin's hook returned.
        base: folder of a small causal LM with its tokenizer.
        folder: an empty folder to train in.
        options: options other than the defaults. They must be such that a tiny model learns within few steps (at least
            four, often sixteen; a learning rate of about 1e-2), with a checkpoint at each step unless it asks
            ``job.stop()``.
        reward: by default, the share of a response's characters that belong to a set of which the base writes some.

    Raises:
        ContractError: what does not hold, and what to do.
    """
    from morlaif_core.models.backbones import LocalBackbones

    check_component("policy_trainer", component)
    chosen = component.options.model_validate(dict(options or {}))
    target, backbones = Target.model_validate({"model": str(base)}), LocalBackbones(device="cpu", threads=1)
    untrained = draw(Policy(target), questions(), GENERATION, DRAWS)
    reward = reward or plant_reward([text for row in untrained for text in row])
    bench = Bench(component.name, component, chosen, target, reward, backbones, folder)
    files, logits = stamps(base), logits_of(target, backbones)
    whole = bench.attempt("whole")
    bench.train(whole)
    moved = not np.array_equal(logits_of(target, backbones), logits)
    bench.require(not moved, f"the shared copy of the target, which is the reference, {ALONE}")
    _check_steps(bench, whole)
    _check_calls(bench, whole)
    tensors = _check_weights(bench, whole)
    _check_learnt(bench, whole, untrained)
    _check_done(bench, whole)
    _check_resumed(bench, whole, tensors)
    _check_other_seed(bench, whole)
    _check_answers(bench)
    _check_failed_scores(bench)
    _check_lora(bench)
    moved = not np.array_equal(logits_of(target, backbones), logits)
    bench.require(not moved, f"with target.lora, the shared copy of the target {ALONE}")
    bench.require(stamps(base) == files, "it changed files of the base model; write into job.out alone")
    backbones.release()


def _check_steps(bench: Bench, attempt: Attempt) -> None:
    """Steps come in order, to the total unless told to stop, with finite metrics."""
    report = attempt.report
    report.check_order(bench.name)
    steps, total = [step for step, _, _ in report.steps], report.steps[0][1]
    if report.stop_after is not None:
        late = [step for step in steps if step > report.stop_after]
        bench.require(not late, f"told to stop at step {report.stop_after}, it went on to {late}")
    else:
        bench.require(steps[-1] == total, f"it ended at step {steps[-1]} of {total} without being told to")
        enough = total >= FEWEST_STEPS
        bench.require(enough, f"it has {total} steps; give options with at least {FEWEST_STEPS} to be checked")


def _check_calls(bench: Bench, attempt: Attempt) -> None:
    """What is scored are answers to the job's prompts (or the job's pairs), each time with the step."""
    calls, asked = attempt.reward.calls, {prompt.id for prompt in questions()}
    bench.require(bool(calls), "it never calls job.reward(prompts, responses, step=…)")
    steps = [step for step, _, _ in calls if step is not None]
    bench.require(len(steps) == len(calls), "it calls job.reward without step; terms that move by the step need it")
    bench.require(steps == sorted(steps), f"the steps given to job.reward are {steps}, not ascending")
    known = {(pair.prompt.id, text) for pair in bench.pairs() for text in (pair.a, pair.b)}
    scored = [row for _, ids, responses in calls for row in zip(ids, responses, strict=True)]
    own = [identity for identity, response in scored if (identity, response) not in known]
    strange = [identity for identity in own if identity not in asked]
    bench.require(not strange, f"of {len(own)} answers scored, {len(strange)} are not to prompts of job.prompts")
    if own:
        stuck = len(set(steps)) == 1
        bench.require(not stuck, f"each call of job.reward has step={steps[0]}; give the step that is under way")
        sets = [frozenset(ids) for _, ids, _ in calls]
        repeated = len(set(sets)) == 1 and sets[0] != asked
        bench.require(not repeated, f"each step takes the same {len(sets[0])} of {len(asked)} prompts; draw them anew")


def _check_weights(bench: Bench, attempt: Attempt) -> dict[str, Any]:
    """The policy loads, its weights are finite, its tokenizer is the target's. Returns its weights."""
    assert attempt.policy is not None
    folder = attempt.policy.folder
    try:
        tensors, ids = weights_of(attempt.policy)
    except Exception as error:
        require(False, f"{bench.name}: the policy in {folder} does not load ({type(error).__name__}: {error})")
    broken = [name for name, value in tensors.items() if not np.isfinite(value).all()]
    bench.require(not broken, f"{len(broken)} of the policy's tensors are not finite, such as {broken[:1]}")
    same = ids == weights_of(Policy(attempt.policy.target))[1]
    bench.require(same, f"{folder} reads prompts as other tokens than the target; tokenizer.save_pretrained(job.out)")
    return tensors


def _check_learnt(bench: Bench, attempt: Attempt, untrained: list[list[str]]) -> None:
    """The mean reward of its answers is above that of the untrained model's."""
    assert attempt.policy is not None
    before = _rewards(bench, untrained)
    after = _rewards(bench, draw(attempt.policy, questions(), GENERATION, DRAWS))
    gain = float(after.mean() - before.mean())
    error = float(np.sqrt(before.var() / before.size + after.var() / after.size))
    seen = f"the mean reward of its answers went from {before.mean():.3f} to {after.mean():.3f}"
    bench.require(not np.array_equal(before, after), f"it did not train: {seen}, each answer as before")
    fallen = gain < -SURE * error
    turned = "it learns the opposite of the reward (higher is better), or too few steps made it worse"
    bench.require(not fallen, f"{seen} (standard error {error:.3f}): {turned}")
    advice = "if it does learn, give options with more steps or a higher learning rate"
    bench.require(gain > SURE * error, f"it did not learn: {seen} (standard error {error:.3f}); {advice}")


def _rewards(bench: Bench, answers: list[list[str]]) -> Floats:
    rows = [(prompt, text) for prompt, texts in zip(questions(), answers, strict=True) for text in texts]
    return bench.reward([prompt for prompt, _ in rows], [text for _, text in rows]).rewards


def _check_done(bench: Bench, whole: Attempt) -> None:
    """Called again where it is done, it returns the same policy and does nothing."""
    before, again = stamps(whole.out), bench.attempt("whole")
    policy = bench.train(again)
    idle = not again.reward.calls and not again.report.steps and stamps(whole.out) == before
    bench.require(idle, "called again in a folder where it is done, it trains; look for your done.json first")
    bench.require(policy == whole.policy, f"called again where it is done, it returns {policy}")


def _check_resumed(bench: Bench, whole: Attempt, tensors: dict[str, Any]) -> None:
    """Ended half-way, by ``job.stop()`` if it asks that, it goes on to the same weights."""
    half = whole.report.last // 2
    if whole.stop.asked:
        ended, how = bench.attempt("resumed", signal_after=half), f"told by job.stop() after step {half}"
        try:
            bench.train(ended)
        except KeyboardInterrupt:
            pass
        else:
            require(False, f"{bench.name}: {how}, it went on; write a checkpoint and raise KeyboardInterrupt")
    else:
        ended = bench.attempt("resumed", Recorder(kill=lambda step: step >= half))
        how = f"killed in the report of step {half}"
        try:
            bench.train(ended)
        except Killed:
            pass
        else:
            require(False, f"{bench.name}: it swallows what job.report raises, also KeyboardInterrupt")
    again = bench.attempt("resumed")
    bench.train(again)
    first = again.report.steps[0][0] if again.report.steps else None
    expected = f"it begins with step {first} and not where it was"
    advice = "write a checkpoint into job.out (options may say how often) and go on from it"
    bench.require(first is not None and 1 < first <= half + 1, f"{how}, and called again, {expected}; {advice}")
    kept = again.reward.restored and again.reward.count == whole.reward.count
    bench.require(kept, f"{how}, it goes on without the reward's state; keep job.reward.state(), and restore it")
    apart = _difference(tensors, _check_weights(bench, again))
    rest = "restore weights, optimizer and random states, and draw by seed and step"
    bench.require(apart <= SAME, f"{how}, it goes on to other weights (by up to {apart:.2g}); {rest}")


def _difference(one: dict[str, Any], other: dict[str, Any]) -> float:
    if one.keys() != other.keys():
        return float("inf")
    return max(float(np.abs(one[name] - other[name]).max()) for name in one)


def _check_other_seed(bench: Bench, whole: Attempt) -> None:
    """Told to stop after a step it does; with another seed, what it did up to there is something else."""
    one, other = (bench.attempt(part, Recorder(stop_after=1)) for part in ("stopped", "other-seed"))
    for seed, attempt in ((0, one), (1, other)):
        bench.train(attempt, seed=seed)
        _check_steps(bench, attempt)
    repeated = one.reward.calls == whole.reward.calls[: len(one.reward.calls)]
    bench.require(repeated, "the same seed gives other prompts or answers; draw by job.seed and the step alone")
    same = one.reward.calls == other.reward.calls
    same = same and _difference(_check_weights(bench, one), _check_weights(bench, other)) == 0
    bench.require(not same, "another seed changes nothing; draw prompts and answers by job.seed")


def _check_answers(bench: Bench) -> None:
    """What it scores first is what the target answers to those prompts, almost without temperature."""
    generation = GENERATION.model_copy(update={"temperature": GREEDY})
    attempt = bench.attempt("greedy", Recorder(stop_after=1))
    bench.train(attempt, generation=generation)
    _, ids, responses = attempt.reward.calls[0]
    prompts = questions()
    says = {
        prompt.id: row[0]
        for prompt, row in zip(prompts, draw(Policy(bench.target), prompts, generation, 1), strict=True)
    }
    rows = [(says[key], text) for key, text in zip(ids, responses, strict=True) if key in says]
    other = [(said, text) for said, text in rows if said.strip() != text.strip()]
    said, text = other[0] if other else ("", "")
    told = f"with job.generation.temperature {GREEDY} it scores {text!r} where the target answers {said!r}"
    advice = "draw by job.generation, with prompt_ids and decode, and score each response with its own prompt"
    bench.require(len(other) <= (1 - LIKE) * len(rows), f"{told}; {advice}")


def _check_failed_scores(bench: Bench) -> None:
    """A reward of NaN is left out, and ``raise_kl`` is an answer like any other."""
    failed = bench.attempt("failed", Recorder(raise_kl_at=1), first_fails=True)
    bench.train(failed)
    _check_steps(bench, failed)
    _check_weights(bench, failed)


def _check_lora(bench: Bench) -> None:
    """A target with ``lora`` is refused, or the policy is an adapter of that rank which has learnt something."""
    attempt = bench.attempt("lora", Recorder(stop_after=2))
    target = bench.target.model_copy(update={"lora": Lora(r=2, alpha=4)})
    try:
        policy = bench.train(attempt, target=target)
    except UserError:
        return
    assert policy.folder is not None
    ignored = "it ignores target.lora; train an adapter and save it in job.out, or raise UserError"
    bench.require((policy.folder / "adapter_config.json").is_file(), ignored)
    tensors = _check_weights(bench, attempt)
    adapter = {name: value for name, value in tensors.items() if "lora_A" in name}
    ranks = {min(value.shape) for value in adapter.values()}
    bench.require(ranks == {2}, f"target.lora.r is 2, the adapter's ranks are {sorted(ranks)}")
    learnt = any(np.any(value) for name, value in tensors.items() if "lora_B" in name)
    bench.require(learnt, "the adapter of a target with lora is as it began; it was not trained")
