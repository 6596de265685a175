"""Weights that depend on the prompt: `Gated`."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from morlaif_core import Doubles, Floats, ScoreMatrix, Terms, UserError


@dataclass(frozen=True)
class Gate:
    """A multilayer perceptron from the prompt's features to a logit per principle.

    Attributes:
        layers: (weight (out, in), bias (out,)) of each layer; ReLU between them.
        principles: the names of the last layer's outputs.
    """

    layers: tuple[tuple[Doubles, Doubles], ...]
    principles: tuple[str, ...]

    def __call__(self, features: Floats) -> Doubles:
        """Return logits (n, k) of features (n, h)."""
        hidden: Doubles = features.astype(np.float64)
        for place, (weight, bias) in enumerate(self.layers):
            # Sums along each row, not a matrix product: BLAS may round a row differently in a batch of another size.
            hidden = np.einsum("nh,oh->no", hidden, weight) + bias
            if place + 1 < len(self.layers):
                hidden = np.maximum(hidden, 0.0)
        return hidden


def load_gate(path: Path) -> Gate:
    """Read a gate from safetensors: ``0.weight``, ``0.bias``, ``1.weight``, …, metadata ``principles`` (JSON list).

    Raises:
        UserError: the file is missing, damaged or no gate.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(str(path), framework="numpy") as file:
            names = tuple(json.loads(file.metadata()["principles"]))
            count = sum(name.endswith(".weight") for name in file.keys())  # noqa: SIM118 - not a mapping
            layers = tuple(
                (file.get_tensor(f"{i}.weight").astype(np.float64), file.get_tensor(f"{i}.bias").astype(np.float64))
                for i in range(count)
            )
    # TypeError: a file without metadata has None in its place.
    except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
        raise UserError(f"scalarizer.path: {path} is no gate ({type(error).__name__}: {error})") from None
    return Gate(layers, names)


@dataclass(frozen=True)
class Gated:
    """The weighted sum with weights that a gate draws from the prompt.

    Formula, h the features of the prompt::

        u = sum_k w_k(h) r_k,  w(h) = softmax(MLP(h))

    Source: the gating layer of ArmoRM (Wang et al., arXiv 2406.12845).

    Range: between the least and the greatest ``r_k`` of the row.

    Traps: a gate that saw the response could reward it for its own topic: features are of the prompt alone. Without a
    gate the weights are the terms' own, for every prompt.

    Leaves out: ArmoRM's correction of scores for verbosity, because ``reward.length_control`` takes length out of them.

    Attributes:
        path: the gate's file (`load_gate`); None for the terms' weights.

    >>> from dataclasses import replace
    >>> from morlaif_core.testing import make_scores, make_terms
    >>> scores = replace(make_scores([[1.0, -1.0]]), features=np.ones((1, 4), dtype=np.float32))
    >>> Gated()(scores, make_terms(weight=[3, 1])).tolist()
    [0.5]
    """

    path: Path | None = None

    # Works on a frozen dataclass, as the value goes into __dict__ and not through __setattr__.
    @cached_property
    def gate(self) -> Gate | None:
        """The gate, read when first used."""
        return None if self.path is None else load_gate(self.path)

    def __call__(self, scores: ScoreMatrix, terms: Terms) -> Floats:
        """Return (n,) float32 for calibrated scores (n, k) float32 with features (n, h); without a gate, weight (k,)."""
        if scores.features is None:
            raise ValueError("gated needs the prompts' features, which these preference models do not supply")
        r = scores.values.astype(np.float64)
        u: Floats = np.sum(self._weights(scores, scores.features, terms) * r, axis=1).astype(np.float32)
        return u

    def _weights(self, scores: ScoreMatrix, features: Floats, terms: Terms) -> Doubles:
        from scipy.special import softmax

        if self.gate is None:
            return np.broadcast_to(terms.weight.astype(np.float64), scores.values.shape)
        missing = [name for name in scores.principles if name not in self.gate.principles]
        if missing:
            raise UserError(f"scalarizer.path: the gate {self.path} knows no {', '.join(missing)}; fit it again")
        columns = [self.gate.principles.index(name) for name in scores.principles]
        # Columns before the softmax: outputs of principles that this run lacks would take a share of the weight.
        weights: Doubles = softmax(self.gate(features)[:, columns], axis=1)
        return weights
