"""Raw preference-model scores to comparable ones: zero, unit and clip of every principle, fitted once and frozen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from morlaif_core.runs.folder import write_json
from morlaif_core.types import Doubles, Floats, ScoreMatrix

from .length_control import LengthControl
from .score_checks import ScoreError, check_finite, check_scores, read_json, select
from .soft_clip import soft_clip

if TYPE_CHECKING:
    pass


Method: TypeAlias = Literal["platt", "std", "none"]
FORMAT = 1
SCALE_FLOOR = 1e-5
"""Least deviation as a share of the scores' root mean square: below it they differ by rounding and noise alone."""
SLOPE_FLOOR = 0.1
"""Least logits to one deviation of the reference scores: a model that does not predict its judge counts for little."""
SLOPE_LIMIT = 30.0
"""Logits to one root mean square of the differences from which on labels count as separated by the scores."""
MIN_PAIRS = 8
"""Fewer judged pairs say nothing about a slope."""


@dataclass(frozen=True)
class Calibration:
    """``r = c tanh(z / c)`` with ``z = (raw - location) / scale`` for each principle.

    Bradley-Terry scores have an arbitrary zero and unit, so raw scores of two principles cannot be compared.

    Attributes:
        method: platt (z is in logits of the judge's preference), std (in deviations of the reference's scores), none.
        clip: c > 0; calibrated scores lie within [-c, c].
        principles: k names.
        location: k raw scores whose calibrated score is 0 (0 under none).
        scale: k numbers of raw units to one calibrated unit (1 under none).
        notes: what was out of the ordinary when it was fitted, a line each.
        length: takes the part that length explains out of the raw scores first; None: nothing is taken out.
        deviation: k deviations of the reference's calibrated scores; empty in files of earlier versions.
    """

    method: Method
    clip: float
    principles: tuple[str, ...]
    location: tuple[float, ...]
    scale: tuple[float, ...]
    notes: tuple[str, ...] = ()
    length: LengthControl | None = None
    deviation: tuple[float, ...] = ()

    def apply(
        self, scores: ScoreMatrix, responses: Sequence[str] = (), *, part: bool = False
    ) -> tuple[ScoreMatrix, float]:
        """Calibrate raw scores.

        Args:
            scores: raw, values (n, k') float32, holding at least the calibration's principles in any order.
            responses: the n texts that were scored; needed for length control alone.
            part: of what is scored; a principle may have failed in all these rows, and others follow.

        Returns:
            The calibrated scores, (n, k) in the calibration's order, NaN where a score failed, and the share of them that
            lay beyond the clip before it (|z| > c), in [0, 1]. The soft clip keeps every order.

        Raises:
            ScoreError: a principle is missing or failed in every row, a score is infinite, a shape does not fit.
        """
        import numpy as np

        scores = select(scores, self.principles)
        if part:
            check_finite(scores, failed=True)
        else:
            check_scores(scores)
        if self.length is not None:
            scores = self.length.remove(scores, responses)
        scale = np.array(self.scale)
        # In float64: raw scores may be large beside their differences.
        z = (scores.values.astype(np.float64) - np.array(self.location)) / scale
        values = soft_clip(z, self.clip).astype(np.float32)
        spread = None if scores.spread is None else (scores.spread / scale).astype(np.float32)
        known = z[~np.isnan(z)]
        share = float(np.mean(np.abs(known) > self.clip)) if known.size else 0.0
        return replace(scores, values=values, spread=spread), share

    def save(self, path: Path) -> None:
        """Write JSON in one step; floats come back exactly."""
        units = zip(self.principles, self.location, self.scale, strict=True)
        content: dict[str, Any] = {
            "format": FORMAT,
            "method": self.method,
            "clip": self.clip,
            "principles": {name: {"location": location, "scale": scale} for name, location, scale in units},
            "notes": list(self.notes),
        }
        if self.length is not None:
            slopes = dict(zip(self.length.principles, self.length.slopes, strict=True))
            content["length"] = {"slopes": slopes, "mean": self.length.mean}
        for name, deviation in zip(self.principles, self.deviation, strict=False):
            content["principles"][name]["deviation"] = deviation
        write_json(path, content)

    @classmethod
    def load(cls, path: Path) -> Calibration:
        """Read what `save` wrote. Raises `RunFailed` where the file is missing, damaged or of another format."""
        content = read_json(path, FORMAT)
        units, length = content["principles"], content.get("length")
        return cls(
            content["method"],
            content["clip"],
            tuple(units),
            tuple(unit["location"] for unit in units.values()),
            tuple(unit["scale"] for unit in units.values()),
            tuple(content["notes"]),
            length and LengthControl(tuple(length["slopes"]), tuple(length["slopes"].values()), length["mean"]),
            tuple(unit["deviation"] for unit in units.values() if "deviation" in unit),
        )


