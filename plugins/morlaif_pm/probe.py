"""`probe`: the frozen base runs once over prompt and response, and a linear head per principle reads a middle layer.

out/PRINCIPLE/head.safetensors holds ``mean``, ``scale`` and ``weight``, each (h,) float64, and out/PRINCIPLE/probe.json
the base, the layer and how texts are encoded. With f the mean of the states after ``layer`` blocks over the response's
tokens (eos included), a response's score is ((f - mean) / scale) . weight. That is all a loader needs:

    head = safetensors.numpy.load_file(out / principle / "head.safetensors")
    score = ((f - head["mean"]) / head["scale"]) @ head["weight"]

Leaves out: training the base, because a head takes seconds and was nearly as good (SmolLM2 on HH-rlhf, 200 test pairs:
accuracy .727 against .735 for LoRA on the top ten layers in 425 s).
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from morlaif_core import (
    Backbone,
    Backbones,
    Doubles,
    Encoded,
    Floats,
    PMJob,
    PreferenceModel,
    Prompt,
    ScoreMatrix,
    Target,
    UserError,
    content_hash,
    response_key,
)

from .bradley_terry import choose_l2, fit_weights, loss_and_gradient
from .encoding import encode_all, length_limit, rendering_of
from .features import ALONE, Cache, features, layer_for
from .folders import finish, is_done, read_done, write_json
from .jobs import preferences_of
from .options import ProbeOptions

CACHE = ".features"
"""No principle can have this name, as names begin with a letter."""


class Head(NamedTuple):
    """A principle's linear head: three arrays (h,)."""

    mean: Doubles
    scale: Doubles
    weight: Doubles

    def __call__(self, values: Floats) -> Doubles:
        """Score features (n, h); returns (n,)."""
        return np.asarray(((values.astype(np.float64) - self.mean) / self.scale) @ self.weight)


class ProbeBackend:
    """A `PMBackend` that fits linear heads on a frozen base."""

    independent = True

    def __init__(self, options: ProbeOptions) -> None:
        self.options = options

    def train(self, job: PMJob) -> None:
        """Run the base over every distinct text of the job, then fit what is not done yet.

        Each text is run by itself, so that a head does not depend on which other principles are in the job, be they
        done before a kill or not yet thought of; on a CPU that is no slower, but for tiny models.
        """
        names = [principle.name for principle in job.principles]
        if not all(is_done(job.out / name) for name in names):
            self._train(job, names)
        # Only when all heads are there: a killed run reads its features again.
        shutil.rmtree(job.out / CACHE, ignore_errors=True)

    def _train(self, job: PMJob, names: list[str]) -> None:
        # A text that several principles or pairs share is run once.
        pairs = [pair for name in names for pair in preferences_of(job, name)]
        texts = {_key(pair.prompt, text): (pair.prompt, text) for pair in pairs for text in (pair.a, pair.b)}
        place = {key: index for index, key in enumerate(texts)}
        backbone = job.backbones.get(job.base)
        how = self._how(job.base, backbone)
        total = len(place) + len(names)
        prompts, responses = zip(*texts.values(), strict=True)
        values = features(
            backbone,
            _encode(backbone, prompts, responses, how),
            how["layer"],
            ALONE,
            cache=Cache(job.out / CACHE, how, str(backbone.model.dtype)),
            report=lambda done: job.report(done, total, {}),
        )
        for index, name in enumerate(names):
            if is_done(job.out / name):
                continue
            loss = self._fit(job, name, values, place, how)
            job.report(len(place) + index + 1, total, {"loss": loss})

    def _how(self, base: Target, backbone: Backbone) -> dict[str, Any]:
        """Return all that features depend on, beside the text."""
        return {
            "backend": "probe",
            "model": str(base.model),
            "revision": base.revision,
            "layer": layer_for(backbone.model, self.options.layer),
            "max_length": length_limit(backbone.model, self.options.max_length),
            **rendering_of(base),
        }

    def _fit(
        self, job: PMJob, name: str, values: Floats, place: dict[tuple[str, str, bool], int], how: dict[str, Any]
    ) -> float:
        """Fit and write one head; returns the mean loss on its training pairs, penalty left out."""
        pairs = preferences_of(job, name)
        rows = np.array([[place[_key(pair.prompt, text)] for text in (pair.a, pair.b)] for pair in pairs])
        # Each text once: a text of many pairs must not weigh more in mean and scale.
        own = values[np.unique(rows)].astype(np.float64)
        mean, scale = own.mean(axis=0), own.std(axis=0)
        scale[scale < 1e-8 * max(1.0, float(scale.max()))] = 1.0  # a constant feature says nothing: keep it harmless
        # The mean cancels in a difference.
        x = (values[rows[:, 0]].astype(np.float64) - values[rows[:, 1]]) / scale
        p = np.array([pair.p_a for pair in pairs], dtype=np.float64)
        l2 = choose_l2(x, p, [pair.prompt.id for pair in pairs]) if self.options.l2 == "auto" else self.options.l2
        weight = fit_weights(x, p, l2)
        loss = loss_and_gradient(weight, x, p, 0.0)[0]
        _save(job.out / name, Head(mean, scale, weight), {**how, "l2": l2, "pairs": len(pairs)}, loss)
        return loss

    def load(self, folder: Path, principles: tuple[str, ...], base: Target, backbones: Backbones) -> PreferenceModel:
        """Load K heads over the shared base. Raises `UserError` naming a missing one."""
        done = read_done(folder, principles, "probe")
        names = ("layer", "max_length", "template", "chat_template_kwargs")
        shapes = {content_hash([one.get(name) for name in names]) for one in done}
        if len(shapes) > 1:
            raise UserError(f"the heads in {folder} read different layers or lengths; run train-pms again")
        backbone = backbones.get(base)
        heads = [_load(folder / name, int(backbone.model.config.get_text_config().hidden_size)) for name in principles]
        return ProbeModel(principles, heads, backbone, done[0] if done else {}, self.options.batch_tokens)


