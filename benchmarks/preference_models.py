"""What it costs to score under K principles, and to train K preference models, against one plain forward pass.

    python benchmarks/preference_models.py [--quick] [--json FILE] [--repeats 3]

A model of GPT-2-small's shape with random weights, K = 12, one thread. Each way scores the same texts in turn, several
times over; the figures are medians of the ratio to the plain pass of the same turn (the base's body, without a head for
words). Peak memory is that of a child process for each K. Training: seconds for one pass over the same pairs, of all K
together as `heads`, of one as `lora`.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tables import print_rows, write_rows

from morlaif_core import Encoded
from morlaif_core.models.backbones import LocalBackbone
from morlaif_core.testing import tiny_base
from morlaif_pm.encoding import load_tokenizer
from morlaif_pm.features import features
from morlaif_pm.lora import adapter_config
from morlaif_pm.models import load_scorer, quiet
from morlaif_pm.options import HeadsOptions, LoraOptions
from morlaif_pm.scoring import score_ids, score_on_trunk
from morlaif_pm.trainer import Rows, Training, fit

K = 12
PAD = 0
TARGETS = {"lora, top 4 of 12 layers": 4.9, "heads": 1.1, "probe, two thirds of the depth": 0.8}
Way = Callable[[list[Encoded]], Any]


def main() -> None:
    """Measure, print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a tiny shape, once: does it run?")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", type=Path)
    parser.add_argument(
        "--peak", nargs=3, metavar=("WAY", "K", "BASE"), help="used by itself: score once, print the peak in MB"
    )
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.peak:
        way, k, saved = options.peak
        print(peak(Path(saved), way, int(k), 64 if options.quick else 384))
        return
    with tempfile.TemporaryDirectory() as temporary:
        base = save_base(Path(temporary), options.quick)
        rows = scoring_rows(base, 1 if options.quick else options.repeats, (32, 64) if options.quick else (128, 384))
        rows += memory_rows(base, options.quick)
        rows += [training_row(base, Path(temporary), 16 if options.quick else 64)]
    print_rows([shown(row) for row in rows])
    write_rows(options.json, rows)


def save_base(folder: Path, quick: bool) -> Path:
    """Save a model of GPT-2-small's shape with random weights."""
    from transformers import GPT2Config, GPT2LMHeadModel

    torch.manual_seed(0)
    shape = {"n_embd": 48, "n_head": 4, "vocab_size": 500} if quick else {}
    with quiet():
        GPT2LMHeadModel(GPT2Config(n_layer=12, pad_token_id=PAD, **shape)).save_pretrained(folder / "base")
    return folder / "base"


def scorer(base: Path, outputs: int = 1) -> Any:
    """Load the base with a head."""
    torch.manual_seed(0)
    found = load_scorer(str(base), revision=None, dtype=torch.float32, pad=PAD, device="cpu", outputs=outputs)
    return found.requires_grad_(False)


def adapted(base: Path, k: int, options: LoraOptions, outputs: int = 1) -> Any:
    """Load the base with k adapters; their weights are drawn, as an adapter of zeros would cost the same but say nothing."""
    from peft import get_peft_model

    model = scorer(base, outputs)
    with quiet():
        peft = get_peft_model(model, adapter_config(model, options), adapter_name="p0")
        for place in range(1, k):
            peft.add_adapter(f"p{place}", adapter_config(peft, options))
    for name, weight in peft.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight, std=0.02)
    return peft.eval()


def switched(model: Any, name: str) -> Any:
    """Switch to an adapter."""
    model.set_adapter(name)
    return model


def ways(base: Path, k: int = K) -> dict[str, Callable[[], Way]]:
    """Name each way of scoring texts under k principles, with what readies it."""
    return {
        "plain forward": lambda: partial(plain, scorer(base)),
        "loop over adapters": lambda: partial(loop, adapted(base, k, LoraOptions()), k),
        "lora, top 4 of 12 layers": lambda: partial(on_trunk, adapted(base, k, LoraOptions(top_layers=4)), k),
        "heads": lambda: partial(whole, adapted(base, 1, LoraOptions(), outputs=k)),
        "probe, two thirds of the depth": lambda: partial(probed, backbone(base), k),
    }


def plain(model: Any, rows: list[Encoded]) -> Any:
    """Run the body once."""
    with torch.no_grad():
        return model.transformer(input_ids=torch.tensor([row.ids for row in rows]), use_cache=False)


def loop(model: Any, k: int, rows: list[Encoded]) -> list[Any]:
    """Run everything once for each adapter, as the paper does."""
    return [score_ids(switched(model, f"p{place}"), rows, PAD, 10**6) for place in range(k)]


def on_trunk(model: Any, k: int, rows: list[Encoded]) -> Any:
    """Run the common bottom once, then each adapter's own blocks."""
    return score_on_trunk([partial(switched, model, f"p{place}") for place in range(k)], rows, PAD, 10**6, 8)


