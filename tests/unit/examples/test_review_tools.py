"""The reviewer's tools on real files; `lint` runs the real ruff."""

from __future__ import annotations

import sys
from dataclasses import replace

import pytest

from wink_tasks import CancelledError, ToolError
from wink_tasks.examples.code_review import tools
from wink_tasks.examples.code_review.models import Diagnostic, FileList, FileText
from wink_tasks.examples.code_review.workspace import Reviewed
from wink_tasks.testing import tool_context


@pytest.fixture
def root(tmp_path):
    return tmp_path


@pytest.fixture
def ctx(root):
    return tool_context(resources={Reviewed: Reviewed.at(root)})


def write(root, path, text=""):
    place = root / path
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(text)


def test_list_files_is_sorted_and_leaves_out_what_nobody_wrote(ctx, root):
    for path in ("b.py", "a.py", "src/c.py", "src/notes.md", ".hidden.py", ".venv/x.py", "venv/x.py"):
        write(root, path)
    for path in ("src/__pycache__/c.py", "node_modules/x.py", "lib/site-packages/x.py"):
        write(root, path)
    (root / "link.py").symlink_to("a.py")
    write(root, "odd\nname.py")
    assert tools.list_files(ctx) == FileList(["a.py", "b.py", "src/c.py"], more=False)


def test_list_files_of_a_folder_names_files_from_the_workspace(ctx, root):
    write(root, "src/deep/c.py")
    write(root, "other.py")
    assert tools.list_files(ctx, "src").files == ["src/deep/c.py"]
    assert tools.list_files(ctx, "src/deep/c.py").files == ["src/deep/c.py"]


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("*", ["a.py", "docs/x.md", "src/b.py"]),
        ("**/*.md", ["docs/x.md"]),
        ("src/*.py", ["src/b.py"]),
        ("a.py", ["a.py"]),
    ],
)
def test_list_files_by_pattern(ctx, root, pattern, found):
    for path in ("a.py", "src/b.py", "docs/x.md"):
        write(root, path)
    assert tools.list_files(ctx, pattern=pattern).files == found


def test_list_files_is_bounded(ctx, root):
    for number in range(tools.MOST_FILES + 1):
        write(root, f"f{number:04}.py")
    listed = tools.list_files(ctx)
    assert (len(listed.files), listed.more) == (tools.MOST_FILES, True)


def test_list_files_stops_when_its_run_is_cancelled(ctx, root):
    write(root, "a.py")
    with pytest.raises(CancelledError):
        tools.list_files(replace(ctx, _why=lambda: "cancelled"))


def test_list_files_of_an_empty_a_missing_and_an_outer_folder(ctx, root):
    (root / "empty").mkdir()
    with pytest.raises(ToolError, match=r"no file below 'empty' matches '\*\*/\*\.py': try pattern='\*', or path"):
        tools.list_files(ctx, "empty")
    with pytest.raises(ToolError, match=r"there is no folder 'gone': call list_files\(path='\.'\)"):
        tools.list_files(ctx, "gone")
    with pytest.raises(ToolError, match="leads out"):
        tools.list_files(ctx, "..")


def test_read_file_numbers_the_lines_and_tells_how_many_there_are(ctx, root):
    write(root, "a.py", "".join(f"line {number}\n" for number in range(1, 11)))
    assert tools.read_file(ctx, "a.py", start=3, lines=2) == FileText("a.py", 3, 4, 10, "3\tline 3\n4\tline 4")
    assert tools.read_file(ctx, "a.py", start=10).text == "10\tline 10"


def test_read_file_counts_lines_as_python_does(ctx, root):
    (root / "a.py").write_bytes(b"a\r\nb\rc = '\x0c\xe2\x80\xa8'\nd")
    assert tools.read_file(ctx, "a.py").text == "1\ta\n2\tb\n3\tc = '\x0c\u2028'\n4\td"


