"""Commands that write sessions to files, and bring them back."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.unit.cli.conftest import Command, Desk, Sum
from wink_tasks.adapters.archive import DirectoryArchive
from wink_tasks.core.archive import read
from wink_tasks.core.errors import ArchiveInvalidError, ReducerFailedError
from wink_tasks.core.slices import SlicePolicy
from wink_tasks.core.snapshots import EVERY
from wink_tasks.runtime.archiving import Archivist
from wink_tasks.testing import answer, call, scripted
from wink_tasks.testing.scripted import Scripted


@pytest.fixture
def kit(desk: Desk) -> Iterator[Scripted]:
    """Session s1 ran `total`, s2 `chat` a hundred seconds later."""
    script = {desk.chat: [answer("hi")], desk.total: [call(desk.add, a=1, b=2), answer(Sum(total=3))]}
    with scripted(desk.wink, script) as kit:
        desk.total.with_options(session="s1").delay("x").get()
        kit.clock.advance(100)
        desk.chat.with_options(session="s2").delay("x").get()
        yield kit


@pytest.fixture
def kept(desk: Desk, kit: Scripted, tmp_path: Path) -> Path:
    """The application has an archive in this folder."""
    house = desk.wink.house()
    house.archivist = Archivist(
        house.store.ledger,
        DirectoryArchive(tmp_path / "kept"),
        reducers=desk.wink.registry.reducers,
        clock=house.clock,
        metrics=house.parts.metrics,
    )
    return tmp_path / "kept"


def sessions(desk: Desk) -> list[str]:
    return [one.session for one in desk.wink.house().store.ledger.sessions()]


def whole(file: Path):
    return read(file.read_bytes().splitlines(keepends=True), file.name)


def test_a_session_is_exported_and_imported(desk: Desk, kit: Scripted, command: Command, tmp_path: Path):
    file = tmp_path / "s1.jsonl"
    assert command("sessions", "export", "s1", "-o", str(file)).out == (
        f"Session s1 of tenant default: 7 events, 1 runs, 1 slices, in {file}\n"
    )
    ledger = desk.wink.house().store.ledger
    events = ledger.read("default", "s1")
    assert whole(file).events == events
    assert (
        command("sessions", "import", str(file)).out
        == "Session s1 of tenant default is there already: 7 events, 1 runs\n"
    )
    ledger.delete("default", "s1")
    dry = command("sessions", "import", str(file), "--dry-run")
    assert dry == (0, "Session s1 of tenant default is whole: 7 events, 1 runs\n", "")
    assert sessions(desk) == ["s2"]
    assert (
        command("sessions", "import", str(file)).out == "Session s1 of tenant default is restored: 7 events, 1 runs\n"
    )
    assert ledger.read("default", "s1") == events


def refuses(view: object, event: Sum, *, context: object) -> Any:
    raise ValueError("no")


def test_a_long_session_that_comes_back_has_a_snapshot_at_once(
    desk: Desk, kit: Scripted, command: Command, tmp_path: Path
):
    file, session, ledger = tmp_path / "s1.jsonl", desk.wink.session("s1"), desk.wink.house().store.ledger
    for number in range(EVERY):
        session.dispatch(Sum(total=number))
    command("sessions", "export", "s1", "-o", str(file))
    ledger.delete("default", "s1")
    assert command("sessions", "import", str(file)).code == 0
    kept, reducers = ledger.snapshot("default", "s1"), desk.wink.registry.reducers
    assert (kept.seq, kept.fingerprint) == (session.seq, reducers.fingerprint)
    ledger.delete("default", "s1")
    reducers.add_rule(reducers.declare_slice(Sum, SlicePolicy.STATE), Sum, refuses)
    assert command("sessions", "import", str(file)).code == 0
    assert ledger.snapshot("default", "s1") is None
    with pytest.raises(ReducerFailedError):
        desk.wink.session("s1")[Sum].latest()


def test_one_session_goes_to_standard_output(kit: Scripted, command: Command):
    printed = command("sessions", "export", "s2")
    kinds = [json.loads(line)["kind"] for line in printed.out.splitlines()]
    assert kinds == ["session", *["event"] * 5, "run", "end"]
    assert printed.err == ""


@pytest.mark.parametrize(
    ("filters", "names"),
    [
        (("--all",), ["s1", "s2"]),
        (("--prompt", "chat"), ["s2"]),
        (("--age", "50s"), ["s1"]),
        (("--tenant", "default"), ["s1", "s2"]),
        (("--tenant", "globex"), []),
        (("s1", "s2"), ["s1", "s2"]),
    ],
)
def test_many_sessions_go_to_a_folder(kit: Scripted, command: Command, tmp_path: Path, filters, names):
    assert command("sessions", "export", *filters, "-o", f"{tmp_path}/out/").code == 0
    assert sorted(whole(file).session for file in (tmp_path / "out").glob("default/*.jsonl")) == names
    assert command("sessions", "export", *filters, "-o", str(tmp_path)).code == 0, (
        "a folder that is there needs no slash"
    )


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("export",), "name sessions or filters, or take all of them by --all"),
        (("export", "--all"), "these are 2 sessions, a file each: name a folder by -o FOLDER/"),
        (("export", "nowhere"), "tenant 'default' has no session 'nowhere'"),
        (("import", "/nowhere/a.jsonl"), "'/nowhere/a.jsonl' cannot be read: No such file or directory"),
        (("archive", "s1"), "there is no archive: set WINK_ARCHIVE_DIR to a folder that all workers share"),
    ],
)
def test_what_cannot_be_done_says_why(kit: Scripted, command: Command, arguments, told):
    printed = command("sessions", *arguments)
    assert printed.code == 2
    assert told in printed.err


def test_files_that_are_refused_hold_up_no_others(desk: Desk, kit: Scripted, command: Command, tmp_path: Path):
    one, other = tmp_path / "1.jsonl", tmp_path / "2.jsonl"
    command("sessions", "export", "s1", "-o", str(one))
    command("sessions", "export", "s2", "-o", str(other))
    lines = one.read_bytes().splitlines(keepends=True)
    one.write_bytes(b"".join(lines[:3]))
    ledger = desk.wink.house().store.ledger
    ledger.delete("default", "s1")
    ledger.delete("default", "s2")
    printed = command("sessions", "import", str(one), str(other), "--json")
    told = json.loads(printed.out)["files"]
    assert (printed.code, told[str(other)]) == (2, "Session s2 of tenant default is restored: 5 events, 1 runs")
    assert told[str(one)] == f"{one}, line 4: the file ends here, before its end: it was cut off"
    assert f"refused: {told[str(one)]}" in printed.err
    assert sessions(desk) == ["s2"]
    with pytest.raises(ArchiveInvalidError):
        whole(one)


def test_sessions_are_archived_and_dropped(desk: Desk, command: Command, kept: Path):
    dry = command("sessions", "archive", "--all", "--dry-run")
    assert dry.out == "2 sessions: 2 of tenant default\n"
    assert command("sessions", "archive", "--all").code == 2, "nobody can be asked"
    assert sessions(desk) == ["s2", "s1"]
    printed = command("sessions", "archive", "s1", "--yes")
    [file] = kept.glob("default/*")
    assert printed.out == f"1 sessions: 1 of tenant default\nSession s1 is archived in {file}\n"
    assert sessions(desk) == ["s2"]
    shown = command("sessions", "show", "s1")
    assert (shown.code, f"`wink sessions import {file}` brings it back" in shown.err) == (2, True)
    command("sessions", "import", str(file))
    assert sorted(sessions(desk)) == ["s1", "s2"]
    assert "desk.total" in command("runs", "show", whole(file).runs[0].id).out + command("runs", "ls").out


def test_a_session_with_forks_stays_and_no_file_is_written(desk: Desk, command: Command, kept: Path):
    desk.wink.session("s1").fork(name="fork")
    printed = command("sessions", "archive", "s1", "--yes")
    told = "Session s1 stays: session 's1' has forks, which read its first events: archive or delete 'fork' first\n"
    assert (printed.code, told in printed.out) == (1, True)
    assert not kept.exists()


def test_what_is_at_work_or_changes_stays(desk: Desk, command: Command, kept: Path, kit: Scripted):
    desk.chat.with_options(session="s1", countdown=50).delay("x")
    archivist = desk.wink.house().archivist
    real = archivist.retire
    archivist.retire = lambda tenant, session: None if session == "s2" else real(tenant, session)
    printed = command("sessions", "archive", "--all", "--yes", "--json")
    told = json.loads(printed.out)
    assert printed.code == 1
    assert told["archived"] == {}
    assert told["kept"]["s2"] == "it changed meanwhile"
    assert "is at work" in told["kept"]["s1"]
    assert sorted(sessions(desk)) == ["s1", "s2"]
