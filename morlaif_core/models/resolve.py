"""Models resolved before any stage: an offered one is made once and cached, a folder is hashed, a hub id is pinned."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from morlaif_core.errors import UserError, did_you_mean
from morlaif_core.plugins.components import Options, Target
from morlaif_core.plugins.manager import Plugins
from morlaif_core.plugins.protocols import ModelMaker, Report
from morlaif_core.runs.stamps import counts
from morlaif_core.types import content_hash

from .hub import has_weights, hub_problem, hub_snapshot
from .loading import check_folder

MADE = "morlaif.json"
"""Written into a made model's folder: what it was made of, and its files with their sizes in bytes."""
_WHOLE = 1 << 26
_CHUNK, _CHUNKS = 1 << 16, 256


@dataclass(frozen=True)
class ResolvedModel:
    """A target whose model is a folder or a hub id, and what identifies its weights."""

    target: Target
    fingerprint: str
    """equal for equal weights; of a made model the hash of what it is made from, of a hub id its commit"""
    source: Literal["made", "folder", "hub"]


def resolve_target(
    target: Target, plugins: Plugins, texts: Callable[[], Iterable[str]], seed: int, report: Report
) -> ResolvedModel:
    """Turn ``target.model`` into a folder or hub id: an offered model's name or block, an existing folder, a hub id.

    texts: gives the training split's conversations, anew at each call; asked only for a model that learns from them.
    A hub id is pinned to its commit, so that what a run used stays what it uses. Raises `UserError`.
    """
    block = _block(target, plugins)
    if block is not None:
        folder, key = _made(block, plugins, texts, seed, report)
        return ResolvedModel(target.model_copy(update={"model": str(folder), "revision": None}), key, "made")
    name = str(target.model)
    check_folder(name)
    path = Path(name).expanduser()
    if path.is_dir():
        resolved = target.model_copy(update={"model": str(path), "revision": None})
        return ResolvedModel(resolved, folder_fingerprint(path), "folder")
    # Not "main": a branch moves between two commands of one run.
    commit = _commit(name, target.revision, plugins)
    return ResolvedModel(target.model_copy(update={"revision": commit}), content_hash("hub", name, commit), "hub")


def missing_model(target: Target, plugins: Plugins) -> list[str]:
    """Return what a run needs from outside for this model, each line with what to do. Imports nothing heavy.

    A hub model that is not cached is none of it where the hub can be asked: the run downloads it.
    Raises `UserError` for what is wrong in the configuration: a folder that is not there, unknown options.
    """
    missing = _missing_for_quantize(target)
    block = _block(target, plugins)
    if block is not None:
        component = plugins.find("model", str(block["use"]))
        options = plugins.options("model", block)
        return [*missing, *(component.missing(options) if component.missing else ())]
    name = str(target.model)
    check_folder(name)
    if not Path(name).expanduser().is_dir():
        snapshot = hub_snapshot(name, target.revision)
        # `_commit` downloads the config alone, so a snapshot may be there without weights.
        cached = snapshot is not None and has_weights(snapshot)
        if not cached and (problem := hub_problem()):
            hint = did_you_mean(name, _offered(plugins))
            missing.append(
                f"the hub model '{name}' is not in the local cache, and {problem}: connect to the hub, "
                f"or give a folder.{hint}"
            )
    return missing


