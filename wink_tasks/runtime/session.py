"""A session as an application, a tool or a section predicate reads and writes it."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Iterable, Iterator, Sequence
from math import inf
from typing import TypeVar

from wink_tasks.core.codec import refuse_large
from wink_tasks.core.errors import (
    BlockingInTaskError,
    ConflictError,
    UnsupportedError,
    WaitTimeoutError,
)
from wink_tasks.core.events import AnyEvent, Dispatched, Event, Recorded, SessionOpened, SliceSeeded
from wink_tasks.core.forking import checked_event
from wink_tasks.core.log import Log
from wink_tasks.core.reducers import NO_REDUCERS, Reducers
from wink_tasks.core.session import SessionState, fold
from wink_tasks.core.snapshots import Window, due, followed, kept_slices, window
from wink_tasks.core.transcript import Item
from wink_tasks.core.typed import slice_name, typed_json
from wink_tasks.ports.clock import Clock
from wink_tasks.ports.ledger import WAIT_AT_MOST, Ledger, Snapshot
from wink_tasks.runtime.aside import aside
from wink_tasks.runtime.forking import open_fork
from wink_tasks.runtime.missing import missing_session
from wink_tasks.runtime.slices import Slice, slice_in

T = TypeVar("T")


class FoldedSession:
    """A session at one sequence number."""

    def __init__(self, state: SessionState) -> None:
        self._state = state

    @property
    def id(self) -> str:
        """The session's name."""
        return self._state.session

    @property
    def seq(self) -> int:
        """The sequence number of the last event that this view has seen."""
        return self._state.seq

    @property
    def transcript(self) -> tuple[Item, ...]:
        """What user, model and tools said to each other so far."""
        return tuple(self._state.transcript.items)

    def __getitem__(self, type_: type[T]) -> Slice[T]:
        return slice_in(self._state, type_, read=lambda: self._state, complete=lambda: self._state)


