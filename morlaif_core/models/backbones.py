"""Models in memory: one copy per model, revision, dtype, quantisation; adapters named apart, switched in one place."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from morlaif_core.errors import UserError
from morlaif_core.plugins.components import Target
from morlaif_core.types import content_hash

from .adapters import belongs, config_text, module_name

if TYPE_CHECKING:
    from morlaif_core.plugins.protocols import Backbone, Backbones, Policy

ADAPTER_CONFIG, ADAPTER_WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
_TINY = 20_000_000
"""Parameters below which a second CPU thread costs more than it brings."""


class _State(NamedTuple):
    """What is switched on: an adapter (None: the base alone), gradients, training mode."""

    adapter: str | None
    grad: bool
    train: bool


class LocalBackbone:
    """A causal LM with its tokenizer and adapters; implements `Backbone`.

    ``model`` is transformers' own model until the first adapter wraps it; `use` yields the right one. Outside `use` the
    base is on, in eval mode; its weights ask for gradients only where the copy is one's own.
    """

    def __init__(self, model: Any, tokenizer: Any, device: Any, threads: int | None, *, own: bool) -> None:
        self.model, self.tokenizer, self.device = model, tokenizer, device
        self.threads = threads
        self._state = _State(None, own, False)
        self._sources: dict[str, object] = {}
        self._apply(self._state)

    def add(self, adapter: str, config: Any) -> None:
        """Add a fresh adapter from a peft config, in place of one of that name; torch's global generator draws it."""
        from peft import PeftModel

        name = module_name(adapter)
        if adapter == self._state.adapter:
            raise ValueError(f"adapter {adapter} is in use")
        # Else `load` would take the fresh adapter for the one that it read under this name.
        self._sources.pop(adapter, None)
        if not isinstance(self.model, PeftModel):
            self.model = _wrapped(self.model, config, name)
        else:
            if name in self.model.peft_config:
                self.model.delete_adapter(name)
            self.model.add_adapter(name, config)
        self._apply(self._state)

    def load(self, adapter: str, folder: Path) -> None:
        """Load an adapter that `save` (or peft) wrote; nothing is read again where the files are as they were.

        Leaves the global generators alone. Raises `UserError` where the files are missing or fit another model.
        """
        import torch
        from peft import PeftConfig, set_peft_model_state_dict
        from safetensors.torch import load_file

        source = [str(folder.resolve()), _signature(folder)]
        if self._sources.get(adapter) == source:
            return
        try:
            config = PeftConfig.from_pretrained(str(folder))
            # safetensors alone: to unpickle adapter_model.bin could run code.
            weights = load_file(folder / ADAPTER_WEIGHTS)
        except Exception as error:
            raise UserError(f"{folder} holds no readable adapter ({_first_line(error)}); train it again") from error
        # As `add` makes an adapter: the file says True, and peft would freeze its weights.
        config.inference_mode = False
        config.base_model_name_or_path = getattr(self.model.config, "_name_or_path", None)
        # `add` draws weights that the file's replace at once: loading must not move the random numbers of a training.
        with torch.random.fork_rng(devices=[self.device] if self.device.type == "cuda" else []):
            try:
                self.add(adapter, config)
                result = set_peft_model_state_dict(self.model, weights, adapter_name=module_name(adapter))
            except (RuntimeError, ValueError) as error:
                raise UserError(f"the adapter in {folder} does not fit this model: {_first_line(error)}") from error
        # peft also counts as missing what is another adapter's or the base's, which this file never holds.
        mine = f".{module_name(adapter)}."
        wrong = [*result.unexpected_keys, *(key for key in result.missing_keys if mine in key)]
        if wrong:
            raise UserError(f"the adapter in {folder} does not fit this model, as its {wrong[0]} shows; train it again")
        self._sources[adapter] = source
        self._apply(self._state)

    def save(self, adapter: str, folder: Path) -> None:
        """Write adapter_config.json and adapter_model.safetensors into ``folder``, each by rename, the config last."""
        import copy

        from peft import get_peft_model_state_dict
        from safetensors.torch import save_file

        name = module_name(adapter)
        folder.mkdir(parents=True, exist_ok=True)
        # The default, auto, may ask the hub for the base's config; the embeddings are never trained here.
        state = get_peft_model_state_dict(self.model, adapter_name=name, save_embedding_layers=False)
        # safetensors refuses tensors that are not contiguous.
        weights = {key: value.detach().cpu().contiguous() for key, value in state.items()}
        partial = folder / f".{ADAPTER_WEIGHTS}.part"
        save_file(weights, partial, metadata={"format": "pt"})
        os.replace(partial, folder / ADAPTER_WEIGHTS)
        # A copy, since the adapter in memory stays trainable; on disk True is what peft itself writes.
        config = copy.copy(self.model.peft_config[name])
        config.inference_mode = True
        text = config_text(config)
        (folder / f".{ADAPTER_CONFIG}.part").write_text(text, encoding="utf-8")
        # Last, since a folder counts as an adapter once it has a config: see `policy_backbone`.
        os.replace(folder / f".{ADAPTER_CONFIG}.part", folder / ADAPTER_CONFIG)

    def remove(self, adapter: str) -> None:
        """Forget an adapter; nothing happens where there is none."""
        name = module_name(adapter)
        self._sources.pop(adapter, None)
        if name in getattr(self.model, "peft_config", {}):
            self.model.delete_adapter(name)
            self._apply(self._state)

    @contextmanager
    def use(self, adapter: str | None, *, grad: bool = False, train: bool = False) -> Iterator[Any]:
        """Yield the model with that adapter, None for the base alone; the state before comes back on leaving.

        grad: gradients are recorded and the adapter's weights (the base's, for None) ask for them; else none are.
        train: dropout on. Raises KeyError for an unknown adapter.
        """
        import torch

        if adapter is not None and module_name(adapter) not in getattr(self.model, "peft_config", {}):
            raise KeyError(f"no adapter {adapter}")
        before = self._state
        # torch has one thread count for the process, and another model may have set its own.
        self._set_threads()
        self._apply(_State(adapter, grad, train))
        try:
            with torch.set_grad_enabled(grad):
                yield self.model
        finally:
            self._apply(before)

    def parameters(self, adapter: str | None) -> list[Any]:
        """Return the trainable weights of an adapter, None: of the base; in the model's order."""
        return [weight for name, weight in self.model.named_parameters() if belongs(name, weight, adapter)]

    def _set_threads(self) -> None:
        import torch

        if self.threads is not None and torch.get_num_threads() != self.threads:
            torch.set_num_threads(self.threads)

    def _apply(self, state: _State) -> None:
        """Switch adapter, gradients and mode, whatever they were."""
        self._state = state
        if hasattr(self.model, "peft_config"):
            tuner = self.model.base_model
            if state.adapter is None:
                tuner.disable_adapter_layers()
            else:
                tuner.enable_adapter_layers()
                tuner.set_adapter(module_name(state.adapter))
        # After the switch, since peft asks for gradients of whatever adapter it switches on.
        for name, weight in self.model.named_parameters():
            wanted = state.grad and belongs(name, weight, state.adapter)
            if weight.requires_grad != wanted:
                weight.requires_grad_(wanted)
        self.model.train(state.train)


