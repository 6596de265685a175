"""Configurations written out and read again."""

from __future__ import annotations

from pathlib import Path

import yaml

from morlaif_core.config.config import Config
from morlaif_core.config.load import load_config
from morlaif_core.config.settings import Settings
from morlaif_core.plugins.manager import Plugins


def reloaded(config: Config, folder: Path, plugins: Plugins) -> Settings:
    """The settings that a run's own run.yaml gives."""
    text = yaml.safe_dump(config.settings.model_dump(mode="json"), sort_keys=False)
    (folder / "run.yaml").write_text(text)
    return load_config(["run.yaml"], plugins=plugins, folder=folder, alone=True).settings
