"""What the documents say is true."""

from __future__ import annotations

import re
import runpy
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest
from celery import Celery

from wink_tasks.testing import check_purity

ROOT = Path(__file__).parent.parent.parent


def test_the_reference_is_what_the_code_says():
    page = runpy.run_path(str(ROOT / "specs/reference.py"))["page"]()
    assert (ROOT / "specs/REFERENCE.md").read_text() == page, "run: make reference"


def test_the_program_and_the_test_of_the_readme_run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    proj = ModuleType("proj.celery")
    proj.app = Celery("proj", set_as_current=False)
    monkeypatch.setitem(sys.modules, "proj", ModuleType("proj"))
    monkeypatch.setitem(sys.modules, "proj.celery", proj)
    namespace: dict = {"__name__": "proj.agents"}
    for block in blocks:
        exec(compile(block, "README.md", "exec", dont_inherit=True), namespace)  # noqa: S102 - our own README
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.py").write_text("x = 1\n")
    namespace["test_review"](tmp_path)
    with namespace["scripted"](
        namespace["wink"], {namespace["review"]: lambda _: namespace["answer"](namespace["Review"](findings=[]))}
    ):
        namespace["use"]()
        assert namespace["count_lines"].delay(["a.py"]).get() == 1


def test_the_program_of_the_page_about_tasks_runs():
    [block] = re.findall(r"```python\n(.*?)```", (ROOT / "specs/TASKS.md").read_text(), re.DOTALL)
    namespace: dict = {"__name__": "proj.tasks"}
    exec(compile(block, "TASKS.md", "exec", dont_inherit=True), namespace)  # noqa: S102 - our own page
    with namespace["wink"].in_memory():
        assert namespace["sync"].delay("ann").get() == 3
        assert namespace["charge"].delay(5).get() == "charged 5"
        assert namespace["look_up"].delay(word="wink").get() == "a short sleep"


def test_the_reducers_of_the_page_about_replay_are_declared():
    [block] = re.findall(r"```python\n(.*?)```", (ROOT / "specs/REPLAY.md").read_text(), re.DOTALL)
    namespace: dict = {"__name__": "stricter"}
    exec(compile(block, "REPLAY.md", "exec", dont_inherit=True), namespace)  # noqa: S102 - our own page
    review = namespace["Review"](summary="x", findings=[], files_read=[])
    assert check_purity(SimpleNamespace(slices=namespace["slices"]), [review]) == {"stricter.only_high"}


def test_the_program_of_the_page_about_transactions_runs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    [block] = re.findall(r"```python\n(.*?)```", (ROOT / "specs/TRANSACTIONS.md").read_text(), re.DOTALL)
    namespace: dict = {"__name__": "proj.notes"}
    monkeypatch.chdir(tmp_path)
    exec(compile(block, "TRANSACTIONS.md", "exec", dont_inherit=True), namespace)  # noqa: S102 - our own page
    with namespace["wink"].in_memory():
        assert namespace["note"].delay(text="a").get() == "a"
    assert (tmp_path / "notes/last.txt").read_text() == "a"


def test_every_page_that_is_linked_is_there():
    for page in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "specs").glob("*.md")]:
        for link in re.findall(r"\]\((?!http)([^)#]+)", page.read_text()):
            assert (page.parent / link).exists(), f"{page.name} links {link}"
