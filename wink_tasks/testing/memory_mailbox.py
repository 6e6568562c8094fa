"""The mailbox in memory."""

from __future__ import annotations

import math
import secrets
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence

import msgspec
from msgspec import structs

from wink_tasks.core.codec import clean, encode
from wink_tasks.core.delivery import (
    LONGEST_ERROR,
    LONGEST_TRACEBACK,
    claimable,
    not_dead,
    on_its_last,
    out_of_retries,
    outcome_unknown,
)
from wink_tasks.core.errors import (
    LeaseLostError,
    NotDeadError,
    OutcomeUnknownError,
    SessionBusyError,
    UnknownRunError,
    taken,
)
from wink_tasks.core.events import CancelRequested, Json, SessionOpened
from wink_tasks.ports.ledger import STATUS_OF
from wink_tasks.ports.mailbox import (
    Acceptance,
    Accepted,
    Address,
    Claimed,
    Depth,
    Doorbell,
    Listed,
    Mailbox,
    NotClaimed,
    Peeked,
    Receipt,
    Reopened,
    Reopening,
    Revived,
    Settled,
    Settlement,
    Standing,
)
from wink_tasks.testing.memory_books import EvaluationBook, MessageBook
from wink_tasks.testing.memory_ringing import MemoryRinging
from wink_tasks.testing.memory_work import OPEN, Work

UNKNOWN = "it was begun, did not end, and runs at most once (max_retries 0)"


