"""An application whose sessions are written by the calls of one thread, beside the lists that they must hold."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import pytest
from celery import Celery
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
)

from tests.property.session_model import (
    SLICES,
    Book,
    Entry,
    Inner,
    Lists,
    Noted,
    Outside,
    ReadAll,
    Refresh,
    Seed,
    Told,
    changes,
    declare,
    entry_of,
    kept,
    moves,
)
from wink_tasks import (
    ReducerFailedError,
    ToolContext,
    ToolError,
    Wink,
)
from wink_tasks.adapters.celery.run import Run
from wink_tasks.core.transcript import Item
from wink_tasks.ports.doorbell import Doorbell
from wink_tasks.ports.store import Store
from wink_tasks.runtime.session import FoldedSession, Session, snapshot_of
from wink_tasks.testing import FakeClock
from wink_tasks.testing.inline import InlineWorker, KeptOutcomes, NoObserver
from wink_tasks.testing.scripted import Everywhere, ScriptedProvider
from wink_tasks.wiring import House

TENANT = "default"
NAMES = ("s1", "s2")
BEYOND_A_LEASE = 11.0
DELIVERIES = 2
ENDS = ("returns", "told", "raises", "again", "killed", "dies", "zombie")


class Killed(BaseException):
    """The worker is gone in the middle of a call."""


class UndoneError(Exception):
    """An inner transaction fails."""


@dataclass(frozen=True)
class Plan:
    """What a call does, and how it ends. `late` is what a zombie writes after another one has done its work."""

    moves: tuple[Any, ...]
    end: str
    late: tuple[Any, ...] = ()


plans = st.builds(Plan, moves, st.sampled_from(ENDS), st.lists(changes, max_size=2).map(tuple))


class Workers(InlineWorker):
    """One dies, and the others go on."""

    def ring(self, doorbells: Iterable[Doorbell]) -> None:
        try:
            super().ring(doorbells)
        except Killed:
            self.ring(())


class Never:
    """Time passes only where a test says so."""

    def next_due(self) -> None:
        return None


@dataclass
class Shelf:
    """An archive."""

    files: dict[str, list[bytes]] = field(default_factory=dict)

    def put(self, name: str, lines: Iterable[bytes]) -> str:
        self.files[name] = list(lines)
        return name


class Application(Wink):
    """One that lives in whichever house the machine of the moment has; `does` is what its functions do."""

    def __init__(self) -> None:
        super().__init__(Celery("machine", set_as_current=False), visibility_timeout=10, partitions=2)
        declare(self.slices)
        self.at: House | None = None
        self.does: Callable[[ToolContext, int], Told]

        @self.tool(max_retries=DELIVERIES - 1, retry_on=[ConnectionError])
        def act(ctx: ToolContext, place: int) -> Told:
            """Act."""
            return self.does(ctx, place)

        @self.prompt(output=str, tools=[act], model="offline:reviewer", deadline=None)
        def actor() -> str:
            """You act."""
            return "go"

        @self.task(max_retries=DELIVERIES - 1, retry_on=[ConnectionError])
        def work(ctx: ToolContext) -> Told:
            return self.does(ctx, 0)

        self.act, self.actor, self.work = act, actor, work

    def house(self) -> House:
        assert self.at is not None
        return self.at


class SessionWorld(RuleBasedStateMachine):
    """`books` are the sessions that there are, `parents` of which other one a fork reads the beginning."""

    wink: Application
    store_of: Callable[[FakeClock], Store]

    def __init__(self) -> None:
        super().__init__()
        self.clock = FakeClock()
        self.books: dict[str, Book] = {}
        self.parents: dict[str, str] = {}
        self.held: dict[str, Session] = {}
        self.files: dict[str, tuple[list[bytes], Book]] = {}
        self.expired: set[str] = set()
        self.plans: Sequence[Plan] = ()
        self.wrong: list[Exception] = []
        self.forks = 0
        self.runs = itertools.count(1)
        self.chance = random.Random(0)  # noqa: S311 - which points are looked at
        self.shelf = Shelf()
        self.provider = ScriptedProvider({})
        self.house = self.opened()
        self.wink.at, self.wink.does = self.house, self.act
        self.store = self.house.store

    def opened(self) -> House:
        """A house on the store, whose workers are this thread."""
        store = type(self).store_of(self.clock)
        chosen = {"providers": Everywhere(self.provider), "archive": self.shelf, "clock": self.clock}
        workers = Workers(
            steps=lambda: house.steps,
            mailbox=store.mailbox,
            waiting=Never(),
            clock=self.clock,
            pass_time=self.clock.advance,
        )
        house = House(
            settings=self.wink.settings,
            choices=self.wink._choices(
                **chosen, draw=lambda: 0.5, uuid4=lambda: UUID(int=next(self.runs) << 96, version=4)
            ),
            registry=self.wink.registry,
            store=store,
            ringer=workers,
            outcomes=KeptOutcomes(),
            work=workers.work,
            waiting=Never(),
            expects_workers=False,
        )
        return house

    def teardown(self) -> None:
        self.house.close()

    # Words

    def book(self, name: str) -> Book:
        """The session's, which is opened if it is not there."""
        if name not in self.books:
            self.books[name] = Book([Entry("SessionOpened")])
            self.expired.discard(name)
        return self.books[name]

    def some(self, data: st.DataObject) -> str:
        """A session that there is."""
        return data.draw(st.sampled_from(sorted(self.books)), label="session")

    def any(self, data: st.DataObject) -> str:
        """A session that there is, or could be."""
        return data.draw(st.sampled_from(sorted({*NAMES, *self.books})), label="session")

    def chosen(self, data: st.DataObject, name: str) -> Session:
        """A session as somebody has it who reads it now, or has read it long ago."""
        if name in self.held and data.draw(st.booleans(), label="read long ago"):
            return self.held[name]
        return self.wink.session(name)

    def gone(self, name: str) -> None:
        """A session is dropped, with what was known of it."""
        del self.books[name]
        self.parents.pop(name, None)
        self.held.pop(name, None)

    def children(self, name: str) -> list[str]:
        """Its forks."""
        return [fork for fork, parent in self.parents.items() if parent == name]

    def write_by(self, session: Session, change: object) -> None:
        """Dispatch, seed or clear."""
        match change:
            case Seed(slice_, ()):
                session[slice_].clear()
            case Seed(slice_, given):
                session.seed(slice_, given)
            case event:
                session.dispatch(event)

    def much(self, name: str, some: Iterable[object]) -> None:
        """Dispatch them, and keep a snapshot."""
        self.written_by(self.wink.session(name), some)
        self.store.ledger.keep_snapshot(TENANT, name, snapshot_of(self.wink.session(name)._view()))

    def written_by(self, session: Session, some: Iterable[object]) -> None:
        """Dispatch them all."""
        for event in some:
            session.dispatch(event)
            self.book(session.id).add(entry_of(event))

    def began(self, name: str, some: Sequence[Plan], *names: str) -> Book:
        """What the ledger has before the first call."""
        self.plans, self.session, self.alone = some, name, len(names) == 1
        self.evaluation = f"run{sum(len(book.entries) for book in self.books.values())}"
        book = self.book(name)
        book.add(*(Entry(one, run=self.evaluation) for one in names))
        return book

    def driven(self, run: Run[Any]) -> None:
        """Until it has ended: leases run out, and delays pass."""
        for _ in range(20):
            if run.ready():
                break
            self.clock.advance(BEYOND_A_LEASE)
            self.house.ringer.ring(self.store.mailbox.reap())
        assert run.ready()
        if self.wrong:
            raise self.wrong.pop()

    def act(self, ctx: ToolContext, place: int) -> Told:
        """What every call does."""
        try:
            return self.acted(ctx, self.plans[place])
        except AssertionError as error:  # which would be recorded as a failure of the tool
            self.wrong.append(error)
            raise

    def acted(self, ctx: ToolContext, plan: Plan) -> Told:
        book = self.books[self.session]
        mine = Seen(ctx, book)
        self.perform(mine, plan.moves)
        mine.read_all()
        if plan.end == "zombie" and ctx.delivery_count == 1:
            self.overtaken()
            self.perform(mine, plan.late)
            return Told("never")
        if plan.end == "dies" and ctx.delivery_count == DELIVERIES:
            book.add(Entry("StepDied"))
            if self.alone:
                book.add(Entry("EvaluationFailed", run=self.evaluation))
        if plan.end == "dies" or (plan.end == "killed" and ctx.delivery_count == 1):
            raise Killed
        if plan.end == "again" and ctx.delivery_count == 1:
            raise ConnectionError
        fails = plan.end in ("told", "raises")
        told = Told(plan.end)
        book.add(*(kept(mine.pending) if fails else mine.pending), self.end_of(told, fails=fails))
        if plan.end == "told":
            raise ToolError("no")
        if plan.end == "raises":
            raise KeyError("no")
        return told

    def end_of(self, told: Told, *, fails: bool) -> Entry:
        """The event that is recorded with what a call wrote."""
        failed, returned = ("EvaluationFailed", "EvaluationSucceeded") if self.alone else ("ToolFailed", "ToolReturned")
        run = self.evaluation if self.alone else ""
        return Entry(failed, run=run) if fails else Entry(returned, told, run=run)

    def overtaken(self) -> None:
        """The lease of this call runs out, and another worker does it."""
        self.clock.advance(BEYOND_A_LEASE)
        for bell in self.store.mailbox.reap():
            self.house.steps.run(bell.address, bell.task, serves=(), observer=NoObserver())

    def perform(self, mine: Seen, some: Sequence[Any]) -> None:
        """Do it, and look each time at what the call sees of it."""
        for move in some:
            match move:
                case Inner():
                    self.nest(mine, move)
                case Outside():
                    self.write_by(self.wink.session(self.session), move.value)
                    self.books[self.session].add(entry_of(move.value))
                case Refresh():
                    mine.ctx.session.refresh()
                    mine.base = self.books[self.session].head
                case ReadAll():
                    mine.read_all()
                case Noted("refused"):
                    with pytest.raises(ReducerFailedError):
                        mine.ctx.session.dispatch(move)
                case _:
                    self.write_by(mine.ctx.session, move)
                    mine.pending.append(entry_of(move))
            mine.look()

    def nest(self, mine: Seen, inner: Inner) -> None:
        before = len(mine.pending)
        try:
            with mine.ctx.transaction():
                self.perform(mine, inner.moves)
                if inner.fails:
                    raise UndoneError  # noqa: TRY301 - it is what leaves the `with`
        except UndoneError:
            mine.pending[before:] = kept(mine.pending[before:])


class Seen:
    """A call: what it read, up to `base`, and what it has written itself."""

    def __init__(self, ctx: ToolContext, book: Book) -> None:
        self.ctx, self.book, self.base = ctx, book, book.head
        self.pending: list[Entry] = []
        self.look()

    def look(self) -> None:
        """At what needs no early values."""
        assert_ends(self.ctx.session, self.book.with_pending(self.base, self.pending))

    def read_all(self) -> None:
        assert_holds(self.ctx.session, self.book.with_pending(self.base, self.pending))


def speakers(items: Iterable[Item]) -> list[str]:
    return [type(item).__name__ for item in items]


def assert_ends(session: Session | FoldedSession, lists: Lists) -> None:
    """What can be told without the early values, which a snapshot may lack."""
    for slice_ in SLICES:
        found = session[slice_]
        assert len(found) == len(lists[slice_]), slice_
        assert found.latest() == (lists[slice_] or [None])[-1]


def assert_holds(session: Session | FoldedSession, lists: Lists) -> None:
    assert_ends(session, lists)
    for slice_ in SLICES:
        assert list(session[slice_].all()) == lists[slice_]
