"""The ledger's reading side: events, and what the indexes say of sessions, evaluations and messages."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final, Literal, Protocol

import msgspec

from wink_tasks.core.delivery import Kind, State
from wink_tasks.core.events import (
    AnyEvent,
    EvaluationCancelled,
    EvaluationFailed,
    EvaluationSucceeded,
    Event,
    Recorded,
)

Status = Literal["PENDING", "STARTED", "WAITING", "SUCCESS", "FAILURE", "REVOKED"]

STATUS_OF: Final[Mapping[type[Event], Status]] = {
    EvaluationSucceeded: "SUCCESS",
    EvaluationFailed: "FAILURE",
    EvaluationCancelled: "REVOKED",
}
"""What an evaluation's status is after its terminal event."""


class EvaluationRecord(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of an evaluation without folding. WAITING: for its session. Times are epoch seconds.

    `accepted_seq` and `ended_seq` are its first and last event (0: not ended), `mailbox` where its turns go.
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
    mailbox: str = ""


class SessionRecord(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a session without folding. `current` is the evaluation that runs, `waiting` those behind it.

    Of a fork, `base` is how many of its events are those of `parent`.
    """

    tenant: str
    session: str
    head: int
    created_at: float
    updated_at: float
    current: str = ""
    waiting: tuple[str, ...] = ()
    parent: str = ""
    base: int = 0


class MessageRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A message as it stands. `due` is when the reaper looks at it: the end of a lease, of a delay, the next ring.

    `nonce` is that of the lease in force, with which whoever saw its owner die can give it back.
    """

    id: str
    kind: Kind
    mailbox: str
    task: str
    state: State
    deliveries: int
    pardoned: int
    epoch: int
    owner: str = ""
    nonce: str = ""
    error: str = ""
    due: float = 0.0
    needs: int = 0


class Snapshot(msgspec.Struct, frozen=True, kw_only=True):
    """What reducers made of a session's events up to `seq`; it counts only for reducers of the same `fingerprint`."""

    seq: int
    fingerprint: str
    slices: bytes


WAIT_AT_MOST: Final = 5.0
"""Seconds that one blocking read lasts; then whoever waits looks at its clock."""


Archiving = Callable[[str, str], str | None]
"""Keeps a session, by tenant and name, before it is dropped: where, or None where it must not be dropped."""


class Ledger(Protocol):
    """Reads, and what an application appends itself. All raise LedgerUnavailableError where the store is away."""

    def read(self, tenant: str, session: str, *, after: int = 0, count: int | None = None) -> Sequence[Recorded]:
        """The events after sequence number `after`, at most `count`; none for a session that is not there."""
        ...

    def wait(self, tenant: str, session: str, *, after: int, timeout: float) -> Sequence[Recorded]:
        """As `read`, but waits up to `timeout` seconds for the first event."""
        ...

    def wait_any(
        self, cursors: Mapping[tuple[str, str], int], *, timeout: float
    ) -> Mapping[tuple[str, str], Sequence[Recorded]]:
        """As `wait`, for several sessions: `cursors` and the answer are by tenant and session.

        Waits until one of them has an event after its cursor; sessions that have none are not in the answer.
        """
        ...

    def append(
        self, tenant: str, session: str, events: Sequence[AnyEvent], *, expected: int, actor: str
    ) -> Sequence[Recorded]:
        """Append `events` after the sequence number `expected`, where that is still the last one.

        Else nothing is written. Returns what others wrote after `expected`: nothing where it was appended. The first
        events of a session are appended after 0, `SessionOpened` first. Raises UnknownSessionError where the session
        does not reach `expected`.
        """
        ...

    def fork(self, tenant: str, parent: str, session: str, *, at: int, events: Sequence[AnyEvent], actor: str) -> None:
        """Open `session`, whose first `at` events are those of `parent`, by reference; `events` are its own first ones.

        These begin with `SessionForked`. Raises DuplicateError where there is a session of that name,
        UnknownSessionError where there is no parent, UnknownEventError where it does not reach `at`.
        """
        ...

    def forks(self, tenant: str, session: str) -> Sequence[str]:
        """The sessions that read this one's first events, also those that are about to be opened: it stays for them."""
        ...

    def snapshot(self, tenant: str, session: str) -> Snapshot | None:
        """The snapshot that was kept last."""
        ...

    def keep_snapshot(self, tenant: str, session: str, snapshot: Snapshot) -> None:
        """Keep a snapshot instead of an older one; of a session that does not reach it, none."""
        ...

    def evaluation(self, tenant: str, evaluation: str) -> EvaluationRecord | None:
        """The evaluation of that id, None where the tenant has none."""
        ...

    def tenant_of(self, evaluation: str) -> str | None:
        """The tenant to which an evaluation id belongs, None where nobody has it: control commands name only ids."""
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

    def running(self) -> Iterator[EvaluationRecord]:
        """The evaluations that have not ended, also those that wait for their session. Read session by session."""
        ...

    def evaluations(self, tenant: str, session: str) -> Sequence[EvaluationRecord]:
        """All evaluations of a session, in the order of acceptance."""
        ...

    def delete(self, tenant: str, session: str) -> bool:
        """Drop a session with all that is its own; False where there is none.

        Raises SessionBusyError while an evaluation of it has not ended, SessionForkedError while it has forks.
        """
        ...

    def expire(self, *, older_than: float, limit: int = 100, archive: Archiving | None = None) -> int:
        """Drop up to `limit` sessions that ended all they had and did not change for `older_than` seconds.

        Each is given to `archive` first, which says where it is kept; where that is None, the session stays.
        Those that have forks stay until these are dropped.
        Returns how many. A tombstone stays, so that a later read can tell "expired" from "never was".
        """
        ...

    def retire(self, tenant: str, session: str, *, head: int, where: str) -> bool:
        """Drop a session that is archived at `where`, with a tombstone; False where it has not `head` events any more.

        Raises SessionBusyError while an evaluation of it has not ended.
        """
        ...

    def expired(self, tenant: str, session: str) -> bool:
        """Whether a session of that name was dropped by its retention, or retired."""
        ...

    def archived(self, tenant: str, session: str) -> str:
        """Where a session that was dropped is archived, as long as its tombstone stays; empty where it is not."""
        ...

    def restore(
        self,
        tenant: str,
        session: str,
        *,
        created_at: float,
        events: Sequence[Recorded],
        evaluations: Sequence[EvaluationRecord],
    ) -> bool:
        """Write a whole session whose evaluations have all ended; False where there is one of that name.

        It appears at once, with these sequence numbers, times and actors; until then nobody sees any of it, and what
        was begun and not ended leaves nothing. Its retention counts from now. Raises DuplicateError where one of the
        evaluations' ids is taken.
        """
        ...
