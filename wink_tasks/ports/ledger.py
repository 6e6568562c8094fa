"""The ledger's reading side: events, and what the indexes say of sessions, evaluations and messages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, Literal, Protocol

import msgspec

from wink_tasks.core.delivery import Kind, State
from wink_tasks.core.events import EvaluationCancelled, EvaluationFailed, EvaluationSucceeded, Event, Recorded

Status = Literal["PENDING", "STARTED", "WAITING", "SUCCESS", "FAILURE", "REVOKED"]

STATUS_OF: Final[Mapping[type[Event], Status]] = {
    EvaluationSucceeded: "SUCCESS",
    EvaluationFailed: "FAILURE",
    EvaluationCancelled: "REVOKED",
}
"""What an evaluation's status is after its terminal event."""


class EvaluationRecord(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of an evaluation without folding. WAITING: for its session. Times are epoch seconds.

    `accepted_seq` and `ended_seq` are its first and last event (0: not ended).
    """

    id: str
    tenant: str
    session: str
    prompt: str
    status: Status
    accepted_seq: int
    accepted_at: float
    started_at: float = 0.0
    ended_seq: int = 0
    ended_at: float = 0.0
    cancelled: bool = False
    open_messages: tuple[str, ...] = ()


class SessionRecord(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a session without folding. `current` is the evaluation that runs, `waiting` those behind it."""

    tenant: str
    session: str
    head: int
    created_at: float
    updated_at: float
    current: str = ""
    waiting: tuple[str, ...] = ()


class MessageRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A message as it stands. `due` is when the reaper looks at it: the end of a lease, of a delay, the next ring."""

    id: str
    kind: Kind
    mailbox: str
    task: str
    state: State
    deliveries: int
    pardoned: int
    epoch: int
    owner: str = ""
    error: str = ""
    due: float = 0.0
    needs: int = 0


class Ledger(Protocol):
    """Reads. All raise LedgerUnavailableError where the store cannot be reached."""

    def read(self, tenant: str, session: str, *, after: int = 0, count: int | None = None) -> Sequence[Recorded]:
        """The events after sequence number `after`, at most `count`; none for a session that is not there."""
        ...

    def wait(self, tenant: str, session: str, *, after: int, timeout: float) -> Sequence[Recorded]:
        """As `read`, but waits up to `timeout` seconds for the first event."""
        ...

    def evaluation(self, tenant: str, evaluation: str) -> EvaluationRecord | None:
        """The evaluation of that id, None where the tenant has none."""
        ...

    def session(self, tenant: str, session: str) -> SessionRecord | None:
        """The session of that name, None where the tenant has none."""
        ...

    def message(self, tenant: str, session: str, message: str) -> MessageRecord | None:
        """The message, None where it is forgotten (an hour after it was closed)."""
        ...

    def sessions(self, *, tenant: str | None = None, limit: int = 50) -> Sequence[SessionRecord]:
        """The sessions that changed last, newest first."""
        ...

    def active_sessions(self) -> int:
        """How many sessions have an evaluation that has not ended."""
        ...

    def evaluations(self, tenant: str, session: str) -> Sequence[EvaluationRecord]:
        """All evaluations of a session, in the order of acceptance."""
        ...

    def delete(self, tenant: str, session: str) -> bool:
        """Drop a session with all that is its own; False where there is none.

        Raises SessionBusyError while an evaluation of it has not ended.
        """
        ...

    def expire(self, *, older_than: float, limit: int = 100) -> int:
        """Drop up to `limit` sessions that ended all they had and did not change for `older_than` seconds.

        Returns how many. A tombstone stays, so that a later read can tell "expired" from "never was".
        """
        ...

    def expired(self, tenant: str, session: str) -> bool:
        """Whether a session of that name was dropped by its retention."""
        ...
