"""The example application as it stands, run in memory."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import pytest

from wink_tasks.examples.code_review import Finding, Plan, Report, Review, Reviewed, app, review, wink


def test_it_reviews_the_sample_project(out):
    with wink.in_memory():
        run = review.delay("orders", security=True)
        result = run.get()
        session = run.session
        plan = session[Plan].latest()
        assert list(session[Finding].all()) == result.findings
        [report] = out.joinpath("reports").glob("*.md")
        again = review.with_options(session=session.id).delay("orders", security=True).get()
        assert list(session.refresh()[Finding].all()) == again.findings == result.findings
    assert isinstance(result, Review)
    assert plan.read == plan.files == tuple(result.files_read)
    assert report.name == f"{run.id}.md"
    assert report.read_text().count("\n- ") == len(result.findings)
    with closing(sqlite3.connect(out / "reviews.db")) as database:
        rows = database.execute("SELECT count(*) FROM findings WHERE run = ?", (run.id,)).fetchone()
    assert rows == (len(result.findings),)
    assert len(result.files_read) == 14
    assert result.findings[0].severity == "high"
    assert "security" in result.summary


@pytest.mark.parametrize("secure", [False, True])
def test_it_reviews_any_folder(tmp_path, monkeypatch, secure):
    (tmp_path / "a.py").write_text("import os\nassert 1\n")
    monkeypatch.setenv("WINK_DEMO_ROOT", str(tmp_path))
    with wink.in_memory():
        result = review.delay(".", security=secure).get()
    assert {each.rule for each in result.findings} == {"F401", *(["S101"] if secure else [])}


def test_prompt_and_tools_are_celery_tasks():
    assert {f"code_review.{name}" for name in ("review", "list_files", "read_file", "lint", "record_findings")} <= set(
        app.tasks
    )
    assert Reviewed.from_environment().root.name == "sample"


def test_a_review_without_findings_has_a_report_and_no_rows(tmp_path, monkeypatch, out):
    (tmp_path / "a.py").write_text("x = 1\n")
    monkeypatch.setenv("WINK_DEMO_ROOT", str(tmp_path))
    with wink.in_memory():
        run = review.delay(".")
        assert run.get().findings == []
        assert run.session[Report].latest() == Report(file=str(out / "reports" / f"{run.id}.md"), rows=0)
