"""Every scalarizer that is offered, the options it may get, and scores and terms as a run may have them."""

from __future__ import annotations

import importlib.util
import sys
import types
import warnings
from dataclasses import replace
from typing import Any, Union, get_args, get_origin

import numpy as np
from annotated_types import Ge, Gt, Le, Lt
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from pydantic import ValidationError
from pydantic.fields import FieldInfo

from morlaif_core import Component, Options, Scalarizer, ScoreMatrix, Terms
from morlaif_core.plugins.manager import Plugins
from morlaif_core.testing import make_scores, make_terms
from morlaif_scalarizers import morlaif_scalarizers
from tests.helpers.places import THIRD_PARTY

CLIP = 3.0
STRANGER = THIRD_PARTY / "morlaif_moderate.py"
OFFERED = {component.name: component for component in morlaif_scalarizers()}
"""Those of the package."""


def everyone() -> dict[str, Component[Scalarizer]]:
    """Every scalarizer of the package, of the plugins installed here, and of the third party's example."""
    spec = importlib.util.spec_from_file_location("morlaif_moderate", STRANGER)
    assert spec is not None
    assert spec.loader is not None
    stranger = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = stranger  # or what it offers could not be pickled
    spec.loader.exec_module(stranger)
    installed = [offer.component for offer in Plugins.load().offers_by_kind["scalarizer"]]
    return {offered.name: offered for offered in [*stranger.morlaif_scalarizers(), *installed, *OFFERED.values()]}


EVERYONE = everyone()


def must(component: Component[Scalarizer]) -> dict[str, object]:
    """Options that have no default: texts name the first principle."""
    fields = component.options.model_fields.items()
    return {name: "p0" for name, field in fields if field.is_required() and field.annotation is str}


def build(component: Component[Scalarizer], **options: object) -> Scalarizer:
    """Build one without a word."""
    return build_and_listen(component, component.options.model_validate({**must(component), **options}))[0]


def build_and_listen(component: Component[Scalarizer], options: Options) -> tuple[Scalarizer, bool]:
    """Build one, and say whether it may be monotone: declared, and not called off for these options."""
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        scalarizer = component.build(options)
    called_off = any("not monotone" in str(warning.message) for warning in said)
    return scalarizer, component.monotone and not called_off


def _numbers(field: FieldInfo, whole: bool) -> st.SearchStrategy[Any]:
    """Numbers between the field's bounds; without bounds, up to 10 either way."""
    low, high = -10.0, 10.0
    for bound in field.metadata:
        low = bound.ge if isinstance(bound, Ge) else bound.gt + 0.01 if isinstance(bound, Gt) else low
        high = bound.le if isinstance(bound, Le) else bound.lt - 0.01 if isinstance(bound, Lt) else high
    return st.integers(int(low), int(high)) if whole else st.floats(low, high)


def _values(annotation: Any, field: FieldInfo, names: tuple[str, ...]) -> st.SearchStrategy[Any]:
    """What a field of this type may be; nothing where that cannot be guessed, as of a file's path."""
    if annotation is bool:
        return st.booleans()
    if annotation in (int, float):
        return _numbers(field, annotation is int)
    if annotation is type(None):
        return st.none()
    if annotation is str and field.is_required():
        return st.sampled_from(names)
    if get_origin(annotation) in (Union, types.UnionType):
        return st.one_of(*(_values(part, field, names) for part in get_args(annotation)))
    if get_origin(annotation) is tuple and get_args(annotation)[0] is float:
        return st.lists(_numbers(field, False), min_size=len(names), max_size=len(names)).map(tuple)
    if get_origin(annotation) is dict:
        return st.dictionaries(st.sampled_from(names), _numbers(field, False))
    return st.nothing()


@st.composite
def options_of(draw: st.DrawFn, component: Component[Scalarizer], names: tuple[str, ...]) -> Options:
    """Options from the ranges that their model gives; a field is left at its default now and then."""
    values = dict(must(component))
    for name, field in component.options.model_fields.items():
        strategy = _values(field.annotation, field, names)
        if not strategy.is_empty and (field.is_required() or draw(st.booleans())):
            values[name] = draw(strategy)
    try:
        return component.options.model_validate(values)
    except ValidationError:
        return component.options.model_validate(must(component))


@st.composite
def terms_of(draw: st.DrawFn, k: int) -> Terms:
    """Weights, thresholds within the clip range, distinct priorities."""
    return make_terms(
        weight=draw(st.lists(st.floats(0.01, 10), min_size=k, max_size=k)),
        threshold=draw(st.lists(st.floats(-2.9375, 2.9375, width=32), min_size=k, max_size=k)),
        priority=draw(st.lists(st.integers(-9, 9), min_size=k, max_size=k, unique=True)),
        lower=-CLIP,
        upper=CLIP,
    )


@st.composite
def cases(draw: st.DrawFn, *, least: int = 0, size: float = CLIP, k: int | None = None) -> tuple[ScoreMatrix, Terms]:
    """Scores (n, k) in [-size, size] with spread and features, in groups of uneven size, and terms."""
    n, k = draw(st.integers(least, 9)), k or draw(st.integers(1, 6))
    values = draw(arrays(np.float32, (n, k), elements=st.floats(-size, size, width=32)))
    groups = np.array(draw(st.lists(st.integers(0, 3), min_size=n, max_size=n)), dtype=int)
    features = np.random.default_rng(0).normal(size=(4, 5)).astype(np.float32)[groups]
    spread = np.full((n, k), 0.25, dtype=np.float32)
    scores = replace(make_scores(values), spread=spread, features=features)
    return replace(scores, prompt_ids=tuple(f"prompt-{group}" for group in groups)), draw(terms_of(k))


def take(scores: ScoreMatrix, rows: Any) -> ScoreMatrix:
    """These rows alone, in this order."""
    assert scores.spread is not None
    assert scores.features is not None
    ids = tuple(np.array(scores.prompt_ids, dtype=object)[rows])
    return ScoreMatrix(scores.values[rows], scores.principles, ids, scores.spread[rows], scores.features[rows])


def reorder(scores: ScoreMatrix, terms: Terms, order: Any) -> tuple[ScoreMatrix, Terms]:
    """The principles in another order, together with their terms."""
    fields: dict[str, Any] = {
        name: getattr(terms, name)[order] for name in ("weight", "threshold", "priority", "lower", "upper")
    }
    names = tuple(scores.principles[place] for place in order)
    assert scores.spread is not None
    moved = replace(scores, values=scores.values[:, order], principles=names, spread=scores.spread[:, order])
    return moved, replace(terms, **fields)
