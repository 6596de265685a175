"""What a run is at: how far the stage under way is, and whether its process lives."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from morlaif_core.runs.holder import Holder, holder_of
from morlaif_core.runs.log import read_progress
from morlaif_core.runs.pace import clock_time, share


@dataclasses.dataclass(frozen=True)
class UnderWay:
    """The stage that was started and is not done, if any, with what is known of it.

    progress: progress.json, where it is of that stage. models: preference models that are whole, and all, in train-pms.
    """

    stage: str | None
    progress: Mapping[str, Any] | None
    models: tuple[int, int] | None
    holder: Holder | None

    @property
    def state(self) -> str:
        """The stage's state in words, with how far it is."""
        parts = []
        if self.models:
            parts.append("{:,} of {:,} models".format(*self.models))
        if self.progress:
            counted = share(self.progress["done"], self.progress["total"], self.progress["unit"])
            # A model that a plugin makes first is no part of the stage's own count.
            parts.append(counted if self.progress["stage"] == self.stage else f"{self.progress['stage']} {counted}")
        word = "started" if self.holder and self.holder.alive is None else "running" if self._works else "stopped"
        return f"{word}: {', '.join(parts)}" if parts else word

    @property
    def seconds(self) -> float:
        """What the process has spent on the stage; the manifest has it only when it ends."""
        return float(self._told["seconds"])

    @property
    def process(self) -> str | None:
        """Whether a process is at work, as a sentence; None where none is and none is missed."""
        last = f"; it last told of its progress at {self.progress['at']}" if self.progress else ""
        if self._works:
            left = self._told["seconds_left"]
            return f"{self.holder} is at work" + (f", about {clock_time(left)} left of {self.stage}" if left else "")
        if self.holder and self.holder.alive is None:
            return f"{self.holder} holds the folder, or was killed: from here that cannot be told{last}"
        if self.stage is None:
            return None
        ended = f": {self.holder} was killed" if self.holder else ""
        return f"no process is at work{ended}; the same command goes on"

    @property
    def _works(self) -> bool:
        return self.holder is not None and self.holder.alive is True

    @property
    def _told(self) -> Mapping[str, Any]:
        """What the process at work has told; a process before it may have left progress.json."""
        own = self._works and self.progress is not None and self.progress.get("process") == str(self.holder)
        return self.progress if own and self.progress else {"seconds": 0.0, "seconds_left": None}

    def as_json(self) -> dict[str, Any]:
        """The same for programs."""
        models = self.models and {"done": self.models[0], "total": self.models[1]}
        process = self.holder and dataclasses.asdict(self.holder)
        return {"under_way": self.stage, "progress": self.progress, "models": models, "process": process}


def under_way(run: Path, manifest: Mapping[str, Any]) -> UnderWay:
    """Look what a run is at."""
    stages = manifest.get("stages", {})
    stage = next((name for name, record in stages.items() if record.get("state") == "started"), None)
    progress = read_progress(run)
    if progress is not None and progress["stage"] not in (stage, "model"):
        progress = None
    models = None
    if stage == "train-pms":
        names = manifest.get("principles", {})
        models = (sum((run / "preference_models" / name / "done.json").exists() for name in names), len(names))
    return UnderWay(stage, progress if stage else None, models, holder_of(run))
