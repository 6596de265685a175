"""TRL's RewardTrainer for soft labels: own loss, collator and signature columns; checkpoints that survive a kill.

Loss (Bradley-Terry with a soft label): -(p log sigmoid(r_a - r_b) + (1 - p) log sigmoid(r_b - r_a)), mean over a batch.
TRL's own is the case p = 1. An optimiser's batch is collated whole and cut into minibatches here, so that their size
changes memory and rounding only, also in the last, shorter batch of an epoch.

Leaves out: margins, because the soft label says how sure the judge was, and raw margins did harm when tried (accuracy 0.83
against 0.91); TRL's centring of scores, because calibration sets their zero; swapped pairs as further data, because
the loss is the same for them; an early stop on the validation pairs, which only measure.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch.nn.functional import logsigmoid
from transformers import PrinterCallback, Trainer, TrainerCallback
from trl import RewardConfig, RewardTrainer

from .encoding import pad_right
from .folders import newest, seal
from .models import quiet
from .options import TrainOptions


@dataclass(frozen=True)
class Rows:
    """Encoded preferences: token ids of prompt and response a, of prompt and b, and P(a preferred).

    p_a: n labels of one principle; or n rows of K labels, NaN where a pair has none under a principle.
    """

    a: list[list[int]]
    b: list[list[int]]
    p_a: list[float] | list[list[float]]


@dataclass(frozen=True)
class Training:
    """How one principle is trained. key: hash of settings and data, which a checkpoint to go on from must carry."""

    folder: Path
    options: TrainOptions
    seed: int
    device: str
    key: str
    progress: Callable[[int, float], None]
    stop: Callable[[], bool]


def soft_loss(rewards_a: torch.Tensor, rewards_b: torch.Tensor, p_a: torch.Tensor) -> torch.Tensor:
    """Return the mean soft-label Bradley-Terry loss of rewards (n,) and (n,) under P(a preferred) (n,) in [0, 1]."""
    margin = rewards_a - rewards_b
    return -(p_a * logsigmoid(margin) + (1 - p_a) * logsigmoid(-margin)).mean()


def joint_loss(
    rewards_a: torch.Tensor, rewards_b: torch.Tensor, p_a: torch.Tensor, weight: torch.Tensor
) -> torch.Tensor:
    """Return the mean over K principles of their mean soft-label Bradley-Terry losses, estimated from m pairs.

    rewards_a, rewards_b: (m, K). p_a: (m, K), NaN where a pair has no label, which then adds no loss. weight: (K,), all
    pairs over a principle's labelled ones: in the mean over batches one with few labels counts as much as one with many,
    and a label counts alike in whichever batch it stands.
    """
    known = ~p_a.isnan()
    p = p_a.nan_to_num(0.5)
    margin = rewards_a - rewards_b
    losses = -(p * logsigmoid(margin) + (1 - p) * logsigmoid(-margin))
    return (losses * known * weight).sum() / p_a.numel()


class PairCollator:
    """Rows -> ``{"parts": [...]}``: minibatches of pairs of similar length, each with input_ids and attention_mask
    (2m, t), the a's before the b's, and p_a (m,) or (m, K)."""

    def __init__(self, pad: int, minibatch: int) -> None:
        self.pad, self.minibatch = pad, minibatch

    def __call__(self, rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
        # Parts of like length need the least padding; the batch's gradient is the same in any order.
        ordered = sorted(rows, key=lambda row: max(len(row["chosen_ids"]), len(row["rejected_ids"])))
        cuts = range(0, len(ordered), self.minibatch)
        return {"parts": [self._part(ordered[start : start + self.minibatch]) for start in cuts]}

    def _part(self, rows: Sequence[dict[str, Any]]) -> dict[str, torch.Tensor]:
        # TRL's names for rows that are tokenized already; here `chosen` is a, whichever is preferred.
        texts = [row["chosen_ids"] for row in rows] + [row["rejected_ids"] for row in rows]
        ids, mask = pad_right(texts, self.pad)
        return {"input_ids": ids, "attention_mask": mask, "p_a": torch.tensor([row["p_a"] for row in rows])}


class SoftRewardTrainer(RewardTrainer):  # type: ignore[misc]
    """RewardTrainer with soft labels; ``key`` marks its checkpoints."""

    key: str = ""
    loss: float = float("nan")
    weight: torch.Tensor = torch.ones(1)

    def _send_telemetry(self) -> None:
        """Send nothing: training speaks to nobody."""

    def _set_signature_columns_if_needed(self) -> None:
        # TRL's own list has no p_a, and Trainer drops columns that are not listed.
        self._signature_columns = ["chosen_ids", "rejected_ids", "p_a"]

    def compute_loss(
        self, model: Any, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        """Return the loss of one minibatch, as `PairCollator` makes them."""
        outputs = model(input_ids=inputs["input_ids"], attention_mask=inputs["attention_mask"])
        rewards_a, rewards_b = outputs.logits.float().chunk(2)
        p_a = inputs["p_a"]
        if p_a.dim() == 1:
            loss = soft_loss(rewards_a.squeeze(-1), rewards_b.squeeze(-1), p_a)
        else:
            loss = joint_loss(rewards_a, rewards_b, p_a, self.weight.to(p_a))
        return (loss, outputs) if return_outputs else loss

    def training_step(self, model: Any, inputs: dict[str, Any], num_items_in_batch: Any = None) -> torch.Tensor:
        """Accumulate the gradient of one batch; returns its mean loss, a scalar."""
        if not model.training:
            model.train()
        parts = self._prepare_inputs(inputs)["parts"]
        pairs = sum(len(part["p_a"]) for part in parts)
        total = torch.zeros((), device=self.args.device)
        for part in parts:
            with self.compute_loss_context_manager():
                # By its share of the pairs: parts may be of unlike size.
                loss = self.compute_loss(model, part) * (len(part["p_a"]) / pairs)
            self.accelerator.backward(loss)
            total += loss.detach()
        self.loss = float(total)
        return total

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        """Save a checkpoint without TRL's model card, mark it whole, then drop the one before."""
        # Past RewardTrainer, whose own method writes the card.
        Trainer._save_checkpoint(self, model, trial)
        seal(Path(self.args.output_dir) / f"checkpoint-{self.state.global_step}", self.key)


