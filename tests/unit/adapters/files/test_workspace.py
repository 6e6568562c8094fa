"""A workspace on disk: what it reads and writes, what it refuses, and what of a call's changes is undone."""

from __future__ import annotations

import contextlib
import errno
import os
import pickle
import threading

import pytest

from wink_tasks.adapters.files import copying, journal
from wink_tasks.adapters.files.journal import CONTROL, digest
from wink_tasks.adapters.files.undo import UndoLog
from wink_tasks.adapters.files.workspace import Workspace
from wink_tasks.core.errors import LeaseLostError, RetryLaterError, RollbackFailedError, WorkspaceError
from wink_tasks.ports.transaction import Answer, Attempt


def attempt(key="run~turn1.call0", epoch=1):
    return Attempt(
        key=key,
        epoch=epoch,
        opened_at=0.0,
        tenant="t",
        session="s",
        evaluation="run",
        turn=1,
        call="c",
        after=3,
        actor="host:1",
    )


def joined(workspace, key="run~turn1.call0", epoch=1, fate="open"):
    return workspace.join_transaction(attempt(key, epoch), lambda _: fate)


@pytest.fixture
def workspace(tmp_path):
    (tmp_path / "secret.txt").write_text("outside")
    root = tmp_path / "root"
    (root / "src").mkdir(parents=True)
    (root / "src" / "app.py").write_text("x = 1\n")
    (root / "old.txt").write_text("old")
    return Workspace.at(root)


def content(workspace):
    """All that is there, folders as None."""
    places = [place for place in workspace.root.rglob("*") if CONTROL not in place.parts]
    return {
        place.relative_to(workspace.root).as_posix(): None if place.is_dir() else place.read_text() for place in places
    }


def names(folder):
    return sorted(place.name for place in folder.iterdir()) if folder.exists() else []


def journals(workspace):
    return names(workspace.root / CONTROL / "calls")


def claims(workspace):
    return names(workspace.root / CONTROL / "claims")


# Reading and writing


def test_reads_and_writes(workspace):
    workspace.write("docs/a.txt", "é")
    workspace.write("docs/b.bin", b"\0")
    assert workspace.read_text("docs/a.txt") == "é"
    assert workspace.read("./docs/../docs/b.bin") == b"\0"
    assert workspace.list() == ["docs", "old.txt", "src"]
    assert workspace.list("docs") == ["a.txt", "b.bin"]
    assert list(workspace.walk()) == ["old.txt", "docs/a.txt", "docs/b.bin", "src/app.py"]
    assert list(workspace.walk("docs", skip=lambda name: name == "b.bin")) == ["docs/a.txt"]
    assert [workspace.exists(path) for path in ("docs", "gone", "gone/too")] == [True, False, False]
    assert (workspace.is_folder("docs/."), workspace.is_folder("src/.."), workspace.is_file("docs")) == (
        True,
        True,
        False,
    )
    workspace.write("docs/in/e.txt", "1")
    assert (workspace.is_folder("docs/in/.."), workspace.list("docs/in/..")) == (True, ["a.txt", "b.bin", "in"])
    with pytest.raises(WorkspaceError, match="leads out"):
        workspace.is_file("..")
    workspace.rename("docs/a.txt", "c/d.txt")
    workspace.delete("docs")
    workspace.delete("old.txt")
    assert content(workspace) == {"src": None, "src/app.py": "x = 1\n", "c": None, "c/d.txt": "é"}


def test_a_file_is_replaced_whole_or_not_at_all_and_keeps_its_mode(workspace):
    (workspace.root / "old.txt").chmod(0o640)
    with workspace.open("old.txt") as before, workspace.open("old.txt", "w") as file:
        file.write("new")
        assert workspace.read_text("old.txt") == "old"
        assert before.read() == "old"
    assert workspace.read_text("old.txt") == "new"
    assert (workspace.root / "old.txt").stat().st_mode & 0o777 == 0o640
    with pytest.raises(TypeError), workspace.open("old.txt", "w") as file:
        file.writelines(["half", 1])
    assert workspace.read_text("old.txt") == "new"
    assert names(workspace.root / CONTROL) == ["calls", "claims", "lock"]


