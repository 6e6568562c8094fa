"""Sessions that are put into files, dropped, and brought back."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
from msgspec import structs

from tests.unit.runtime.conftest import NoProvider, Note, Shop
from tests.unit.runtime.test_reaper import reaper
from wink_tasks import (
    DuplicateError,
    LedgerUnavailableError,
    SessionBusyError,
    SessionExpiredError,
    UnknownSessionError,
    Wink,
)
from wink_tasks.adapters.archive import DirectoryArchive
from wink_tasks.core.archive import read, written
from wink_tasks.core.errors import ArchiveFailedError
from wink_tasks.core.reducers import NO_REDUCERS
from wink_tasks.runtime.archiving import SET_ASIDE, Archivist, copy_of, restore
from wink_tasks.testing import FakeClock, MemoryStore, answer, call, scripted
from wink_tasks.testing.conformance.driver import TENANT, Driver, succeeded

REVIEWED = [call("note", text="good"), answer('{"summary": "fine", "score": 3}')]


class Broken:
    """An archive that takes only what it likes."""

    def __init__(self, *, refuses: str = "", error: Exception | None = None) -> None:
        self.refuses = refuses
        self.error = error or RuntimeError("no bucket, password=hunter2")
        self.tried: list[str] = []

    def put(self, name, lines):
        self.tried.append(name)
        if self.refuses in name:
            raise self.error
        return f"s3://bucket/{name}"


class Counted:
    """Counts."""

    def __init__(self) -> None:
        self.counts: list[str] = []

    def counter(self, name, value=1, labels=None):
        self.counts.append(f"{name} {labels['status']}")


def refuse(view, event, *, context):
    raise ValueError("password=hunter2")


def reducers(shop: Shop):
    return shop.wink.registry.reducers


def archivist(shop: Shop, archive, **others) -> Archivist:
    house = shop.wink.house()
    parts = {"reducers": reducers(shop), "clock": house.clock, "metrics": Counted(), **others}
    return Archivist(house.store.ledger, archive, **parts)


def test_a_file_holds_the_session_and_its_slices_and_gives_it_back(shop: Shop, tmp_path: Path):
    with scripted(shop.wink, {shop.review: REVIEWED}):
        run = shop.review.with_options(session="s/1").delay("src")
        before = run.get()
        ledger = shop.wink.house().store.ledger
        events, [record] = ledger.read("default", "s/1"), ledger.evaluations("default", "s/1")
        where = archivist(shop, DirectoryArchive(tmp_path / "kept")).retire("default", "s/1")
        assert where is not None
        with pytest.raises(SessionExpiredError, match=f"wink sessions import {where}"):
            shop.wink.session("s/1").refresh()
        file = Path(where)
        assert file.parent == tmp_path / "kept" / "default"
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        archived = read(file.read_bytes().splitlines(keepends=True), "f")
        assert archived.slices["tests.unit.runtime.conftest.Note"] == ({"text": "good"},)
        assert restore(ledger, archived) is True
        assert restore(ledger, archived) is False
        assert shop.wink.run(run.id).get() == before
        assert shop.wink.run(run.id).status == "SUCCESS"
        assert shop.wink.run(run.id).explain() == "succeeded"
        assert (ledger.read("default", "s/1"), ledger.evaluations("default", "s/1")) == (events, [record])
        assert read(copy_of(ledger, reducers(shop), "default", "s/1").lines(), "f") == archived


def test_a_run_of_its_own_session_says_where_it_is(shop: Shop, tmp_path: Path):
    with scripted(shop.wink, {shop.chat: [answer("hi")]}):
        run = shop.chat.delay("x")
        run.get()
        where = archivist(shop, DirectoryArchive(tmp_path)).retire("default", run.id)
        with pytest.raises(SessionExpiredError, match=f"run '{run.id}' was dropped, and is archived: .*{where}"):
            shop.wink.run(run.id).get()


def test_what_is_at_work_is_copied_but_neither_retired_nor_restored(shop: Shop, tmp_path: Path):
    with shop.wink.in_memory() as house:
        run = shop.chat.with_options(session="s").delay("x")
        copy = copy_of(house.store.ledger, reducers(shop), "default", "s")
        archived = read(copy.lines(), "f")
        assert archived.unended == (run.id,)
        with pytest.raises(SessionBusyError, match=f"{run.id!r} has not ended"):
            archivist(shop, DirectoryArchive(tmp_path)).retire("default", "s")
        with pytest.raises(SessionBusyError, match=f"at work when it was copied: run {run.id!r}"):
            restore(house.store.ledger, structs.replace(archived, session="s2"))
        assert list(tmp_path.iterdir()) == []
        with pytest.raises(UnknownSessionError):
            copy_of(house.store.ledger, reducers(shop), "default", "nowhere")


def test_a_session_whose_outcome_is_still_on_its_way_is_not_retired(tmp_path: Path):
    clock = FakeClock()
    d = Driver(MemoryStore(clock))
    d.accept("e1")
    d.settle(d.claim("e1"), end=succeeded("e1"))
    one = Archivist(d.ledger, DirectoryArchive(tmp_path), reducers=NO_REDUCERS, clock=clock, metrics=Counted())
    with pytest.raises(SessionBusyError, match="'e1~outcome' has not ended"):
        one.retire(TENANT, "s1")
    d.settle(d.claim("e1~outcome"))
    assert one.retire(TENANT, "s1") is not None


def test_nothing_is_written_over_another_session_of_that_name(shop: Shop):
    with scripted(shop.wink, {shop.chat: [answer("hi"), answer("ho")]}):
        shop.chat.with_options(session="s").delay("x").get()
        ledger = shop.wink.house().store.ledger
        copy = copy_of(ledger, reducers(shop), "default", "s").archived
        shop.chat.with_options(session="s").delay("x").get()
        with pytest.raises(DuplicateError, match="exists, with 9 events"):
            restore(ledger, copy)
        assert len(ledger.read("default", "s")) == 9
        lied = structs.replace(copy, runs=(structs.replace(copy.runs[0], status="FAILURE"),))
        ledger.delete("default", "s")
        restore(ledger, lied)
        assert ledger.evaluations("default", "s")[0].status == "SUCCESS", "as its end says"


def test_who_writes_meanwhile_is_waited_for(shop: Shop):
    with scripted(shop.wink, {shop.chat: [answer("hi")]}):
        shop.chat.with_options(session="s").delay("x").get()
        ledger = shop.wink.house().store.ledger

        class Racing:
            """Another run comes between two reads."""

            raced = False

            def __getattr__(self, name):
                return getattr(ledger, name)

            def evaluations(self, tenant, session):
                found = ledger.evaluations(tenant, session)
                if not self.raced:
                    self.raced = True
                    shop.chat.with_options(session="s").delay("y")
                return found

        copy = copy_of(Racing(), reducers(shop), "default", "s").archived
        assert [run.accepted_seq for run in copy.runs] == [2, 6]
        assert len(copy.events) == 8


def test_a_session_that_changed_while_it_was_put_away_stays(shop: Shop):
    with scripted(shop.wink, {shop.chat: [answer("hi"), answer("ho")]}):
        shop.chat.with_options(session="s").delay("x").get()

        class Slow:
            """Another run comes and goes meanwhile."""

            def put(self, name, lines):
                shop.chat.with_options(session="s").delay("y").get()
                return "somewhere"

        assert archivist(shop, Slow()).retire("default", "s") is None
        assert len(shop.wink.house().store.ledger.read("default", "s")) == 9


def test_slices_that_do_not_fold_are_told_and_hold_up_nothing(shop: Shop):
    with scripted(shop.wink, {shop.review: REVIEWED}):
        shop.review.with_options(session="s").delay("src").get()
        ledger = shop.wink.house().store.ledger
        other = Wink()
        other.slices.register(Note, {Note: refuse})
        copy = copy_of(ledger, other.registry.reducers, "default", "s")
        assert copy.unfolded.startswith("ReducerFailedError: ")
        assert "hunter2" not in copy.unfolded
        archived = read(copy.lines(), "f")
        assert (archived.slices, archived.events) == ({}, tuple(ledger.read("default", "s")))


def test_retention_archives_and_then_drops(tmp_path: Path):
    shop = Shop(providers={"house": NoProvider()}, archive_dir=str(tmp_path))
    with scripted(shop.wink, {shop.chat: [answer("hi"), answer("ho")]}) as kit:
        house = shop.wink.house()
        shop.chat.with_options(session="old").delay("x").get()
        kit.clock.advance(200)
        shop.chat.with_options(session="new").delay("x").get()
        reaper(house.store, clock=kit.clock, archivist=house.archivist).round()
        assert [one.session for one in house.store.ledger.sessions()] == ["new"]
        [file] = tmp_path.glob("default/*")
        assert read(file.read_bytes().splitlines(keepends=True), "f").session == "old"
        assert house.store.ledger.archived("default", "old") == str(file)


def test_what_cannot_be_archived_stays_is_counted_and_holds_up_nobody(shop: Shop, caplog: pytest.LogCaptureFixture):
    with scripted(shop.wink, {shop.chat: [answer("hi")] * 3}) as kit:
        house = shop.wink.house()
        for name in ("bad", "good", "fine"):
            shop.chat.with_options(session=name).delay("x").get()
        kit.clock.advance(200)
        archive, metrics = Broken(refuses="bad"), Counted()
        one = archivist(shop, archive, metrics=metrics)
        ledger = house.store.ledger
        assert ledger.expire(older_than=100, archive=one.look()) == 2
        assert [left.session for left in ledger.sessions()] == ["bad"]
        assert sorted(metrics.counts) == ["wink.sessions.archived failed", *["wink.sessions.archived ok"] * 2]
        assert "session 'bad' of tenant 'default' is not archived, and stays: RuntimeError: no bucket" in caplog.text
        assert "hunter2" not in caplog.text
        assert ledger.expire(older_than=100, archive=one.look()) == 0
        assert len(archive.tried) == 3, "it is set aside"
        kit.clock.advance(SET_ASIDE)
        archive.refuses = "nothing"
        assert ledger.expire(older_than=100, archive=one.look()) == 1


def test_a_look_ends_in_time_and_passes_over_who_is_at_work(shop: Shop):
    with scripted(shop.wink, {shop.chat: [answer("hi")] * 2}) as kit:
        for name in ("a", "b"):
            shop.chat.with_options(session=name).delay("x").get()
        waiting = shop.chat.with_options(session="c", countdown=10**6).delay("x")

        class Slow(Broken):
            """Takes its time."""

            def put(self, name, lines):
                kit.clock.advance(2)
                return super().put(name, lines)

        ledger, archive = shop.wink.house().store.ledger, Slow(refuses="nothing")
        look = archivist(shop, archive).look()
        assert (look("default", "c"), look("default", "nowhere")) == (None, None)
        assert ledger.expire(older_than=-10, archive=look) == 1
        assert len(archive.tried) == 1
        assert waiting.status == "PENDING"


def test_while_the_store_is_away_the_round_fails_as_a_whole(shop: Shop):
    with scripted(shop.wink, {shop.chat: [answer("hi")]}):
        shop.chat.with_options(session="s").delay("x").get()
        look = archivist(shop, Broken(error=LedgerUnavailableError("away"))).look()
        with pytest.raises(LedgerUnavailableError):
            look("default", "s")


def test_a_file_that_cannot_be_written_whole_leaves_the_older_one(tmp_path: Path):
    archive = DirectoryArchive(tmp_path)

    def torn():
        yield b"half"
        raise ValueError("torn")

    where = archive.put("t/a.jsonl", [b"whole\n"])
    with pytest.raises(ValueError, match="torn"):
        archive.put("t/a.jsonl", torn())
    assert Path(where).read_bytes() == b"whole\n"
    assert [file.name for file in (tmp_path / "t").iterdir()] == ["a.jsonl"]
    (tmp_path / "file").write_text("")
    with pytest.raises(ArchiveFailedError, match=r"file/t/a.jsonl' cannot be written: Not a directory"):
        DirectoryArchive(tmp_path / "file").put("t/a.jsonl", [])


def test_what_is_written_of_a_copy_is_read_as_it_was(shop: Shop):
    with scripted(shop.wink, {shop.review: REVIEWED}):
        shop.review.with_options(session="s").delay("src").get()
        copy = copy_of(shop.wink.house().store.ledger, reducers(shop), "default", "s")
        assert read(written(copy.archived), "f") == copy.archived
