"""What stops a demo before anything is started; the demo itself is in tests/integration/cli."""

from __future__ import annotations

from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from tests.unit.cli.conftest import Command
from wink_tasks.cli.demo import SAMPLE, checked_folder, report
from wink_tasks.examples.code_review import Review, review, wink
from wink_tasks.testing import answer, scripted


@pytest.fixture(autouse=True)
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that must stay as it is."""
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    (tmp_path / "file.py").touch()
    (tmp_path / "empty" / ".hidden").mkdir(parents=True)
    (tmp_path / "empty" / ".hidden" / "a.py").touch()
    (tmp_path / "empty" / "a.txt").touch()
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (("missing",), "missing does not exist: name a folder with Python files, or none for the sample project"),
        (("file.py",), "file.py is no folder: name a folder with Python files, or none for the sample project"),
        (("empty",), "empty has no .py files, so there is nothing to review: name another folder"),
        (("--model", "gpt"), 'model \'gpt\' names no provider: write "provider:model", like "openai:gpt-5-mini"'),
        (("--model", "openai:gpt"), "model 'openai:gpt' needs your key: export OPENAI_API_KEY=..."),
    ],
)
def test_what_cannot_be_reviewed_is_one_error_and_nothing_starts(
    command: Command, nowhere: Path, arguments: tuple[str, ...], error: str
):
    printed = command("demo", *arguments)
    assert (printed.code, printed.out, printed.err) == (2, "", f"wink: {error}\n")
    assert not (nowhere / ".wink").exists()


def test_a_folder_with_python_files_is_taken_by_its_absolute_path(nowhere: Path):
    assert checked_folder(Path()) == nowhere.resolve()
    assert checked_folder(SAMPLE) == SAMPLE.resolve()


def test_a_review_of_which_the_model_recorded_nothing_is_shown_all_the_same(command: Command):
    told = StringIO()
    with scripted(wink, {review: [answer(Review(summary="fine", findings=[], files_read=[]))]}):
        report(review.delay("."), Console(file=told), url="redis://nowhere", seconds=1.5, as_json=False)
    assert "fine" in told.getvalue()
    assert "The report is" not in told.getvalue()