class _Progress(TrainerCallback):  # type: ignore[misc]
    """Reports every optimiser step; has a checkpoint written and ends where the job is to stop."""

    def __init__(self, training: Training) -> None:
        self.progress = training.progress
        # Without checkpoints there is nothing to wait for.
        self.stop = training.stop if training.options.checkpoint_every is not None else lambda: False
        self.stopped = False
        self.trainer: SoftRewardTrainer | None = None

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        # Set by `fit` before training. The loss is the trainer's, as without logging no callback is told of it.
        assert self.trainer is not None
        self.progress(state.global_step, self.trainer.loss)
        # After the last step the model itself is written.
        if state.global_step < state.max_steps and self.stop():
            self.stopped = control.should_save = control.should_training_stop = True


def steps_of(pairs: int, options: TrainOptions) -> int:
    """Return the number of optimiser steps for this many pairs."""
    per_epoch = -(-pairs // options.batch)
    return max(1, round(per_epoch * options.epochs))


def fit(model: Any, tokenizer: Any, rows: Rows, training: Training) -> float:
    """Train a scorer in place, going on from a checkpoint where there is one; returns the last batch's loss.

    That is NaN where the checkpoint was the last step's: there was nothing left to do. Raises KeyboardInterrupt, a
    checkpoint written, where the job is to stop.
    """
    from datasets import Dataset

    progress = _Progress(training)
    # TRL wants one output of a model whose loss it computes itself.
    labels, model.config.id2label = model.config.id2label, {0: "score"}
    with quiet():
        trainer = SoftRewardTrainer(
            model=model,
            args=_config(training, steps_of(len(rows.p_a), training.options)),
            train_dataset=Dataset.from_dict({"chosen_ids": rows.a, "rejected_ids": rows.b, "p_a": rows.p_a}),
            data_collator=PairCollator(tokenizer.pad_token_id, training.options.minibatch),
            processing_class=tokenizer,
            callbacks=[progress],
        )
        # Without tqdm Trainer prints its logs by this one.
        trainer.remove_callback(PrinterCallback)
        model.config.id2label = labels
        progress.trainer, trainer.key, trainer.weight = trainer, training.key, _weights(rows.p_a)
        checkpoint = newest(training.folder, training.key)
        trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    if progress.stopped:
        raise KeyboardInterrupt
    return trainer.loss


def _weights(p_a: list[float] | list[list[float]]) -> torch.Tensor:
    """Return what a principle's label weighs, (K,): all pairs over those that it labels."""
    known = ~torch.tensor(p_a).reshape(len(p_a), -1).isnan()
    return len(p_a) / known.sum(dim=0).clamp(min=1)


def _config(training: Training, steps: int) -> RewardConfig:
    """Return the trainer's settings; nothing is filtered by length, logged, sent or printed."""
    options, cpu = training.options, training.device == "cpu"
    checkpointing = not cpu if options.gradient_checkpointing == "auto" else options.gradient_checkpointing
    config = RewardConfig(
        output_dir=str(training.folder),
        max_steps=steps,
        learning_rate=options.learning_rate,
        per_device_train_batch_size=options.batch,
        warmup_steps=round(options.warmup * steps),
        weight_decay=options.weight_decay,
        seed=training.seed,
        data_seed=training.seed,
        save_strategy="no" if options.checkpoint_every is None else "steps",
        save_steps=options.checkpoint_every or 500,  # a number even where nothing is saved
        use_cpu=cpu,
        bf16=not cpu and torch.cuda.is_bf16_supported(),
        activation_checkpointing=checkpointing,
        dataloader_pin_memory=not cpu,
        disable_dropout=False,  # done when the base is loaded, or a LoRA's own dropout would go with it
        max_length=None,  # TRL drops pairs that are longer; ours were cut when they were encoded
        logging_strategy="no",
        report_to="none",
        disable_tqdm=True,
    )
    _one_device(config, training.device)
    return config


def _one_device(config: RewardConfig, device: str) -> None:
    """Train on the one GPU that the run names: several would wrap the model, whose forward is bound to the first.

    To ask for the device makes the library choose the first GPU and count them all, so what it chose is put right after.
    """
    if config.device.type == "cpu":
        return
    config._n_gpu = 1
    if ":" in device:
        torch.cuda.set_device(device)
        config.__dict__["_setup_devices"] = torch.device(device)  # a cached property: this is its cache
