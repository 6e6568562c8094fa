"""Opening a fork of a session."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count

from wink_tasks.core.errors import DuplicateError
from wink_tasks.core.events import Recorded
from wink_tasks.core.forking import first_events, no_event
from wink_tasks.core.ids import checked_name
from wink_tasks.core.reducers import Reducers
from wink_tasks.core.session import SessionState, fold
from wink_tasks.ports.ledger import Ledger
from wink_tasks.runtime.missing import missing_session


def open_fork(
    ledger: Ledger, tenant: str, parent: str, *, at: int, name: str | None, reducers: Reducers, actor: str
) -> SessionState:
    """A new session that goes on from the first `at` events of `parent`, as it is then.

    Without a `name` it is called after its parent and the number. Raises UnknownSessionError, UnknownEventError,
    DuplicateError, ParametersInvalidError, and ReducerFailedError where the reducers of this process do not take the
    history.
    """
    found = ledger.session(tenant, parent)
    if found is None:
        raise missing_session(ledger, tenant, parent)
    if not 1 <= at <= found.head:
        raise no_event(parent, at, found.head)
    state = fold(SessionState(reducers=reducers), ledger.read(tenant, parent, count=at))
    names = _names(parent, at) if name is None else iter((name,))
    while True:
        session = checked_name("session", next(names))
        events = first_events(state, parent, session)
        try:
            ledger.fork(tenant, parent, session, at=at, events=events, actor=actor)
        except DuplicateError:
            if name is not None:
                raise
        else:
            return fold(state, (Recorded(at + place, 0.0, actor, event) for place, event in enumerate(events, 1)))


def _names(parent: str, at: int) -> Iterator[str]:
    yield f"{parent}-fork-{at}"
    yield from (f"{parent}-fork-{at}-{number}" for number in count(2))
