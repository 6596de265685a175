"""`heads`: one backbone for all principles, adapted by LoRA or trained whole, with an output each.

All principles are trained at once: a pair that several of them label is run once, and one forward pass scores K. The model
lies in the folder of the job's first principle; each done.json says where, and which output is the principle's. It is an
ordinary one, with `tune: lora` a peft adapter, with `tune: full` a model of its own:

    PeftModel.from_pretrained(AutoModelForSequenceClassification.from_pretrained(base, num_labels=K), out / first)
    AutoModelForSequenceClassification.from_pretrained(out / first)

Leaves out: training a new principle alone, because the backbone is shared; `lora` and `probe` do that.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from morlaif_core import Backbones, PMJob, PreferenceModel, Prompt, ScoreMatrix, Target, UserError

from .encoding import encode_all, length_limit, load_tokenizer, resolved
from .folders import clean, finish, is_done, read_done
from .full import save
from .jobs import checkpoint_key, joint_rows, need_folder, seed_of, summary
from .lora import adapter_config
from .models import device_of, dtype_for, load_base, load_scorer, pooling_pad, quiet, set_threads
from .options import HeadsOptions
from .scoring import score_ids


class HeadsBackend:
    """A `PMBackend` that trains one backbone with a head for each principle."""

    independent = False

    def __init__(self, options: HeadsOptions) -> None:
        self.options = options

    def train(self, job: PMJob) -> None:
        """Train all principles of the job together, unless all are done."""
        names = [principle.name for principle in job.principles]
        if not all(is_done(job.out / name) for name in names):
            self._train(job, names)
        clean(job.out / names[0])

    def _train(self, job: PMJob, names: list[str]) -> None:
        from transformers import set_seed

        from .trainer import Training, fit, steps_of

        tokenizer = load_tokenizer(resolved(job.base), job.base.revision)
        device, seed = device_of(job.backbones), seed_of(job.seed, *names)
        # Before loading, which draws the heads.
        set_seed(seed)
        model = self._untrained(job, tokenizer, len(names), device)
        max_length = length_limit(model, self.options.max_length)
        rows = joint_rows(job, names, tokenizer, max_length)
        steps = steps_of(len(rows.p_a), self.options)
        shared = job.out / names[0]
        shared.mkdir(parents=True, exist_ok=True)

        def progress(step: int, loss: float) -> None:
            job.report(step, steps, {"loss": loss})

        key = checkpoint_key(job, self.options, "heads", "+".join(names), rows)
        loss = fit(model, tokenizer, rows, Training(shared, self.options, seed, device, key, progress, job.stop))
        self._save(model, tokenizer, shared, names)
        known = summary(job, "heads", len(rows.p_a), steps, loss, max_length)
        # The first one last: only with it are all whole, and until then its checkpoint is there to go on from.
        for column, name in reversed(list(enumerate(names))):
            (job.out / name).mkdir(exist_ok=True)
            about = {"shared": names[0], "output": column, "outputs": len(names), "tune": self.options.tune}
            finish(job.out / name, {**known, **about})

    def _untrained(self, job: PMJob, tokenizer: Any, outputs: int, device: str) -> Any:
        whole = self.options.tune == "full"
        model = load_base(job.base, trained=whole, pad=pooling_pad(tokenizer), device=device, outputs=outputs)
        set_threads(model, job.backbones)
        if whole:
            return model
        from peft import get_peft_model

        with quiet():
            return get_peft_model(model.requires_grad_(False), adapter_config(model, self.options))

    def _save(self, model: Any, tokenizer: Any, folder: Path, names: Sequence[str]) -> None:
        if self.options.tune == "full":
            model.config.id2label = dict(enumerate(names))
            save(model, tokenizer, folder)
            return
        with quiet():
            model.save_pretrained(folder)
        # peft's card is an empty form that names a path of the cache.
        (folder / "README.md").unlink(missing_ok=True)
        tokenizer.save_pretrained(folder)

    def load(self, folder: Path, principles: tuple[str, ...], base: Target, backbones: Backbones) -> PreferenceModel:
        """Load the one backbone with its heads. Raises `UserError` where a principle is missing or of another training."""
        done = read_done(folder, principles, "heads")
        if len({(one["shared"], one["outputs"]) for one in done}) > 1:
            raise UserError(f"the heads in {folder} were not trained together; run train-pms again")
        tokenizer = load_tokenizer(resolved(base), base.revision)
        model = _load(folder, done[0], base, tokenizer, device_of(backbones)) if done else None
        return HeadsModel(principles, model, done, tokenizer, backbones, self.options.batch_tokens)


class HeadsModel:
    """A `PreferenceModel`: one pass, K scores."""

    def __init__(
        self,
        principles: tuple[str, ...],
        model: Any,
        done: Sequence[dict[str, Any]],
        tokenizer: Any,
        backbones: Backbones,
        batch_tokens: int,
    ) -> None:
        self.principles, self.model, self.done = principles, model, done
        self.tokenizer, self.backbones, self.batch_tokens = tokenizer, backbones, batch_tokens

    def score(self, prompts: Sequence[Prompt], responses: Sequence[str]) -> ScoreMatrix:
        """Return raw scores (n, k) float32, log-odds of being preferred up to a constant; any n, 0 too."""
        values = np.zeros((len(prompts), len(self.principles)), dtype=np.float32)
        if self.done and prompts:
            how = self.done[0]
            kwargs = how.get("chat_template_kwargs")
            encoded = encode_all(self.tokenizer, prompts, responses, how["max_length"], how["template"], kwargs)
            set_threads(self.model, self.backbones)
            scores = score_ids(self.model, encoded, self.tokenizer.pad_token_id, self.batch_tokens)
            values[:] = scores[:, [one["output"] for one in self.done]]
        return ScoreMatrix(values, self.principles, tuple(prompt.id for prompt in prompts))


def _load(folder: Path, done: dict[str, Any], base: Target, tokenizer: Any, device: str) -> Any:
    """Load backbone and heads; the global generators are left alone."""
    import torch
    from peft import PeftModel

    shared, pad = need_folder(folder / done["shared"]), pooling_pad(tokenizer)
    with torch.random.fork_rng(devices=[]), quiet():
        if done["tune"] == "full":
            dtype = dtype_for(base, device, trained=True)
            return load_scorer(shared, revision=None, dtype=dtype, pad=pad, device=device, outputs=done["outputs"])
        model = load_base(base, trained=False, pad=pad, device=device, outputs=done["outputs"]).requires_grad_(False)
        return PeftModel.from_pretrained(model, shared).eval()
