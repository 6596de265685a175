"""What a run folder keeps of its reward: reward.json, and `RunReward`, which crosses processes."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias, cast

from morlaif_core.plugins.protocols import Reward
from morlaif_core.reward.terms.resolved_terms import ResolvedTerms
from morlaif_core.runs.folder import write_json
from morlaif_core.types import Explanation, Prompt, PromptLike, RewardBatch, ScoreMatrix, make_prompt

from .scale import RewardScale
from .score_checks import read_json

# By its name, since the API stands above this package and may not be imported here.
FORMAT = 1
FILE = "preference_models/reward.json"
LOADER = "morlaif_core.api.load_reward"
Watch: TypeAlias = Callable[[Sequence[Prompt], Sequence[str], RewardBatch], None]


class RunReward:
    """The `Reward` of a run folder. It pickles as (folder, state) and loads the models at its first call.

    Args:
        folder: the run folder.
        reward: the loaded reward, where this process has it already.
        loader: dotted name of a function that loads the reward of a run folder.
        watch: told of all that is scored in this process.
    """

    def __init__(
        self, folder: Path | str, reward: Reward | None = None, *, loader: str = LOADER, watch: Watch | None = None
    ) -> None:
        self.folder, self.loader, self._watch = Path(folder), loader, watch
        self._reward, self._state = reward, cast("Mapping[str, object] | None", None)

    def __getstate__(self) -> dict[str, object]:
        state = self._reward.state() if self._reward is not None else self._state
        # Absolute, since the other process may work in another folder.
        return {"folder": str(self.folder.absolute()), "loader": self.loader, "state": state}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.folder, self.loader = Path(state["folder"]), state["loader"]
        self._reward, self._state, self._watch = None, state["state"], None

    def _loaded(self) -> Reward:
        if self._reward is None:
            module, _, function = self.loader.rpartition(".")
            load: Callable[[Path], Reward] = getattr(importlib.import_module(module), function)
            reward = load(self.folder)
            if self._state is not None:
                reward.restore(self._state)
            self._reward, self._state = reward, None
        return self._reward

    def __repr__(self) -> str:
        """Say whose it is, and of what; no model is loaded."""
        file = self.folder / FILE
        if not file.is_file():
            return f"<Reward of {self.folder}: not fitted yet>"
        name, terms, _ = load_reward_file(file)
        return f"<Reward of {self.folder}: {name} of {', '.join(terms.principles)}>"

    def __call__(
        self, prompts: Sequence[PromptLike], responses: Sequence[str], *, step: int | None = None
    ) -> RewardBatch:
        """Score responses, one for each prompt (what `make_prompt` takes): see `reward.PrincipledReward`."""
        made = [make_prompt(prompt) for prompt in prompts]
        batch = self._loaded()(made, responses, step=step)
        if self._watch is not None:
            self._watch(made, responses, batch)
        return batch

    def explain(self, batch: RewardBatch, *, step: int | None = None) -> Explanation:
        """Say which principle decided each reward of a batch: see `reward.PrincipledReward`."""
        return self._loaded().explain(batch, step=step)

    def end_step(self, means: ScoreMatrix) -> None:
        """Once per training step, with the mean calibrated scores (1, k) over all processes."""
        self._loaded().end_step(means)

    def state(self) -> Mapping[str, object]:
        """Return what a checkpoint keeps (JSON)."""
        # A checkpoint may be written before anything was scored: the models need not be loaded for it.
        if self._reward is None and self._state is not None:
            return self._state
        return self._loaded().state()

    def restore(self, state: Mapping[str, object]) -> None:
        """Go on from what `state` returned; the models are not loaded for it."""
        if self._reward is None:
            self._state = dict(state)
        else:
            self._reward.restore(state)


def save_reward(path: Path, name: str, resolved: ResolvedTerms, scale: RewardScale) -> None:
    """Write reward.json in one step: the scalarizer's name, its resolved terms and the reward's scale."""
    notes = [*resolved.notes, *scale.notes]
    scaling = {"mean": scale.mean, "deviation": scale.deviation, "start": scale.start}
    scaling |= {"steps": scale.steps} if scale.steps else {}
    write_json(
        path, {"format": FORMAT, "scalarizer": name, "terms": resolved.to_json(), "scale": scaling, "notes": notes}
    )


def load_reward_file(path: Path) -> tuple[str, ResolvedTerms, RewardScale]:
    """Read reward.json. Raises `RunFailed` where it is missing, damaged or of another format."""
    content = read_json(path, FORMAT)
    scale = content["scale"]
    steps = tuple((mean, deviation) for mean, deviation in scale.get("steps", ()))
    fitted = RewardScale(scale["mean"], scale["deviation"], start=tuple(scale.get("start", ())), steps=steps)
    return content["scalarizer"], ResolvedTerms.from_json(content["terms"]), fitted
