"""What preference-model backends and policy trainers must do: `check_pm_backend` and `check_policy_trainer`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np

from morlaif_core.plugins.components import Component, Target
from morlaif_core.plugins.protocols import (
    Backbones,
    PMBackend,
    PMJob,
    PreferenceModel,
)
from morlaif_core.types import (
    Message,
    Preference,
    Principle,
    Prompt,
    make_prompt,
)

from .components import check_component, require

SHORT = Principle("short", "Which response is shorter?")
CALM = Principle("calm", "Which response has fewer exclamation marks?")
TOPICS = ("tea", "rain", "trains", "bread", "stars", "music", "gardens", "rivers")


@dataclass
class Recorder:
    """A `Report` that keeps what it is told. stop_after: answers stop from that step on."""

    stop_after: int | None = None
    steps: list[tuple[int, int, dict[str, float]]] = field(default_factory=list)

    def __call__(
        self,
        step: int,
        total: int,
        metrics: Mapping[str, float],
        *,
        generate: Callable[[Sequence[Prompt]], Sequence[str]] | None = None,
    ) -> Literal["go", "raise_kl", "stop"]:
        """Keep a step's metrics."""
        self.steps.append((step, total, dict(metrics)))
        return "stop" if self.stop_after is not None and step >= self.stop_after else "go"


def check_pm_backend(
    component: Component[PMBackend], base: Path, folder: Path, options: Mapping[str, object] | None = None
) -> None:
    """Check a preference-model backend on a small base model and sixteen preferences under two principles.

    Training leaves done.json for each principle and, called again, changes nothing; loading gives finite scores (n, k)
    with the principles in the order asked, a row's score not depending on the batch; a missing principle is an error.

    Args:
        component: what the plugin's hook returned.
        base: folder of a small causal LM with its tokenizer.
        folder: an empty folder to train in.
        options: options other than the defaults; few epochs keep it short.

    Raises:
        ContractError: what does not hold.
    """
    from morlaif_core.models.backbones import LocalBackbones

    check_component("pm_backend", component)
    name = component.name
    backend = component.build(component.options.model_validate(dict(options or {})))
    require(isinstance(backend.independent, bool), f"{name}: independent is {backend.independent!r}")
    target, backbones, report = (
        Target.model_validate({"model": str(base)}),
        LocalBackbones(device="cpu", threads=1),
        Recorder(),
    )
    preferences = {"short": _preferences(lambda text: -len(text)), "calm": _preferences(lambda text: -text.count("!"))}
    held_out = {principle: rows[:4] for principle, rows in preferences.items()}
    job = PMJob((SHORT, CALM), preferences, held_out, target, folder, 0, report, backbones)
    backend.train(job)
    for principle in preferences:
        require(
            (folder / principle / "done.json").is_file(), f"{name}: {principle}/done.json is missing after training"
        )
    before = _stamps(folder)
    backend.train(job)
    require(_stamps(folder) == before, f"{name}: training what is there already changes files")
    _check_scores(name, backend, folder, target, backbones)
    backbones.release()


def _check_scores(name: str, backend: PMBackend, folder: Path, base: Target, backbones: Backbones) -> None:
    prompts, responses = _questions(), [f"I like {topic}{'!' * place}" for place, topic in enumerate(TOPICS)]
    model = backend.load(folder, ("short", "calm"), base, backbones)
    scores = model.score(prompts, responses)
    require(scores.principles == ("short", "calm"), f"{name}: asked for short, calm, it scores {scores.principles}")
    require(scores.prompt_ids == tuple(prompt.id for prompt in prompts), f"{name}: prompt ids are not those asked")
    require(scores.values.shape == (len(prompts), 2), f"{name}: scores have shape {scores.values.shape}")
    require(scores.values.dtype == np.float32, f"{name}: scores are {scores.values.dtype}, not float32")
    require(bool(np.isfinite(scores.values).all()), f"{name}: scores are not finite")
    alone = np.concatenate([_values(model, prompts[row], responses[row]) for row in range(len(prompts))])
    require(bool(np.allclose(alone, scores.values, atol=1e-3)), f"{name}: a response's score depends on its batch")
    turned = backend.load(folder, ("calm", "short"), base, backbones).score(prompts, responses)
    same = np.allclose(turned.values, scores.values[:, ::-1], atol=1e-4)
    require(bool(same), f"{name}: loaded in another order, scores differ")
    try:
        backend.load(folder, ("short", "absent"), base, backbones).score(prompts, responses)
    except Exception:  # which one is the backend's own affair
        return
    require(False, f"{name}: loading a principle that was never trained is no error")


def _values(model: PreferenceModel, prompt: Prompt, response: str) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    return model.score([prompt], [response]).values


def _questions() -> list[Prompt]:
    return [make_prompt([Message("user", f"Tell me about {topic}.")]) for topic in TOPICS]


def _preferences(measure: Callable[[str], float]) -> list[Preference]:
    rows = []
    for place, prompt in enumerate(_questions() * 2):
        a, b = f"It is {'very ' * (place % 4)}nice.", f"It is {'so ' * (place % 3)}good{'!' * (place % 5)}"
        difference = measure(a) - measure(b)
        rows.append(Preference(prompt, a, b, 0.5 if difference == 0 else float(difference > 0) * 0.8 + 0.1))
    return rows


def _stamps(folder: Path) -> dict[str, tuple[int, int]]:
    files = [file for file in folder.rglob("*") if file.is_file()]
    return {str(file): (file.stat().st_mtime_ns, file.stat().st_size) for file in files}
