"""The preference models of a run: each group of principles trained and loaded by its backend, all of them scored as one."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from morlaif_core.config.pm_groups import PMGroup, pm_groups
from morlaif_core.config.settings import MAX_SEED
from morlaif_core.errors import RunFailed, UserError
from morlaif_core.plugins.protocols import PMBackend, PMJob, PreferenceModel
from morlaif_core.runs.folder import write_json
from morlaif_core.runs.stopping import stoppable
from morlaif_core.types import Preference, Principle, Prompt, ScoreMatrix, content_hash

from .context import Context
from .judge import labels_hash
from .pairs import FILE as PAIRS, says_ends
from .scored_together import Ensemble, MemberBackbones, Mixed, zeros

Labels: TypeAlias = Mapping[str, Mapping[str, list[Preference]]]
"""Preferences by prompt set and principle."""
FOLDER = "preference_models"
CALIBRATION = f"{FOLDER}/calibration.json"
LEVELS = f"{FOLDER}/ensemble.json"
"""The mean score of each member of the ensembles on the reference responses, by principle."""
MIN_PAIRS = 4
"""Training pairs with a winner that a preference model needs at least."""


@dataclass(frozen=True)
class Learner:
    """A group with its backend, and where below the run folder its models lie.

    folder: of its first models; those of the further members of an ensemble lie in folders below it.
    """

    group: PMGroup
    backend: PMBackend
    folder: str

    @property
    def names(self) -> tuple[str, ...]:
        """Its principles."""
        return tuple(item.name for item in self.group.principles)

    @property
    def folders(self) -> list[str]:
        """The folder of each member's models, below the run folder."""
        # No principle can have a name with a plus.
        return [self.folder, *(f"{self.folder}/+{member}" for member in range(2, self.group.members + 1))]


def learners(context: Context) -> list[Learner]:
    """Build the backend of every group. Raises `UserError` for an unknown one."""
    found = []
    for group in pm_groups(context.config):
        backend = context.build_backend(group)
        # Models trained together may share files, and those of two groups must not be taken for one another's.
        apart = group.own and not backend.independent
        found.append(Learner(group, backend, f"{FOLDER}/{group.principles[0].name}+" if apart else FOLDER))
    return found


def train(context: Context, parts: Sequence[Learner], labels: Labels, label: str) -> None:
    """Train the principles whose inputs changed; all of a group where its backend trains them together. label: of bars."""
    _make_way(context, parts, labels)
    for part, member in [(one, member) for one in parts for member in range(one.group.members)]:
        folder = context.path / part.folders[member]
        todo = tuple(item for item in part.group.principles if not (folder / item.name / "done.json").exists())
        if todo and not part.backend.independent:
            # Trained together, in one job that goes on from its checkpoints until each of them is done.
            todo = tuple(part.group.principles)
        for item in todo if part.group.component.learns else ():
            _check_enough(item, labels["pm"][item.name])
        if todo:
            _train(context, part, member, todo, labels, label)


def _make_way(context: Context, parts: Sequence[Learner], labels: Labels) -> None:
    """Move away the models that were made of something else, and note what those to come are made of."""
    known = context.folder.section(FOLDER)
    prints: dict[str, str] = {}
    gone = [f"{FOLDER}/{path.name}" for path in (context.path / FOLDER).glob("*+")]
    gone = [path for path in gone if path not in {part.folder for part in parts}]
    for part in parts:
        own = {item.name: _fingerprint(context, part.group, item, labels) for item in part.group.principles}
        if not part.backend.independent:
            # Trained together: one hash for all.
            own = dict.fromkeys(own, content_hash(own))
        changed = [name for name, fingerprint in own.items() if known.get(name) != fingerprint]
        gone += [path for name in changed for path in _all_of(context, name)]
        gone += [part.folder] if changed and part.folder != FOLDER else []
        prints |= {name: own[name] for name in changed}
    # A folder moves with what is in it. Moved before their hashes are noted: after a kill no model is taken for one of other
    # labels.
    context.replace(path for path in dict.fromkeys(gone) if not any(path.startswith(f"{other}/") for other in gone))
    known.update(prints)
    context.folder.save()


def _all_of(context: Context, name: str) -> list[str]:
    """Where models of a principle lie: its own, and those that are, or were, an ensemble's or a group's."""
    found = [path for below in ("*+*", "*+*/*+*") for path in context.path.glob(f"{FOLDER}/{below}/{name}")]
    return [f"{FOLDER}/{name}", *(str(path.relative_to(context.path)) for path in sorted(found))]


