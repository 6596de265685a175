"""Write fitted weights as a layer that a run can use."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from morlaif_core import UserError

HEAD = """\
# Weights fitted to {decided:,} human choices of the data set {dataset}: `morlaif run CONFIG {file}` uses them.
# They are meant for `scalarizer: {{use: weighted}}`: {slope:.3f} logits of the human's choice for each unit of its score.
# A layer that gives `principles` replaces those below it, so all active ones stand here.
"""


def weights_layer(found: Mapping[str, Any], terms: Mapping[str, Mapping[str, Any]], dataset: str, file: Path) -> str:
    """Return the YAML text.

    Args:
        found: what `measure` returned.
        terms: of every active principle, in their order, as the run's configuration has them; those that were not fitted
            get weight 0.
        dataset: its name, for the comment.
        file: where it will lie, for the comment.
    """
    lines = [HEAD.format(decided=found["choices"]["decided"], dataset=dataset, file=file, slope=found["slope"]["mean"])]
    if not found["recommended"]:
        lines.append("# Not recommended: they predict the held-out choices worse than equal weights do.\n")
    lines.append("principles:\n")
    for name, own in terms.items():
        block = found["principles"].get(name)
        given = {key: value for key, value in own.items() if value is not None}
        values = {**given, "weight": round(block["weight"], 6) if block else 0.0}
        lines.append(f"  # {_comment(block)}\n  {_flow({name: values})}\n")
    return "".join(lines)


def _comment(block: Mapping[str, Any] | None) -> str:
    if block is None:
        return "not fitted: it learns from labels of the same people; trained and logged, but not in the reward"
    low, high = block["ci95"]
    text = f"{block['coefficient']:.3f} [{low:.3f}, {high:.3f}] logits a calibrated unit"
    if block["coefficient"] < 0:
        text += "; weights are not below 0"
    return text if block["weight"] else f"{text}: judged, trained and logged, but not in the reward"


def _flow(entry: Mapping[str, Any]) -> str:
    """One line ``name: {key: value}``, in quotes what YAML would read as something else."""
    import yaml

    # [1:-1] takes off the braces of the outer mapping; the width keeps the line in one piece.
    return yaml.safe_dump(dict(entry), default_flow_style=True, sort_keys=False, width=10**6).strip()[1:-1]


def check_writable(out: Path) -> None:
    """Raise `UserError` where a file cannot be written there; nothing is left behind, not even its folder."""
    import tempfile

    if out.is_dir():
        raise UserError(f"--out {out}: that is a folder; name a YAML file")
    # The nearest folder that is there: those below are made when the file is written.
    above = out.absolute().parent
    while not os.path.lexists(above):
        above = above.parent
    try:
        with tempfile.TemporaryFile(dir=above):
            pass
    except OSError as error:
        raise UserError(f"--out {out}: cannot write in {above}: {error.strerror}") from None
