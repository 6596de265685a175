"""Tables and JSON for the terminal: rich where there is one, else plain lines, never cut or wrapped."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from typing import Any, TypeAlias

import click

Row: TypeAlias = Sequence[str]


def print_json(value: Any) -> None:
    """Print a value as indented JSON.

    value: what JSON does not know is printed as text.

    >>> print_json({"n": 1})
    {
     "n": 1
    }
    """
    click.echo(json.dumps(value, indent=1, ensure_ascii=False, default=str))


def print_table(columns: Row, rows: Sequence[Row], title: str = "", *, wrap: bool = False) -> None:
    """Draw a table; without a terminal, lines of aligned columns.

    columns: their names. rows: texts, one for each column. title: a line above. wrap: in a terminal, any column may be
    wrapped.

    >>> print_table(["name", "n"], [["calm", "12"]])
    name  n
    calm  12
    """
    if title:
        click.echo(title)
    if sys.stdout.isatty():
        from rich.console import Console
        from rich.markup import escape
        from rich.table import Table

        table = Table()
        for place, column in enumerate(columns):
            # The last column may be a sentence; the others are names and numbers, which must not be cut.
            fixed = not wrap and place < len(columns) - 1
            table.add_column(column, no_wrap=fixed, overflow="ellipsis" if fixed else "fold")
        for row in rows:
            table.add_row(*(escape(cell) for cell in row))
        Console().print(table)
        return
    widths = [max(len(row[column]) for row in [columns, *rows]) for column in range(len(columns))]
    for row in [columns, *rows]:
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def format_number(value: Any, digits: int = 3) -> str:
    """A figure, or a dash where there is none.

    value: a number or None. digits: after the point.

    >>> format_number(0.5), format_number(None)
    ('0.500', '-')
    """
    return "-" if value is None else _rounded(value, digits)


def _rounded(value: float, digits: int) -> str:
    # With 0 added, -0 is 0.
    return f"{round(value, digits) + 0.0:.{digits}f}"


def format_interval(bounds: Sequence[float] | None, digits: int = 3) -> str:
    """An interval, or a dash.

    bounds: its ends, or None. digits: after the point.

    >>> format_interval((0.1, 0.25), 2)
    '[0.10, 0.25]'
    """
    return "-" if bounds is None else f"[{_rounded(bounds[0], digits)}, {_rounded(bounds[1], digits)}]"


def measured(value: float | None, bounds: Sequence[float] | None, digits: int = 3) -> str:
    """A figure with its interval, or a dash."""
    return "-" if value is None else f"{format_number(value, digits)} {format_interval(bounds, digits)}"


def change(before: float | None, after: float | None, digits: int) -> str:
    """Before and after, or a dash."""
    return (
        "-"
        if before is None and after is None
        else f"{format_number(before, digits)} -> {format_number(after, digits)}"
    )
