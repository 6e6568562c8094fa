"""Nothing outside of the workspace can be read, and each refusal says what to do instead."""

from __future__ import annotations

import os

import pytest

from wink_tasks import ToolError
from wink_tasks.examples.code_review.workspace import LARGEST_FILE, Workspace


@pytest.fixture
def workspace(tmp_path):
    (tmp_path / "secret.txt").write_text("outside")
    root = tmp_path / "root"
    (root / "src").mkdir(parents=True)
    (root / "src" / "app.py").write_text("x = 1\n")
    return Workspace.at(root)


def test_reads_a_file(workspace):
    assert workspace.read("src/app.py") == "x = 1\n"
    assert workspace.read("./src/../src/app.py") == "x = 1\n"
    assert workspace.resolve(".") == workspace.root


def test_a_byte_order_mark_is_no_part_of_the_text(workspace):
    (workspace.root / "bom.py").write_bytes(b"\xef\xbb\xbfx = 1\n")
    assert workspace.read("bom.py") == "x = 1\n"


@pytest.mark.parametrize("path", ["../secret.txt", "src/../../secret.txt", "../root-2/x", ".."])
def test_traversal_is_refused(workspace, path):
    with pytest.raises(ToolError, match="leads out of the workspace: only what list_files shows"):
        workspace.read(path)


@pytest.mark.parametrize("path", ["/etc/passwd", "a\0b"])
def test_absolute_and_malformed_paths_are_refused(workspace, path):
    with pytest.raises(ToolError, match="is no path in the workspace: name it as list_files does"):
        workspace.read(path)


def test_an_absolute_path_into_the_workspace_is_refused_too(workspace):
    with pytest.raises(ToolError, match="is no path in the workspace"):
        workspace.read(str(workspace.root / "src" / "app.py"))


def test_links_are_followed_only_within_the_workspace(workspace):
    (workspace.root / "inside.py").symlink_to("src/app.py")
    (workspace.root / "file.py").symlink_to("../secret.txt")
    (workspace.root / "folder").symlink_to("..")
    assert workspace.read("inside.py") == "x = 1\n"
    for path in ("file.py", "folder/secret.txt"):
        with pytest.raises(ToolError, match="leads out"):
            workspace.read(path)


def test_a_link_that_appears_after_the_check_is_not_followed(workspace, monkeypatch):
    link = workspace.root / "late.py"
    link.symlink_to("../secret.txt")
    monkeypatch.setattr(os.path, "realpath", os.path.abspath)
    with pytest.raises(ToolError, match="cannot be read"):
        workspace.read("late.py")


def test_a_workspace_behind_a_link_works(workspace, tmp_path):
    (tmp_path / "alias").symlink_to("root")
    assert Workspace.at(tmp_path / "alias").read("src/app.py") == "x = 1\n"


@pytest.mark.parametrize("path", ["gone.py", "src/app.py/deeper.py", "missing/app.py"])
def test_a_missing_file_sends_the_model_to_list_files(workspace, path):
    with pytest.raises(ToolError, match=r"there is no file .* call list_files"):
        workspace.read(path)


def test_a_name_that_no_file_can_have(workspace):
    with pytest.raises(ToolError, match="cannot be read"):
        workspace.read("x" * 5000)


def test_a_loop_of_links(workspace):
    (workspace.root / "a").symlink_to("b")
    (workspace.root / "b").symlink_to("a")
    with pytest.raises(ToolError, match="cannot be read"):
        workspace.read("a")


def test_a_folder_sends_the_model_to_list_files(workspace):
    with pytest.raises(ToolError, match=r"'src' is a folder: list_files\(path='src'\)"):
        workspace.read("src")


def test_a_named_pipe_is_not_waited_for(workspace):
    os.mkfifo(workspace.root / "pipe")
    with pytest.raises(ToolError, match="neither a file nor a folder"):
        workspace.read("pipe")


def test_the_largest_file(workspace):
    (workspace.root / "big.py").write_bytes(b"#" * LARGEST_FILE)
    (workspace.root / "bigger.py").write_bytes(b"#" * (LARGEST_FILE + 1))
    assert len(workspace.read("big.py")) == LARGEST_FILE
    with pytest.raises(ToolError, match="has 1000001 bytes, the most is 1000000: go on"):
        workspace.read("bigger.py")


def test_what_is_no_text_is_refused(workspace):
    (workspace.root / "data.py").write_bytes(b"x\0y")
    (workspace.root / "latin.py").write_bytes(b"# \xe9")
    with pytest.raises(ToolError, match="binary file: go on"):
        workspace.read("data.py")
    with pytest.raises(ToolError, match=r"not UTF-8 text \(byte 2\): go on"):
        workspace.read("latin.py")


def test_the_environment_names_the_folder(workspace, monkeypatch):
    monkeypatch.setenv("WINK_DEMO_ROOT", str(workspace.root))
    assert Workspace.from_environment() == workspace
    monkeypatch.delenv("WINK_DEMO_ROOT")
    assert "orders" in Workspace.from_environment().read("README.md")
