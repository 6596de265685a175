"""`lora`: one base model, an adapter and a linear head per principle.

A trained folder is an ordinary peft adapter:
`PeftModel.from_pretrained(AutoModelForSequenceClassification.from_pretrained(base, num_labels=1), out / principle)`.

Leaves out: peft's batches of mixed adapters in scoring, because they were only 1.17 times as fast as a loop over adapters;
and one adapter with K heads, so that a new principle can be trained alone.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from morlaif_core import Backbones, Lora, PMJob, PreferenceModel, Target, UserError, lora_config

from .encoding import length_limit, load_tokenizer, resolved
from .folders import clean, finish, is_done, read_done
from .jobs import Plan, need_folder, rows_of
from .models import device_of, load_base, pooling_pad, quiet, set_threads
from .options import LoraOptions
from .scoring import Scorers, shared_trunk


class LoraBackend:
    """A `PMBackend` that trains a LoRA adapter and a head per principle on one frozen base."""

    independent = True

    def __init__(self, options: LoraOptions) -> None:
        self.options = options

    def train(self, job: PMJob) -> None:
        """Train what is not done yet, one principle after the other; the base is loaded once."""
        plan = Plan(job, self.options, "lora")
        tokenizer = load_tokenizer(resolved(job.base), job.base.revision)
        base = None
        for name in [principle.name for principle in job.principles]:
            if is_done(job.out / name):
                clean(job.out / name)
            else:
                # Loaded only where something is left to train.
                base = _frozen_base(job, tokenizer) if base is None else base
                base = self._train_one(job, plan, tokenizer, base, name)

    def _train_one(self, job: PMJob, plan: Plan, tokenizer: Any, base: Any, name: str) -> Any:
        """Train one adapter; returns the base without it."""
        from peft import get_peft_model
        from transformers import set_seed

        from .trainer import fit

        max_length = length_limit(base, self.options.max_length)
        rows = rows_of(job, name, tokenizer, max_length)
        training = plan.training(name, rows, device_of(job.backbones))
        set_seed(plan.seed(name))
        _draw_head(base)
        # peft trains a copy of the head and leaves it in the base on unloading: the plain one is put back below.
        untrained = base.score
        with quiet():
            model = get_peft_model(base, adapter_config(base, self.options))
        loss = fit(model, tokenizer, rows, training)
        with quiet():
            model.save_pretrained(training.folder)
        # peft's card is an empty form that names a path of the cache.
        (training.folder / "README.md").unlink(missing_ok=True)
        tokenizer.save_pretrained(training.folder)
        finish(training.folder, plan.summary(name, rows, loss, max_length))
        base = model.unload()
        base.score = untrained
        return base

    def load(self, folder: Path, principles: tuple[str, ...], base: Target, backbones: Backbones) -> PreferenceModel:
        """Load one base and K named adapters. Raises `UserError` naming a missing one."""
        done = read_done(folder, principles, "lora")
        tokenizer = load_tokenizer(resolved(base), base.revision)
        model = _with_adapters(folder, principles, base, tokenizer, device_of(backbones))
        columns = [partial(_switch, model, name, backbones) for name in principles]
        trunk = shared_trunk(model)
        return Scorers(principles, columns, done, tokenizer, self.options.batch_tokens, trunk=trunk)


def _frozen_base(job: PMJob, tokenizer: Any) -> Any:
    """Load the base as a scorer, its weights frozen."""
    base = load_base(job.base, trained=False, pad=pooling_pad(tokenizer), device=device_of(job.backbones))
    set_threads(base, job.backbones)
    return base.requires_grad_(False)


def _draw_head(base: Any) -> None:
    """Draw the head anew from torch's global generator, so that no principle starts from another's."""
    import torch

    with torch.no_grad():
        base.score.weight.normal_(0.0, getattr(base.config, "initializer_range", 0.02))


def adapter_config(base: Any, options: LoraOptions) -> Any:
    """Return the peft config: LoRA on the chosen layers, the head trained whole. Raises `UserError`."""
    from peft import TaskType

    if options.modules != "auto":
        known = {name.rpartition(".")[2] for name, _ in base.named_modules()}
        unknown = sorted(set(options.modules) - known)
        if unknown:
            raise UserError(f"preference_model.modules: the base has no layers named {', '.join(unknown)}; give auto")
    lora = Lora(**options.model_dump(include=set(Lora.model_fields)))
    config = lora_config(base, lora)
    # peft then saves the head with the adapter, and loads both by itself.
    config.task_type, config.modules_to_save = TaskType.SEQ_CLS, ["score"]
    # The head is trained whole: an adapter on it would be of no use.
    config.target_modules = set(config.target_modules) - {"score"}
    return config


def _with_adapters(folder: Path, principles: tuple[str, ...], base: Target, tokenizer: Any, device: str) -> Any:
    """Load the base and the adapters, named like their principles; the global generators are left alone."""
    import torch
    from peft import PeftModel

    with torch.random.fork_rng(devices=[]), quiet():
        model = load_base(base, trained=False, pad=pooling_pad(tokenizer), device=device).requires_grad_(False)
        for index, name in enumerate(principles):
            path = need_folder(folder / name)
            if index == 0:
                model = PeftModel.from_pretrained(model, path, adapter_name=name)
            else:
                model.load_adapter(path, name)
    return model.eval()


def _switch(model: Any, name: str, backbones: Backbones) -> Any:
    """Switch the base to one principle's adapter and head; returns it, torch's threads set for it."""
    set_threads(model, backbones)
    model.set_adapter(name)
    return model
