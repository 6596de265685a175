"""The options of each scalarizer, and how it is built from them."""

from __future__ import annotations

import warnings
from itertools import pairwise
from pathlib import Path

from pydantic import Field, field_validator, model_validator

from morlaif_core import NoOptions, Options, Scalarizer


class Temperature(Options):
    """Options of scalarizers with a temperature."""

    temperature: float = Field(1.0, gt=0, description="in calibrated units: small is sharp, large is smooth")


class LexicographicOptions(Options):
    """Options of `lexicographic`."""

    temperature: float = Field(0.1, gt=0, description="width of the step at each threshold, in calibrated units")


class SoftMaxMinOptions(Temperature):
    """Options of `soft_max_min`."""

    boltzmann: bool = Field(False, description="the paper's form, which is not monotone")


class UncertaintyOptions(Options):
    """Options of `uncertainty_weighted`."""

    lam: float = Field(
        0.5, ge=0, description="penalty per standard deviation; monotone up to 1 / sqrt(k - 1) at equal weights"
    )
    ensemble: bool = Field(False, description="the spread of each principle's ensemble, not that across principles")


class QuantileOptions(Options):
    """Options of `lower_quantile`."""

    q: float = Field(1 / 3, gt=0, le=1, description="share of the principles whose mean counts, the lowest ones")


class OwaOptions(Options):
    """Options of `owa`."""

    omega: tuple[float, ...] | None = Field(
        None, description="weights from the worst score to the best, one for each principle; null: Gini's"
    )

    @field_validator("omega")
    @classmethod
    def _weights(cls, omega: tuple[float, ...] | None) -> tuple[float, ...] | None:
        if omega is not None and (not omega or min(omega) < 0 or sum(omega) <= 0):
            raise ValueError("weights are 0 or more, and one at least above 0")
        return omega


class PowerMeanOptions(Temperature):
    """Options of `power_mean`."""

    p: float = Field(
        -1.0, description="the exponent: 1 mean, 0 geometric, -1 harmonic; the smaller, the closer to the minimum"
    )


class ChebyshevOptions(Options):
    """Options of `chebyshev`."""

    rho: float = Field(0.05, ge=0, description="weight of the sum beside the maximum; not used where `mu` is given")
    mu: float | None = Field(None, gt=0, description="smoothness; null: the maximum itself")
    target: float | dict[str, float] | None = Field(
        None, description="the ideal point, a number or by principle; null: the clip range's upper end"
    )


class RankOptions(Options):
    """Options of `lexicographic_rank`."""

    slack: float | dict[str, float] = Field(
        0.2,
        description="in calibrated units, a number or by principle: how much of a principle's score may be given up for the "
        "next ones",
    )

    @field_validator("slack")
    @classmethod
    def _not_negative(cls, slack: float | dict[str, float]) -> float | dict[str, float]:
        if min([slack] if isinstance(slack, float) else slack.values(), default=0.0) < 0:
            raise ValueError("a slack is 0 or more")
        return slack


class LagrangianOptions(Options):
    """Options of `lagrangian`."""

    initial: float = Field(1.0, gt=0, description="initial value of every multiplier, at most `cap`")
    eta: float = Field(0.1, gt=0, description="step size of the multipliers' logarithms, per training step")
    cap: float = Field(20.0, gt=0, description="the largest multiplier")

    @model_validator(mode="after")
    def _starts_below_the_cap(self) -> LagrangianOptions:
        if self.initial > self.cap:
            raise ValueError(f"initial {self.initial:g} is above cap {self.cap:g}, which no multiplier may pass")
        return self


class NormalizeOptions(Options):
    """Options of `normalize_then_sum`."""

    eps: float = Field(1e-4, gt=0, description="added to every deviation, so that tiny ones do not blow up noise")


class GatedOptions(Options):
    """Options of `gated`."""

    path: str | None = Field(None, description="the gate's file (safetensors); null: the principles' own weights")


