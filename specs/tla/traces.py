"""The counterexamples of the mutants, one file each, and the edges of the small state graph."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from specs.tla.tlc import ModelError

TRACES = Path(__file__).parent / "traces"


def file_of(mutant: str) -> Path:
    """Where the counterexample of a mutant is kept."""
    return TRACES / f"{mutant.replace(' ', '-').replace(',', '')}.txt"


def text_of(row: Mapping[str, Any]) -> str:
    """A counterexample as it is kept: what it is of, then an action a line."""
    head = [f"# {row['mutant']}: breaks {row['dies_by']} of {row['run']}"]
    return "\n".join(head + [" ".join(f"{word.replace(' ', '-')}" for word in step) for step in row["trace"]]) + "\n"


def write(rows: Iterable[Mapping[str, Any]]) -> None:
    """Keep the counterexamples, and only those."""
    TRACES.mkdir(exist_ok=True)
    for old in TRACES.glob("*.txt"):
        old.unlink()
    for row in rows:
        if row["trace"]:
            file_of(row["mutant"]).write_text(text_of(row), "utf-8")


def compare(rows: Iterable[Mapping[str, Any]]) -> None:
    """Raises ModelError where what is kept is not what TLC finds."""
    for row in rows:
        if row["trace"] and (
            not file_of(row["mutant"]).exists() or file_of(row["mutant"]).read_text("utf-8") != text_of(row)
        ):
            raise ModelError(
                f"traces/{file_of(row['mutant']).name} is not TLC's: .venv/bin/python -m specs.tla.check --traces"
            )