def fit_calibration(
    method: Method,
    clip: float,
    reference: ScoreMatrix,
    differences: Mapping[str, Floats],
    p_a: Mapping[str, Floats],
) -> Calibration:
    """Fit zero and unit of every principle.

    The zero is where the mean of the reference's calibrated scores is 0, after the soft clip. The unit is, under std, one
    population standard deviation of the reference's scores, so that principles of equal weight have equal influence;
    under platt, one logit of the judge's preference: the slope b of ``P(a preferred) = sigma(b (s_a - s_b))``, without
    intercept since a and b are interchangeable, fitted to soft labels by maximum likelihood (Platt, "Probabilistic outputs
    for support vector machines", 1999; its smoothed targets where the scores separate the labels and no finite slope is
    the best). A label read from text says less of the odds the fewer samples it rests on, so that a logit is another one
    for each kind of judge. Leaves out: isotonic regression, whose steps would tie scores that differ; the fit's own error,
    since RL takes one frozen reward.

    Args:
        method: platt, std or none (neither zero nor unit is changed, scores are clipped only).
        clip: c of the soft clip, > 0.
        reference: raw scores (n, k) of the reference responses to the calibration prompts, two or more of each principle;
            those that failed (NaN) are left out, of differences too.
        differences: principle -> raw score differences a - b (m,) of its judged calibration pairs.
        p_a: principle -> P(a preferred) (m,), in [0, 1].

    Returns:
        The calibration; `notes` say where a floor or a fallback was taken.

    Raises:
        ScoreError: a score is infinite, or there are fewer than two reference responses.
    """
    import numpy as np

    check_scores(reference)
    if method == "none":
        k = len(reference.principles)
        return _measured(Calibration(method, clip, reference.principles, (0.0,) * k, (1.0,) * k), reference)
    scales, locations, notes = [], [], []
    for name, column in zip(reference.principles, reference.values.T, strict=True):
        values = column[~np.isnan(column)].astype(np.float64)
        if len(values) < 2:
            raise ScoreError("calibration needs at least two reference responses; raise prompts.calibration")
        deviation = float(values.std())
        # Relative to the scores' size, since that is arbitrary; a slope has bounds of its own.
        floor = SCALE_FLOOR * (float(np.sqrt(np.mean(values**2))) or 1.0)
        unit = _platt_scale if method == "platt" else _std_scale
        scale, note = unit(name, max(deviation, floor), *_judged(name, differences.get(name), p_a.get(name)))
        if deviation < floor:  # no slope either: it would be fitted to rounding
            scale = max(scale, floor)
            note = f"the unit is the floor {floor:.3g}: its scores hardly differ"
        scales.append(scale)
        locations.append(_zero(values, scale, clip))
        notes += [f"{name}: {note}"] if note else []
    found = Calibration(method, clip, reference.principles, tuple(locations), tuple(scales), tuple(notes))
    return _measured(found, reference)


def _measured(calibration: Calibration, reference: ScoreMatrix) -> Calibration:
    """Return a calibration with the deviations that it gives the reference's scores."""
    import numpy as np

    values = calibration.apply(reference)[0].values.astype(np.float64)
    return replace(calibration, deviation=tuple(np.nanstd(values, axis=0).tolist()))


def _zero(values: Doubles, scale: float, clip: float) -> float:
    """Return the raw score t for which the soft-clipped (values - t) / scale have mean 0."""
    import numpy as np
    from scipy.optimize import brentq

    # From the mean, since raw scores may be large beside their differences.
    mean = float(values.mean())
    z = (values - mean) / scale
    low, high = float(z.min()), float(z.max())
    if low == high:
        return mean
    root = brentq(lambda zero: float(np.mean(soft_clip(z - zero, clip))), low, high, xtol=1e-12)
    return mean + scale * float(root)


