"""What every stage works with: configuration, run folder, data set, models, prompt sets; each made when first used."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from morlaif_core.config.config import BLOCKS, Config
from morlaif_core.config.pm_groups import PMGroup
from morlaif_core.config.resolved import as_begun
from morlaif_core.config.settings import AUTO
from morlaif_core.errors import UserError
from morlaif_core.feedback.judges import RunJudges
from morlaif_core.models.layers import context_length
from morlaif_core.models.rendering import ASSISTANT, hh_text, prompt_ids, takes_system
from morlaif_core.plugins.components import Target
from morlaif_core.runs.folder import DRAW, RunFolder, write_json
from morlaif_core.runs.progress import Screen
from morlaif_core.runs.prompt_sets import PAIR_SETS, PromptSets, as_drawn, draw_prompt_sets
from morlaif_core.runs.stamps import file_stamp, folder_stamp, stable
from morlaif_core.runs.system_prompt import WithSystem
from morlaif_core.types import Prompt

if TYPE_CHECKING:
    from morlaif_core.models.backbones import LocalBackbones
    from morlaif_core.models.resolve import ResolvedModel
    from morlaif_core.plugins.protocols import Dataset, FeedbackProvider, PMBackend, Sampler


class Context:
    """One run in this process."""

    def __init__(self, config: Config, folder: RunFolder, screen: Screen) -> None:
        self.config = as_begun(config, folder.manifest.get("models", {}))
        self.folder, self.screen = folder, screen
        self.settings = self.config.settings
        self.plugins = config.plugins
        self.unfinished = 0
        """Set by a stage: verdicts behind which requests failed, which the next run asks again."""
        self._folded = False
        self._bases: dict[str, Target] = {}

    @property
    def path(self) -> Path:
        """The run folder."""
        return self.folder.path

    @cached_property
    def run_id(self) -> str:
        """What tells this run from others that share its ledger: drawn once, kept in the manifest."""
        if "id" not in self.folder.manifest:
            # Random: runs of one configuration may share a ledger, and each is charged for its own requests.
            self.folder.manifest["id"] = uuid4().hex
            self.folder.save()
        return str(self.folder.manifest["id"])

    def replace(self, names: Iterable[str]) -> None:
        """Move what is there of these files and folders to ``replaced/TIME/``, and say so."""
        moved = [name for name in self.folder.replace(names) if not name.startswith(".")]
        if moved and self.folder.away is not None:
            self.screen.say(f"moved to {self.folder.away.relative_to(self.path)}/: {', '.join(moved)}")

    @cached_property
    def judges(self) -> RunJudges:
        """Who judges: the configuration's judges, with this run's ledgers and budget."""
        return RunJudges(self.config, self.path, self.build_judge, lambda: self.run_id)

    @cached_property
    def dataset(self) -> Dataset:
        """The data set, every prompt with the run's system prompt."""
        built: Dataset = self.plugins.build("dataset", self.config.block("dataset"))
        system = self.settings.system_prompt
        return built if system is None else WithSystem(built, system)

    @cached_property
    def sampler(self) -> Sampler:
        """Who samples."""
        built: Sampler = self.plugins.build("sampler", self.config.block("sampler"))
        return built

    @cached_property
    def backbones(self) -> LocalBackbones:
        """Loaded models; `release` lets go of them between stages."""
        from morlaif_core.models.backbones import LocalBackbones

        return LocalBackbones(device=self.settings.device, threads=self.settings.threads)

    def release(self) -> None:
        """Let go of loaded models."""
        # Asked of __dict__, since `self.backbones` would make it if no stage has.
        if "backbones" in self.__dict__:
            self.backbones.release()

    @cached_property
    def target(self) -> Target:
        """The target with its model resolved to a folder or hub id."""
        return self.resolve("target", self.settings.target).target

    def pm_base(self, group: PMGroup) -> tuple[Target, str]:
        """Return the base of a group's preference models, resolved, and what identifies the weights that they start from."""
        places = {
            "target": self.settings.target,
            "preference_model.base": self.settings.pm_base,
            f"{group.key}.base": group.base,
        }
        wanted = group.base.model, group.base.revision
        # The same model is resolved once, so that policy and preference models share the copy in memory.
        where = next(key for key, other in places.items() if (other.model, other.revision) == wanted)
        if where not in self._bases:
            self._bases[where] = self.target if where == "target" else self.resolve(where, places[where]).target
        found = self._bases[where]
        base = group.base.model_copy(update={"model": found.model, "revision": found.revision})
        return base, str(self.folder.section("models")[where]["fingerprint"])

    def resolve(self, where: str, target: Target) -> ResolvedModel:
        """Resolve the model of a configuration key; the manifest keeps which it is, a hub model's commit too."""
        from morlaif_core.models.resolve import resolve_target

        models = self.folder.section("models")
        known, asked = models.get(where), [target.model, target.revision]
        if known and known.get("asked") == asked and known["revision"]:
            # The commit that this run began with, wherever the hub's branch is now.
            target = target.model_copy(update={"revision": known["revision"]})
        with self.screen.bar("model") as bar:
            resolved = resolve_target(target, self.plugins, self.conversations, self.settings.seed_of("sample"), bar)
        # Equal settings and other weights: what the run holds could not be compared with what is added.
        if known and known.get("asked") == asked and known["fingerprint"] != resolved.fingerprint:
            raise UserError(
                f"{where}.model: {asked[0]} is not the model that this run began with (it was changed, or another "
                "version makes it differently); name another folder with --out"
            )
        models[where] = {
            "asked": asked,
            "resolved": str(resolved.target.model),
            "revision": resolved.target.revision,
            "fingerprint": resolved.fingerprint,
        }
        self.folder.save()
        return resolved

    def build_judge(self, judge: str) -> FeedbackProvider:
        """Build a judge's provider; a model of its own is resolved and loaded as this run's models are."""
        from morlaif_core.models.judge_model import judge_models_of

        with judge_models_of(lambda target: self.resolve(f"judges.{judge}", target), self.backbones):
            built: FeedbackProvider = self.plugins.build("feedback_provider", self.config.judge_block(judge))
            return built

    def build_backend(self, group: PMGroup) -> PMBackend:
        """Build a group's backend; a model of its own is resolved as this run's models are."""
        from morlaif_core.models.judge_model import judge_models_of

        with judge_models_of(lambda target: self.resolve(group.key, target), self.backbones):
            built: PMBackend = group.component.build(group.options)
            return built

    def conversations(self) -> Iterator[str]:
        """The training split's conversations as text, no evaluation prompt among them; what a `ModelMaker` learns from."""
        # A model that has learned the evaluation's prompts would make every later number too good.
        held_out = {prompt.id for prompt in self.dataset.prompts("test")}
        labelled = False
        for preference in self.dataset.preferences("train"):
            labelled = True
            if preference.prompt.id not in held_out:
                head = hh_text(preference.prompt.messages) + ASSISTANT + " "
                yield head + preference.a
                yield head + preference.b
        if not labelled:
            for prompt in self.dataset.prompts("train"):
                if prompt.id not in held_out:
                    yield hh_text(prompt.messages)

    @property
    def old_draw(self) -> bool:
        """Whether an earlier version began the run folder: its prompt sets are drawn, and its pairs sampled, as then."""
        return DRAW not in self.folder.manifest

    @cached_property
    def prompt_sets(self) -> PromptSets:
        """The disjoint prompt sets; the first draw goes into the manifest; those that pairs
        were made of must come out equal in a later one, `auto` counts as they were. Raises `UserError`."""
        sets = draw_prompt_sets(
            self.dataset.prompts("train"),
            self.dataset.prompts("test"),
            as_drawn(self.settings.prompts, self.folder.manifest.get("prompt_sets", {})),
            self.fits,
            lambda: self._limit[1],
            old=self.old_draw,
        )
        drawn = sets.ids()
        before = self.folder.manifest.get("prompt_sets", drawn)
        # More of the evaluation's prompts, or fewer, are those of before and others.
        some = min(len(ids["evaluation"]) for ids in (before, drawn))
        same = before["evaluation"][:some] == drawn["evaluation"][:some]
        if not same or any(before.get(name) != drawn[name] for name in PAIR_SETS):
            raise UserError(
                f"the data set '{self.settings.dataset.use}' gives other prompts than when {self.path} was begun; "
                "start another run with --out, or restore the data set"
            )
        lost = dict(Counter(self.dataset.skipped) + Counter(sets.left_out))
        self.folder.manifest["prompt_sets"] = drawn
        self.folder.manifest["left_out"] = lost
        self.folder.save()
        if AUTO in self.settings.prompts.model_dump().values():
            counts = (f"{name} {len(prompts):,}" for name, prompts in sets.sets.items())
            self.screen.say("prompts: " + ", ".join(counts))
        if lost:
            self.screen.say("left out: " + ", ".join(f"{count:,} {why}" for why, count in lost.items()))
        return sets

    def fits(self, prompts: Sequence[Prompt]) -> list[bool]:
        """Which prompts leave room for a response in the model's context, within prompts.max_tokens."""
        backbone = self.backbones.get(self.target)
        how = (self.target.template, self.target.chat_template_kwargs)
        limit = self._limit[0]
        systems = (prompt for prompt in prompts if any(turn.role == "system" for turn in prompt.messages))
        first = next(systems, None)
        if first is not None and not self._folded and not takes_system(backbone.tokenizer, first, *how):
            self._folded = True
            self.screen.say("the chat template takes no system turn: its text is put before the user's that follows")
        return [len(prompt_ids(backbone.tokenizer, prompt, *how)) <= limit for prompt in prompts]

    @cached_property
    def _limit(self) -> tuple[int, str]:
        """The most tokens of a prompt, and how longer ones are counted: with the limit, and the key that sets it."""
        # 10**9: a model that names no limit has none.
        context = context_length(self.backbones.get(self.target).model) or 10**9
        most, answer = self.settings.prompts.max_tokens or 10**9, self.settings.generation.max_new_tokens
        if context - answer < 1:
            raise UserError(
                f"generation.max_new_tokens: {answer} tokens leave no room for a prompt in the model's context of {context}"
            )
        if most <= context - answer:
            return most, f"longer than {most:,} tokens (prompts.max_tokens)"
        key = f"the model's context of {context:,} less generation.max_new_tokens: {answer:,}"
        return context - answer, f"longer than {context - answer:,} tokens ({key})"

    def read(self, *paths: str) -> dict[str, Any]:
        """Values at configuration paths, for a fingerprint: validated, without what only changes speed."""
        return {path: self._stable(path) for path in paths}

    def stamp(self, kind: str, block: dict[str, Any]) -> dict[str, Any]:
        """A component's block for a fingerprint: its options without what only changes speed, and its file's content."""
        options = self.plugins.options(kind, block)
        found = {"use": block["use"], **stable(options), **file_stamp(options)}
        if not self.plugins.find(kind, str(block["use"])).learns:
            # Another model in its place gives other scores.
            stamp = folder_stamp(getattr(options, "model", None))
            found |= {"weights": stamp} if stamp else {}
        return found

    def _stable(self, path: str) -> Any:
        if path in BLOCKS:
            return self.stamp(BLOCKS[path], self.config.block(path))
        value: Any = self.settings
        for part in path.split("."):
            value = value[part] if isinstance(value, dict) else getattr(value, part)
        if path.endswith("model"):
            return [value, folder_stamp(value)]
        return stable(value)

    def write_results(self, **blocks: Any) -> None:
        """Put blocks into results.json."""
        results = self.folder.section("results")
        # In the manifest too: results.json is a copy for readers, and may be deleted.
        results.update(blocks)
        self.folder.save()
        write_json(self.path / "results.json", results)
