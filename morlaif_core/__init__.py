"""Multi-objective reinforcement learning from AI feedback."""

from __future__ import annotations

# Names are imported when first used (PEP 562): `__init__.pyi` lists which module holds each, for type checkers and for us.
import ast
import importlib
import textwrap
from pathlib import Path

__version__ = "0.1.0"

# Parsed, not imported: `import morlaif_core` must not import torch.
_STUB = ast.parse(Path(__file__).with_suffix(".pyi").read_text(encoding="utf-8"))
_MODULE_OF = {name.name: node.module for node in _STUB.body if isinstance(node, ast.ImportFrom) for name in node.names}


def _listed() -> str:
    modules = dict.fromkeys(_MODULE_OF.values())
    lines = [f"{module}: {', '.join(n for n, where in _MODULE_OF.items() if where == module)}" for module in modules]
    return "\n".join(textwrap.fill(line, 116, initial_indent="  ", subsequent_indent="      ") for line in lines)


__all__ = sorted([*_MODULE_OF, "__version__"])  # noqa: PLE0605 - read from the stub

# What `help` shows first, and an IDE beside the name: by module, the ones for programs first.
__doc__ = f"""{__doc__}

Begin with `run("demo")`, `load_run("runs/demo")` or `build("scalarizer", "max_min")`; `help(morlaif_core.run)` explains its
arguments. The public names, by module:

{_listed()}"""


def __getattr__(name: str) -> object:
    if name not in _MODULE_OF:
        raise AttributeError(f"module 'morlaif_core' has no attribute '{name}'")
    return getattr(importlib.import_module(f".{_MODULE_OF[name]}", __name__), name)


def __dir__() -> list[str]:
    return list(__all__)
