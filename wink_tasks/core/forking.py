"""What a fork of a session begins with. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from wink_tasks.core.errors import DuplicateError, ParametersInvalidError, SessionForkedError, UnknownEventError
from wink_tasks.core.events import AnyEvent, EvaluationCancelled, SessionForked
from wink_tasks.core.session import SessionState


def first_events(state: SessionState, parent: str, session: str) -> tuple[AnyEvent, ...]:
    """The fork's own first events, where `state` is its parent at the point of the fork.

    What the parent had under way there nobody works on in the fork: it is cancelled, so the fold and the transcript are
    those of a session in which nothing runs.
    """
    reason = f"session {session} was forked from {parent} at event {state.seq}, where this had not ended"
    return (
        SessionForked(tenant=state.tenant, session=session, parent=parent, seq=state.seq),
        *(EvaluationCancelled(evaluation=name, reason=reason) for name in state.open),
    )


def checked_event(at: object) -> int:
    """`at`, if it may be the number of an event. Raises ParametersInvalidError where it is no whole number."""
    if isinstance(at, bool) or not isinstance(at, int):
        message = f"at={at!r} does not fit: it takes the number of an event, not {type(at).__name__}"
        raise ParametersInvalidError(message)
    return at


def no_event(session: str, seq: int, head: int) -> UnknownEventError:
    """The error for a number that no event of the session has."""
    return UnknownEventError(f"session {session!r} has no event {seq}: they are numbered from 1 to {head} so far")


def session_taken(session: str) -> DuplicateError:
    """The error for a fork whose name a session has already."""
    return DuplicateError(f"there is a session {session!r} already: fork under another name")


def still_forked(session: str, forks: Iterable[str]) -> SessionForkedError:
    """The error for a session that cannot be dropped before its forks."""
    names = ", ".join(map(repr, sorted(forks)))
    return SessionForkedError(
        f"session {session!r} has forks, which read its first events: archive or delete {names} first"
    )
