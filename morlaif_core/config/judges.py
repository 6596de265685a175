"""A configuration's judges: their names, what panels and cascades are made of, and whether they can measure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from morlaif_core.errors import UserError, did_you_mean
from morlaif_core.plugins.manager import check_name
from morlaif_core.types import Principle

from .judge_settings import CascadeSettings, PanelSettings
from .layers import CHOOSERS, Layers
from .pm_groups import learns
from .settings import HUMAN_JUDGE, NO_JUDGE, UNASKED, Settings

if TYPE_CHECKING:
    from .config import Config

RESERVED = {HUMAN_JUDGE: "the data set's own labels", NO_JUDGE: "principles that nobody judges"}


def with_known_judges(settings: Settings, layers: Layers) -> Settings:
    """Check the judges' names and members, and spell every mention of one as it is defined. Raises `UserError`."""
    # By the canonical form, since - and _ are the same wherever a judge is named.
    spelled = {}
    for name in settings.judges:
        try:
            spelled[check_name(name)] = name
        except ValueError as error:
            raise UserError(f"judges.{name}: {error} [{layers.nearest(('judges', name))}]") from None
    for name in UNASKED:
        if name in spelled:
            origin = layers.nearest(("judges", name))
            raise UserError(f"judges.{name}: the name is reserved for {RESERVED[name]} [{origin}]")

    def known(name: str) -> str:
        return spelled.get(name.replace("-", "_"), name)

    def maybe(name: str | None) -> str | None:
        return None if name is None else known(name)

    judges = {}
    for name, block in settings.judges.items():
        members = tuple(known(member) for member in settings.members_of(name))
        key = {PanelSettings: "panel", CascadeSettings: "cascade"}.get(type(block))
        judges[name] = block.model_copy(update={key: members}) if key else block
    terms = {name: item.model_copy(update={"judge": maybe(item.judge)}) for name, item in settings.principles.items()}
    evaluation = settings.evaluation.model_copy(update={"judge": maybe(settings.evaluation.judge)})
    found = settings.model_copy(
        update={"judge": known(settings.judge), "judges": judges, "principles": terms, "evaluation": evaluation}
    )
    for name in found.judges:
        _check_members(found, name, layers)
    return found


def _check_members(settings: Settings, name: str, layers: Layers) -> None:
    """A panel or cascade is made of several judges that are there, none of them itself. Raises `UserError`."""
    members = settings.members_of(name)
    key = next((key for key in CHOOSERS if layers.at(("judges", name, key)) is not None), "panel")
    for problem in _problems(settings, name, members):
        raise UserError(f"judges.{name}.{key}: {problem} [{layers.nearest(('judges', name, key))}]")
    block = settings.judges[name]
    if isinstance(block, PanelSettings) and (block.quorum or 0) > len(members):
        origin = layers.nearest(("judges", name, "quorum"))
        raise UserError(f"judges.{name}.quorum: {block.quorum} of {len(members)} members cannot be had [{origin}]")


def _problems(settings: Settings, name: str, members: tuple[str, ...]) -> Iterator[str]:
    for member in members:
        if member == HUMAN_JUDGE:
            yield "human labels are of the data set's responses and cannot be asked for; name judges that can be asked"
            continue
        if member == NO_JUDGE:
            yield "'none' says that nobody judges; name judges that can be asked"
            continue
        if member not in settings.judges:
            yield f"there is no judge '{member}'.{did_you_mean(member, list(settings.judges))}"
    twice = [member for place, member in enumerate(members) if member in members[:place]]
    if twice:
        yield f"'{twice[0]}' is named twice (- and _ are the same)"
    loop = _loop(settings, name, (name,))
    if loop:
        yield f"it is made of itself: {' > '.join(loop)}"


def _loop(settings: Settings, name: str, above: tuple[str, ...]) -> tuple[str, ...]:
    """The way from a judge back to itself, empty where there is none."""
    for member in settings.members_of(name) if name in settings.judges else ():
        if member == above[0]:
            return (*above, member)
        if member not in above:
            found = _loop(settings, member, (*above, member))
            if found:
                return found
    return ()


def check_judges(config: Config) -> None:
    """Every active principle has a judge that can measure it. Raises `UserError`."""
    settings = config.settings
    _check_known(config, settings.judge, "judge")
    if settings.evaluation.judge:
        _check_askable(config, settings.evaluation.judge, "evaluation.judge")
    labels = "labels" in config.plugins.find("dataset", settings.dataset.use).supplies
    if settings.pairs.source == "dataset" and not labels:
        origin = config.layers.nearest(("pairs", "source"))
        raise UserError(
            f"pairs.source: the data set '{settings.dataset.use}' has no responses of its own; "
            f"say pairs.source=sampled [{origin}]"
        )
    for principle in config.principles:
        judge = settings.judge_of(principle.name)
        path = f"principles.{principle.name}.judge" if settings.principles[principle.name].judge else "judge"
        if judge == HUMAN_JUDGE:
            if not labels:
                raise UserError(f"{path}: human: the data set '{settings.dataset.use}' has no human labels")
            continue
        if judge == NO_JUDGE:
            if learns(config, principle.name):
                own = settings.principles[principle.name].preference_model or settings.preference_model
                raise UserError(
                    f"{path}: none: the preference model '{own.use}' learns from labels; name a judge, or say human, or "
                    f"choose one whose scores are given (principles.{principle.name}.preference_model) "
                    f"[{config.layers.nearest(tuple(path.split('.')))}]"
                )
            continue
        _check_judge(config, judge, principle, path)
        if settings.evaluation.judge:
            _check_judge(config, settings.evaluation.judge, principle, "evaluation.judge")


def _check_known(config: Config, judge: str, path: str) -> None:
    known = [*config.settings.judges, *UNASKED]
    if judge in known:
        return
    origin = config.layers.nearest(tuple(path.split(".")))
    if config.plugins.offers("feedback_provider", judge):
        name = judge.rpartition("/")[2]
        raise UserError(
            f"{path}: '{judge}' is a feedback provider, not a judge: say judges: {{{name}: {{use: {judge}}}}} [{origin}]"
        )
    raise UserError(
        f"{path}: there is no judge '{judge}'.{did_you_mean(judge, known)} Judges: {', '.join(known)} [{origin}]"
    )


def _check_askable(config: Config, judge: str, path: str) -> None:
    _check_known(config, judge, path)
    if judge == HUMAN_JUDGE:
        raise UserError(f"{path}: human labels are of the data set's responses; name a judge that can be asked")
    if judge == NO_JUDGE:
        raise UserError(
            f"{path}: none: say so of the principles that nobody shall judge; name a judge that can be asked"
        )


def _check_judge(config: Config, judge: str, principle: Principle, path: str) -> None:
    """All judges that a judge is made of can measure the principle."""
    _check_askable(config, judge, path)
    for single in config.settings.singles_of(judge):
        block = config.judge_block(single)
        component = config.plugins.find("feedback_provider", block["use"])
        reason = component.refuses and component.refuses(config.plugins.options("feedback_provider", block), principle)
        if reason:
            part = "" if single == judge else f" (in '{judge}')"
            given = (
                ""
                if learns(config, principle.name)
                else f"; its scores are given, so principles.{principle.name}.judge"
            )
            spared = given and f"{given} may be none"
            raise UserError(f"{path}: judge '{single}'{part} refuses it: {reason}{spared}")