def test_modes(workspace):
    with workspace.open("old.txt", "a") as file:
        file.write("er")
    with workspace.open("new.txt", "ab") as file:
        file.write(b"1")
    with workspace.open("old.txt", "r+") as file:
        assert file.read(2) == "ol"
        file.seek(0)
        file.write("O")
    with workspace.open("once.txt", "x") as file:
        file.write("1")
    assert [workspace.read(path) for path in ("old.txt", "new.txt", "once.txt")] == [b"Older", b"1", b"1"]
    with pytest.raises(WorkspaceError, match=r"'once\.txt' is there already"), workspace.open("once.txt", "x"):
        pass
    with pytest.raises(ValueError, match="invalid mode"), workspace.open("old.txt", "rz"):
        pass


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("../secret.txt", "outside"),
        ("src/../../secret.txt", "outside"),
        ("..", "outside"),
        ("folder/secret.txt", "outside"),
        ("file.py", "outside"),
        ("absolute", "outside"),
        (CONTROL, "outside"),
        (f"src/../{CONTROL}/lock", "outside"),
        ("/etc/passwd", "malformed"),
        ("a\0b", "malformed"),
        ("", "malformed"),
        ("gone.py", "missing"),
        ("src/app.py/deeper.py", "missing"),
        ("loop", "denied"),
        ("x" * 5000, "denied"),
        ("src", "folder"),
        ("pipe", "special"),
    ],
)
def test_what_is_refused(workspace, path, reason):
    (workspace.root / "file.py").symlink_to("../secret.txt")
    (workspace.root / "folder").symlink_to("..")
    (workspace.root / "absolute").symlink_to("/etc/passwd")
    (workspace.root / "loop").symlink_to("loop")
    os.mkfifo(workspace.root / "pipe")
    workspace.write("old.txt", "old")
    before = names(workspace.root)
    with pytest.raises(WorkspaceError) as refused:
        workspace.read(path)
    assert refused.value.reason == reason
    if reason != "missing":
        with pytest.raises(WorkspaceError):
            workspace.write(path, "x")
    assert names(workspace.root) == before


def test_links_inside_are_followed(workspace):
    (workspace.root / "link.py").symlink_to("src/app.py")
    (workspace.root / "top").symlink_to("src/../src")
    assert workspace.read("link.py") == workspace.read("top/app.py") == b"x = 1\n"
    workspace.write("link.py", "y")
    assert (workspace.root / "src/app.py").read_text() == "y"
    assert (workspace.root / "link.py").is_symlink()
    workspace.delete("link.py")
    assert workspace.exists("src/app.py")
    assert list(workspace.walk()) == ["old.txt", "src/app.py"]


def test_the_workspace_itself_stays(workspace):
    for change in (lambda: workspace.delete("."), lambda: workspace.rename("src/..", "x")):
        with pytest.raises(WorkspaceError, match="itself"):
            change()
    for path, to in (("src", "old.txt"), ("old.txt", "src")):
        with pytest.raises(WorkspaceError, match="is there already"):
            workspace.rename(path, to)
    with pytest.raises(WorkspaceError, match="cannot be used"):
        workspace.rename("src", "src/inner/src")


def test_what_the_disk_says_is_no_fault_of_the_path(workspace, monkeypatch):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, "no space")

    monkeypatch.setattr(os, "rename", full)
    with pytest.raises(OSError, match="no space"):
        workspace.write("a.txt", "x")


# Undoing


def change_much(workspace):
    workspace.write("old.txt", "new")
    workspace.write("old.txt", "newer")
    workspace.write("deep/er/new.txt", "1")
    workspace.delete("src/app.py")
    workspace.write("src/app.py", "again")
    workspace.delete("src")
    workspace.write("src", "a file now")
    workspace.rename("old.txt", "deep/moved.txt")
    workspace.write("old.txt", "third")
    workspace.write("gone.txt", "1")
    workspace.rename("old.txt", "gone.txt")
    workspace.delete("gone.txt")
    workspace.rename("deep", "deeper")
    with workspace.open("deeper/er/new.txt", "a") as file:
        file.write("2")