class LocalBackbones:
    """Loads models and keeps one copy of each; implements `Backbones`.

    device: auto is cuda where there is one. threads: CPU threads of torch; auto is 1 for models under 20 million
    parameters on a CPU, else all cores (at most OMP_NUM_THREADS where that is set).
    """

    def __init__(
        self, device: Literal["auto", "cpu", "cuda"] | str = "auto", threads: Literal["auto"] | int = "auto"
    ) -> None:
        self._wanted, self.threads = device, threads
        self._loaded: dict[tuple[object, ...], tuple[object, LocalBackbone]] = {}

    @property
    def device(self) -> str:
        """Where models go: ``cpu`` or ``cuda``."""
        from .loading import pick_device

        return str(pick_device(self._wanted))

    def get(self, target: Target, *, own: bool = False) -> LocalBackbone:
        """Return the model of a folder or hub id; own: a copy that training may move, loaded anew each time.

        A folder whose files changed is loaded again. Raises `UserError` where it cannot be loaded.
        """
        from .loading import load_model, load_tokenizer, pick_device, pick_dtype

        if not isinstance(target.model, str):
            raise TypeError("the target's model must be resolved to a folder or hub id first")
        device = pick_device(self._wanted)
        dtype = pick_dtype(target.dtype, device)
        key = (target.model, target.revision, dtype, target.quantize)
        # A policy's folder is written again by the next training, under the same name.
        stamp = _signature(Path(target.model))
        if not own and key in self._loaded and self._loaded[key][0] == stamp:
            backbone = self._loaded[key][1]
        else:
            model = load_model(target, device, dtype)
            tokenizer = load_tokenizer(target, model)
            backbone = LocalBackbone(model, tokenizer, device, self.thread_count(model), own=own)
            # A copy that training moves must not be handed out as the model on disk.
            if not own:
                self._loaded[key] = (stamp, backbone)
        backbone._set_threads()
        return backbone

    def release(self) -> None:
        """Let go of every copy kept here and of the GPU memory they held."""
        import gc
        import sys

        if not self._loaded:  # to collect takes half a second where torch is imported
            return
        self._loaded.clear()
        gc.collect()
        # A run that loaded no model has not imported torch, and need not wait for it here.
        torch = sys.modules.get("torch")
        if torch is not None and torch.cuda.is_available():
            torch.cuda.empty_cache()

    def thread_count(self, model: Any) -> int | None:
        """Return the CPU threads that this model's passes take; None: whatever torch has, as on a GPU.

        Sums depend on their number: what must give the same numbers twice sets it before each pass.
        """
        if isinstance(self.threads, int):
            return self.threads
        if model.device.type != "cpu":
            return None
        # For a tiny model two threads on a busy machine are many times slower than one.
        if sum(weight.numel() for weight in model.parameters()) < _TINY:
            return 1
        # What this process may use: a container or a batch system gives fewer cores than the machine has.
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        limit = os.environ.get("OMP_NUM_THREADS", "")
        return min(cores, int(limit)) if limit.isdigit() and int(limit) > 0 else cores