class SingleOptions(Options):
    """Options of `single`."""

    principle: str = Field(min_length=1, description="the principle that is the reward")


def build_weighted(options: NoOptions) -> Scalarizer:
    """Build the weighted sum."""
    # Imported when it is built, as all below: listing what is offered needs neither numpy nor scipy.
    from .weighted import weighted

    return weighted


def build_max_min(options: NoOptions) -> Scalarizer:
    """Build the worst-case scalarizer."""
    from .max_min import max_min

    return max_min


def build_soft_max_min(options: SoftMaxMinOptions) -> Scalarizer:
    """Build the smooth minimum."""
    from .soft_max_min import SoftMaxMin

    if options.boltzmann:
        _say("soft_max_min with boltzmann is not monotone: a better score may lower the reward")
    return SoftMaxMin(options.temperature, options.boltzmann)


def build_uncertainty_weighted(options: UncertaintyOptions) -> Scalarizer:
    """Build the mean less a penalty for disagreement."""
    from .uncertainty_weighted import UncertaintyWeighted

    return UncertaintyWeighted(options.lam, options.ensemble)


def build_lower_quantile(options: QuantileOptions) -> Scalarizer:
    """Build the mean of the lowest scores."""
    from .lower_quantile import LowerQuantile

    return LowerQuantile(options.q)


def build_max_median(options: NoOptions) -> Scalarizer:
    """Build the median."""
    from .max_median import max_median

    return max_median


def build_bernoulli_nash(options: Temperature) -> Scalarizer:
    """Build the product of the chances to pass."""
    from .bernoulli_nash import BernoulliNash

    return BernoulliNash(options.temperature)


def build_owa(options: OwaOptions) -> Scalarizer:
    """Build the ordered weighted average."""
    from .owa import Owa

    omega = options.omega
    if omega is not None and any(later > earlier for earlier, later in pairwise(omega)):
        _say("owa with an omega that increases is not fair: a gain of the better off counts for more")
    return Owa(omega)


def build_power_mean(options: PowerMeanOptions) -> Scalarizer:
    """Build the power mean."""
    from .power_mean import PowerMean

    return PowerMean(options.p, options.temperature)


def build_chebyshev(options: ChebyshevOptions) -> Scalarizer:
    """Build the Chebyshev distance to an ideal point."""
    from .chebyshev import Chebyshev

    return Chebyshev(options.rho, options.mu, options.target)


def build_lexicographic(options: LexicographicOptions) -> Scalarizer:
    """Build the thresholded lexicographic order."""
    from .lexicographic import Lexicographic

    return Lexicographic(options.temperature)


def build_lexicographic_rank(options: RankOptions) -> Scalarizer:
    """Build the lexicographic rank in a group."""
    from .lexicographic_rank import LexicographicRank

    return LexicographicRank(options.slack)


def build_leximin(options: NoOptions) -> Scalarizer:
    """Build the leximin rank in a group."""
    from .leximin import leximin

    return leximin


def build_lagrangian(options: LagrangianOptions) -> Scalarizer:
    """Build the objective under constraints."""
    from .lagrangian import Lagrangian

    return Lagrangian(options.initial, options.eta, options.cap)


def build_gated(options: GatedOptions) -> Scalarizer:
    """Build the sum with weights that depend on the prompt."""
    from .gated import Gated

    return Gated(None if options.path is None else Path(options.path))


def build_normalize_then_sum(options: NormalizeOptions) -> Scalarizer:
    """Build the sum of scores standardised within a group."""
    from .normalize_then_sum import NormalizeThenSum

    return NormalizeThenSum(options.eps)


def build_single(options: SingleOptions) -> Scalarizer:
    """Build the baseline of one principle."""
    from .single import Single

    return Single(options.principle)


def _say(message: str) -> None:
    warnings.warn(message, stacklevel=3)