def test_all_changes_are_undone(workspace):
    before = content(workspace)
    inode = (workspace.root / "old.txt").stat().st_ino
    mine = joined(workspace)
    token = mine.part.snapshot()
    change_much(mine.resource)
    assert content(workspace) == {
        "src": "a file now",
        "deeper": None,
        "deeper/er": None,
        "deeper/er/new.txt": "12",
        "deeper/moved.txt": "newer",
    }
    mine.part.restore(token)
    mine.part.restore(token)
    assert content(workspace) == before
    assert (workspace.root / "old.txt").stat().st_ino == inode
    mine.part.close(kept=False)
    assert (journals(workspace), claims(workspace)) == ([], [])


def test_changes_that_are_kept(workspace):
    mine = joined(workspace)
    mine.part.snapshot()
    change_much(mine.resource)
    after = content(workspace)
    mine.part.prepare(decided=False)
    assert mine.part.decide(Answer(value=1)) == Answer(value=1)
    mine.part.close(kept=True)
    mine.part.close(kept=True)
    assert content(workspace) == after
    assert (journals(workspace), claims(workspace)) == ([], [])


def test_an_inner_mark_undoes_the_inner_part_alone(workspace):
    mine = joined(workspace)
    outer = mine.part.snapshot()
    mine.resource.write("old.txt", "outer")
    inner = mine.part.snapshot()
    mine.resource.write("old.txt", "inner")
    mine.resource.write("new.txt", "inner")
    mine.part.restore(inner)
    assert (workspace.read("old.txt"), workspace.exists("new.txt")) == (b"outer", False)
    mine.resource.write("new.txt", "outer")
    mine.part.restore(outer)
    assert content(workspace) == {"src": None, "src/app.py": "x = 1\n", "old.txt": "old"}
    mine.part.close(kept=False)


def killed_at(monkeypatch, name, nth):
    """Have the `nth` call of `os.<name>` from now on be the process's last."""
    real, left = getattr(os, name), [nth]

    def called(*args, **options):
        left[0] -= 1
        if left[0] < 0:
            raise KeyboardInterrupt
        return real(*args, **options)

    monkeypatch.setattr(os, name, called)


@pytest.mark.parametrize("name", ["rename", "link", "mkdir", "pwrite", "unlink", "symlink", "ftruncate"])
def test_a_process_that_is_killed_anywhere_is_undone_by_the_next_delivery(workspace, name):
    """Also where the undoing itself is killed, again and again."""
    before = content(workspace)
    for nth in range(30):
        with pytest.MonkeyPatch.context() as monkeypatch:
            mine = joined(workspace, epoch=nth * 2 + 1)
            mine.part.snapshot()
            killed_at(monkeypatch, name, nth)
            try:
                change_much(mine.resource)
            except KeyboardInterrupt:
                whole = False
            else:
                whole = True
        for again in range(3):
            with pytest.MonkeyPatch.context() as monkeypatch:
                killed_at(monkeypatch, ["rename", "ftruncate", "unlink"][again], (nth * 7) % 5)
                with contextlib.suppress(KeyboardInterrupt):
                    joined(workspace, epoch=nth * 2 + 2).part.take_over(kept=False)
        joined(workspace, epoch=nth * 2 + 2).part.take_over(kept=False)
        assert content(workspace) == before, (name, nth)
        assert journals(workspace) == []
        if whole:
            break


def test_what_an_earlier_attempt_left_may_count(workspace):
    mine = joined(workspace)
    mine.resource.write("old.txt", "new")
    mine.part.close(kept=None)
    joined(workspace, epoch=2).part.take_over(kept=True)
    assert workspace.read("old.txt") == b"new"
    assert journals(workspace) == []


def test_an_attempt_that_was_overtaken_changes_nothing_more(workspace):
    old, new = joined(workspace), joined(workspace, epoch=2)
    token = old.part.snapshot()
    old.resource.write("old.txt", "zombie")
    new.part.take_over(kept=False)
    assert workspace.read("old.txt") == b"old"
    new.resource.write("old.txt", "new")
    for late in (lambda: old.resource.write("old.txt", "late"), lambda: old.part.prepare(decided=True)):
        with pytest.raises(LeaseLostError, match="was taken over by a newer delivery"):
            late()
    old.part.restore(token)
    old.part.close(kept=False)
    with pytest.raises(LeaseLostError, match="has ended"):
        old.resource.write("old.txt", "later")
    third = joined(workspace)
    with pytest.raises(LeaseLostError, match="newer delivery"):
        third.part.take_over(kept=False)
    with pytest.raises(LeaseLostError, match="newer delivery"):
        third.resource.write("other.txt", "x")
    new.part.close(kept=True)
    assert workspace.read("old.txt") == b"new"


