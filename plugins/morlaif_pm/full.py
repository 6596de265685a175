"""`full`: a sequence-classification model per principle, every weight trained.

A trained folder is an ordinary one: `AutoModelForSequenceClassification.from_pretrained(out / principle)`.

Leaves out: one model with a head for each principle, so that a new principle can be trained alone.
"""

from __future__ import annotations

import gc
from functools import partial
from pathlib import Path
from typing import Any

from morlaif_core import Backbones, PMJob, PreferenceModel, Target

from .encoding import length_limit, load_tokenizer, resolved
from .folders import clean, finish, is_done, read_done
from .jobs import Plan, need_folder, rows_of
from .kept import Kept, fitting, free_memory
from .models import device_of, dtype_for, load_base, load_scorer, pooling_pad, quiet, set_threads
from .options import FullOptions
from .scoring import Scorers


class FullBackend:
    """A `PMBackend` that fine-tunes a whole model per principle."""

    independent = True

    def __init__(self, options: FullOptions) -> None:
        self.options = options

    def train(self, job: PMJob) -> None:
        """Train what is not done yet, one principle after the other; at most one model is in memory."""
        plan = Plan(job, self.options, "full")
        tokenizer = load_tokenizer(resolved(job.base), job.base.revision)
        for principle in job.principles:
            if is_done(job.out / principle.name):
                clean(job.out / principle.name)
            else:
                self._train_one(job, plan, tokenizer, principle.name)
                # Model, trainer and optimizer form a circle, which would stay beside the next ones.
                gc.collect()

    def _train_one(self, job: PMJob, plan: Plan, tokenizer: Any, name: str) -> None:
        from transformers import set_seed

        from .trainer import fit

        device = device_of(job.backbones)
        # Before loading, which draws the new head.
        set_seed(plan.seed(name))
        model = load_base(job.base, trained=True, pad=pooling_pad(tokenizer), device=device)
        set_threads(model, job.backbones)
        max_length = length_limit(model, self.options.max_length)
        rows = rows_of(job, name, tokenizer, max_length)
        training = plan.training(name, rows, device)
        loss = fit(model, tokenizer, rows, training)
        save(model, tokenizer, training.folder)
        finish(training.folder, plan.summary(name, rows, loss, max_length))

    def load(self, folder: Path, principles: tuple[str, ...], base: Target, backbones: Backbones) -> PreferenceModel:
        """Make K models ready, each to be loaded when it first scores. Raises `UserError` naming a missing one."""
        done = read_done(folder, principles, "full")
        device = device_of(backbones)
        half = device != "cpu" and base.dtype != "float32"
        tokenizer = load_tokenizer(need_folder(folder / principles[0]) if principles else resolved(base))
        models = Kept(lambda path: self._load_one(path, base, device), partial(self._count, folder, principles, device))
        columns = [partial(_ready, models, folder / name, backbones) for name in principles]
        return Scorers(principles, columns, done, tokenizer, self.options.batch_tokens, autocast=half)

    def _count(self, folder: Path, principles: tuple[str, ...], device: str) -> int:
        """Return how many models stay in memory."""
        if self.options.keep_loaded != "auto":
            return self.options.keep_loaded
        sizes = [sum(file.stat().st_size for file in (folder / name).glob("*.safetensors")) for name in principles]
        return fitting(max(sizes), free_memory(device))

    def _load_one(self, folder: Path, base: Target, device: str) -> Any:
        dtype = dtype_for(base, device, trained=True)
        pad = pooling_pad(load_tokenizer(need_folder(folder)))
        return load_scorer(str(folder), revision=None, dtype=dtype, pad=pad, device=device)


def _ready(models: Kept, folder: Path, backbones: Backbones) -> Any:
    """Return the model of this folder, torch's threads set for it."""
    model = models.get(folder)
    set_threads(model, backbones)
    return model


def save(model: Any, tokenizer: Any, folder: Path) -> None:
    """Write weights and tokenizer; the configuration's pad id lets transformers alone pool where we pool."""
    model.config.pad_token_id = pooling_pad(tokenizer)
    with quiet():
        model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
