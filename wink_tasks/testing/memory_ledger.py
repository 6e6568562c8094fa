"""The ledger's reading side in memory."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from wink_tasks.core.delivery import Message
from wink_tasks.core.errors import SessionBusyError, UnknownSessionError, taken
from wink_tasks.core.events import AnyEvent, Recorded
from wink_tasks.core.forking import no_event, session_taken, still_forked
from wink_tasks.core.ids import outcome_id
from wink_tasks.ports.ledger import Archiving, EvaluationRecord, MessageRecord, SessionRecord, Snapshot
from wink_tasks.testing.memory_books import Books, EvaluationBook, SessionBook
from wink_tasks.testing.memory_work import Work

TOMBSTONE_SECONDS = 90 * 86_400.0


class MemoryLedger:
    """See the port for what each method does. Nothing waits: whoever could add an event is this process."""

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

    def wait_any(
        self, cursors: Mapping[tuple[str, str], int], *, timeout: float
    ) -> Mapping[tuple[str, str], Sequence[Recorded]]:
        """The events after the cursors that are there."""
        del timeout
        found = {owner: self.read(*owner, after=after) for owner, after in cursors.items()}
        return {owner: events for owner, events in found.items() if events}

    def append(
        self, tenant: str, session: str, events: Sequence[AnyEvent], *, expected: int, actor: str
    ) -> Sequence[Recorded]:
        """Append `events` where `expected` is the last sequence number."""
        with self._books.lock:
            s = self._books.sessions.get((tenant, session))
            head = len(s.ledger) if s else 0
            if head < expected:
                raise UnknownSessionError(f"session {session!r} of tenant {tenant!r} does not reach {expected}")
            if s is not None and head > expected:
                return tuple(s.ledger[expected:])
            work = Work(self._books)
            s = s or work.opened(tenant, session)
            for event in events:
                work.append(s, actor, event)
            return ()

    def fork(self, tenant: str, parent: str, session: str, *, at: int, events: Sequence[AnyEvent], actor: str) -> None:
        """Open a session whose first events are another's."""
        with self._books.lock:
            if (tenant, session) in self._books.sessions:
                raise session_taken(session)
            lender = self._books.sessions.get((tenant, parent))
            if lender is None:
                raise UnknownSessionError(f"tenant {tenant!r} has no session {parent!r}")
            if not 1 <= at <= len(lender.ledger):
                raise no_event(parent, at, len(lender.ledger))
            work = Work(self._books)
            s = work.opened(tenant, session)
            s.parent, s.base, s.ledger = parent, at, lender.ledger[:at]
            for event in events:
                work.append(s, actor, event)

    def forks(self, tenant: str, session: str) -> Sequence[str]:
        """The sessions that read this one's first events."""
        with self._books.lock:
            return [one.id for one in self._books.sessions.values() if (one.tenant, one.parent) == (tenant, session)]

    def snapshot(self, tenant: str, session: str) -> Snapshot | None:
        """The snapshot that was kept last."""
        with self._books.lock:
            s = self._books.sessions.get((tenant, session))
            return s.snapshot if s else None

    def keep_snapshot(self, tenant: str, session: str, snapshot: Snapshot) -> None:
        """Keep a snapshot instead of an older one."""
        with self._books.lock:
            s = self._books.sessions.get((tenant, session))
            if s is not None and (s.snapshot.seq if s.snapshot else 0) < snapshot.seq <= len(s.ledger):
                s.snapshot = snapshot

    def evaluation(self, tenant: str, evaluation: str) -> EvaluationRecord | None:
        """The evaluation of that id."""
        with self._books.lock:
            e = self._books.evaluations.get(evaluation)
            return None if e is None or e.tenant != tenant else _evaluation_record(e)

    def tenant_of(self, evaluation: str) -> str | None:
        """The tenant to which an evaluation id belongs."""
        with self._books.lock:
            home = self._books.homes.get(evaluation)
            return None if home is None else home[0]

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
                nonce="" if done else m.nonce,
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

    def running(self) -> Iterator[EvaluationRecord]:
        """The evaluations that have not ended."""
        with self._books.lock:
            return iter([_evaluation_record(e) for e in self._books.evaluations.values() if not e.ended_seq])

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
                raise _busy(s)
            if forks := self.forks(tenant, session):
                raise still_forked(session, forks)
            self._drop(s)
            return True

    def expire(self, *, older_than: float, limit: int = 100, archive: Archiving | None = None) -> int:
        """Drop up to `limit` sessions that did not change for `older_than` seconds."""
        until, dropped = self._books.now() - older_than, 0
        for s in self._unchanged(until):
            if dropped == limit:
                break
            where = "" if archive is None else archive(s.tenant, s.id)
            if where is not None:
                with self._books.lock:
                    dropped += self._retired(s, where, s.updated <= until)
        return dropped

    def retire(self, tenant: str, session: str, *, head: int, where: str) -> bool:
        """Drop a session that is archived."""
        with self._books.lock:
            s = self._books.sessions.get((tenant, session))
            if s is None:
                return False
            if s.current:
                raise _busy(s)
            if forks := self.forks(tenant, session):
                raise still_forked(session, forks)
            return self._retired(s, where, len(s.ledger) == head)

    def expired(self, tenant: str, session: str) -> bool:
        """Whether a session of that name was dropped by its retention, or retired."""
        return self._tombstone(tenant, session) is not None

    def archived(self, tenant: str, session: str) -> str:
        """Where a session that was dropped is archived."""
        return self._tombstone(tenant, session) or ""

    def restore(
        self,
        tenant: str,
        session: str,
        *,
        created_at: float,
        events: Sequence[Recorded],
        evaluations: Sequence[EvaluationRecord],
    ) -> bool:
        """Write a whole session."""
        books = self._books
        with books.lock:
            if (tenant, session) in books.sessions:
                return False
            for one in evaluations:
                home = tenant, session, one.prompt
                if one.id in books.evaluations or books.homes.get(one.id, home) != home:
                    raise taken(one.id)
            s = Work(books).opened(tenant, session)
            s.created, s.ledger, s.evaluations = created_at, list(events), [one.id for one in evaluations]
            for one in evaluations:
                books.homes[one.id] = tenant, session, one.prompt
                books.evaluations[one.id] = _restored(one)
            return True

    def _unchanged(self, until: float) -> list[SessionBook]:
        with self._books.lock:
            old = [s for s in self._books.sessions.values() if s.updated <= until and not s.current]
            old = [s for s in old if not self.forks(s.tenant, s.id)]
            return sorted(old, key=lambda s: (self._books.partition(s.id), s.updated, f"{s.tenant}:{s.id}"))

    def _retired(self, s: SessionBook, where: str, unchanged: bool) -> bool:
        if s.current or not unchanged or self._books.sessions.get((s.tenant, s.id)) is not s:
            return False
        self._drop(s)
        self._books.tombstones[s.tenant, s.id] = self._books.now() + TOMBSTONE_SECONDS, where
        return True

    def _tombstone(self, tenant: str, session: str) -> str | None:
        with self._books.lock:
            until, where = self._books.tombstones.get((tenant, session), (0.0, ""))
            return where if self._books.now() < until else None

    def _drop(self, s: SessionBook) -> None:
        del self._books.sessions[s.tenant, s.id]
        for name in s.evaluations:
            e = self._books.evaluations.pop(name)
            del self._books.homes[name]
            for message in (*e.open, *e.dead):
                del self._books.messages[self._books.partition(s.id), message]


def _busy(s: SessionBook) -> SessionBusyError:
    return SessionBusyError(f"session {s.id!r} runs evaluation {s.current!r}: cancel it, or wait for its end")


def _restored(record: EvaluationRecord) -> EvaluationBook:
    """An evaluation that has ended. Nothing is owed of it, so its outcome is only in the ledger."""
    told = Message(
        id=outcome_id(record.id),
        kind="outcome",
        mailbox=record.mailbox,
        task="",
        tenant=record.tenant,
        session=record.session,
        evaluation=record.id,
    )
    known = {
        name: getattr(record, name) for name in record.__struct_fields__ if name not in ("mailbox", "open_messages")
    }
    return EvaluationBook(first=record.id, outcome=told, **known)


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
        mailbox=e.outcome.mailbox,
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
        parent=s.parent,
        base=s.base,
    )