class MemoryMailbox(MemoryRinging, Mailbox):
    """See the port for what each command does."""

    def accept(self, acceptance: Acceptance) -> Accepted:
        """Open the session where there is none, record the run, and owe its first turn."""
        event, sent, books = acceptance.event, acceptance.message, self._books
        encode(event)
        with books.lock:
            work, home = Work(books), (sent.tenant, sent.session, event.prompt)
            if books.homes.get(event.evaluation, home) != home:
                raise taken(event.evaluation)
            if books.partition(event.evaluation) != books.partition(sent.session):
                books.homes[event.evaluation] = home
            known = books.evaluations.get(event.evaluation)
            if known is not None:
                return Accepted(created=False, seq=known.accepted_seq)
            s = books.sessions.get((sent.tenant, sent.session))
            if s is not None and sent.session == event.evaluation:
                raise taken(event.evaluation)
            if s is not None and s.current and acceptance.busy == "reject":
                raise SessionBusyError(f"session {sent.session!r} runs evaluation {s.current!r}: wait for it")
            books.homes[event.evaluation] = home
            if s is None:
                s = work.opened(sent.tenant, sent.session)
                work.append(s, acceptance.actor, SessionOpened(tenant=sent.tenant, session=sent.session))
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

    def claim(
        self, address: Address, *, task: str, owner: str, after: int | None, patient: bool = False, put_off: float = 0.0
    ) -> Claimed | NotClaimed:
        """Take the message for its visibility timeout."""
        with self._books.lock:
            work, m = Work(self._books), self._books.message(address.session, address.message)
            asked = address.tenant, address.session, task
            if m is None or m.state not in OPEN or (m.sent.tenant, m.sent.session, m.sent.task) != asked:
                return NotClaimed(reason="gone")
            due = math.inf if m.due is None or (patient and m.state == "leased") else m.due
            if not claimable(m.state, now=work.now, due=due):
                return NotClaimed(reason="busy")
            m.lost += m.state == "leased"
            if m.state == "ready":
                work.arrive(m)
            work.lease(m, owner, secrets.token_hex(8))
            if not out_of_retries(m.deliveries, m.pardoned, m.sent.max_retries):
                if put_off and on_its_last(m.deliveries, m.pardoned, m.lost, m.sent.max_retries):
                    m.pardoned, m.nonce, m.owner = m.pardoned + 1, "", ""
                    work.delay(m, put_off)
                    return NotClaimed(reason="busy")
                return work.hand(m, after)
            if outcome_unknown(m.sent.kind, m.sent.max_retries):
                work.bury(m, UNKNOWN, m.error, owner, OutcomeUnknownError.__name__, final=True)
            else:
                work.bury(m, _exhausted(m, m.deliveries - m.pardoned - 1), m.error, owner)
            return NotClaimed(reason="dead", doorbells=work.doorbells())

    def extend(self, receipts: Sequence[Receipt]) -> Sequence[Standing]:
        """Hold each message for another visibility timeout from now."""
        with self._books.lock:
            return [self._extend(Work(self._books), receipt) for receipt in receipts]

    def settle(self, settlement: Settlement) -> Settled:
        """Append the events, end the message, and create what follows."""
        for event in (*settlement.events, settlement.end):
            encode(event)
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

    def nack(
        self,
        receipt: Receipt,
        *,
        delay: float,
        counts: bool,
        error: str,
        traceback: str = "",
        paused: str = "",
        begun: bool = False,
    ) -> tuple[Doorbell, ...]:
        """Give the message back, to be claimed after `delay` seconds."""
        with self._books.lock:
            work, m = Work(self._books), self._held("nack", receipt)
            e, s, owner = work.evaluation_of(m), work.session_of(m), m.owner
            m.pardoned += not counts
            m.error, m.traceback = error[:LONGEST_ERROR] or m.error, traceback[-LONGEST_TRACEBACK:]
            if paused:
                work.pause(e, s, m, paused[:LONGEST_ERROR])
            m.nonce, m.owner = "", ""
            if e.stopping:
                work.close(m, "cancel")
                work.halt(e, s, owner)
            elif begun and outcome_unknown(m.sent.kind, m.sent.max_retries):
                work.bury(m, UNKNOWN, m.error, owner, OutcomeUnknownError.__name__, final=True)
            elif counts and out_of_retries(m.deliveries + 1, m.pardoned, m.sent.max_retries):
                work.bury(m, _exhausted(m, m.deliveries - m.pardoned), m.error, owner)
            elif delay > 0:
                work.delay(m, delay)
            else:
                work.ring(m, 1)
            return work.doorbells()

    def resume(self, receipt: Receipt, *, after: int | None) -> Claimed:
        """Let the clock run on of an evaluation whose message was held back."""
        with self._books.lock:
            work, m = Work(self._books), self._held("resume", receipt)
            e = work.evaluation_of(m)
            if e.paused == m.sent.id:
                work.resume(e, work.session_of(m), m.owner, e.paused_at)
            return work.hand(m, after)

    def bury(
        self, receipt: Receipt, *, reason: str, error: str, traceback: str = "", code: str = ""
    ) -> tuple[Doorbell, ...]:
        """Make the message a dead letter now."""
        with self._books.lock:
            work, m = Work(self._books), self._held("bury", receipt)
            m.traceback = traceback[-LONGEST_TRACEBACK:]
            work.bury(m, reason[:LONGEST_ERROR], error[:LONGEST_ERROR], m.owner, code)
            return work.doorbells()

    def checkpoint(self, receipt: Receipt, value: Json) -> None:
        """Keep how far the step is."""
        with self._books.lock:
            self._held("checkpoint", receipt).checkpoint = msgspec.json.decode(encode(value))

    def wake(self, address: Address) -> tuple[Doorbell, ...]:
        """Make a message ready now that is delayed until a time."""
        with self._books.lock:
            work, m = Work(self._books), self._at(address)
            if m is not None and m.state == "delayed" and not m.needs:
                work.ring(m, 1)
            return work.doorbells()

    def revive(self, address: Address, *, by: str) -> Revived:
        """Try a dead letter again."""
        with self._books.lock:
            work, m = Work(self._books), self._at(address)
            if m is None or m.state != "dead":
                state = self._books.message(address.session, address.message)
                raise NotDeadError(not_dead(address.message, address.tenant, "" if state is None else state.state))
            return Revived(effect=work.revive(m, clean(by)), doorbells=work.doorbells())

    def reopen(self, reopening: Reopening) -> Reopened:
        """Let an evaluation go on that failed."""
        with self._books.lock:
            work, e = Work(self._books), self._books.evaluations[reopening.message.evaluation]
            s = self._books.sessions[e.tenant, e.session]
            if len(s.ledger) != reopening.head or not e.ended_seq or s.current:
                return Reopened(effect="moved")
            if e.open:
                return Reopened(effect="early")
            work.reopen(e, s, reopening)
            return Reopened(effect="reopened", doorbells=work.doorbells())

    def purge(self, addresses: Sequence[Address]) -> int:
        """Forget these dead letters."""
        with self._books.lock:
            letters = {id(m): m for m in map(self._at, addresses) if m is not None and m.state == "dead"}
            for m in letters.values():
                self._books.evaluations[m.sent.evaluation].dead.remove(m.sent.id)
                del self._books.messages[self._books.partition(m.sent.session), m.sent.id]
            return len(letters)

    def peek(self, mailbox: str, *, state: Listed = "dead") -> Iterator[Peeked]:
        """The messages of a mailbox in that state."""
        with self._books.lock:
            here = [m for m in self._books.messages.values() if m.sent.mailbox == mailbox and m.state == state]
            return iter(sorted(map(_peeked, here), key=lambda one: (one.since, one.sent.id)))

    def dead(self) -> Mapping[str, int]:
        """The mailboxes that hold dead letters, and how many."""
        with self._books.lock:
            return dict(
                sorted(Counter(m.sent.mailbox for m in self._books.messages.values() if m.state == "dead").items())
            )

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

    def depth(self, mailboxes: Iterable[str]) -> Mapping[str, Depth]:
        """Depth and age of each mailbox."""
        with self._books.lock:
            return {mailbox: self._depth(mailbox) for mailbox in mailboxes}

    def _extend(self, work: Work, receipt: Receipt) -> Standing:
        m = self._newest(receipt)
        if m is None:
            return "stale"
        work.hold(m, "extend")
        return "cancelled" if work.evaluation_of(m).stopping else "held"

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

    def _at(self, address: Address) -> MessageBook | None:
        m = self._books.message(address.session, address.message)
        mine = m is not None and (m.sent.tenant, m.sent.session) == (address.tenant, address.session)
        return m if mine else None

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


def _peeked(m: MessageBook) -> Peeked:
    return Peeked(
        sent=structs.replace(m.sent, reads=m.reads),
        state=m.state,
        since=m.since,
        deliveries=m.deliveries,
        pardoned=m.pardoned,
        epoch=m.epoch,
        owner=m.owner,
        claimed_at=m.claimed_at,
        reason=m.reason,
        error=m.error,
        traceback=m.traceback,
    )
