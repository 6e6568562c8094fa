"""Sessions that are written, run, crashed, forked, archived and brought back by chance hold what plain lists hold."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable

import pytest
from hypothesis import HealthCheck, Phase, settings, strategies as st
from hypothesis.stateful import (
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from tests.property.session_model import (
    Book,
    Entry,
    Noted,
    changes,
    entry_of,
    events,
    said,
)
from tests.property.session_world import (
    NAMES,
    TENANT,
    Application,
    Plan,
    SessionWorld,
    assert_holds,
    plans,
    speakers,
)
from tests.server import EmbeddedServer
from wink_tasks import (
    ConflictError,
    DuplicateError,
    ReducerFailedError,
    SessionExpiredError,
    UnknownSessionError,
)
from wink_tasks.adapters.redis.store import RedisStore
from wink_tasks.core.archive import read
from wink_tasks.core.errors import SessionForkedError, UnknownEventError
from wink_tasks.core.events import Recorded
from wink_tasks.core.session import SessionState, fold
from wink_tasks.ports.store import Store
from wink_tasks.runtime.archiving import copy_of, restore
from wink_tasks.runtime.past import PastSession
from wink_tasks.runtime.session import FoldedSession, snapshot_of
from wink_tasks.testing import FakeClock, MemoryStore, answer, calls

MOST_FORKS = 4
LONG = 150
PREFIXES = (f"sessions{number}" for number in itertools.count())


class SessionMachine(SessionWorld):
    """What may happen, and what holds after it."""

    # Applications

    @initialize(event=events, count=st.sampled_from([0, 34, 34, 100]))
    def begin(self, event: object, count: int) -> None:
        """Most often with a session that has more than a snapshot keeps."""
        if count:
            self.much("s1", [event] * count)

    @rule(data=st.data(), change=changes)
    def write(self, data: st.DataObject, change: object) -> None:
        name = self.any(data)
        session = self.chosen(data, name)
        self.write_by(session, change)
        book = self.book(name)
        book.add(entry_of(change))
        assert session.seq == book.head
        self.held[name] = session

    @rule(data=st.data(), event=events, off=st.sampled_from([-1, 0, 1]))
    def write_what_follows(self, data: st.DataObject, event: object, off: int) -> None:
        name = self.any(data)
        session = self.chosen(data, name)
        head = self.books[name].head if name in self.books else 0
        if off:
            with pytest.raises(ConflictError):
                session.dispatch(event, expected=head + off)
        else:
            session.dispatch(event, expected=head)
            self.book(name).add(entry_of(event))

    @rule(data=st.data())
    def write_what_is_refused(self, data: st.DataObject) -> None:
        name = self.any(data)
        with pytest.raises(ReducerFailedError):
            self.chosen(data, name).dispatch(Noted("refused"))

    @rule(data=st.data(), some=st.lists(events, min_size=1, max_size=3), count=st.sampled_from([34, 100]))
    def write_much(self, data: st.DataObject, some: list[object], count: int) -> None:
        """So that slices have more than a snapshot keeps."""
        name = self.any(data)
        if name in self.books and self.books[name].head > LONG:
            return
        self.much(name, itertools.islice(itertools.cycle(some), count))

    @precondition(lambda self: self.books)
    @rule(data=st.data())
    def read_and_hold(self, data: st.DataObject) -> None:
        name = self.some(data)
        self.held[name] = self.wink.session(name).refresh()

    @precondition(lambda self: self.books)
    @rule(data=st.data(), whole=st.booleans())
    def keep_a_snapshot(self, data: st.DataObject, whole: bool) -> None:
        """Of any point, by one who has read all, or who began with a snapshot himself."""
        name = self.some(data)
        at = data.draw(st.integers(1, self.books[name].head), label="at")
        past = PastSession.of(self.wink.session(name), at)
        snapshot = snapshot_of(past.state if whole else past._view())
        self.store.ledger.keep_snapshot(TENANT, name, snapshot)

    # Runs

    @rule(data=st.data(), some=st.lists(plans, min_size=1, max_size=2))
    def run(self, data: st.DataObject, some: list[Plan]) -> None:
        name = self.any(data)
        asked = calls(*((self.wink.act, {"place": place}) for place in range(len(some))))
        self.provider.play(self.wink.actor.name, [asked, answer("done")])
        book = self.began(name, some, "EvaluationAccepted", "EvaluationStarted")
        shown = [said(book.entries)]
        book.add(Entry("ModelResponded", calls=len(some)))
        self.driven(self.wink.actor.with_options(session=name).delay())
        shown.append(said(book.entries))
        book.add(Entry("ModelResponded"), Entry("EvaluationSucceeded", run=self.evaluation))
        assert [speakers(request.items) for request in self.provider.requests[-2:]] == shown

    @rule(data=st.data(), plan=plans)
    def work(self, data: st.DataObject, plan: Plan) -> None:
        name = self.any(data)
        self.began(name, [plan], "EvaluationAccepted")
        self.driven(self.wink.work.with_options(session=name).delay())

    # Time travel and files

    @precondition(lambda self: self.books and self.forks < MOST_FORKS)
    @rule(data=st.data())
    def fork(self, data: st.DataObject) -> None:
        name = self.some(data)
        at = data.draw(st.integers(1, self.books[name].head), label="at")
        self.forks += 1
        fork = self.wink.session(name).fork(at=at, name=f"f{self.forks}")
        self.books[fork.id] = self.books[name].forked(at)
        self.parents[fork.id] = name
        assert fork.seq == self.books[fork.id].head

    @precondition(lambda self: self.books)
    @rule(data=st.data())
    def fork_beyond_the_head(self, data: st.DataObject) -> None:
        name = self.some(data)
        with pytest.raises(UnknownEventError):
            self.wink.session(name).fork(at=self.books[name].head + 1, name="never")

    @precondition(lambda self: self.books)
    @rule(data=st.data())
    def delete(self, data: st.DataObject) -> None:
        name = self.some(data)
        if self.children(name):
            with pytest.raises(SessionForkedError):
                self.store.ledger.delete(TENANT, name)
        else:
            assert self.store.ledger.delete(TENANT, name)
            self.gone(name)

    @precondition(lambda self: any(not self.children(name) for name in self.books))
    @rule(data=st.data(), event=events, count=st.sampled_from([1, 34]))
    def begin_anew(self, data: st.DataObject, event: object, count: int) -> None:
        """Another session of the same name: what workers know of the first one is not true of it."""
        name = data.draw(st.sampled_from([name for name in sorted(self.books) if not self.children(name)]))
        assert self.store.ledger.delete(TENANT, name)
        self.gone(name)
        self.written_by(self.wink.session(name), [event] * count)

    @precondition(lambda self: self.books)
    @rule(data=st.data())
    def archive(self, data: st.DataObject) -> None:
        name = self.some(data)
        archivist = self.house.archivist
        assert archivist is not None
        if self.children(name):
            with pytest.raises(SessionForkedError):
                archivist.retire(TENANT, name)
            return
        where = archivist.retire(TENANT, name)
        assert where is not None
        self.files[name] = self.shelf.files[where], self.books[name]
        self.gone(name)
        self.expired.add(name)

    @precondition(lambda self: self.files)
    @rule(data=st.data())
    def bring_back(self, data: st.DataObject) -> None:
        name = data.draw(st.sampled_from(sorted(self.files)), label="session")
        lines, book = self.files[name]
        archived = read(lines, name)
        there = tuple(self.store.ledger.read(TENANT, name))
        if not there:
            assert restore(self.store.ledger, archived)
            self.books[name] = Book(book.entries)
            self.expired.discard(name)
            assert tuple(self.store.ledger.read(TENANT, name)) == archived.events
            assert list(self.copied(name)) == lines
        elif there == archived.events:
            assert not restore(self.store.ledger, archived)
        else:
            with pytest.raises(DuplicateError):
                restore(self.store.ledger, archived)

    @precondition(lambda self: self.books)
    @rule(data=st.data())
    def export(self, data: st.DataObject) -> None:
        """The file says what there is, and bringing it back beside itself changes nothing."""
        name = self.some(data)
        archived = read(self.copied(name), name)
        book = self.books[name]
        assert [type(record.event).__name__ for record in archived.events] == [one.name for one in book.entries]
        sizes = {slice_.rpartition(".")[2]: len(values) for slice_, values in archived.slices.items()}
        assert {one: size for one, size in sizes.items() if size} == {
            slice_.__name__: len(values) for slice_, values in book.lists[-1].items() if values
        }
        assert not restore(self.store.ledger, archived)

    def copied(self, name: str) -> Iterable[bytes]:
        """The file that an export would write."""
        return copy_of(self.store.ledger, self.wink.registry.reducers, TENANT, name).lines()

    # What holds always

    @invariant()
    def every_reader_sees_the_lists(self) -> None:
        self.clock.advance(1)
        for name, book in self.books.items():
            records = self.store.ledger.read(TENANT, name)
            assert [record.seq for record in records] == list(range(1, book.head + 1))
            assert [type(record.event).__name__ for record in records] == [entry.name for entry in book.entries]
            newest = self.wink.session(name)
            assert newest.seq == book.head
            assert_holds(newest, book.lists[-1])
            assert speakers(newest.transcript) == said(book.entries)
            assert_holds(self.folded(records), book.lists[-1])
            at = self.chance.randint(1, book.head)
            past = self.wink.session(name, at=at)
            assert_holds(past, book.lists[at])
            assert_holds(self.folded(records[:at]), book.lists[at])
        for name, session in self.held.items():
            assert_holds(session, self.books[name].lists[session.seq])

    @invariant()
    def what_is_gone_is_gone(self) -> None:
        for name in {*NAMES, *self.files} - {*self.books}:
            expected = SessionExpiredError if name in self.expired else UnknownSessionError
            with pytest.raises(expected):
                self.wink.session(name).refresh()

    def folded(self, records: Iterable[Recorded]) -> FoldedSession:
        """As one sees it who has no snapshot."""
        return FoldedSession(fold(SessionState(reducers=self.wink.registry.reducers), records))


@pytest.fixture(scope="module")
def wink() -> Application:
    return Application()


def machine(wink: Application, store_of: Callable[[FakeClock], Store], *, examples: int, steps: int) -> None:
    # Without the phases that shrink and explain a failure: they would take longer than a test may.
    SessionMachine.wink, SessionMachine.store_of = wink, staticmethod(store_of)
    run_state_machine_as_test(
        SessionMachine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            suppress_health_check=list(HealthCheck),
            deadline=None,
            derandomize=True,
            phases=[Phase.generate],
        ),
    )


def test_sessions_in_memory_are_plain_lists(wink: Application):
    machine(wink, lambda clock: MemoryStore(clock, partitions=2), examples=32, steps=25)


def test_sessions_in_redis_are_plain_lists(wink: Application, redis_server: EmbeddedServer):
    def store_of(clock: FakeClock) -> Store:
        return RedisStore(redis_server.url, prefix=next(PREFIXES), partitions=2, clock=clock)

    machine(wink, store_of, examples=6, steps=20)
