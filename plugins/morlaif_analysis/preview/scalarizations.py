"""The scalarizers that a preview compares, and the reward of every response under each."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import yaml

from morlaif_core import Component, Doubles, Message, Scalarizer, ScoreMatrix, UserError, build, make_prompt

if TYPE_CHECKING:
    from morlaif_core import Workbench

    from .samples import Sampled


SINGLE = "single"
"""The scalarizer that is offered once for each principle."""
Components: TypeAlias = Mapping[str, Component[Scalarizer]]


@dataclass(frozen=True)
class Choice:
    """A scalarizer with its options. configured: the run's own."""

    name: str
    block: dict[str, Any]
    configured: bool = False


def choices_of(bench: Workbench, given: Sequence[str]) -> list[Choice]:
    """Return what is compared: what the user gave, else all that are offered, and the run's own.

    Args:
        bench: the run.
        given: names, or YAML of ``{use: NAME, ...}``; each once.

    Raises:
        UserError: a given one is unknown, or its options do not fit it, the run's principles or their scores.
    """
    components = bench.scalarizers()
    chosen = bench.settings.scalarizer
    own = Choice(label(_set(components, chosen.block)), chosen.block, configured=True)
    if given:
        rewarded = [name for name, terms in bench.settings.principles.items() if terms.weight > 0]
        blocks = {text: _given(text, components, rewarded) for text in given}
        for text, block in blocks.items():
            _try_out(bench, text, block, components)
        listed = [Choice(label(block), block) for block in blocks.values()]
    else:
        listed = list(_offered(components, [item.name for item in bench.principles]))
    marked = [replace(choice, configured=_same(components, choice.block, own.block)) for choice in listed]
    if not given and not any(choice.configured for choice in marked):
        marked.insert(0, own)
    # By name, as two given blocks may be the same.
    return list({choice.name: choice for choice in marked}.values())


def label(block: Mapping[str, Any]) -> str:
    """How a block is called: ``weighted``, ``soft_max_min temperature=0.2``, ``single: toxicity``."""
    options = {key: value for key, value in block.items() if key != "use"}
    if block["use"] == SINGLE and list(options) == ["principle"]:
        return f"{SINGLE}: {options['principle']}"
    return " ".join([str(block["use"]), *(f"{key}={value}" for key, value in options.items())])


def _offered(components: Components, principles: Sequence[str]) -> list[Choice]:
    """Every offered scalarizer with its default options; `single` once for each principle."""
    found = []
    for name in components:
        blocks = [{"use": name, "principle": item} for item in principles] if name == SINGLE else [{"use": name}]
        found += [Choice(label(block), block) for block in blocks]
    return found


def _given(text: str, components: Components, rewarded: Sequence[str]) -> dict[str, Any]:
    """Read what the user gave and build it: an unknown scalarizer, option or principle is said before sampling."""
    try:
        block = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise UserError(f"--scalarizer {text}: not YAML ({' '.join(str(error).split())})") from None
    if isinstance(block, str):
        block = {"use": block}
    if not isinstance(block, dict) or not isinstance(block.get("use"), str):
        raise UserError(f"--scalarizer {text}: say a name, or '{{use: NAME, option: value}}'")
    options = {str(key): value for key, value in block.items() if key != "use"}
    try:
        build("scalarizer", block["use"], **options)
    except UserError as error:
        raise UserError(f"--scalarizer {text}: {error}") from None
    block = {"use": block["use"].replace("-", "_"), **options}
    component, settled = _component(components, block["use"]), _settled(components, block)[1]
    named = component.names(settled) if component and component.names else ()
    strange = [name for name in named if name.replace("-", "_") not in {item.replace("-", "_") for item in rewarded}]
    if strange:
        raise UserError(f"--scalarizer {text}: '{strange[0]}' is no principle of the reward: {', '.join(rewarded)}")
    return block


def _try_out(bench: Workbench, text: str, block: Mapping[str, Any], components: Components) -> None:
    """Scalarize two rows with what the user named, before anything is sampled for it. Raises `UserError`."""
    component, options = _component(components, block["use"]), _settled(components, block)[1]
    principles = tuple(item.name for item in bench.principles)
    scores = ScoreMatrix(np.zeros((2, len(principles)), dtype=np.float32), principles, ("", ""))
    try:
        if component is not None and component.all_needs(options) & {"spread", "features"}:
            # Only the preference models know whether they supply them.
            prompt = make_prompt([Message("user", "Is it?")])
            scores = bench.scores([prompt, prompt], ["Yes.", "No."])
        bench.scalarize(scores, block, scores)
    except UserError as error:
        if isinstance(error, ValueError):
            return  # no reward for these rows; what it makes of the responses is seen when they are there
        raise UserError(f"--scalarizer {text}: {_on_a_line(error)}") from None
    except Exception:  # a stranger's scalarizer may raise anything: it is left out later, with the reason
        if os.environ.get("MORLAIF_STRICT") == "1":
            raise


def _same(components: Components, one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Say whether two blocks are the same scalarizer with the same options, however they are written."""
    return _settled(components, one) == _settled(components, other)


def _set(components: Components, block: Mapping[str, Any]) -> dict[str, Any]:
    """A block without the options that are as by default, all of which run.yaml has."""
    component = _component(components, block["use"])
    fields = component.options.model_fields if component else {}
    return {key: value for key, value in block.items() if key not in fields or value != fields[key].get_default()}


def _settled(components: Components, block: Mapping[str, Any]) -> tuple[object, Any]:
    """A block's component and its options with the defaults filled in."""
    options = {key: value for key, value in block.items() if key != "use"}
    component = _component(components, block["use"])
    if component is None:
        return str(block["use"]), options
    try:
        return component, component.options.model_validate(options)
    except ValueError:
        return component, options  # not complete: it is left out later, with the reason


def _component(components: Components, name: object) -> Component[Scalarizer] | None:
    """The component of a name, also where that is written as ``plugin/name``; ``-`` and ``_`` are the same."""
    known = {offered.replace("-", "_"): component for offered, component in components.items()}
    written = str(name).replace("-", "_")
    return known.get(written) or known.get(written.rpartition("/")[2])


def rewards_of(
    bench: Workbench, found: Sampled, choices: Sequence[Choice]
) -> tuple[dict[str, Doubles], dict[str, str]]:
    """Scalarize all responses.

    Returns:
        u (m, n) by choice; and by name, why a choice cannot be previewed.

    Raises:
        UserError: none can.
    """
    rewards, left_out = dict[str, "Doubles"](), dict[str, str]()
    for choice in choices:
        try:
            u = bench.scalarize(found.scores, choice.block, found.reference)
        # The user's own: it is not a scalarizer's failure.
        except KeyboardInterrupt:
            raise
        except UserError as error:
            left_out[choice.name] = _on_a_line(error)
        except BaseException as error:  # whatever a stranger's scalarizer raises, SystemExit too, the others go on
            if os.environ.get("MORLAIF_STRICT") == "1":
                raise
            left_out[choice.name] = f"{type(error).__name__}: {_on_a_line(error)}"
        else:
            rewards[choice.name] = u.astype("float64").reshape(len(found.prompts), -1)
    if not rewards:
        why = "; ".join(f"{name}: {reason}" for name, reason in left_out.items())
        raise UserError(f"no scalarizer can be previewed: {why}")
    return rewards, left_out


def _on_a_line(error: BaseException) -> str:
    return " ".join(str(error).split())
