"""A session as an application, a tool or a section predicate reads it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

from wink_tasks.core.errors import SessionExpiredError, UnknownSessionError
from wink_tasks.core.events import Json, Recorded
from wink_tasks.core.log import Log
from wink_tasks.core.session import SessionState, fold
from wink_tasks.core.transcript import Item
from wink_tasks.core.typed import TypedJson, slice_name
from wink_tasks.ports.ledger import Ledger

T = TypeVar("T")


class Slice(Generic[T]):
    """The values of one type that tools and prompts returned in a session, oldest first."""

    def __init__(self, type_: type[T], values: Log[Json]) -> None:
        self._typed: TypedJson[T] = TypedJson(type_)
        self._values = values

    def all(self) -> tuple[T, ...]:
        """Every value."""
        return tuple(self._typed.load(value) for value in self._values)

    def latest(self) -> T | None:
        """The newest value, None where there is none."""
        return self._typed.load(self._values[-1]) if len(self._values) else None

    def where(self, predicate: Callable[[T], bool]) -> tuple[T, ...]:
        """The values for which `predicate` holds."""
        return tuple(value for value in self.all() if predicate(value))


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
        return Slice(type_, self._state.slices.get(slice_name(type_) or "", Log()))


class Session:
    """A session in the ledger: read at first use, then a consistent view until `refresh`."""

    def __init__(self, ledger: Ledger, tenant: str, session: str) -> None:
        self._ledger = ledger
        self.tenant = tenant
        self.id = session
        self._state: SessionState | None = None

    def refresh(self) -> Session:
        """Read what came since. Raises UnknownSessionError, SessionExpiredError."""
        state = self._state or SessionState()
        state = fold(state, self._ledger.read(self.tenant, self.id, after=state.seq))
        if state.seq == 0:
            raise missing_session(self._ledger, self.tenant, self.id)
        self._state = state
        return self

    def view(self) -> FoldedSession:
        """What this object has read."""
        return FoldedSession(self.state)

    @property
    def state(self) -> SessionState:
        """The fold, read now if it was not before."""
        if self._state is None:
            self.refresh()
        return self._state or SessionState()

    @property
    def seq(self) -> int:
        """The sequence number of the last event that this view has seen."""
        return self.state.seq

    @property
    def transcript(self) -> tuple[Item, ...]:
        """What user, model and tools said to each other so far."""
        return self.view().transcript

    def events(self, *, after: int = 0) -> Iterator[Recorded]:
        """The ledger's events so far, from the first."""
        yield from self._ledger.read(self.tenant, self.id, after=after)

    def __getitem__(self, type_: type[T]) -> Slice[T]:
        return self.view()[type_]

    def __repr__(self) -> str:
        return f"<Session {self.id} of {self.tenant}>"


def missing_session(ledger: Ledger, tenant: str, session: str) -> UnknownSessionError:
    """The error for a session that has no ledger."""
    if ledger.expired(tenant, session):
        message = f"session {session!r} of tenant {tenant!r} was dropped when its retention ended (WINK_RETENTION)"
        return SessionExpiredError(message)
    return UnknownSessionError(f"tenant {tenant!r} has no session {session!r}")
