"""The ledger's reading side in memory."""

from __future__ import annotations

from collections.abc import Sequence

from wink_tasks.core.errors import SessionBusyError
from wink_tasks.core.events import Recorded
from wink_tasks.ports.ledger import EvaluationRecord, MessageRecord, SessionRecord
from wink_tasks.testing.memory_books import Books, EvaluationBook, SessionBook

TOMBSTONE_SECONDS = 90 * 86_400.0


class MemoryLedger:
    """See the port for what each method does. `wait` does not wait: whoever could add an event is this process."""

    def __init__(self, books: Books) -> None:
        self._books = books

    def read(self, tenant: str, session: str, *, after: int = 0, count: int | None = None) -> Sequence[Recorded]:
        """The events after `after`."""
        with self._books.lock:
            s = self._books.sessions.get((tenant, session))
            events = () if s is None else s.ledger[after:]
            return tuple(events if count is None else events[:count])

    def wait(self, tenant: str, session: str, *, after: int, timeout: float) -> Sequence[Recorded]:
        """The events after `after` that are there."""
        del timeout
        return self.read(tenant, session, after=after)

    def evaluation(self, tenant: str, evaluation: str) -> EvaluationRecord | None:
        """The evaluation of that id."""
        with self._books.lock:
            e = self._books.evaluations.get(evaluation)
            return None if e is None or e.tenant != tenant else _evaluation_record(e)

    def session(self, tenant: str, session: str) -> SessionRecord | None:
        """The session of that name."""
        with self._books.lock:
            s = self._books.sessions.get((tenant, session))
            return None if s is None else _session_record(s)

    def message(self, tenant: str, session: str, message: str) -> MessageRecord | None:
        """The message, while it is remembered."""
        with self._books.lock:
            m = self._books.message(session, message)
            if m is None or (m.sent.tenant, m.sent.session) != (tenant, session):
                return None
            done = m.state == "done"
            return MessageRecord(
                id=message,
                kind=m.sent.kind,
                mailbox=m.sent.mailbox,
                task=m.sent.task,
                state=m.state,
                deliveries=m.deliveries,
                pardoned=m.pardoned,
                epoch=m.epoch,
                owner=m.owner,
                error="" if done else m.error,
                due=m.due or 0.0,
                needs=0 if done else m.needs,
            )

    def sessions(self, *, tenant: str | None = None, limit: int = 50) -> Sequence[SessionRecord]:
        """The sessions that changed last, newest first."""
        with self._books.lock:
            mine = [s for s in self._books.sessions.values() if tenant in (None, s.tenant)]
            newest = sorted(mine, key=lambda s: (s.updated, s.tenant, s.id), reverse=True)
            return [_session_record(s) for s in newest[:limit]]

    def active_sessions(self) -> int:
        """How many sessions run an evaluation."""
        with self._books.lock:
            return sum(1 for s in self._books.sessions.values() if s.current)

    def evaluations(self, tenant: str, session: str) -> Sequence[EvaluationRecord]:
        """All evaluations of a session, in the order of acceptance."""
        with self._books.lock:
            s = self._books.sessions.get((tenant, session))
            return [_evaluation_record(self._books.evaluations[name]) for name in (s.evaluations if s else ())]

    def delete(self, tenant: str, session: str) -> bool:
        """Drop a session with all that is its own."""
        with self._books.lock:
            s = self._books.sessions.get((tenant, session))
            if s is None:
                return False
            if s.current:
                raise SessionBusyError(
                    f"session {session!r} runs evaluation {s.current!r}: cancel it, or wait for its end"
                )
            self._drop(s)
            return True

    def expire(self, *, older_than: float, limit: int = 100) -> int:
        """Drop up to `limit` sessions that did not change for `older_than` seconds."""
        with self._books.lock:
            until = self._books.now() - older_than
            old = [s for s in self._books.sessions.values() if s.updated <= until and not s.current]
            old.sort(key=lambda s: (self._books.partition(s.id), s.updated, f"{s.tenant}:{s.id}"))
            for s in old[:limit]:
                self._drop(s)
                self._books.tombstones[s.tenant, s.id] = self._books.now() + TOMBSTONE_SECONDS
            return len(old[:limit])

    def expired(self, tenant: str, session: str) -> bool:
        """Whether a session of that name was dropped by its retention."""
        with self._books.lock:
            return self._books.now() < self._books.tombstones.get((tenant, session), 0.0)

    def _drop(self, s: SessionBook) -> None:
        del self._books.sessions[s.tenant, s.id]
        for name in s.evaluations:
            e = self._books.evaluations.pop(name)
            del self._books.homes[name]
            for message in (*e.open, *e.dead):
                del self._books.messages[self._books.partition(s.id), message]


def _evaluation_record(e: EvaluationBook) -> EvaluationRecord:
    return EvaluationRecord(
        id=e.id,
        tenant=e.tenant,
        session=e.session,
        prompt=e.prompt,
        status=e.status,
        accepted_seq=e.accepted_seq,
        accepted_at=e.accepted_at,
        started_at=e.started_at,
        ended_seq=e.ended_seq,
        ended_at=e.ended_at,
        cancelled=e.cancelled,
        open_messages=tuple(sorted(e.open)),
    )


def _session_record(s: SessionBook) -> SessionRecord:
    return SessionRecord(
        tenant=s.tenant,
        session=s.id,
        head=len(s.ledger),
        created_at=s.created,
        updated_at=s.updated,
        current=s.current,
        waiting=tuple(s.waiting),
    )
