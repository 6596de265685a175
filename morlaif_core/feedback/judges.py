"""Who the judges of a run are and what they are made of: providers with prices, panels, cascades, ledgers, identities."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from morlaif_core.config.config import Config
from morlaif_core.config.judge_settings import CascadeSettings, PanelSettings
from morlaif_core.config.pm_groups import learns
from morlaif_core.config.prices import price_of
from morlaif_core.config.settings import UNASKED
from morlaif_core.plugins.protocols import FeedbackProvider
from morlaif_core.runs.stamps import folder_stamp, stable
from morlaif_core.types import Principle, content_hash

from .answers.panels_and_cascades import Cascade, Judge, Panel
from .asking.template import read_template
from .judging import Progress, judge_tasks
from .types import NamedJudge, Task, Verdict

LEDGER = "judgements.sqlite"


class RunJudges:
    """The judges of a configuration, asked in a run folder's ledger and within the run's budget.

    build: makes the provider of a judge by name; its model is resolved and loaded as the run's own are. run: draws the
    id that tells this run from others that share a ledger; called when somebody is asked.
    """

    def __init__(
        self, config: Config, folder: Path, build: Callable[[str], FeedbackProvider], run: Callable[[], str]
    ) -> None:
        self._config, self._settings, self._folder = config, config.settings, folder
        self._build, self._run = build, run

    @property
    def ledgers(self) -> tuple[Path, ...]:
        """The ledgers that the run's judges write to, whether they are there or not."""
        named = {self._settings.judging_of(judge).ledger for judge in self._settings.asked_singles}
        return tuple(Path(ledger) if ledger else self._folder / LEDGER for ledger in sorted(named, key=str))

    @cached_property
    def principles(self) -> tuple[Principle, ...]:
        """The active principles that a provider judges; the others have the data set's own labels, or no judge."""
        return tuple(item for item in self._config.principles if self._settings.judge_of(item.name) not in UNASKED)

    @cached_property
    def learned(self) -> tuple[Principle, ...]:
        """Those of `principles` whose preference models learn from the judge's labels; the others' scores are given."""
        return tuple(item for item in self.principles if learns(self._config, item.name))

    def named(self, names: Iterable[str]) -> dict[str, Judge]:
        """Return the judges of these names, and all that they are made of."""
        judges: dict[str, Judge] = {}
        for name in names:
            judges |= self.named(self._settings.members_of(name)) | {name: self._judge(name)}
        return judges

    def _judge(self, name: str) -> Judge:
        block = self._settings.judges[name]
        if isinstance(block, PanelSettings):
            return Panel(name, block.panel, block.quorum or len(block.panel), block.combine)
        if isinstance(block, CascadeSettings):
            return Cascade(name, block.cascade, block.below)
        judging, price = self._settings.judging_of(name), price_of(self._config, name)
        return NamedJudge(name, lambda: self._build(name), judging, price)

    def ask(
        self, tasks: Sequence[Task], progress: Progress, judges: Mapping[str, Judge] | None = None
    ) -> list[Verdict]:
        """Judge tasks, in their order; what the ledger holds is not asked again. Raises what `judge_tasks` raises.

        judges: those that the tasks name, with their members; None: the configuration's.
        """
        return judge_tasks(
            tasks,
            self.named({task.judge for task in tasks}) if judges is None else judges,
            ledger=self._folder / LEDGER,
            seed=self._settings.seed_of("judge"),
            progress=progress,
            budget=self._settings.budget,
            run=self._run(),
            ledgers=self.ledgers,
        )

    def identity(self, judge: str) -> Any:
        """Return as JSON all of a judge's configuration that a verdict depends on, for fingerprints."""
        if judge in UNASKED:
            return judge
        members = self._settings.members_of(judge)
        if members:
            return [stable(self._settings.judges[judge]), *map(self.identity, members)]
        block = self._config.judge_block(judge)
        options = self._config.plugins.options("feedback_provider", block)
        # A judge's own model may be a folder: another model in its place is another judge.
        stamp = folder_stamp(getattr(options, "model", None))
        judging = self._settings.judging_of(judge)
        # By what it says, wherever its file lies.
        words = judging.model_copy(update={"template": None})
        identity = [block["use"], stable(options), *([stamp] if stamp else []), stable(words)]
        if judging.template is not None:
            identity.append(read_template(judging.template).hash)
        if judging.few_shots:
            identity.append(content_hash([(item.name, item.examples) for item in self._config.principles]))
        return identity
