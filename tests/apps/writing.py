"""What a tool of `tests.apps.faulty` writes: a file, a row and an event, each named by its run."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Column, MetaData, String, Table, create_engine, insert, select

from wink_tasks import SqlTransaction, ToolContext, ToolError, Wink, Workspace

METADATA = MetaData()
ROWS = Table("rows", METADATA, Column("run", String(50)))


@dataclass(frozen=True)
class Wrote:
    """The event."""

    run: str


def declare(wink: Wink, folder: str) -> None:
    """The resources, in a folder that is there; none where it has no name."""
    if not folder:
        return

    def database() -> Iterator[SqlTransaction]:
        sql = SqlTransaction(create_engine(f"sqlite:///{folder}/rows.db"))
        METADATA.create_all(sql.engine)
        sql.create_tables()
        yield sql
        sql.engine.dispose()

    (Path(folder) / "files").mkdir(exist_ok=True)
    wink.resources.bind(Workspace, lambda: Workspace.at(Path(folder) / "files"))
    wink.resources.bind(SqlTransaction, database)
    wink.slices.register(Wrote)


def write_all(ctx: ToolContext, run: str, folder: str) -> None:
    """A change of each kind. The run `fails` does so when it is delivered again."""
    if not folder:
        return
    if run == "fails" and ctx.delivery_count > 1:
        raise ToolError("not again")
    ctx.session.dispatch(Wrote(run))
    workspace = ctx.resources[Workspace]
    workspace.write("shared.txt", run)
    workspace.write(f"new/{run}.txt", run)
    ctx.resources[SqlTransaction].execute(insert(ROWS), {"run": run})


def files(folder: str) -> dict[str, str]:
    """What the workspace holds."""
    workspace = Workspace.at(Path(folder) / "files")
    return {path: workspace.read_text(path) for path in workspace.walk()}


def rows(folder: str) -> list[str]:
    """What was committed."""
    engine = create_engine(f"sqlite:///{folder}/rows.db")
    with engine.connect() as connection:
        found = [row.run for row in connection.execute(select(ROWS))]
    engine.dispose()
    return found