def whole(model: Any, rows: list[Encoded]) -> Any:
    """Run an adapted backbone with k outputs."""
    return score_ids(model, rows, PAD, 10**6)


def backbone(base: Path) -> LocalBackbone:
    """Load the base as the core hands it out."""
    from transformers import GPT2LMHeadModel

    class Tokenizer:
        pad_token_id = PAD

    return LocalBackbone(GPT2LMHeadModel.from_pretrained(base), Tokenizer(), torch.device("cpu"), 1, own=False)


def probed(model: LocalBackbone, k: int, rows: list[Encoded]) -> Any:
    """Run the lower blocks, then k linear heads."""
    values = features(model, rows, 8, 10**6)
    return values @ np.ones((values.shape[1], k), dtype=np.float32)


def texts(length: int) -> list[Encoded]:
    """Draw four texts of a length."""
    draw = np.random.default_rng(0)
    return [Encoded(draw.integers(1, 400, length).tolist(), length // 2) for _ in range(4)]


def scoring_rows(base: Path, repeats: int, lengths: tuple[int, ...]) -> list[dict[str, Any]]:
    """Time each way in turn; the ratio to the plain pass of the same turn."""
    ready = {name: make() for name, make in ways(base).items()}
    found = []
    for length in lengths:
        rows = texts(length)
        ready["plain forward"](rows)  # the first pass allocates
        ratios: dict[str, list[float]] = {name: [] for name in ready}
        for _ in range(repeats):
            seconds = {name: timed(partial(way, rows)) for name, way in ready.items()}
            for name, taken in seconds.items():
                ratios[name].append(taken / seconds["plain forward"])
        for name, values in ratios.items():
            ratio = statistics.median(values)
            found.append(
                {"name": f"{name}, {length} tokens", "value": ratio, "unit": "passes", "target": TARGETS.get(name)}
            )
    model = adapted(base, K, LoraOptions(top_layers=4))
    by_loop = np.concatenate(loop(model, K, texts(lengths[0])), axis=1)
    apart = float(np.abs(by_loop - on_trunk(model, K, texts(lengths[0]))).max())
    assert apart < 1e-5, f"the shared bottom changes scores by {apart}"
    return found


def timed(call: Callable[[], Any]) -> float:
    """Return the seconds of a call."""
    begun = time.perf_counter()
    call()
    return time.perf_counter() - begun


def memory_rows(base: Path, quick: bool) -> list[dict[str, Any]]:
    """Peak memory of scoring at K over that at one, each in a process of its own."""
    found = []
    for name in ("heads",) if quick else ("lora, top 4 of 12 layers", "loop over adapters", "heads"):
        peaks = []
        for k in (1, K):
            # It makes no base of its own, which would take more memory than scoring.
            command = [sys.executable, __file__, "--peak", name, str(k), str(base), *(["--quick"] if quick else [])]
            said = subprocess.run(command, capture_output=True, text=True, check=True, env={**os.environ}).stdout
            peaks.append(float(said.split()[-1]))
        found.append(
            {
                "name": f"{name}, peak at {K} over peak at 1",
                "value": peaks[1] / peaks[0],
                "unit": "ratio",
                "target": 1.3,
            }
        )
    return found


def peak(base: Path, name: str, k: int, length: int) -> float:
    """Score once; the process's peak in MB."""
    ways(base, k)[name]()(texts(length))
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def training_row(base: Path, folder: Path, pairs: int) -> dict[str, Any]:
    """Seconds of one pass of all K as `heads`, over those of one `lora` on the same pairs."""
    draw = np.random.default_rng(1)
    sides = [[draw.integers(1, 400, 64).tolist() for _ in range(pairs)] for _ in "ab"]
    labels = draw.uniform(size=(pairs, K)).round(2)
    tokenizer = load_tokenizer(str(tiny_base(folder / "words")))
    seconds = {}
    for name, p_a, options, outputs in (
        ("lora", labels[:, 0].tolist(), LoraOptions(epochs=1, batch=16), 1),
        ("heads", labels.tolist(), HeadsOptions(epochs=1, batch=16), K),
    ):
        model = adapted(base, 1, options, outputs)
        how = Training(folder / name, options, 0, "cpu", "key", lambda step, loss: None, lambda: False)
        how.folder.mkdir()

        with contextlib.redirect_stdout(sys.stderr):
            seconds[name] = timed(partial(fit, model, tokenizer, Rows(sides[0], sides[1], p_a), how))
    ratio = seconds["heads"] / seconds["lora"]
    return {"name": f"training {K} as heads over one lora", "value": ratio, "unit": "ratio", "target": 1.5}


def shown(row: dict[str, Any]) -> dict[str, str]:
    """A row of the printed table."""
    target = "" if row["target"] is None else f"{row['target']:.1f}"
    return {"what": row["name"], "measured": f"{row['value']:.2f}", "unit": row["unit"], "at most": target}


if __name__ == "__main__":
    main()
