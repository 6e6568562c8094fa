"""How commands print: text for people, or one JSON document."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from datetime import datetime
from typing import Final

import msgspec
from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table
from rich.text import Text

from wink_tasks.core.limits import Usage

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


LONGEST_ID: Final = 40
"""Columns of the terminal that an id gets to itself: a UUID has 36."""


def print_table(out: Console, columns: Iterable[str], rows: Iterable[Iterable[object]]) -> None:
    """A table whose cells wrap, and are never cut. An id stays in one line, so that it can be copied."""
    table = Table(box=SIMPLE, pad_edge=False)
    cells = [[cell if isinstance(cell, Text) else str(cell) for cell in row] for row in rows]
    for number, column in enumerate(columns):
        longest = max((len(row[number]) for row in cells), default=0)
        table.add_column(column, overflow="fold", min_width=min(longest, LONGEST_ID) if column == "id" else None)
    for row in cells:
        table.add_row(*row)
    out.print(table, crop=False)


def moment(at: float) -> str:
    """Epoch seconds as local time; "-" for what has not happened."""
    return f"{datetime.fromtimestamp(at).astimezone():%Y-%m-%d %H:%M:%S}" if at else "-"


def usage_document(usage: Usage) -> dict[str, object]:
    """What a run used, in full."""
    return {
        "requests": usage.requests,
        "input_tokens": usage.input_tokens,
        "output_tokens": usage.output_tokens,
        "total_tokens": usage.total_tokens,
        "cost_usd": usage.cost_usd,
    }


def usage_line(usage: Usage) -> str:
    """What a run used, for people."""
    tokens = f"{usage.input_tokens:,} input and {usage.output_tokens:,} output tokens"
    cost = "" if not usage.cost_usd else f", {usage.cost_usd:.4f} USD"
    return f"{usage.requests} model calls, {tokens}{cost}"
