"""The example application as it stands, run in memory."""

from __future__ import annotations

import pytest

from wink_tasks.examples.code_review import Review, Workspace, app, review, wink


def test_it_reviews_the_sample_project():
    with wink.in_memory():
        run = review.delay("orders", security=True)
        result = run.get()
    assert isinstance(result, Review)
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
    assert {f"code_review.{name}" for name in ("review", "list_files", "read_file", "lint")} <= set(app.tasks)
    assert Workspace.from_environment().root.name == "sample"