def _fingerprint(context: Context, group: PMGroup, principle: Principle, labels: Labels) -> str:
    # Under the run's key, wherever the settings stand: a principle that says the same keeps its model.
    read = {"preference_model": context.stamp("pm_backend", group.block)}
    target, weights = context.pm_base(group)
    base = [target.model_dump(mode="json", exclude={"model", "revision"}), weights]
    learned = [labels_hash(labels[name][principle.name]) for name in ("pm", "validation")]
    return content_hash(read, base, learned, context.settings.seed_of("train_pms"))


def _check_enough(principle: Principle, preferences: list[Preference]) -> None:
    decided = [item for item in preferences if item.p_a != 0.5]
    if len(decided) < MIN_PAIRS:
        raise UserError(
            f"principles.{principle.name}: {len(decided)} of {len(preferences)} labelled training pairs have a winner; a "
            f"preference model needs {MIN_PAIRS}. Raise prompts.pm, choose another judge, or drop the principle"
        )


def _train(
    context: Context, part: Learner, member: int, todo: tuple[Principle, ...], labels: Labels, label: str
) -> None:
    seed = context.settings.seed_of("train_pms")
    base = context.pm_base(part.group)[0]  # before the bar opens: a bar does not nest in another
    with context.screen.bar(label, "steps") as bar, stoppable(context.screen.quiet) as stop:
        part.backend.train(
            PMJob(
                principles=todo,
                train={item.name: labels["pm"][item.name] for item in todo},
                held_out={item.name: labels["validation"][item.name] for item in todo},
                base=base,
                out=context.path / part.folders[member],
                # The first is the model that there would be without the others.
                seed=int(content_hash("ensemble", seed, member), 16) % MAX_SEED if member else seed,
                report=bar,
                backbones=context.backbones,
                stop=stop,
            )
        )


def load_models(context: Context, parts: Sequence[Learner] | None = None) -> PreferenceModel:
    """The trained preference models of all active principles, in their order."""
    loaded: list[PreferenceModel] = []
    for part in learners(context) if parts is None else parts:
        members = _members(context, part)
        loaded.append(Ensemble(part.names, members, _levels(context, part)) if len(members) > 1 else members[0])
    names = tuple(item.name for item in context.config.principles)
    model = loaded[0] if len(loaded) == 1 else Mixed(names, loaded)
    return model if says_ends(context.path / PAIRS) else _AsIfEnded(model)


def _members(context: Context, part: Learner) -> list[PreferenceModel]:
    base, found = context.pm_base(part.group)[0], list[PreferenceModel]()
    for member, folder in enumerate(part.folders):
        # Adapters have the names of their principles, of which each member has its own.
        backbones = MemberBackbones(context.backbones, member + 1) if member else context.backbones
        found.append(part.backend.load(context.path / folder, part.names, base, backbones))
    return found


def level(context: Context, parts: Sequence[Learner], prompts: Sequence[Prompt], responses: Sequence[str]) -> None:
    """Measure the mean score of each member of an ensemble on the reference responses, and keep it: see `Ensemble`."""
    found: dict[str, list[float]] = {}
    for part in parts:
        if part.group.members > 1:
            means = zeros(_members(context, part), part.names, prompts, responses)
            found |= dict(zip(part.names, means, strict=True))
            if alike := [name for name, row in found.items() if len(set(row)) == 1]:
                context.screen.say(
                    f"  note: {', '.join(alike)}: the members of the ensemble score alike, so that there is no spread: the "
                    "backend draws nothing by its seed"
                )
            context.release()
    if found:
        write_json(context.path / LEVELS, found)


def _levels(context: Context, part: Learner) -> list[list[float]]:
    try:
        known = json.loads((context.path / LEVELS).read_text(encoding="utf-8"))
        return [known[name][: part.group.members] for name in part.names]
    except (OSError, ValueError, KeyError):
        raise RunFailed(f"{context.path / LEVELS} is missing or damaged; delete {CALIBRATION} and run again") from None


class _AsIfEnded:
    """Preference models that have read each response as if it had ended: what is cut off now is not told apart either."""

    def __init__(self, model: PreferenceModel) -> None:
        self.model = model

    def score(self, prompts: Sequence[Prompt], responses: Sequence[str]) -> ScoreMatrix:
        return self.model.score(prompts, list(map(str, responses)))
