"""Several preference models scored as one: those of different backends, and the members of an ensemble."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from morlaif_core.plugins.components import Target
from morlaif_core.plugins.protocols import Backbones, PreferenceModel
from morlaif_core.reward.score_checks import ScoreError, select
from morlaif_core.types import Prompt, ScoreMatrix


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


class Ensemble:
    """Models of the same principles, trained with seeds of their own, as one.

    Scores are the members' mean. The spread is the square root of ``mean(s^2) + var(r)``: s the members' own spreads, where
    they give any, r their scores, the variance that of a sample (over M - 1). A Bradley-Terry score has an arbitrary zero,
    another one for each member, which is no disagreement: so each member's mean on the reference responses is taken off
    first. Source: Coste et al., arXiv 2310.02743, whose members too differ by their seeds alone.

    Leaves out: samples of the labels for each member, which would cost accuracy; weights of the members.

    levels: for each principle, each member's mean score on the reference responses.
    """

    def __init__(
        self, principles: tuple[str, ...], members: Sequence[PreferenceModel], levels: Sequence[Sequence[float]]
    ) -> None:
        self.principles, self.members, self.levels = principles, members, levels

    def score(self, prompts: Sequence[Prompt], responses: Sequence[str]) -> ScoreMatrix:
        """Return mean scores and spread (n, k) of n responses, one for each prompt; NaN where a member's score failed."""
        import numpy as np

        found = [select(member.score(prompts, responses), self.principles) for member in self.members]
        levels = np.array(self.levels, dtype=np.float64).T
        values = np.array([one.values for one in found], dtype=np.float64) - levels[:, None, :]
        own = [np.zeros_like(one.values) if one.spread is None else one.spread for one in found]
        variance = np.mean(np.square(np.array(own, dtype=np.float64)), axis=0) + values.var(axis=0, ddof=1)
        spread, features = np.sqrt(variance).astype(np.float32), found[0].features
        mean = values.mean(axis=0).astype(np.float32)
        return ScoreMatrix(mean, self.principles, tuple(prompt.id for prompt in prompts), spread, features)


def zeros(
    members: Sequence[PreferenceModel], principles: tuple[str, ...], prompts: Sequence[Prompt], responses: Sequence[str]
) -> list[list[float]]:
    """Return each member's mean score of these responses, for each principle; what failed is left out."""
    import numpy as np

    matrices = [select(member.score(prompts, responses), principles).values for member in members]
    means = np.array([np.nanmean(values.astype(np.float64), axis=0) for values in matrices])
    return [[float(mean) for mean in column] for column in means.T]


class MemberBackbones:
    """Loaded models as a further member of an ensemble sees them: its adapters have names of their own."""

    def __init__(self, backbones: Backbones, member: int) -> None:
        self._backbones, self._member = backbones, member

    def __getattr__(self, name: str) -> Any:
        return getattr(self._backbones, name)

    def get(self, target: Target, *, own: bool = False) -> Any:
        """Return a model; own: see `Backbones`."""
        found = self._backbones.get(target, own=own)
        return found if own else _MemberBackbone(found, self._member)


class _MemberBackbone:
    def __init__(self, backbone: Any, member: int) -> None:
        self._backbone, self._member = backbone, member

    def __getattr__(self, name: str) -> Any:
        return getattr(self._backbone, name)

    def _name(self, adapter: str) -> str:
        return f"{adapter}+{self._member}"

    def add(self, adapter: str, config: Any) -> None:
        self._backbone.add(self._name(adapter), config)

    def load(self, adapter: str, folder: Path) -> None:
        self._backbone.load(self._name(adapter), folder)

    def save(self, adapter: str, folder: Path) -> None:
        self._backbone.save(self._name(adapter), folder)

    def use(self, adapter: str | None, *, grad: bool = False, train: bool = False) -> AbstractContextManager[Any]:
        return self._backbone.use(None if adapter is None else self._name(adapter), grad=grad, train=train)  # type: ignore[no-any-return]
