"""The part of a score that a response's length explains, fitted on reference responses and taken out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from morlaif_core.types import Doubles, ScoreMatrix

from .score_checks import ScoreError, check_scores, scored_rows, select

if TYPE_CHECKING:
    pass


@dataclass(frozen=True)
class LengthControl:
    """``s - slope (x - mean)`` with ``x = log(1 + characters)`` for each principle's raw score s.

    Longer responses get higher scores from many preference models, and a policy finds that out first (Singhal et al.,
    "A long way to go", arXiv 2310.03716). What is left after it is uncorrelated with x over the reference responses.
    The logarithm, since ten words more mean much to a short response and little to a long one. Leaves out: curves; telling
    padding from substance, so that where longer is better, that part goes too.

    Attributes:
        principles: k names.
        slopes: k, raw units to one unit of x.
        mean: of x over the reference responses, so that their mean scores stay as they are.
    """

    principles: tuple[str, ...]
    slopes: tuple[float, ...]
    mean: float

    def remove(self, scores: ScoreMatrix, responses: Sequence[str]) -> ScoreMatrix:
        """Return raw scores (n, k') without the part that length explains.

        Args:
            scores: raw, holding at least these principles.
            responses: the n texts that were scored.

        Raises:
            ScoreError: a principle is missing, or there are more or fewer responses than rows.
        """
        import numpy as np

        scores = select(scores, self.principles)
        if len(responses) != len(scores.prompt_ids):
            raise ScoreError(f"length control got {len(responses)} responses for {len(scores.prompt_ids)} rows")
        part = np.array(self.slopes) * (log_lengths(responses)[:, None] - self.mean)
        return replace(scores, values=(scores.values.astype(np.float64) - part).astype(np.float32))


def log_lengths(responses: Sequence[str]) -> Doubles:
    """Return log(1 + characters) of each response, (n,)."""
    import numpy as np

    # Characters: a reward is given texts, and policy and preference models may count different tokens.
    return np.log1p(np.array([len(text) for text in responses], dtype=np.float64))


def fit_length_control(reference: ScoreMatrix, responses: Sequence[str]) -> LengthControl:
    """Fit the slopes by least squares on the raw scores (n, k) of the reference responses; rows that failed are left out.

    Where all responses are of one length there is nothing to explain: the slopes are 0. Raises `ScoreError` where a
    principle failed in every row, or no row is left.
    """
    import numpy as np

    check_scores(reference)
    rows = scored_rows(reference)
    if not len(rows):
        raise ScoreError("no reference response has a score under every principle; raise prompts.calibration")
    x = log_lengths(responses)[rows]
    centred = x - x.mean()
    spread = float(np.sum(centred**2))
    values = reference.values[rows].astype(np.float64)
    slopes = np.zeros(values.shape[1]) if spread < 1e-12 else np.sum(centred[:, None] * values, axis=0) / spread
    return LengthControl(reference.principles, tuple(slopes.tolist()), float(x.mean()))
