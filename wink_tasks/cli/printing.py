"""How commands print: text for people, or one JSON document."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from datetime import datetime

import msgspec
from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

WIDTH_OF_FILES = 160
"""Columns of a table that no terminal shows."""


def console(*, stderr: bool = False) -> Console:
    """Where text goes. Brackets in it are brackets, not markup."""
    shown = Console(stderr=stderr, markup=False, highlight=False, emoji=False)
    if not shown.is_terminal:
        shown.width = WIDTH_OF_FILES
    return shown


def print_json(document: object) -> None:
    """One document on standard output."""
    sys.stdout.write(msgspec.json.format(msgspec.json.encode(document), indent=2).decode() + "\n")


def print_table(out: Console, columns: Iterable[str], rows: Iterable[Iterable[object]]) -> None:
    """A table whose cells wrap, and are never cut."""
    table = Table(box=SIMPLE, pad_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*(str(cell) for cell in row))
    out.print(table)


def moment(at: float) -> str:
    """Epoch seconds as local time; "-" for what has not happened."""
    return f"{datetime.fromtimestamp(at).astimezone():%Y-%m-%d %H:%M:%S}" if at else "-"
