"""The preference models of a run: each group of principles trained and loaded by its backend, all of them scored as one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from morlaif_core.config.pm_groups import PMGroup, pm_groups
from morlaif_core.errors import UserError
from morlaif_core.plugins.protocols import PMBackend, PMJob, PreferenceModel
from morlaif_core.reward.score_checks import ScoreError
from morlaif_core.runs.stopping import stoppable
from morlaif_core.types import Preference, Principle, Prompt, ScoreMatrix, content_hash

from .context import Context
from .judge import labels_hash
from .pairs import FILE as PAIRS, says_ends

Labels: TypeAlias = Mapping[str, Mapping[str, list[Preference]]]
"""Preferences by prompt set and principle."""
FOLDER = "preference_models"
MIN_PAIRS = 4
"""Training pairs with a winner that a preference model needs at least."""


@dataclass(frozen=True)
class Learner:
    """A group with its backend, and where below the run folder its models lie."""

    group: PMGroup
    backend: PMBackend
    folder: str

    @property
    def names(self) -> tuple[str, ...]:
        """Its principles."""
        return tuple(item.name for item in self.group.principles)

    def path(self, name: str) -> str:
        """Where the model of one of its principles lies, below the run folder."""
        return f"{self.folder}/{name}"


def learners(context: Context) -> list[Learner]:
    """Build the backend of every group. Raises `UserError` for an unknown one."""
    found = []
    for group in pm_groups(context.config):
        backend = context.build_backend(group)
        # Models trained together may share files, and those of two groups must not be taken for one another's. No
        # principle can have a name with a plus.
        apart = group.own and not backend.independent
        found.append(Learner(group, backend, f"{FOLDER}/{group.principles[0].name}+" if apart else FOLDER))
    return found


def train(context: Context, parts: Sequence[Learner], labels: Labels, label: str) -> None:
    """Train the principles whose inputs changed; all of a group where its backend trains them together. label: of bars."""
    _make_way(context, parts, labels)
    for part in parts:
        todo = tuple(item for item in part.group.principles if not _done(context, part, item.name))
        if todo and not part.backend.independent:
            # Trained together, in one job that goes on from its checkpoints until each of them is done.
            todo = tuple(part.group.principles)
        for item in todo if part.group.component.learns else ():
            _check_enough(item, labels["pm"][item.name])
        if todo:
            _train(context, part, todo, labels, label)


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
        gone += [f"{FOLDER}/{name}" for name in changed]
        gone += [part.folder] if changed and part.folder != FOLDER else []
        prints |= {name: own[name] for name in changed}
    # Moved before their hashes are noted: after a kill no model is taken for one of other labels.
    context.replace(gone)
    known.update(prints)
    context.folder.save()


def _fingerprint(context: Context, group: PMGroup, principle: Principle, labels: Labels) -> str:
    # Under the run's key, wherever the settings stand: a principle that says the same keeps its model.
    read = {"preference_model": context.stamp("pm_backend", group.block)}
    target, weights = context.pm_base(group)
    base = [target.model_dump(mode="json", exclude={"model", "revision"}), weights]
    learned = [labels_hash(labels[name][principle.name]) for name in ("pm", "validation")]
    return content_hash(read, base, learned, context.settings.seed_of("train_pms"))


def _done(context: Context, part: Learner, name: str) -> bool:
    return (context.path / part.path(name) / "done.json").exists()


def _check_enough(principle: Principle, preferences: list[Preference]) -> None:
    decided = [item for item in preferences if item.p_a != 0.5]
    if len(decided) < MIN_PAIRS:
        raise UserError(
            f"principles.{principle.name}: {len(decided)} of {len(preferences)} labelled training pairs have a winner; a "
            f"preference model needs {MIN_PAIRS}. Raise prompts.pm, choose another judge, or drop the principle"
        )


def _train(context: Context, part: Learner, todo: tuple[Principle, ...], labels: Labels, label: str) -> None:
    base = context.pm_base(part.group)[0]  # before the bar opens: a bar does not nest in another
    with context.screen.bar(label, "steps") as bar, stoppable(context.screen.quiet) as stop:
        part.backend.train(
            PMJob(
                principles=todo,
                train={item.name: labels["pm"][item.name] for item in todo},
                held_out={item.name: labels["validation"][item.name] for item in todo},
                base=base,
                out=context.path / part.folder,
                seed=context.settings.seed_of("train_pms"),
                report=bar,
                backbones=context.backbones,
                stop=stop,
            )
        )


def load_models(context: Context, parts: Sequence[Learner] | None = None) -> PreferenceModel:
    """The trained preference models of all active principles, in their order."""
    loaded = []
    for part in learners(context) if parts is None else parts:
        base = context.pm_base(part.group)[0]
        loaded.append(part.backend.load(context.path / part.folder, part.names, base, context.backbones))
    names = tuple(item.name for item in context.config.principles)
    model = loaded[0] if len(loaded) == 1 else Mixed(names, loaded)
    return model if says_ends(context.path / PAIRS) else _AsIfEnded(model)


class Mixed:
    """Preference models of several backends as one: their columns in the order of ``principles``.

    Where one gives `ScoreMatrix.spread`, so does this: NaN in the columns of those that give none, as a spread of 0 would
    say that a score is certain. Features are those of the first that gives any.
    """

    def __init__(self, principles: tuple[str, ...], models: Sequence[PreferenceModel]) -> None:
        self.principles, self.models = principles, models

    def score(self, prompts: Sequence[Prompt], responses: Sequence[str]) -> ScoreMatrix:
        """Return the raw scores (n, k) of n responses, one for each prompt."""
        import numpy as np

        found, ids = [model.score(prompts, responses) for model in self.models], tuple(prompt.id for prompt in prompts)
        for one in found:
            # Rows in another order would give each response the score of another one, unseen.
            if one.prompt_ids != ids:
                raise ScoreError(
                    f"the preference model of {', '.join(one.principles)} scored other rows than were asked"
                )
        names = [name for one in found for name in one.principles]
        order = [names.index(name) for name in self.principles]
        values = np.concatenate([one.values for one in found], axis=1)[:, order]
        spread = None
        if any(one.spread is not None for one in found):
            parts = [np.full_like(one.values, np.nan) if one.spread is None else one.spread for one in found]
            spread = np.concatenate(parts, axis=1)[:, order]
        features = next((one.features for one in found if one.features is not None), None)
        return ScoreMatrix(values, self.principles, ids, spread, features)


class _AsIfEnded:
    """Preference models that have read each response as if it had ended: what is cut off now is not told apart either."""

    def __init__(self, model: PreferenceModel) -> None:
        self.model = model

    def score(self, prompts: Sequence[Prompt], responses: Sequence[str]) -> ScoreMatrix:
        return self.model.score(prompts, list(map(str, responses)))
