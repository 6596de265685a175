"""Where things lie in the repository."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PLUGINS = ROOT / "plugins"
PRINCIPLE_FILES = ROOT / "principles"
THIRD_PARTY = ROOT / "tests" / "thirdparty"
DATA = ROOT / "tests" / "data"
