"""Nothing outside of the workspace can be read, and each refusal says what to do instead."""

from __future__ import annotations

import os

import pytest

from wink_tasks import ToolError
from wink_tasks.examples.code_review.workspace import LARGEST_FILE, Reviewed, demo_folder


@pytest.fixture
def workspace(tmp_path):
    (tmp_path / "secret.txt").write_text("outside")
    root = tmp_path / "root"
    (root / "src").mkdir(parents=True)
    (root / "src" / "app.py").write_text("x = 1\n")
    return Reviewed.at(root)


def test_reads_a_file(workspace):
    assert workspace.text("src/app.py") == "x = 1\n"
    assert workspace.text("./src/../src/app.py") == "x = 1\n"


def test_a_byte_order_mark_is_no_part_of_the_text(workspace):
    (workspace.root / "bom.py").write_bytes(b"\xef\xbb\xbfx = 1\n")
    assert workspace.text("bom.py") == "x = 1\n"


@pytest.mark.parametrize("path", ["../secret.txt", "src/../../secret.txt", "../root-2/x", ".."])
def test_traversal_is_refused(workspace, path):
    with pytest.raises(ToolError, match="leads out of the workspace: only what list_files shows"):
        workspace.text(path)


@pytest.mark.parametrize("path", ["/etc/passwd", "a\0b"])
def test_absolute_and_malformed_paths_are_refused(workspace, path):
    with pytest.raises(ToolError, match="name it as list_files does"):
        workspace.text(path)


def test_an_absolute_path_into_the_workspace_is_refused_too(workspace):
    with pytest.raises(ToolError, match="is no path in the workspace"):
        workspace.text(str(workspace.root / "src" / "app.py"))


def test_links_are_followed_only_within_the_workspace(workspace):
    (workspace.root / "inside.py").symlink_to("src/app.py")
    (workspace.root / "file.py").symlink_to("../secret.txt")
    (workspace.root / "folder").symlink_to("..")
    assert workspace.text("inside.py") == "x = 1\n"
    for path in ("file.py", "folder/secret.txt"):
        with pytest.raises(ToolError, match="leads out of the workspace"):
            workspace.text(path)


def test_a_workspace_behind_a_link_works(workspace, tmp_path):
    (tmp_path / "alias").symlink_to("root")
    assert Reviewed.at(tmp_path / "alias").text("src/app.py") == "x = 1\n"


@pytest.mark.parametrize("path", ["gone.py", "src/app.py/deeper.py", "missing/app.py"])
def test_a_missing_file_sends_the_model_to_list_files(workspace, path):
    with pytest.raises(ToolError, match=r"there is no file .* call list_files"):
        workspace.text(path)


def test_a_name_that_no_file_can_have(workspace):
    with pytest.raises(ToolError, match="cannot be used"):
        workspace.text("x" * 5000)


def test_a_loop_of_links(workspace):
    (workspace.root / "a").symlink_to("b")
    (workspace.root / "b").symlink_to("a")
    with pytest.raises(ToolError, match="cannot be used"):
        workspace.text("a")


def test_a_folder_sends_the_model_to_list_files(workspace):
    with pytest.raises(ToolError, match="'src' is a folder: list_files shows its files"):
        workspace.text("src")


def test_a_named_pipe_is_not_waited_for(workspace):
    os.mkfifo(workspace.root / "pipe")
    with pytest.raises(ToolError, match="neither a file nor a folder"):
        workspace.text("pipe")


def test_the_largest_file(workspace):
    (workspace.root / "big.py").write_bytes(b"#" * LARGEST_FILE)
    (workspace.root / "bigger.py").write_bytes(b"#" * (LARGEST_FILE + 1))
    assert len(workspace.text("big.py")) == LARGEST_FILE
    with pytest.raises(ToolError, match="has more than 1000000 bytes: go on"):
        workspace.text("bigger.py")


def test_what_is_no_text_is_refused(workspace):
    (workspace.root / "data.py").write_bytes(b"x\0y")
    (workspace.root / "latin.py").write_bytes(b"# \xe9")
    with pytest.raises(ToolError, match="binary file: go on"):
        workspace.text("data.py")
    with pytest.raises(ToolError, match=r"not UTF-8 text \(byte 2\): go on"):
        workspace.text("latin.py")


def test_the_environment_names_the_folder(workspace, monkeypatch):
    monkeypatch.setenv("WINK_DEMO_ROOT", str(workspace.root))
    assert Reviewed.from_environment() == workspace
    monkeypatch.delenv("WINK_DEMO_ROOT")
    assert "orders" in Reviewed.from_environment().text("README.md")


def test_reports_go_to_wink_by_default(monkeypatch):
    monkeypatch.delenv("WINK_DEMO_OUT")
    assert str(demo_folder()) == ".wink"
