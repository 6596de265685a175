"""The backend `heads`: one backbone, K outputs, pairs that only some principles label, and what is left of a kill."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st

from morlaif_core import UserError
from morlaif_pm import build_heads
from morlaif_pm.encoding import load_tokenizer
from morlaif_pm.jobs import joint_rows
from morlaif_pm.options import HeadsOptions
from morlaif_pm.trainer import _weights, joint_loss, soft_loss
from tests.helpers.preference_jobs import BACKENDS, KilledError, flat, job_in, load, preferences, weights

SHORT: dict[str, Any] = {"epochs": 1, "batch": 8, "max_length": 64, "learning_rate": 2e-3}


@given(st.integers(0, 10_000))
@settings(deadline=None, max_examples=30)
def test_the_loss_is_the_mean_over_principles_of_their_mean_losses(seed: int) -> None:
    draw = np.random.default_rng(seed)
    a, b, p = draw.normal(size=(12, 3)), draw.normal(size=(12, 3)), draw.uniform(size=(12, 3))
    p[draw.random(size=p.shape) < 0.4] = math.nan
    p[0] = 0.3  # every principle labels one at least
    by_hand = []
    for column in range(3):
        known = ~np.isnan(p[:, column])
        sigmoid = 1 / (1 + np.exp(b[known, column] - a[known, column]))
        label = p[known, column]
        by_hand.append(-np.mean(label * np.log(sigmoid) + (1 - label) * np.log(1 - sigmoid)))
    tensors = [torch.tensor(each) for each in (a, b, p)]
    weight = _weights(p.tolist()).double()
    assert float(joint_loss(*tensors, weight)) == pytest.approx(np.mean(by_hand), rel=1e-6)
    # In parts of a batch, each by its share of the pairs, as training adds them up.
    parts = [
        joint_loss(*(each[rows] for each in tensors), weight) * (len(rows) / 12) for rows in (range(5), range(5, 12))
    ]
    assert float(sum(parts)) == pytest.approx(np.mean(by_hand), rel=1e-6)
    one = [torch.tensor(each[:, :1]) for each in (a, b, np.nan_to_num(p, nan=0.5))]
    assert float(joint_loss(*one, torch.ones(1))) == pytest.approx(float(soft_loss(*(each[:, 0] for each in one))))


def test_a_pair_that_several_principles_label_is_one_row(tmp_path: Path) -> None:
    job = job_in(tmp_path, names=("kind", "rude"), n=16)
    both = preferences(10, "kind")
    job = replace(job, train={"kind": both, "rude": [replace(pair, p_a=0.2) for pair in both[:4]]})
    rows = joint_rows(job, ["kind", "rude"], load_tokenizer(str(job.base.model)), 64)
    assert len(rows.a) == len(rows.p_a) == 10
    assert [row[1] for row in rows.p_a[:4]] == [0.2] * 4
    assert all(math.isnan(row[1]) for row in rows.p_a[4:])
    assert [row[0] for row in rows.p_a] == [pair.p_a for pair in both]
    assert _weights(rows.p_a).tolist() == [1.0, 2.5]


@pytest.mark.parametrize("tune", ["lora", "full"])
def test_transformers_and_peft_load_it_without_us(tune: Any, tmp_path: Path) -> None:
    from peft import PeftModel
    from transformers import AutoModelForSequenceClassification

    from morlaif_core import encode_pair

    job = job_in(tmp_path, names=("kind", "rude"), n=16)
    backend = build_heads(HeadsOptions(tune=tune, **SHORT))
    backend.train(job)
    prompts, responses = flat(preferences(3))
    scores = backend.load(job.out, ("rude", "kind"), job.base, job.backbones).score(prompts, responses).values
    kind = AutoModelForSequenceClassification
    if tune == "full":
        model = kind.from_pretrained(job.out / "kind")
        assert model.config.id2label == {0: "kind", 1: "rude"}
    else:
        base = kind.from_pretrained(job.base.model, num_labels=2)
        model = PeftModel.from_pretrained(base, job.out / "kind").eval()
    tokenizer = load_tokenizer(str(job.base.model))
    rows = [encode_pair(tokenizer, p, r, 64).ids for p, r in zip(prompts, responses, strict=True)]
    with torch.no_grad():  # one by one: alone it would look for the pad id
        found = torch.cat([model(torch.tensor([row])).logits for row in rows]).numpy()
    np.testing.assert_allclose(scores[:, ::-1], found, atol=1e-5)


def test_a_kill_while_the_principles_are_marked_done_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from morlaif_pm import heads

    job, backend = (
        job_in(tmp_path, names=("kind", "rude"), n=16),
        build_heads(HeadsOptions(checkpoint_every=1, **SHORT)),
    )
    backend.train(replace(job, out=tmp_path / "whole"))
    finish = heads.finish

    def killed(folder: Path, content: Any) -> None:
        if folder.name == "kind":
            raise KilledError
        finish(folder, content)

    monkeypatch.setattr(heads, "finish", killed)
    with pytest.raises(KilledError):
        backend.train(job)
    assert (job.out / "rude" / "done.json").exists()
    monkeypatch.setattr(heads, "finish", finish)
    steps: list[int] = []
    backend.train(replace(job, report=lambda step, *_, **__: steps.append(step) or "go"))
    assert not steps, "the last checkpoint had all steps"
    assert weights(job.out / "kind") == weights(tmp_path / "whole" / "kind")
    assert not list(job.out.rglob("checkpoint-*"))


def test_heads_of_two_trainings_are_not_mixed(tmp_path: Path) -> None:
    job, backend = job_in(tmp_path, names=("kind", "rude"), n=16), build_heads(HeadsOptions(**SHORT))
    backend.train(job)
    alone = replace(job, principles=job.principles[1:], out=tmp_path / "alone")
    backend.train(alone)
    (job.out / "rude").rename(tmp_path / "old")
    (alone.out / "rude").rename(job.out / "rude")
    with pytest.raises(UserError, match="not trained together; run train-pms again"):
        load("heads", job, ("kind", "rude"))
    assert BACKENDS["heads"].load(job.out, (), job.base, job.backbones).score([], []).values.shape == (0, 0)
