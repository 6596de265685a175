"""Multi-objective reinforcement learning from AI feedback: the public names, imported when first used (PEP 562).

``__init__.pyi`` lists which module holds each name, for type checkers and for this file.
"""

from __future__ import annotations

import ast
import importlib
from pathlib import Path

__version__ = "0.1.0"

# Parsed, not imported: `import morlaif_core` must not import torch.
_STUB = ast.parse(Path(__file__).with_suffix(".pyi").read_text(encoding="utf-8"))
_MODULE_OF = {name.name: node.module for node in _STUB.body if isinstance(node, ast.ImportFrom) for name in node.names}
__all__ = sorted([*_MODULE_OF, "__version__"])  # noqa: PLE0605 - read from the stub


def __getattr__(name: str) -> object:
    if name not in _MODULE_OF:
        raise AttributeError(f"module 'morlaif_core' has no attribute '{name}'")
    return getattr(importlib.import_module(f".{_MODULE_OF[name]}", __name__), name)


def __dir__() -> list[str]:
    return list(__all__)