def test_read_file_of_an_empty_file(ctx, root):
    write(root, "a.py")
    assert tools.read_file(ctx, "a.py") == FileText("a.py", 1, 0, 0, "")


def test_read_file_answers_no_more_than_a_ledger_takes(ctx, root):
    write(root, "a.py", f"{'x' * 40_000}\n" * 5)
    read = tools.read_file(ctx, "a.py")
    assert (read.start, read.end, read.total_lines) == (1, 2, 5)
    write(root, "min.py", "x" * 200_000)
    with pytest.raises(ToolError, match=r"line 1 of 'min\.py' is too long"):
        tools.read_file(ctx, "min.py")


def test_read_file_of_lines_that_are_not_there(ctx, root):
    write(root, "a.py", "x = 1\n")
    with pytest.raises(ToolError, match=r"'a\.py' has 1 lines: there is no line 2"):
        tools.read_file(ctx, "a.py", start=2)
    for start, lines in ((0, 1), (1, 0)):
        with pytest.raises(ToolError, match="both count from 1"):
            tools.read_file(ctx, "a.py", start=start, lines=lines)


def test_lint_answers_what_ruff_finds(ctx, root):
    write(root, "pkg/a.py", "import os\n\n\ndef f(x=[]):\n    return eval(x)\n")
    report = tools.lint(ctx, "pkg/a.py")
    assert [(each.line, each.code) for each in report.diagnostics] == [(1, "F401"), (4, "B006"), (5, "S307")]
    assert "mutable" in report.diagnostics[1].message
    assert not report.more


def test_lint_neither_reads_a_configuration_nor_writes_a_cache(ctx, root):
    write(root, "ruff.toml", 'lint.ignore = ["ALL"]\n')
    write(root, "a.py", "import os\n")
    assert tools.lint(ctx, "a.py").diagnostics
    assert sorted(place.name for place in root.iterdir()) == ["a.py", "ruff.toml"]


def test_lint_tells_what_is_not_python(ctx, root):
    write(root, "a.py", "def f(:\n")
    write(root, "a.md", "text")
    assert "invalid-syntax" in {each.code for each in tools.lint(ctx, "a.py").diagnostics}
    with pytest.raises(ToolError, match=r"'a\.md' is no Python file: read it with read_file"):
        tools.lint(ctx, "a.md")


def test_lint_lets_a_package_hand_out_names(ctx, root):
    write(root, "pkg/__init__.py", "from pkg.a import f\n")
    assert tools.lint(ctx, "pkg/__init__.py").diagnostics == []


def test_lint_is_bounded(ctx, root):
    write(root, "a.py", "assert x\n" * tools.MOST_DIAGNOSTICS)
    report = tools.lint(ctx, "a.py")
    assert (len(report.diagnostics), report.more) == (tools.MOST_DIAGNOSTICS, True)
    assert isinstance(report.diagnostics[0], Diagnostic)


def test_lint_without_ruff(ctx, root, monkeypatch):
    write(root, "a.py")
    monkeypatch.setitem(sys.modules, "ruff.__main__", None)
    with pytest.raises(ToolError, match=r"pip install 'wink-tasks\[demo\]'"):
        tools.lint(ctx, "a.py")


def test_lint_has_a_time_limit(ctx, root, monkeypatch):
    write(root, "a.py")
    monkeypatch.setattr(tools, "LINT_SECONDS", 0)
    with pytest.raises(ToolError, match=r"ruff took longer than 0 s on 'a\.py'"):
        tools.lint(ctx, "a.py")


def test_lint_tells_why_ruff_failed(ctx, root, monkeypatch):
    write(root, "a.py")
    monkeypatch.setattr(tools, "RULES", "NO-SUCH-RULE")
    with pytest.raises(ToolError, match=r"(?s)ruff failed on 'a\.py': .*NO-SUCH-RULE"):
        tools.lint(ctx, "a.py")
