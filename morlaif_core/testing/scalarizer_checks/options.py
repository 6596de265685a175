"""Under which options `check_scalarizer` tries a scalarizer."""

from __future__ import annotations

import math
import types
import warnings
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from itertools import chain
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import numpy as np
from pydantic import ValidationError
from pydantic.fields import FieldInfo

from morlaif_core.errors import UserError
from morlaif_core.plugins.components import Component
from morlaif_core.plugins.protocols import Scalarizer

from .cases import Trial

TEMPERATURES = (0.01, 0.1, 0.5, 2.0, 10.0)
STEPS = (0, 5, 1000)
"""Training steps at which all must hold: terms carry the step for those who change with it."""
NUMBERS = (-10.0, -1.0, -0.1, 0.0, 0.1, 0.5, 1.0, 2.0, 10.0)
BESIDE = 1e-10
"""How far beside a bound that is not allowed itself a number is tried."""


def trials(component: Component[Scalarizer], options: dict[str, object]) -> Iterator[Trial]:
    """The options given, at several steps; and, where they say no temperature and there is one, several temperatures."""
    given = make_trial(component, options, strict="temperature" not in options)
    for step in STEPS:
        yield replace(given, step=step, name=f"{given.name} at step {step}" if step else given.name)
    if "temperature" in component.options.model_fields and "temperature" not in options:
        for temperature in TEMPERATURES:
            try:
                component.options.model_validate({**options, "temperature": temperature})
            except ValidationError:
                continue  # beyond what this scalarizer allows
            yield make_trial(component, {**options, "temperature": temperature}, strict=False)


def other_trials(component: Component[Scalarizer], options: dict[str, object]) -> Iterator[Trial]:
    """The options given, and one other at a value beside its default; not those that are refused."""
    for name, field in component.options.model_fields.items():
        if name in options:
            continue
        for value in _values(field.annotation, field):
            try:
                trial = make_trial(component, {**options, name: value}, strict=False)
            except (ValidationError, UserError):
                continue
            if not _refused(trial):
                yield trial


def required(component: Component[Scalarizer], options: dict[str, object]) -> dict[str, object]:
    """Those of the options given that have no default."""
    fields = component.options.model_fields
    return {name: value for name, value in options.items() if name in fields and fields[name].is_required()}


def make_trial(component: Component[Scalarizer], options: dict[str, object], *, strict: bool) -> Trial:
    """Build it under these options; what is not monotone with them says so."""
    model = component.options.model_validate(options)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        scalarizer = component.build(model)
    monotone = component.monotone and not any("not monotone" in str(warning.message) for warning in said)
    name, linear = (
        f"{component.name} {options}" if options else component.name,
        "linear" in component.all_supplies(model),
    )
    build = partial(_build, component, model)
    return Trial(name, build, scalarizer, component.all_needs(model), monotone, strict, linear)


def _build(component: Component[Scalarizer], model: object) -> Scalarizer:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # heard before
        return component.build(model)


def _refused(trial: Trial) -> bool:
    """Say whether its first call says that these options do not fit these principles; any other trouble comes later."""
    case = trial.case(0, 2, 3)
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        try:
            trial.build()(case.scores, case.terms)
        except UserError:
            return True
        except Exception:
            return False
    return False


def _values(annotation: Any, field: FieldInfo) -> tuple[Any, ...]:
    """A few values of a field's type; none where they cannot be guessed, as of a file's path."""
    origin, parts = get_origin(annotation), get_args(annotation)
    if origin in (Union, types.UnionType):
        return tuple(chain.from_iterable(_values(part, field) for part in parts))
    if origin is Annotated:
        return _values(parts[0], field)
    if origin is Literal:
        return parts
    if annotation is int:
        return tuple(sorted({round(number) for number in _numbers(field, 1.0)}))
    simple: dict[Any, tuple[Any, ...]] = {bool: (False, True), type(None): (None,), float: _numbers(field, BESIDE)}
    return simple.get(annotation, ())


def _numbers(field: FieldInfo, beside: float) -> tuple[float, ...]:
    """Numbers within a field's bounds: those at the bounds, halfway between them, and a few round ones."""
    low, high = -math.inf, math.inf
    for bound in field.metadata:
        low = max(low, getattr(bound, "ge", low), getattr(bound, "gt", -math.inf) + beside)
        high = min(high, getattr(bound, "le", high), getattr(bound, "lt", math.inf) - beside)
    ends = {float(number) for number in (low, high, (low + high) / 2) if math.isfinite(number)}
    return tuple(sorted(ends | {number for number in NUMBERS if low <= number <= high}))