class Session:
    """A session in the ledger: read at first use, then a consistent view until `refresh`.

    With a `clock` it can be waited for; `work` lets up to so many seconds pass and does what is due, in a process
    that has no workers.
    """

    def __init__(
        self,
        ledger: Ledger,
        tenant: str,
        session: str,
        *,
        reducers: Reducers = NO_REDUCERS,
        actor: str = "application",
        clock: Clock | None = None,
        work: Callable[[float], object] = lambda _: None,
    ) -> None:
        self._ledger = ledger
        self.tenant = tenant
        self.id = session
        self._reducers = reducers
        self._actor = actor
        self._clock = clock
        self._work = work
        self._seen: SessionState | Window | None = None

    # Reading

    def refresh(self) -> Session:
        """Read what came since. Raises UnknownSessionError, SessionExpiredError."""
        if self._caught_up().seq == 0:
            raise missing_session(self._ledger, self.tenant, self.id)
        return self

    def view(self) -> FoldedSession:
        """What this object has read, for good."""
        return FoldedSession(self.state)

    @property
    def state(self) -> SessionState:
        """The whole fold, read now if it was not before."""
        seen = self._view()
        if isinstance(seen, Window):
            self._seen = seen = self._whole(seen)
        return seen

    @property
    def seq(self) -> int:
        """The sequence number of the last event that this view has seen."""
        return self._view().seq

    @property
    def transcript(self) -> tuple[Item, ...]:
        """What user, model and tools said to each other so far."""
        return tuple(self.state.transcript.items)

    def events(self, *, after: int = 0) -> Iterator[Recorded]:
        """The ledger's events so far, from the first."""
        yield from self._ledger.read(self.tenant, self.id, after=after)

    async def arefresh(self) -> Session:
        """As `refresh`. All that was read is there without I/O until the next one: await this first in a coroutine."""
        return await aside(self.refresh)

    async def aevents(self, *, after: int = 0) -> AsyncGenerator[Recorded, None]:
        """As `events`."""
        for recorded in await aside(self._ledger.read, self.tenant, self.id, after=after):
            yield recorded

    async def adispatch(self, event: object, *, expected: int | None = None) -> int:
        """As `dispatch`."""
        return await aside(self.dispatch, event, expected=expected)

    async def aseed(self, type_: type[T], values: Iterable[T]) -> int:
        """As `seed`."""
        return await aside(self.seed, type_, values)

    async def await_for(self, predicate: Callable[[Session], bool], timeout: float | None = None) -> Session:  # noqa: ASYNC109
        """As `wait_for`. It holds one of the threads that coroutines share for as long as it waits."""
        return await aside(self.wait_for, predicate, timeout)

    async def awatch(self, timeout: float | None = None) -> AsyncGenerator[Session, None]:  # noqa: ASYNC109
        """As `watch`. It holds one of the threads that coroutines share for as long as it waits."""
        views = self.watch(timeout)
        while (view := await aside(next, views, None)) is not None:
            yield view

    def __getitem__(self, type_: type[T]) -> Slice[T]:
        """A slice. That of one of the ledger's own types of events holds those events."""
        if issubclass(type_, Event):
            records = self._ledger.read(self.tenant, self.id, count=self.seq)
            found = Log.of(record.event for record in records if isinstance(record.event, type_))
            return Slice(type_, lambda: found, typed=True, complete=lambda: found)
        return slice_in(self._current(), type_, read=self._view, complete=lambda: self.state, writer=self)

    # Time travel

    def fork(self, *, at: int | None = None, name: str | None = None) -> Session:
        """A new session that goes on from the first `at` events of this one (None: those that this view has seen).

        The events are shared, not copied; what had not ended there is cancelled in the fork. Without a `name` it is
        called after this one. Raises UnknownEventError, UnknownSessionError, DuplicateError, ParametersInvalidError,
        ReducerFailedError, and UnsupportedError in a tool, which could not take it back.
        """
        if self._clock is None:
            raise UnsupportedError(f"a tool cannot fork its session {self.id!r}: what it writes has to be taken back")
        at = self.seq if at is None else checked_event(at)
        options = {"reducers": self._reducers, "actor": self._actor}
        after = open_fork(self._ledger, self.tenant, self.id, at=at, name=name, **options)  # type: ignore[arg-type]
        if due(0, after.seq):
            self._ledger.keep_snapshot(self.tenant, after.session, snapshot_of(after))
        return Session(self._ledger, self.tenant, after.session, clock=self._clock, work=self._work, **options)  # type: ignore[arg-type]

    async def afork(self, *, at: int | None = None, name: str | None = None) -> Session:
        """As `fork`."""
        return await aside(self.fork, at=at, name=name)

    # Waiting

    def wait_for(self, predicate: Callable[[Session], bool], timeout: float | None = None) -> Session:
        """Follow the ledger until `predicate` holds of this view. `timeout` is seconds.

        The session need not be there yet. Raises WaitTimeoutError, and BlockingInTaskError in a tool.
        """
        for view in self.watch(timeout):
            if predicate(view):
                return view
        raise WaitTimeoutError(f"what was waited for in session {self.id!r} did not come within {timeout:g} s")

    def watch(self, timeout: float | None = None) -> Iterator[Session]:
        """This view now, and again each time that it has seen more, for at most `timeout` seconds.

        Raises BlockingInTaskError in a tool.
        """
        if self._clock is None:
            raise BlockingInTaskError(
                f"waiting for session {self.id!r} inside of a tool would hold what should do the work"
            )
        ends_at = inf if timeout is None else self._clock.monotonic() + timeout
        seen = self._caught_up()
        if seen.seq:
            yield self
        while True:
            left = ends_at - self._clock.monotonic()
            pause = max(0.0, min(left, WAIT_AT_MOST))
            came = self._ledger.wait(self.tenant, self.id, after=seen.seq, timeout=pause)
            if came:
                self._seen = followed(seen, came)
                yield self
            elif left <= 0:
                return
            else:
                self._work(left)
            seen = self._current()

    # Writing

    def dispatch(self, event: object, *, expected: int | None = None) -> int:
        """Record an event of the application's, after its reducers took it; its sequence number.

        `expected` is the sequence number that it is to follow: ConflictError where there is a newer one. Raises
        ReducerFailedError, ValueInvalidError, UnknownSliceError before anything is written.
        """
        return self._written(self._dispatched(event), expected)

    def seed(self, type_: type[T], values: Iterable[T]) -> int:
        """Give the slice of that type these values instead of all that it has; the event's sequence number."""
        self._known(type_)
        typed = typed_json(type_)
        name = slice_name(type_) or ""
        return self._written(SliceSeeded(slice=name, values=tuple(typed.dump(value) for value in values)), None)

    def _dispatched(self, event: object) -> Dispatched:
        if slice_name(type(event)) not in self._reducers.events:
            self._known(type(event))
        return self._reducers.dispatched(event)

    def _written(self, event: AnyEvent, expected: int | None) -> int:
        refuse_large(event, f"{type(event).__name__} has")
        seen = self._current()
        if expected is not None and expected > seen.seq:  # the caller knows of more than this view
            seen = self._caught_up()
        while True:
            if expected is not None and seen.seq != expected:
                raise ConflictError(f"session {self.id!r} has come to {seen.seq}, the call expects {expected}")
            events: Sequence[AnyEvent] = (event,)
            if seen.seq == 0:
                events = (SessionOpened(tenant=self.tenant, session=self.id), event)
            records = [Recorded(seen.seq + place, 0.0, self._actor, one) for place, one in enumerate(events, 1)]
            after = followed(seen, records)
            others = self._append(events, seen.seq)
            if not others:
                self._seen = after
                self._snapshot(seen.seq, after)
                return after.seq
            seen = self._seen = followed(seen, others)

    def _append(self, events: Sequence[AnyEvent], after: int) -> Sequence[Recorded]:
        return self._ledger.append(self.tenant, self.id, events, expected=after, actor=self._actor)

    def _snapshot(self, before: int, after: SessionState | Window) -> None:
        if due(before, after.seq):
            self._ledger.keep_snapshot(self.tenant, self.id, snapshot_of(after))

    # What was read

    def _view(self) -> SessionState | Window:
        """As read so far, at least once. Raises as `refresh`."""
        if self._current().seq == 0:
            self.refresh()
        return self._current()

    def _current(self) -> SessionState | Window:
        """As read so far, also of a session that is not there yet."""
        return self._caught_up() if self._seen is None else self._seen

    def _caught_up(self) -> SessionState | Window:
        seen = self._kept() if self._seen is None else self._seen
        self._seen = followed(seen, self._ledger.read(self.tenant, self.id, after=seen.seq))
        return self._seen

    def _kept(self) -> SessionState | Window:
        kept = self._ledger.snapshot(self.tenant, self.id)
        if kept is None or kept.fingerprint != self._reducers.fingerprint:
            return self._nothing()
        return window(self.tenant, self.id, kept.seq, kept.slices, self._reducers)

    def _nothing(self) -> SessionState:
        return SessionState(tenant=self.tenant, session=self.id, reducers=self._reducers)

    def _whole(self, seen: Window) -> SessionState:
        return fold(SessionState(reducers=self._reducers), self._ledger.read(self.tenant, self.id, count=seen.seq))

    def _known(self, type_: type) -> None:
        slice_in(self._current(), type_, read=self._view, complete=lambda: self.state)

    def __repr__(self) -> str:
        return f"<Session {self.id} of {self.tenant}>"


def snapshot_of(view: SessionState | Window) -> Snapshot:
    """What is kept of a session."""
    return Snapshot(seq=view.seq, fingerprint=view.reducers.fingerprint, slices=kept_slices(view))