class ProbeModel:
    """A `PreferenceModel`: one pass of the base, K heads."""

    def __init__(
        self,
        principles: tuple[str, ...],
        heads: Sequence[Head],
        backbone: Backbone,
        how: dict[str, Any],
        batch_tokens: int,
    ) -> None:
        self.principles, self.heads, self.backbone = principles, heads, backbone
        self.how, self.batch_tokens = how, batch_tokens

    def score(self, prompts: Sequence[Prompt], responses: Sequence[str]) -> ScoreMatrix:
        """Return raw scores (n, k) float32, log-odds of being preferred up to a constant; any n, 0 too."""
        scores = np.zeros((len(prompts), len(self.principles)), dtype=np.float32)
        if self.heads and prompts:
            encoded = _encode(self.backbone, prompts, responses, self.how)
            values = features(self.backbone, encoded, self.how["layer"], self.batch_tokens)
            scores[:] = np.stack([head(values) for head in self.heads], axis=1)
        return ScoreMatrix(scores, self.principles, tuple(prompt.id for prompt in prompts))


def _key(prompt: Prompt, response: str) -> tuple[str, str, bool]:
    """Return what tells a text that is run from others."""
    return prompt.id, *response_key(response)


def _encode(
    backbone: Backbone, prompts: Sequence[Prompt], responses: Sequence[str], how: dict[str, Any]
) -> list[Encoded]:
    kwargs = how.get("chat_template_kwargs")
    return encode_all(backbone.tokenizer, prompts, responses, how["max_length"], how["template"], kwargs)


def _save(folder: Path, head: Head, how: dict[str, Any], loss: float) -> None:
    """Write a head; done.json last."""
    from safetensors.numpy import save_file

    folder.mkdir(parents=True, exist_ok=True)
    save_file({name: np.ascontiguousarray(array) for name, array in head._asdict().items()}, folder / "head.tmp")
    os.replace(folder / "head.tmp", folder / "head.safetensors")
    write_json(folder / "probe.json", how)
    finish(folder, {**how, "loss": loss})


def _load(folder: Path, width: int) -> Head:
    """Read a head over ``width`` features. Raises `UserError` where its file is damaged, missing or of another base."""
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        head = Head(**load_file(folder / "head.safetensors"))
    except (OSError, SafetensorError, TypeError) as error:
        raise UserError(f"the preference model in {folder} cannot be read ({error}); run train-pms again") from error
    if any(array.shape != (width,) for array in head):
        raise UserError(f"the preference model in {folder} was trained on another base model; run train-pms again")
    return head
