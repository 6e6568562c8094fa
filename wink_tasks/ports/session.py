"""A session as its readers see it."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Iterator
from typing import Protocol, TypeVar

from wink_tasks.core.events import Recorded
from wink_tasks.core.session import SessionState
from wink_tasks.core.transcript import Item

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


class SliceView(Protocol[T_co]):
    """The values of one type that tools and prompts returned in a session, oldest first."""

    def all(self) -> tuple[T_co, ...]:
        """Every value."""
        ...

    def latest(self) -> T_co | None:
        """The newest value, None where there is none."""
        ...

    def where(self, predicate: Callable[[T_co], bool]) -> tuple[T_co, ...]:
        """The values for which `predicate` holds."""
        ...


class SessionView(Protocol):
    """A session: read at first use, then a consistent view until `refresh`."""

    id: str

    @property
    def seq(self) -> int:
        """The sequence number of the last event that this view has seen."""
        ...

    @property
    def state(self) -> SessionState:
        """The fold."""
        ...

    @property
    def transcript(self) -> tuple[Item, ...]:
        """What user, model and tools said to each other so far."""
        ...

    def refresh(self) -> SessionView:
        """Read what came since. Raises UnknownSessionError, SessionExpiredError."""
        ...

    def events(self, *, after: int = 0) -> Iterator[Recorded]:
        """The ledger's events so far, from the first."""
        ...

    async def arefresh(self) -> SessionView:
        """As `refresh`; what was read is there without I/O until the next one."""
        ...

    def aevents(self, *, after: int = 0) -> AsyncGenerator[Recorded, None]:
        """As `events`."""
        ...

    def fork(self, *, at: int | None = None, name: str | None = None) -> SessionView:
        """A new session that goes on from the first `at` events of this one. See `Session.fork`."""
        ...

    async def afork(self, *, at: int | None = None, name: str | None = None) -> SessionView:
        """As `fork`."""
        ...

    def __getitem__(self, type_: type[T]) -> SliceView[T]: ...