# Others


def test_what_another_call_changed_is_refused_until_it_is_over(workspace):
    one, two = joined(workspace, "one"), joined(workspace, "two")
    one.resource.write("src/app.py", "one")
    refused = (
        lambda: two.resource.write("src/app.py", "two"),
        lambda: two.resource.delete("src"),
        lambda: two.resource.rename("src", "lib"),
        lambda: workspace.write("src/app.py", "x"),
        lambda: workspace.delete("src"),
    )
    for change in refused:
        with pytest.raises(RetryLaterError, match=r"another call has changed 'src/app.py' in .*, and is not over"):
            change()
    two.resource.write("src/other.py", "two")
    one.part.restore(0)
    one.part.close(kept=False)
    two.resource.write("src/app.py", "two")
    two.part.close(kept=True)
    assert workspace.read("src/app.py") == workspace.read("src/other.py") == b"two"


def test_a_folder_in_which_another_call_wrote_stays(workspace):
    one, two = joined(workspace, "one"), joined(workspace, "two")
    one.resource.write("out/one", "1")
    two.resource.write("out/two", "2")
    one.part.restore(0)
    one.part.close(kept=False)
    two.part.close(kept=True)
    assert workspace.list("out") == ["two"]


@pytest.mark.parametrize(
    ("fate", "found", "left"), [("open", b"new", 1), ("kept", b"new", 0), ("lost", b"old", 0), ("unknown", b"new", 1)]
)
def test_whoever_comes_next_deals_with_what_is_over(workspace, fate, found, left):
    gone = joined(workspace, "gone")
    gone.resource.write("old.txt", "new")
    joined(workspace, "next", fate=fate)
    assert workspace.read("old.txt") == b"new", "its process lives"
    gone.part.close(kept=None)
    joined(workspace, "next", fate=fate)
    assert (workspace.read("old.txt"), len(journals(workspace))) == (found, left)


def test_a_call_that_was_about_to_be_committed_elsewhere_is_not_undone_by_others(workspace):
    gone = joined(workspace, "gone")
    gone.resource.write("old.txt", "new")
    gone.part.prepare(decided=True)
    gone.part.close(kept=None)
    joined(workspace, "next", fate="lost")
    assert (workspace.read("old.txt"), journals(workspace)) == (b"new", [])


def test_a_journal_whose_end_was_begun_is_over(workspace):
    gone = joined(workspace, "gone")
    gone.resource.write("old.txt", "new")
    gone.part.close(kept=None)
    (workspace.root / CONTROL / "calls" / digest("gone") / "call.json").unlink()
    (workspace.root / CONTROL / "calls" / "stray").mkdir()
    joined(workspace, "next", fate="lost")
    assert (workspace.read("old.txt"), journals(workspace)) == (b"new", ["stray"])


def test_what_cannot_be_put_back_is_said_and_stays(workspace, caplog):
    gone = joined(workspace)
    gone.resource.write("src/app.py", "new")
    gone.part.close(kept=None)
    (workspace.root / "src").rename(workspace.root / "lib")
    with pytest.raises(RollbackFailedError, match=r"could not be put back \(FileNotFoundError.*mend them, and remove"):
        joined(workspace, epoch=2).part.take_over(kept=False)
    joined(workspace, "next", fate="lost")
    assert "could not be put back" in caplog.text
    (workspace.root / "lib").rename(workspace.root / "src")
    joined(workspace, epoch=2).part.take_over(kept=False)
    assert workspace.read("src/app.py") == b"x = 1\n"


def test_a_claim_without_a_journal_is_nobodys(workspace):
    """Its process was killed before it wrote anything else."""
    workspace.write("a.txt", "1")
    claim = workspace.root / CONTROL / "claims" / digest("old.txt")
    claim.symlink_to("nobody")
    workspace.write("old.txt", "new")
    assert claims(workspace) == []


