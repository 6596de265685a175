"""The judge check as tables: a line a judge, what is wrong with it, a line a principle, panels, cascades, joint requests."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from morlaif_core import print_json, print_table

from .evidence import MOVING

if TYPE_CHECKING:
    from collections.abc import Callable

    from morlaif_core import Figure

    from .measures import Measured
    from .results import Checked

COLUMNS = (
    "pairs",
    "accuracy",
    "position bias",
    "flips",
    "label mass",
    "no label",
    "padded",
    "injected",
    "again",
    "reworded",
    "says",
)
LEGEND = (
    "accuracy: on pairs with a known winner, ties half. position bias: log-odds for what stands first. flips: verdicts "
    "that follow the place.\npadded, injected: by how much an answer is liked more (probability) with filler, with an "
    "instruction to the judge in it.\nagain, reworded: verdicts that change when the same is asked again, or in another "
    "phrasing. (off): from off-label answers."
)


def show_judges(found: Sequence[Checked], as_json: bool) -> None:
    """Print what a check found."""
    from .results import as_json as as_dict

    if as_json:
        print_json({"judges": {item.judge: as_dict(item) for item in found}})
        return
    rows = [[item.judge, *_figures(item.pooled, _bounded), item.judgement.grade, _usd(item.cost)] for item in found]
    print_table(["judge", *COLUMNS, "cost"], rows)
    click.echo(LEGEND)
    for item in found:
        click.echo(f"\n{item.judge}{f' ({item.model})' if item.model else ''}: {item.judgement.grade}")
        for fault in item.judgement.faults:
            click.echo(f"  {fault.why}")
        _show_more(item)


def _figures(measured: Measured, form: Callable[[Figure | None], str]) -> list[str]:
    """A line of figures. form: how those are written whose interval matters."""
    off = " (off)" if measured.off_label else ""
    return [
        str(measured.pairs),
        _share(measured.accuracy, f" of {measured.known}"),
        form(measured.bias) + (off if measured.bias else ""),
        _share(measured.flips) + (off if measured.flips else ""),
        "-" if measured.mass is None else f"{measured.mass:.2f}",
        _share(measured.unlabelled),
        *(form(measured.lifts_p.get(probe)) for probe in MOVING),
        *(_share(measured.changed.get(probe)) for probe in ("repeated", "rephrased")),
    ]


def _show_more(item: Checked) -> None:
    """What goes beyond a judge's own line."""
    if item.human:
        click.echo(f"  agrees with the human labels of {item.human['n']} of these pairs in {_agreement(item.human)}")
    if item.panel is not None:
        _show_panel(item.panel, item.family)
    if item.joint is not None:
        equal, costs = _share(item.joint.same), f"{_usd(item.joint.cost)} against {_usd(item.joint.alone)}"
        kappa = _bounded(item.joint.kappa)
        click.echo(
            f"  all at once against one by one: {equal} of {item.joint.n} verdicts equal, kappa {kappa}, {costs}"
        )
    if len(item.by_principle) > 1:
        _show_principles(item)
    for members, replayed in item.replays.items():
        rows = [
            [f"{row.below:g}", f"{row.asked:.0%}", _percent(row.agreement), _excess(row.longer), _usd(row.cost)]
            for row in replayed
        ]
        print_table(["below", "asked", "agreement", "longer", "cost"], rows, f"\n{members}, replayed at other bounds:")


def _show_principles(item: Checked) -> None:
    rows = [
        [name, *_figures(measured, _alone), "too few to tell" if judgement is None else judgement.grade]
        for name, (measured, judgement) in item.by_principle.items()
    ]
    print_table(["principle", *COLUMNS], rows, f"\n{item.judge}, by principle:")
    for name, (_, judgement) in item.by_principle.items():
        for fault in judgement.faults if judgement else ():
            click.echo(f"  {name}: {fault.why}")


def _show_panel(panel: Any, family: str | None) -> None:
    for members, kappa in panel["kappa"].items():
        click.echo(f"  {members}: kappa {_agreement(kappa)}")
    click.echo(f"  Krippendorff's alpha {_agreement(panel['alpha'])}")
    members = len({name for pair in panel["kappa"] for name in pair.split(", ")})
    click.echo(f"  worth {_agreement(panel['effective_judges'])} independent judges of {members}")
    for name, note in panel["notes"].items():
        if note.startswith("undefined"):
            click.echo(f"  {name}: {note}")
    if family:
        click.echo(f"  {family}")


def _agreement(block: Any) -> str:
    if block is None:
        return "-"
    ends = "" if block["ci95"] is None else f" [{block['ci95'][0]:.2f}, {block['ci95'][1]:.2f}]"
    return f"{block['mean']:.2f}{ends}"


def _share(figure: Figure | None, more: str = "") -> str:
    return "-" if figure is None or figure.mean is None else f"{figure.mean:.0%}{more}"


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{value:.0%}"


def _excess(value: float | None) -> str:
    return "-" if value is None else f"{value:+.0%}"


def _alone(figure: Figure | None) -> str:
    """A figure without its interval."""
    return "-" if figure is None else _signed(figure.mean)


def _bounded(figure: Figure | None) -> str:
    """A figure with its interval."""
    return "-" if figure is None else f"{_signed(figure.mean)} [{_signed(figure.low)}, {_signed(figure.high)}]"


def _signed(value: float | None) -> str:
    """Two digits with their sign, without one where they are 0; a question mark for what nobody knows."""
    if value is None:
        return "?"
    return f"{value:+.2f}" if abs(value) >= 0.005 else "0.00"


def _usd(cost: float | None) -> str:
    return "-" if cost is None else f"${cost:.4f}"