def _judged(name: str, differences: Floats | None, p_a: Floats | None) -> tuple[Doubles, Doubles]:
    """Return the score differences of the judged pairs, those that failed left out, and their labels."""
    import numpy as np

    d = np.zeros(0) if differences is None else differences.astype(np.float64)
    p = np.zeros(0) if p_a is None else p_a.astype(np.float64)
    if d.shape != p.shape or np.isinf(d).any() or not np.all((p >= 0) & (p <= 1)):
        raise ScoreError(f"{name}: calibration needs finite score differences and as many labels in [0, 1]")
    return d[~np.isnan(d)], p[~np.isnan(d)]


def _std_scale(name: str, deviation: float, d: Doubles, p: Doubles) -> tuple[float, str]:
    """Return raw units to one deviation, and a note where the model does not predict its judge."""
    import numpy as np

    # The sign alone: how far labels lie from a half depends on how the judge answers.
    if np.count_nonzero(d) < MIN_PAIRS or float(np.sum(d * (p - 0.5))) > 0:
        return deviation, ""
    return deviation / SLOPE_FLOOR, (
        f"its scores do not predict the judge's preference on the calibration pairs: they count for {SLOPE_FLOOR} of others"
    )


def _platt_scale(name: str, deviation: float, d: Doubles, p: Doubles) -> tuple[float, str]:
    """Return raw units to one logit, and a note where it is not the plain fit."""
    import numpy as np

    # A pair of equal scores says nothing of the slope, whatever its label.
    if np.count_nonzero(d) < MIN_PAIRS:
        return (
            deviation,
            f"only {np.count_nonzero(d)} judged calibration pairs with different scores: the unit is one deviation",
        )
    slope, separated = fit_slope(d, p)
    # A negative slope too: a unit below 0 would reverse the order of the scores.
    if slope * deviation < SLOPE_FLOOR:
        return deviation / SLOPE_FLOOR, (
            f"its scores do not predict the judge's preference on the calibration pairs (slope {slope:.3g}): "
            f"one deviation counts {SLOPE_FLOOR} logits"
        )
    return (
        1 / slope,
        "its scores separate the calibration labels: slope of Platt's smoothed targets" if separated else "",
    )


def fit_slope(differences: Doubles, p_a: Doubles) -> tuple[float, bool]:
    """Return the maximum-likelihood b of ``p_a = sigma(b d)``, and whether the targets had to be smoothed.

    Args:
        differences: d (m,), not all 0.
        p_a: soft labels (m,) in [0, 1].

    Returns:
        b, which may be 0 or negative, in logits per unit of d; True where the labels are separated by d, so that no
        finite b is the best, and Platt's targets (m p + 1) / (m + 2) were fitted instead.
    """
    import numpy as np

    # In root mean squares of the differences, since the unit of a raw score is arbitrary.
    limit = SLOPE_LIMIT / float(np.sqrt(np.mean(differences**2)))
    slope = _root(differences, p_a, limit)
    if slope is not None:
        return slope, False
    m = len(p_a)
    slope = _root(differences, (m * p_a + 1) / (m + 2), limit)
    return (limit if slope is None else slope), True


def _root(d: Doubles, p: Doubles, limit: float) -> float | None:
    """Return where the likelihood's derivative is 0, or None where that is beyond the limit.

    The derivative sum d (sigma(b d) - p) rises with b, so bracketing finds the one root.
    """
    import numpy as np
    from scipy.optimize import brentq
    from scipy.special import expit

    def derivative(slope: float) -> float:
        return float(np.sum(d * (expit(slope * d) - p)))

    if derivative(limit) <= 0:
        return None
    # Separated the wrong way round: any negative slope is the same to the caller.
    if derivative(-limit) >= 0:
        return -limit
    # brentq, since scikit-learn's logistic regression takes no soft labels.
    return float(brentq(derivative, -limit, limit, xtol=1e-12 * limit, rtol=1e-14))
