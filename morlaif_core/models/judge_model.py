"""The model of a judge on this machine: resolved as every model is, loaded on the run's device, with its threads."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from morlaif_core.errors import UserError
from morlaif_core.plugins.components import Target
from morlaif_core.plugins.manager import Plugins

from .resolve import ResolvedModel, missing_model, resolve_target

if TYPE_CHECKING:
    from morlaif_core.plugins.protocols import Backbone

    from .backbones import LocalBackbones

Resolve: TypeAlias = Callable[[Target], ResolvedModel]


@dataclass(frozen=True)
class _Host:
    """Whose models a provider that is being built shares."""

    resolve: Resolve
    backbones: LocalBackbones


# A provider's `build` is given its options alone; by this variable it reaches the models of the run that builds it.
_HOST: ContextVar[_Host | None] = ContextVar("morlaif_judge_models", default=None)


@dataclass(frozen=True)
class JudgeModel:
    """A judge's model. Made by `judge_model`; nothing heavy is in memory before `load`.

    Attributes:
        name: as the configuration names it: an offered model, a hub id, a folder's last part.
        fingerprint: equal for equal weights: see `morlaif_core.models.resolve.ResolvedModel`.
        target: ``model`` is a folder or a hub id (``revision``: its commit), ``dtype`` is float32 or bfloat16.
        backbones: loaded models.
    """

    name: str
    fingerprint: str
    target: Target
    backbones: LocalBackbones

    def tokenizer(self) -> Any:
        """Load the tokenizer alone. Raises `UserError`."""
        from .loading import read_tokenizer

        return read_tokenizer(self.target)

    def load(self) -> Backbone:
        """Load the model, or return the copy that is in memory already. Raises `UserError`."""
        return self.backbones.get(self.target)


def judge_model(target: Target) -> JudgeModel:
    """Resolve the model that a judge names, or a backend that learns nothing; to be called while it is built.

    Within a run a model goes where the run's device and threads say, is shared with its other stages, and a hub model
    stays at the commit that the run began with. Elsewhere: device and threads auto; an offered model that learns from
    the run's texts cannot be made then. Raises `UserError`.

    target: as the judge's options name it.

    >>> from morlaif_core.testing import tiny_base
    >>> judge_model(Target(model=str(tiny_base()))).target.dtype
    'float32'
    """
    host = _HOST.get() or _no_run()
    found = host.resolve(target)
    from .loading import pick_device, pick_dtype

    # Settled now: a judge's identity names its dtype, and auto is another one on another machine.
    dtype = str(pick_dtype(target.dtype, pick_device(host.backbones.device))).removeprefix("torch.")
    return JudgeModel(
        _name(target), found.fingerprint, found.target.model_copy(update={"dtype": dtype}), host.backbones
    )


def missing_judge_model(target: Target) -> list[str]:
    """Return what a run needs from outside for a judge's model, each line with what to do: for `Component.missing`.

    Imports nothing heavy. Raises `UserError` for what is wrong in the configuration: a folder that is not there,
    unknown options, a revision of what has none.

    target: as the judge's options name it.

    >>> from morlaif_core.testing import tiny_base
    >>> missing_judge_model(Target(model=str(tiny_base())))
    []
    """
    plugins = Plugins.load()
    _check_revision(target, plugins)
    return missing_model(target, plugins)


@contextmanager
def judge_models_of(resolve: Resolve, backbones: LocalBackbones) -> Iterator[None]:
    """Let providers that are built within the block take their models from a run."""
    token = _HOST.set(_Host(resolve, backbones))
    try:
        yield
    finally:
        _HOST.reset(token)


def _no_run() -> _Host:
    from .backbones import LocalBackbones

    plugins = Plugins.load()

    def resolve(target: Target) -> ResolvedModel:
        _check_revision(target, plugins)
        return resolve_target(target, plugins, _no_texts, 0, lambda step, total, metrics, generate=None: "go")

    return _Host(resolve, LocalBackbones())


def _no_texts() -> Iterable[str]:
    raise UserError("this model is made from a data set's texts, and there is no run that has one; give a model folder")


def _name(target: Target) -> str:
    if isinstance(target.model, dict):
        return str(target.model["use"])
    return Path(target.model).name if Path(target.model).expanduser().is_dir() else target.model


def _check_revision(target: Target, plugins: Plugins) -> None:
    """Raise `UserError` where a revision is asked of an offered model or a folder."""
    if target.revision is None:
        return
    offered = isinstance(target.model, dict) or plugins.offers("model", target.model)
    if offered or Path(str(target.model)).expanduser().is_dir():
        kind = "an offered model" if offered else "a folder"
        raise UserError(f"revision: only the hub's models have revisions, {_name(target)} is {kind}")
