"""The tool that writes: rows, a report and an event of a review, all of them or none."""

from __future__ import annotations

from collections.abc import Iterator

from sqlalchemy import Column, Integer, MetaData, String, Table, create_engine, insert

from wink_tasks import SqlTransaction, ToolContext
from wink_tasks.examples.code_review.models import Finding, FindingsRecorded, Report
from wink_tasks.examples.code_review.workspace import Reports, demo_folder

METADATA = MetaData()
FINDINGS = Table(
    "findings",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("run", String(300), index=True),
    Column("file", String(1000)),
    Column("line", Integer),
    Column("severity", String(10)),
    Column("rule", String(50)),
    Column("title", String(1000)),
)


def findings_database() -> Iterator[SqlTransaction]:
    """A SQLite file `reviews.db` beside the reports."""
    folder = demo_folder()
    folder.mkdir(parents=True, exist_ok=True)
    sql = SqlTransaction(create_engine(f"sqlite:///{folder.resolve()}/reviews.db"))
    METADATA.create_all(sql.engine)
    sql.create_tables()
    yield sql
    sql.engine.dispose()


def record_findings(ctx: ToolContext, reports: Reports, database: SqlTransaction, findings: list[Finding]) -> Report:
    """Record what was found, once at the end: a row each in the database, and a report for people."""
    rows = [{"run": ctx.run_id, **finding.model_dump()} for finding in findings]
    if rows:
        database.execute(insert(FINDINGS), rows)
    name = f"{ctx.run_id}.md"
    lines = [f"- {one.file}:{one.line}: {one.severity}: {one.title}" for one in findings]
    reports.write(name, "\n".join([f"# Review {ctx.run_id}", "", *lines, ""]))
    ctx.session.dispatch(FindingsRecorded(findings))
    return Report(file=str(reports.root / name), rows=len(rows))