def test_a_lock_that_is_held_for_long(workspace, monkeypatch):
    monkeypatch.setattr(journal, "LOCK_WAIT", 0.01)
    control = journal.Control(str(workspace.root))
    with control.locked(), pytest.raises(RetryLaterError, match=r"has held .*lock for 0\.01 s: is it stopped"):
        workspace.write("a.txt", "x")
    monkeypatch.setattr(journal, "LOCK_WAIT", 20.0)
    held, done = threading.Event(), threading.Event()

    def hold():
        with control.locked():
            held.set()
            done.wait(0.02)

    holder = threading.Thread(target=hold)
    holder.start()
    held.wait()
    workspace.write("a.txt", "x")
    holder.join()
    assert workspace.read("a.txt") == b"x"


def test_without_links_the_old_file_is_copied(workspace, monkeypatch):
    def refused(*_, **__):
        raise PermissionError(errno.EPERM, "no links here")

    (workspace.root / "old.txt").chmod(0o604)
    monkeypatch.setattr(os, "link", refused)
    mine = joined(workspace)
    mine.resource.write("old.txt", "new")
    mine.part.restore(0)
    mine.part.close(kept=False)
    assert workspace.read("old.txt") == b"old"
    assert (workspace.root / "old.txt").stat().st_mode & 0o777 == 0o604
    monkeypatch.setattr(os, "link", lambda *_, **__: (_ for _ in ()).throw(OSError(errno.EIO, "broken")))
    with pytest.raises(OSError, match="broken"):
        joined(workspace, "other").resource.write("old.txt", "new")


def test_blocks_are_shared_where_the_file_system_can(workspace, monkeypatch):
    asked = []
    monkeypatch.setattr(copying.fcntl, "ioctl", lambda *args: asked.append(args[1]))
    with workspace.open("old.txt", "a") as file:
        file.write("er")
    assert asked == [copying.FICLONE]


def test_a_full_disk_leaves_the_log_readable(workspace, monkeypatch):
    mine = joined(workspace)
    mine.resource.write("old.txt", "new")
    real = os.pwrite
    for broken in (
        lambda file, data, at: real(file, data[:5], at),
        lambda *_: (_ for _ in ()).throw(OSError(28, "full")),
    ):
        monkeypatch.setattr(os, "pwrite", broken)
        with pytest.raises(OSError, match=r"full|No space"):
            mine.resource.write("other.txt", "x")
    monkeypatch.undo()
    mine.part.close(kept=None)
    joined(workspace, epoch=2).part.take_over(kept=False)
    assert content(workspace) == {"src": None, "src/app.py": "x = 1\n", "old.txt": "old"}


def test_a_line_that_was_being_written_describes_no_change(workspace):
    mine = joined(workspace)
    mine.resource.write("old.txt", "new")
    mine.part.close(kept=None)
    place = workspace.root / CONTROL / "calls" / digest("run~turn1.call0")
    with (place / "log").open("ab") as file:
        file.write(b'{"kind":"kept","path":"src/ap')
    folder = os.open(place, os.O_RDONLY)
    log = UndoLog(str(workspace.root), folder)
    assert log.paths == {"old.txt"}
    log.close()
    os.close(folder)


def test_what_a_call_wrote_and_removed_again_is_put_back(workspace):
    before = content(workspace)
    mine = joined(workspace)
    token = mine.part.snapshot()
    mine.resource.write("old.txt", "newer")
    mine.resource.delete("old.txt")
    assert "old.txt" not in content(workspace)
    mine.part.restore(token)
    assert content(workspace) == before


def test_a_folder_goes_though_another_call_changes_something_elsewhere(workspace):
    theirs, mine = joined(workspace, "run~turn1.call0"), joined(workspace, "run~turn1.call1")
    theirs.part.snapshot()
    mine.part.snapshot()
    theirs.resource.write("old.txt", "newer")
    mine.resource.delete("src")
    assert content(workspace) == {"old.txt": "newer"}


def test_a_question_that_leads_out_is_refused_like_anything_that_does(workspace):
    assert not workspace.exists("src/none.py")
    with pytest.raises(WorkspaceError) as raised:
        workspace.exists("../secret.txt")
    copied = pickle.loads(pickle.dumps(raised.value))  # noqa: S301 - as a prefork child hands it over
    assert (str(copied), copied.reason) == (str(raised.value), raised.value.reason)
