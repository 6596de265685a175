"""A configuration's judges before, during or after a run: what commands such as `check-judges` and `estimate` work with."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

from .config.prices import price_of, unpriced
from .config.settings import Settings
from .errors import UserError, needed
from .feedback.answers.panels_and_cascades import Judge
from .feedback.asking.requests import asking_of
from .feedback.judges import LEDGER
from .feedback.ledger.spending import answered_keys, spent_by
from .feedback.planned_judge import PlannedJudge
from .feedback.sending.interrupts import run_draining
from .feedback.types import Task, Verdict
from .plugins.protocols import FeedbackProvider
from .readiness import needed_by_judges
from .runs.progress import Bar
from .runs.prompt_sets import draw_prompt_sets, set_sizes
from .stages import comparison_rows, sample
from .stages.context import Context
from .stages.pairs import FILE, StoredPair, read_pairs
from .stages.pipeline import cost, is_finished
from .types import Capabilities, Principle, Prompt, PromptLike, ResponsePair, make_prompt


class JudgeBench:
    """The judges of a configuration, with the ledger, the budget and the pairs of a run folder. Made by `open_judges`.

    context: the run's, in this process.
    """

    def __init__(self, context: Context) -> None:
        self._context = context

    @property
    def folder(self) -> Path:
        """The run folder."""
        return self._context.path

    @property
    def settings(self) -> Settings:
        """The run's configuration."""
        return self._context.settings

    @property
    def principles(self) -> tuple[Principle, ...]:
        """The active principles in their order."""
        return self._context.config.principles

    def say(self, text: str) -> None:
        """Print a line on stderr, so that what a command prints stays alone on stdout. text: the line."""
        print(text, file=sys.stderr, flush=True)

    def bar(self, label: str) -> AbstractContextManager[Bar]:
        """Draw a bar on stderr while the block runs: ``bar(done, total)``. label: its name."""
        return self._context.screen.bar(label)

    @property
    def judged_principles(self) -> tuple[Principle, ...]:
        """The active principles that a provider judges; the others have the data set's own labels, or no judge."""
        return self._context.judges.principles

    @property
    def learned_principles(self) -> tuple[Principle, ...]:
        """Those of `judged_principles` whose preference models learn from labels: the stage judge asks about these."""
        return self._context.judges.learned

    def judges(self, names: Iterable[str]) -> dict[str, Judge]:
        """Return the judges of these names, and all that they are made of. names: as under `judges`."""
        return self._context.judges.named(names)

    def model(self, judge: str) -> str:
        """Return the name of a provider's judge's model in the configuration, the provider's where it names none.

        judge: its name.
        """
        block = self._context.config.judge_block(judge)
        model = getattr(self._context.plugins.options("feedback_provider", block), "model", None)
        return str(model["use"] if isinstance(model, dict) else model or block["use"])

    def refusal(self, judge: str, principle: Principle) -> str | None:
        """Return why a judge, or one that it is made of, cannot measure a principle; None where all of them can.

        judge: its name. principle: an active one.
        """
        plugins, config = self._context.plugins, self._context.config
        for single in self.settings.singles_of(judge):
            block = config.judge_block(single)
            refuses = plugins.find("feedback_provider", block["use"]).refuses
            reason = refuses and refuses(plugins.options("feedback_provider", block), principle)
            if reason:
                return reason
        return None

    def check_ready(self, judges: Iterable[str]) -> None:
        """Raise `UserError` where judges, or those that they are made of, lack a key, the network or a package.

        judges: their names.
        """
        singles = sorted({single for name in judges for single in self.settings.singles_of(name)})
        missing = needed_by_judges(self._context.config, singles)
        if missing:
            raise needed("the judges can be asked", missing)

    def ask(
        self, tasks: Sequence[Task], judges: Mapping[str, Judge] | None = None, label: str = "judge"
    ) -> list[Verdict]:
        """Judge tasks in the run's ledger and within its budget: the same question costs nothing again.

        tasks: verdicts come in their order. judges: those that the tasks name, with their members; None: the
            configuration's.
        label: of the bar. Raises what `judge_tasks` raises.
        """
        if not self._context.folder.writable:
            raise UserError("judges are asked in a folder that is held: open it with hold=True")
        with self.bar(label) as bar:
            verdicts = self._context.judges.ask(tasks, bar.judged, judges)
        if self._context.folder.section("results"):  # not before there is a run that the money is part of
            self._context.write_results(**cost(self._context))
        return verdicts

    def planned_judge(self, name: str) -> PlannedJudge:
        """Return a provider's judge as it will be asked; nothing is sent. Built only where its ledger may hold answers.

        name: the judge's. Raises `UserError` where it cannot be asked so, or must be built to know what it can do, and
            cannot be.
        """
        config, block, note = self._context.config, self._context.config.judge_block(name), None
        component, judging = config.plugins.find("feedback_provider", block["use"]), self.settings.judging_of(name)
        answered, identity, can = answered_keys(Path(judging.ledger or self.folder / LEDGER)), "", None
        if component.capabilities is not None:
            can = component.capabilities(config.plugins.options("feedback_provider", block))
        if answered or can is None:
            try:
                identity, can = self._looked_at(name)
            except UserError as error:
                if can is None:
                    raise UserError(f"judges.{name}: it must be built to know what it can do: {error}") from None
                note = f"judge '{name}': its ledger's answers are not subtracted, since it cannot be built: {error}"
                # Its keys name an identity that is not known, so none of them can be matched.
                answered = set()
        try:
            asking = asking_of(can, judging)
        except UserError as error:
            raise UserError(f"judges.{name}: {error}") from None
        return PlannedJudge(name, asking, judging, price_of(config, name), identity, answered, note)

    def _looked_at(self, name: str) -> tuple[str, Capabilities]:
        """A provider's identity and what it can do; it is built inside an event loop, as judging builds it."""

        async def look() -> tuple[str, Capabilities]:
            provider: FeedbackProvider = self._context.build_judge(name)
            try:
                return provider.identity, provider.capabilities
            finally:
                close = getattr(provider, "aclose", None)
                if close is not None:
                    await close()

        return run_draining(look)

    @property
    def spent_usd(self) -> float:
        """What the run has spent so far, USD; judges whose price is not known add nothing: see `unpriced`."""
        return spent_by(self._context.run_id, self._context.judges.ledgers).usd

    def unpriced(self) -> dict[str, str]:
        """Return the judges whose price is not known, each with what to say in the configuration."""
        return unpriced(self._context.config)

    def is_finished(self, stage: str) -> bool:
        """Say whether the run's stages up to this one are done with these settings.

        stage: sample, judge, train-pms, train-policy or evaluate.
        """
        return is_finished(self._context, until=stage)

    def stored_pairs(self) -> list[StoredPair]:
        """Return the run's pairs, each with the name of its prompt set. Raises `UserError` where there are none yet."""
        if not (self.folder / FILE).exists():
            raise UserError(f"{self.folder} has no pairs yet; `morlaif run CONFIG --until sample` makes them")
        return read_pairs(self.folder)

    def trained_responses(self) -> dict[str, str]:
        """Return the trained policy's responses by prompt id, as the evaluation has them judged; empty until it has answered
        the evaluation's prompts."""
        return comparison_rows.read_compared(self.folder) if self.is_finished("train-policy") else {}

    def evaluation_pairs(self) -> list[ResponsePair]:
        """Return the untrained target's pairs on the evaluation's prompts: a the reference, b its answer before training.

        Empty until it has answered them.
        """
        of_sample = [item.pair for item in self.stored_pairs() if item.set == "evaluation"]  # of an earlier version
        file = comparison_rows.BEFORE
        there = (self.folder / file).exists() and self.is_finished("train-policy")
        return [item.pair for item in read_pairs(self.folder, file)] if there else of_sample

    def dataset_prompts(self) -> tuple[list[Prompt], list[Prompt]]:
        """Return the data set's prompts, train and test. Raises `UserError` or `OSError` where it cannot be read here."""
        block = self._context.config.block("dataset")
        component, options = self._context.plugins.find("dataset", block["use"]), self._context.plugins.options
        lacking = list(component.missing(options("dataset", block)) if component.missing else ())
        if lacking:
            raise UserError("; ".join(lacking))
        return list(self._context.dataset.prompts("train")), list(self._context.dataset.prompts("test"))

    def drawn_prompts(
        self, train: Sequence[Prompt], test: Sequence[Prompt], fits: Callable[[Prompt], bool]
    ) -> dict[str, tuple[Prompt, ...]]:
        """Draw the prompt sets as a run does. Raises `UserError` for too few.

        train, test: the data set's prompts. fits: whether a prompt is short enough.
        """
        wanted, old = self.settings.prompts, self._context.old_draw
        return draw_prompt_sets(train, test, wanted, lambda prompts: list(map(fits, prompts)), old=old).sets

    def prompt_set_sizes(self) -> dict[str, int]:
        """Return how many prompts each set gets where the data set is large enough."""
        return set_sizes(self.settings.prompts)

    def labelled_pairs(self, prompt: PromptLike) -> list[ResponsePair]:
        """Return the data set's own pairs of a prompt, with its labels. prompt: what `make_prompt` takes."""
        return list(sample.given_pairs(self._context, make_prompt(prompt)))
