"""What `full`, `lora` and `heads` do alike for a training job: rows, seeds, keys, progress over all principles."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from morlaif_core import PMJob, Preference, UserError, content_hash, response_key

from .encoding import encode_all, rendering_of
from .options import TrainOptions

if TYPE_CHECKING:
    from .trainer import Rows, Training


def seed_of(*parts: object) -> int:
    """Return a seed in [0, 2**31) that depends on the parts alone."""
    # 31 bits: transformers seeds numpy's generator too, which takes 32.
    return int(content_hash("pm", *parts), 16) % 2**31


def preferences_of(job: PMJob, name: str) -> Sequence[Preference]:
    """Return a principle's training pairs. Raises `UserError` where there are none."""
    found = job.train.get(name, ())
    if not found:
        raise UserError(
            f"there is no preference to train the preference model of '{name}' on: every judgement of it was a tie "
            "that was dropped, or failed; see its counts in results.json"
        )
    return found


def rows_of(job: PMJob, name: str, tokenizer: Any, max_length: int) -> Rows:
    """Encode a principle's preferences; nothing is left out, long prompts are cut on the left."""
    from .trainer import Rows

    pairs = preferences_of(job, name)
    a, b = _encoded(job, pairs, tokenizer, max_length)
    return Rows(a, b, [float(pair.p_a) for pair in pairs])


def joint_rows(job: PMJob, names: Sequence[str], tokenizer: Any, max_length: int) -> Rows:
    """Encode the preferences of several principles, each pair once: a row of labels, NaN where it has none."""
    from .trainer import Rows

    found: dict[tuple[object, ...], tuple[Preference, list[float]]] = {}
    for column, name in enumerate(names):
        for pair in preferences_of(job, name):
            key = (pair.prompt.id, *response_key(pair.a), *response_key(pair.b))
            labels = found.setdefault(key, (pair, [math.nan] * len(names)))[1]
            labels[column] = float(pair.p_a)
    pairs = [pair for pair, _ in found.values()]
    a, b = _encoded(job, pairs, tokenizer, max_length)
    return Rows(a, b, [labels for _, labels in found.values()])


def _encoded(job: PMJob, pairs: Sequence[Preference], tokenizer: Any, max_length: int) -> list[list[list[int]]]:
    """Return the token ids of all responses a, and of all responses b, each after its prompt."""
    prompts = [pair.prompt for pair in pairs]
    how = (job.base.template, job.base.chat_template_kwargs)
    return [
        [row.ids for row in encode_all(tokenizer, prompts, responses, max_length, *how)]
        for responses in ([pair.a for pair in pairs], [pair.b for pair in pairs])
    ]


class Plan:
    """Steps of all principles together, so that progress counts once from 0 to the end."""

    def __init__(self, job: PMJob, options: TrainOptions, backend: str) -> None:
        from .trainer import steps_of

        self.job, self.options, self.backend = job, options, backend
        self.steps = {p.name: steps_of(len(preferences_of(job, p.name)), options) for p in job.principles}
        self.total = sum(self.steps.values())

    def training(self, name: str, rows: Rows, device: str) -> Training:
        """Return how this principle is trained."""
        from .trainer import Training

        names = list(self.steps)
        offset = sum(self.steps[before] for before in names[: names.index(name)])
        folder = self.job.out / name
        folder.mkdir(parents=True, exist_ok=True)

        def progress(step: int, loss: float) -> None:
            self.job.report(offset + step, self.total, {"loss": loss})

        key = checkpoint_key(self.job, self.options, self.backend, name, rows)
        return Training(folder, self.options, self.seed(name), device, key, progress, self.job.stop)

    def seed(self, name: str) -> int:
        """Return the principle's own seed: it does not depend on which others are trained, or in which order."""
        return seed_of(self.job.seed, name)

    def summary(self, name: str, rows: Rows, loss: float, max_length: int) -> dict[str, object]:
        """Return the content of done.json: see `summary`."""
        return summary(self.job, self.backend, len(rows.p_a), self.steps[name], loss, max_length)


def checkpoint_key(job: PMJob, options: TrainOptions, backend: str, name: str, rows: Rows) -> str:
    """Return the hash of settings and data that a checkpoint to go on from must carry."""
    # What is left out changes speed and memory, so a checkpoint made with other values can be gone on from.
    settings = options.model_dump(
        exclude={"minibatch", "checkpoint_every", "gradient_checkpointing", "batch_tokens", "keep_loaded"}
    )
    return content_hash(backend, settings, job.base.model_dump(), job.seed, name, rows.a, rows.b, rows.p_a)


def summary(job: PMJob, backend: str, pairs: int, steps: int, loss: float, max_length: int) -> dict[str, object]:
    """Return the content of done.json: what scoring must know, and what was done; a loss of NaN becomes null."""
    known = loss if math.isfinite(loss) else None
    shape = {"backend": backend, "max_length": max_length, **rendering_of(job.base)}
    return {**shape, "pairs": pairs, "steps": steps, "loss": known}


def need_folder(path: Path) -> str:
    """Return a folder as a string for transformers, which would take a missing one for a hub id."""
    if not path.is_dir():
        raise UserError(f"{path} is missing; run train-pms again")
    return str(path)