def folder_fingerprint(folder: Path) -> str:
    """Return 16 hex digits of a folder's config and weights: names, sizes, content; times do not count.

    Of files above 64 MiB, 256 pieces of 64 KiB, evenly spread, stand for the content: training moves all of it.
    """
    digest = hashlib.sha256()
    files = [path for path in folder.iterdir() if path.name == "config.json" or path.suffix in (".safetensors", ".bin")]
    # iterdir's order is the file system's.
    for path in sorted(files):
        size = path.stat().st_size
        digest.update(f"{path.name}\0{size}\0".encode())
        with path.open("rb") as file:
            if size <= _WHOLE:
                digest.update(file.read())
            else:
                for index in range(_CHUNKS):
                    file.seek((size - _CHUNK) * index // (_CHUNKS - 1))
                    digest.update(file.read(_CHUNK))
    return digest.hexdigest()[:16]


def cache_folder() -> Path:
    """Return where made models are kept: $XDG_CACHE_HOME/morlaif/models, ~/.cache where that is not set."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(base) if os.path.isabs(base) else Path.home() / ".cache") / "morlaif" / "models"


def _block(target: Target, plugins: Plugins) -> dict[str, object] | None:
    """Return ``{use: NAME, …}`` where the model is an offered one, None for a folder or hub id. Raises `UserError`."""
    if isinstance(target.model, dict):
        if not isinstance(target.model.get("use"), str):
            raise UserError("a model given as a mapping needs the key use: the name of an offered model")
        return target.model
    return {"use": target.model} if plugins.offers("model", target.model) else None


def _made(
    block: dict[str, object], plugins: Plugins, texts: Callable[[], Iterable[str]], seed: int, report: Report
) -> tuple[Path, str]:
    """Return the cached folder of an offered model, made now where it is not there, and its key."""
    maker: ModelMaker = plugins.build("model", block)
    facts: dict[str, object] = {
        "model": plugins.find("model", str(block["use"])).name,
        "identity": maker.identity,
        "options": _counted(plugins.options("model", block)),
    }
    # A mere conversion gives the same model for every seed and data set, and need not be cached for each.
    learns = getattr(maker, "learns", True)
    if learns:
        facts |= {"texts": _hash_texts(texts()), "seed": seed}
    key = content_hash(facts)
    folder = cache_folder() / key
    if not _whole(folder):
        with _locked(folder.with_suffix(".lock")):
            # Another process may have made it while this one waited.
            if not _whole(folder):
                _write(folder, facts, lambda out: maker.make(out, texts() if learns else (), seed=seed, report=report))
    return folder, key


def _write(folder: Path, facts: dict[str, object], make: Callable[[Path], None]) -> None:
    """Make a model in a temporary folder and rename it; what a killed process or a damaged cache left goes first."""
    partial = folder.with_suffix(".part")
    # Safe under the lock: nobody else is making this model.
    for leftover in (partial, folder):
        shutil.rmtree(leftover, ignore_errors=True)
    try:
        partial.mkdir(parents=True)
        make(partial)
        (partial / MADE).write_text(json.dumps(facts | {"files": _sizes(partial)}, indent=2), encoding="utf-8")
        os.rename(partial, folder)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise


def _whole(folder: Path) -> bool:
    """Say whether a cached folder holds every file it was made with, at its size."""
    try:
        files = json.loads((folder / MADE).read_text(encoding="utf-8"))["files"]
    except (OSError, ValueError, KeyError):
        return False
    return bool(files == _sizes(folder))


def _sizes(folder: Path) -> dict[str, int]:
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != MADE)
    return {str(path.relative_to(folder)): path.stat().st_size for path in files}


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold a file lock, waiting for it; it dies with its process, whatever kills that."""
    import fcntl

    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _counted(options: Options) -> dict[str, object]:
    """Return the options that change the result: see `counts`."""
    values = options.model_dump(mode="json")
    fields = type(options).model_fields
    return {key: value for key, value in values.items() if counts(fields[key], key, options)}


def _hash_texts(texts: Iterable[str]) -> str:
    """Return a hash of texts in their order."""
    digest = hashlib.sha256()
    for text in texts:
        raw = text.encode()
        # With its length, or texts cut elsewhere would have the same hash.
        digest.update(len(raw).to_bytes(8, "big") + raw)
    return digest.hexdigest()


def _commit(name: str, revision: str | None, plugins: Plugins) -> str:
    """Return the commit of a hub model: the cached one, else the hub's answer. Raises `UserError`."""
    snapshot = hub_snapshot(name, revision)
    if snapshot is not None:
        return snapshot.name
    try:
        from huggingface_hub import hf_hub_download

        # The hub's client keeps a file under snapshots/COMMIT/.
        return Path(hf_hub_download(name, "config.json", revision=revision)).parent.name
    except Exception as error:  # the hub's client raises many kinds: offline, unknown, gated, wrong name
        cause = (str(error).strip() or type(error).__name__).splitlines()[0]
        offered = _offered(plugins)
        raise UserError(
            f"the model '{name}' is neither offered nor a folder, and the hub does not give it ({cause})."
            f"{did_you_mean(name, offered)} Offered: {', '.join(offered) or 'none'}; check the name and the network "
            "(a gated model needs `hf auth login`), or give a folder"
        ) from error


def _offered(plugins: Plugins) -> list[str]:
    return sorted(offer.component.name for offer in plugins.offers_by_kind["model"])


def _missing_for_quantize(target: Target) -> list[str]:
    if target.quantize is None:
        return []
    lines = []
    if importlib.util.find_spec("bitsandbytes") is None:
        lines.append(f"quantize: {target.quantize} needs the package bitsandbytes: pip install bitsandbytes")
    # torch could tell for sure, but takes seconds to import.
    if not Path("/dev/nvidiactl").exists():
        lines.append(f"quantize: {target.quantize} needs a GPU: set quantize: null to run without one")
    return lines