def policy_backbone(policy: Policy, backbones: Backbones) -> tuple[Backbone, str | None]:
    """Return the backbone of a policy and its adapter's name, None for a full model or the untrained target.

    policy: with adapter_config.json in its folder an adapter on the target; with any other folder a model of its own, in
    float32 whatever the target's dtype: small updates vanish in bfloat16. backbones: loaded models.
    """
    if policy.folder is None:
        return backbones.get(policy.target), None
    if (policy.folder / ADAPTER_CONFIG).is_file():
        backbone = backbones.get(policy.target)
        adapter = f"policy/{content_hash(str(policy.folder.resolve()))}"
        backbone.load(adapter, policy.folder)
        return backbone, adapter
    trained = {"model": str(policy.folder), "revision": None, "dtype": "float32"}
    return backbones.get(policy.target.model_copy(update=trained)), None


def _wrapped(model: Any, config: Any, name: str) -> Any:
    """Return the model wrapped by peft, which reads a property by its old name and so would warn in every run."""
    import warnings

    from peft import get_peft_model

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*is_gradient_checkpointing.*", FutureWarning)
        return get_peft_model(model, config, adapter_name=name)


def _signature(folder: Path) -> list[tuple[str, int, int]]:
    """Return names, sizes (bytes) and times (ns) of a folder's files; empty where there is no folder (a hub id)."""
    if not folder.is_dir():
        return []
    # Hidden files are parts that are still being written: see `save`.
    files = sorted(path for path in folder.iterdir() if path.is_file() and not path.name.startswith("."))
    return [(path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in files]


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
