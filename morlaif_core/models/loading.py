"""Reading a causal LM and its tokenizer from a folder or the hub, with errors that say what to do."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from morlaif_core.errors import UserError
from morlaif_core.plugins.components import Target

# Tokens that common vocabularies hold in reserve: no text is encoded with them.
_PAD_NAMES = ("<pad>", "[PAD]", "<|pad|>", "<|padding|>", "<|finetune_right_pad_id|>", "<|reserved_special_token_0|>")


def pick_device(device: str) -> Any:
    """Return the torch device; auto is cuda where there is one. Raises `UserError` for cuda without a GPU."""
    import torch

    available = torch.cuda.is_available()
    if device == "auto":
        device = "cuda" if available else "cpu"
    if device.startswith("cuda") and not available:
        raise UserError("device is cuda, but torch sees no GPU; set device: auto, or install a CUDA build of torch")
    return torch.device(device)


def pick_dtype(dtype: str, device: Any) -> Any:
    """Return the torch dtype; auto is float32 on a CPU, bfloat16 on a GPU."""
    import torch

    if dtype == "auto":
        dtype = "float32" if device.type == "cpu" else "bfloat16"
    return getattr(torch, dtype)


def load_model(target: Target, device: Any, dtype: Any) -> Any:
    """Load the model in eval mode; the global generators are left alone. Raises `UserError`."""
    import torch
    from transformers import AutoModelForCausalLM

    name = str(target.model)
    check_folder(name)
    extra: dict[str, Any] = {}
    if target.quantize:
        extra = {"quantization_config": _quantization(target.quantize, device, dtype), "device_map": {"": device}}
    try:
        # A model that is in memory already draws nothing, so loading one must not move the random numbers either.
        with torch.random.fork_rng(devices=[]), no_progress_bars():
            # A pickled checkpoint or a repository's own code would run here with the user's rights.
            model = AutoModelForCausalLM.from_pretrained(
                name, revision=target.revision, dtype=dtype, trust_remote_code=False, use_safetensors=True, **extra
            )
    except Exception as error:  # transformers, safetensors and the hub raise many kinds
        raise _cannot_load(name, error) from error
    # bitsandbytes puts its weights on the GPU itself and refuses to be moved.
    return (model if target.quantize else model.to(device)).eval()


def read_tokenizer(target: Target) -> Any:
    """Load the tokenizer as it is. Raises `UserError`."""
    from transformers import AutoTokenizer

    name = str(target.model)
    try:
        return AutoTokenizer.from_pretrained(name, revision=target.revision, trust_remote_code=False)
    except Exception as error:
        raise _cannot_load(name, error) from error


def load_tokenizer(target: Target, model: Any) -> Any:
    """Load the tokenizer and give it a pad token among the ids the model knows. Raises `UserError`."""
    tokenizer = read_tokenizer(target)
    if tokenizer.eos_token_id is None:
        raise UserError(
            f"the tokenizer of {target.model} names no eos token; set eos_token in its tokenizer_config.json"
        )
    # By the model's rows: a tokenizer may know more tokens, and their ids fail in the embedding.
    ensure_pad(tokenizer, model.get_input_embeddings().weight.shape[0])
    return tokenizer


def ensure_pad(tokenizer: Any, rows: int) -> None:
    """Set a pad token whose id is below ``rows``, never a new one: a reserved token, unk, else eos."""
    if tokenizer.pad_token_id is not None and tokenizer.pad_token_id < rows:
        return
    vocabulary = tokenizer.get_vocab()
    # GPT-2's unk is its eos, which is the last resort: as padding it hides where a response ended.
    spare = [tokenizer.unk_token] if tokenizer.unk_token_id != tokenizer.eos_token_id else []
    # A new token would resize embeddings that policy, reference and preference models share.
    for token in (*_PAD_NAMES, *spare, tokenizer.eos_token):
        if token is not None and vocabulary.get(token, rows) < rows:
            tokenizer.pad_token = token
            return


@contextmanager
def no_progress_bars() -> Iterator[None]:
    """Keep transformers' own bars off the terminal while the block runs: stages show their progress themselves.

    >>> from morlaif_core.testing import tiny_base
    >>> from transformers import AutoModelForCausalLM
    >>> with no_progress_bars():
    ...     model = AutoModelForCausalLM.from_pretrained(tiny_base())
    """
    from transformers.utils import logging

    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()


def check_folder(name: str) -> None:
    """Raise `UserError` where a name can only be a folder and is not one, or is a folder without a model."""
    path = Path(name).expanduser()
    if path.is_dir():
        if not (path / "config.json").is_file():
            raise UserError(
                f"{name} is a folder, but holds no model (no config.json); give a folder that transformers saved"
            )
    elif looks_like_path(name):
        raise UserError(
            f"there is no model folder {name}; give an existing folder, a hub id (owner/name), or an offered name"
        )


def looks_like_path(name: str) -> bool:
    """Say whether a name can be no hub id: absolute, relative with dots, or deeper than owner/name."""
    return name.startswith(("/", ".", "~")) or name.count("/") > 1 or "\\" in name


def _quantization(quantize: str, device: Any, dtype: Any) -> Any:
    """Return the bitsandbytes config. Raises `UserError` without a GPU or the package."""
    if device.type != "cuda":
        raise UserError(f"quantize: {quantize} needs a GPU; set quantize: null to run without one")
    if importlib.util.find_spec("bitsandbytes") is None:
        raise UserError(f"quantize: {quantize} needs the package bitsandbytes; install it, or set quantize: null")
    from transformers import BitsAndBytesConfig

    if quantize == "8bit":
        return BitsAndBytesConfig(load_in_8bit=True)
    return BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=dtype)


def _cannot_load(name: str, error: Exception) -> UserError:
    """Say why a model cannot be loaded and what to do."""
    cause = (str(error).strip() or type(error).__name__).splitlines()[0]
    if Path(name).expanduser().is_dir():
        return UserError(f"the model in {name} cannot be loaded: {cause}; make or download that folder again")
    return UserError(
        f"the model '{name}' is not a folder and cannot be loaded from the hub: {cause}; check its name and the network "
        "(a gated model needs `hf auth login`), or give a folder"
    )
