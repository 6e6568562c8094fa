"""The mailbox in memory."""

from __future__ import annotations

import math
import secrets
from collections.abc import Iterable, Mapping, Sequence

from wink_tasks.core.delivery import LONGEST_ERROR, claimable, out_of_retries
from wink_tasks.core.errors import DuplicateError, LeaseLostError, SessionBusyError, UnknownRunError
from wink_tasks.core.events import CancelRequested, SessionOpened
from wink_tasks.ports.ledger import STATUS_OF
from wink_tasks.ports.mailbox import (
    Acceptance,
    Accepted,
    Address,
    Claimed,
    Depth,
    Doorbell,
    NotClaimed,
    Receipt,
    Settled,
    Settlement,
    Standing,
)
from wink_tasks.testing.memory_books import Books, EvaluationBook, MessageBook, SessionBook
from wink_tasks.testing.memory_work import OPEN, Work


class MemoryMailbox:
    """See the port for what each command does."""

    def __init__(self, books: Books) -> None:
        self._books = books

    def accept(self, acceptance: Acceptance) -> Accepted:
        """Open the session where there is none, record the run, and owe its first turn."""
        event, sent, books = acceptance.event, acceptance.message, self._books
        with books.lock:
            work, home = Work(books), (sent.tenant, sent.session, event.prompt)
            if books.homes.get(event.evaluation, home) != home:
                raise DuplicateError(
                    f"evaluation id {event.evaluation!r} belongs to another session, tenant or prompt already: "
                    "choose another"
                )
            if books.partition(event.evaluation) != books.partition(sent.session):
                books.homes[event.evaluation] = home
            known = books.evaluations.get(event.evaluation)
            if known is not None:
                return Accepted(created=False, seq=known.accepted_seq)
            s = books.sessions.get((sent.tenant, sent.session))
            if s is not None and s.current and acceptance.busy == "reject":
                raise SessionBusyError(f"session {sent.session!r} runs evaluation {s.current!r}: wait for it")
            books.homes[event.evaluation] = home
            s = s or self._opened(work, acceptance)
            e = EvaluationBook(
                id=event.evaluation,
                tenant=sent.tenant,
                session=sent.session,
                prompt=event.prompt,
                first=sent.id,
                outcome=acceptance.outcome,
                status="WAITING" if s.current else "PENDING",
                accepted_seq=work.append(s, acceptance.actor, event),
                accepted_at=work.now,
            )
            books.evaluations[e.id] = e
            s.evaluations.append(e.id)
            m = work.create(sent, also=e.accepted_seq)
            if s.current:
                m.needs = 1
                s.waiting.append(e.id)
            else:
                s.current = e.id
            work.place(m)
            return Accepted(created=True, seq=e.accepted_seq, doorbells=work.doorbells())

    def claim(self, address: Address, *, task: str, owner: str, after: int | None) -> Claimed | NotClaimed:
        """Take the message for its visibility timeout."""
        with self._books.lock:
            work, m = Work(self._books), self._books.message(address.session, address.message)
            asked = address.tenant, address.session, task
            if m is None or m.state not in OPEN or (m.sent.tenant, m.sent.session, m.sent.task) != asked:
                return NotClaimed(reason="gone")
            if not claimable(m.state, now=work.now, due=math.inf if m.due is None else m.due):
                return NotClaimed(reason="busy")
            work.lease(m, owner, secrets.token_hex(8))
            if not out_of_retries(m.deliveries, m.pardoned, m.sent.max_retries):
                return work.hand(m, after)
            work.bury(m, _exhausted(m, m.deliveries - m.pardoned - 1), m.error, owner)
            return NotClaimed(reason="dead", doorbells=work.doorbells())

    def extend(self, receipts: Sequence[Receipt]) -> Sequence[Standing]:
        """Hold each message for another visibility timeout from now."""
        with self._books.lock:
            return [self._extend(Work(self._books), receipt) for receipt in receipts]

    def settle(self, settlement: Settlement) -> Settled:
        """Append the events, end the message, and create what follows."""
        with self._books.lock:
            work, m = Work(self._books), self._held("settle", settlement.receipt)
            e, s = work.evaluation_of(m), work.session_of(m)
            first = len(s.ledger) + 1
            work.close(m, "settle")
            for event in settlement.events:
                work.append(s, settlement.actor, event)
            if settlement.end is not None:
                work.append(s, settlement.actor, settlement.end)
                work.finish(e, s, STATUS_OF[type(settlement.end)])
            elif e.stopping:
                work.halt(e, s, settlement.actor)
            else:
                for message in settlement.messages:
                    work.place(work.create(message, first=first))
                work.wake(self._books.message(s.id, m.sent.wakes))
            serves = set(settlement.serves)
            mine = next((bell for bell in work.ready() if bell.sent.mailbox in serves), None)
            if mine is not None:
                work.lease(mine, m.owner, secrets.token_hex(8))
            return Settled(
                first=first,
                ended=bool(e.ended_seq),
                doorbells=work.doorbells(),
                claimed=None if mine is None else work.hand(mine, settlement.after, first),
            )

    def nack(self, receipt: Receipt, *, delay: float, counts: bool, error: str) -> tuple[Doorbell, ...]:
        """Give the message back, to be claimed after `delay` seconds."""
        with self._books.lock:
            work, m = Work(self._books), self._held("nack", receipt)
            e, s, owner = work.evaluation_of(m), work.session_of(m), m.owner
            m.pardoned += not counts
            m.error, m.nonce, m.owner = error[:LONGEST_ERROR], "", ""
            if e.stopping:
                work.close(m, "cancel")
                work.halt(e, s, owner)
            elif counts and out_of_retries(m.deliveries + 1, m.pardoned, m.sent.max_retries):
                work.bury(m, _exhausted(m, m.deliveries - m.pardoned), m.error, owner)
            elif delay > 0:
                work.delay(m, delay)
            else:
                work.ring(m, 1)
            return work.doorbells()

    def bury(self, receipt: Receipt, *, reason: str, error: str) -> tuple[Doorbell, ...]:
        """Make the message a dead letter now."""
        with self._books.lock:
            work, m = Work(self._books), self._held("bury", receipt)
            work.bury(m, reason[:LONGEST_ERROR], error[:LONGEST_ERROR], m.owner)
            return work.doorbells()

    def cancel(self, tenant: str, evaluation: str, *, by: str, reason: str) -> tuple[Doorbell, ...]:
        """Record the wish, close what nobody works on, and end the evaluation where nobody works on it at all."""
        with self._books.lock:
            work, e = Work(self._books), self._books.evaluations.get(evaluation)
            if e is None or e.tenant != tenant:
                raise UnknownRunError(f"tenant {tenant!r} has no evaluation {evaluation!r}")
            if not (e.cancelled or e.ended_seq):
                e.cancelled, e.reason = True, reason
                s = self._books.sessions[e.tenant, e.session]
                work.append(s, by, CancelRequested(evaluation=evaluation, by=by, reason=reason))
                work.halt(e, s, by)
            return work.doorbells()

    def reap(self, *, limit: int = 100) -> tuple[Doorbell, ...]:
        """Make ready what is due, and ring again."""
        with self._books.lock:
            return tuple(bell for partition in range(self._books.partitions) for bell in self._reap(partition, limit))

    def depth(self, mailboxes: Iterable[str]) -> Mapping[str, Depth]:
        """Depth and age of each mailbox."""
        with self._books.lock:
            return {mailbox: self._depth(mailbox) for mailbox in mailboxes}

    def _opened(self, work: Work, acceptance: Acceptance) -> SessionBook:
        tenant, name = acceptance.message.tenant, acceptance.message.session
        s = SessionBook(tenant, name, created=work.now, updated=work.now)
        work.append(s, acceptance.actor, SessionOpened(tenant=tenant, session=name))
        self._books.sessions[tenant, name] = s
        self._books.tombstones.pop((tenant, name), None)
        return s

    def _extend(self, work: Work, receipt: Receipt) -> Standing:
        m = self._newest(receipt)
        if m is None:
            return "stale"
        work.hold(m, "extend")
        return "cancelled" if work.evaluation_of(m).stopping else "held"

    def _reap(self, partition: int, limit: int) -> tuple[Doorbell, ...]:
        work = Work(self._books)
        owed = [
            (m.due, name)
            for (place, name), m in self._books.messages.items()
            if place == partition and m.due is not None and m.due <= work.now
        ]
        for due, name in sorted(owed)[:limit]:
            m = self._books.messages[partition, name]
            if m.due != due:
                continue
            e = work.evaluation_of(m)
            if m.state == "leased" and e.stopping:
                work.close(m, "cancel")
                work.halt(e, work.session_of(m), "reaper")
            else:
                work.ring(m, m.rings + 1 if m.state == "ready" else 1)
        return work.doorbells()

    def _depth(self, mailbox: str) -> Depth:
        here = [m for m in self._books.messages.values() if m.sent.mailbox == mailbox]
        since = {state: [m.since for m in here if m.state == state] for state in (*OPEN, "dead")}
        now = self._books.now()
        return Depth(
            ready=len(since["ready"]),
            leased=len(since["leased"]),
            dead=len(since["dead"]),
            age=now - min(since["ready"], default=now),
        )

    def _newest(self, receipt: Receipt) -> MessageBook | None:
        m = self._books.message(receipt.address.session, receipt.address.message)
        holds = m is not None and m.state in OPEN and (m.epoch, m.nonce) == (receipt.epoch, receipt.nonce)
        return m if holds else None

    def _held(self, name: str, receipt: Receipt) -> MessageBook:
        m = self._newest(receipt)
        if m is None:
            message = receipt.address.message
            raise LeaseLostError(f"cannot {name} message {message!r}: another worker has it, or it is closed")
        return m


def _exhausted(m: MessageBook, tried: int) -> str:
    return f"{tried} deliveries did not end it (max_retries {m.sent.max_retries})"
