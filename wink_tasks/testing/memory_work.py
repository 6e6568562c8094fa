"""What a command does to messages, sessions and evaluations in memory: twin of the fragments in adapters/redis/lua."""

from __future__ import annotations

from msgspec import structs

from wink_tasks.core.delivery import TABLE, Command, Message, State, ring_pause
from wink_tasks.core.events import (
    AnyEvent,
    EvaluationCancelled,
    EvaluationFailed,
    Recorded,
    StepDied,
)
from wink_tasks.ports.ledger import Status
from wink_tasks.ports.mailbox import Address, Claimed, Doorbell, Receipt
from wink_tasks.testing.memory_books import Books, EvaluationBook, MessageBook, SessionBook

OPEN = ("ready", "delayed", "leased")


class Work:
    """One command: the time it happens at, and the messages that became ready by it."""

    def __init__(self, books: Books) -> None:
        self.books = books
        self.now = books.now()
        self._bells: list[MessageBook] = []

    def evaluation_of(self, m: MessageBook) -> EvaluationBook:
        """The evaluation of a message."""
        return self.books.evaluations[m.sent.evaluation]

    def session_of(self, m: MessageBook) -> SessionBook:
        """The session of a message."""
        return self.books.sessions[m.sent.tenant, m.sent.session]

    def doorbells(self) -> tuple[Doorbell, ...]:
        """What is to be rung."""
        return tuple(Doorbell.of(m.sent) for m in self._bells if m.state == "ready")

    def ready(self) -> list[MessageBook]:
        """The messages that became ready, in order."""
        return list(self._bells)

    def append(self, s: SessionBook, actor: str, event: AnyEvent) -> int:
        """Record an event; its sequence number."""
        s.updated = self.now
        s.ledger.append(Recorded(len(s.ledger) + 1, self.now, actor, event))
        return len(s.ledger)

    def create(self, sent: Message, *, first: int = 0, also: int | None = None) -> MessageBook:
        """Owe a message. Of what it reads, numbers up to zero count from `first`; it reads `also` in addition."""
        reads = tuple(seq if seq > 0 else first - seq for seq in sent.reads)
        m = MessageBook(sent, sent.needs, reads if also is None else (*reads, also))
        self.books.messages[self.books.partition(sent.session), sent.id] = m
        self.evaluation_of(m).open.add(sent.id)
        return m

    def place(self, m: MessageBook) -> None:
        """Let a new or freed message wait, or be ready."""
        start, limit = m.sent.not_before, m.sent.limit_at
        if m.needs > 0:
            self._at(m, "delayed", limit)
        elif start > self.now:
            self._at(m, "delayed", start if limit is None else min(start, limit))
        else:
            self.ring(m, 1)

    def ring(self, m: MessageBook, rings: int) -> None:
        """Make a message ready, and have its doorbell rung for the `rings`-th time."""
        m.rings = rings
        self._at(m, "ready", self.now + ring_pause(rings))
        self._bells.append(m)

    def delay(self, m: MessageBook, seconds: float) -> None:
        """Hide a message."""
        self._at(m, "delayed", self.now + seconds)

    def hold(self, m: MessageBook, command: Command) -> None:
        """Lease a message for its visibility timeout from now."""
        self._at(m, TABLE[m.state][command], self.now + m.sent.visibility_timeout)

    def lease(self, m: MessageBook, owner: str, nonce: str) -> None:
        """Give a message to a claimer."""
        e = self.evaluation_of(m)
        m.epoch, m.deliveries, m.owner, m.nonce = m.epoch + 1, m.deliveries + 1, owner, nonce
        self.hold(m, "claim")
        if not e.ended_seq:
            e.status = "STARTED"
            e.started_at = e.started_at or self.now

    def wake(self, message: MessageBook | None) -> None:
        """One thing less to wait for."""
        if message is None or message.state not in OPEN or not message.needs:
            return
        message.needs -= 1
        if not message.needs and message.state == "delayed":
            self.place(message)

    def close(self, m: MessageBook, command: Command) -> None:
        """Nothing is owed any more."""
        self._at(m, TABLE[m.state][command], None)
        self.evaluation_of(m).open.discard(m.sent.id)

    def finish(self, e: EvaluationBook, s: SessionBook, status: Status) -> None:
        """Close what is open, make the outcome, and let the next evaluation of the session begin."""
        e.status, e.ended_seq, e.ended_at = status, len(s.ledger), self.now
        for m in self._owed(e):
            self.close(m, "cancel")
        self.place(self.create(e.outcome, also=e.ended_seq))
        if s.current != e.id:
            s.waiting.remove(e.id)
            return
        s.current = s.waiting.pop(0) if s.waiting else ""
        if s.current:
            following = self.books.evaluations[s.current]
            if following.status == "WAITING":
                following.status = "PENDING"
            self.wake(self.books.message(s.id, following.first))

    def halt(self, e: EvaluationBook, s: SessionBook, actor: str) -> None:
        """Close what nobody works on; end the evaluation if that was all."""
        owed = self._owed(e)
        for m in owed:
            if m.state != "leased":
                self.close(m, "cancel")
        if not e.open:
            self.append(s, actor, EvaluationCancelled(evaluation=e.id, reason=e.reason))
            self.finish(e, s, "REVOKED")

    def bury(self, m: MessageBook, reason: str, error: str, actor: str) -> None:
        """Make a dead letter: a dead call counts as answered, a dead turn ends its evaluation."""
        e, s = self.evaluation_of(m), self.session_of(m)
        self._at(m, TABLE[m.state]["bury"], None)
        m.error = error
        e.open.discard(m.sent.id)
        e.dead.append(m.sent.id)
        if e.ended_seq:
            return
        died = StepDied(evaluation=e.id, message=m.sent.id, reason=reason, error=error, call=m.sent.call or None)
        self.append(s, actor, died)
        if e.stopping:
            self.halt(e, s, actor)
        elif m.sent.kind == "call":
            self.wake(self.books.message(s.id, m.sent.wakes))
        else:
            why = f"{m.sent.id} is a dead letter: {reason}" + (f"; last error: {error}" if error else "")
            self.append(s, actor, EvaluationFailed(evaluation=e.id, code="DeadLetteredError", message=why))
            self.finish(e, s, "FAILURE")

    def hand(self, m: MessageBook, after: int | None, before: int | None = None) -> Claimed:
        """A message for its claimer, with the events after `after` and before `before`."""
        e, s = self.evaluation_of(m), self.session_of(m)
        reads = m.reads if m.sent.kind == "turn" else (e.accepted_seq, *m.reads)
        return Claimed(
            receipt=Receipt(Address(m.sent.tenant, m.sent.session, m.sent.id), m.epoch, m.nonce),
            message=structs.replace(m.sent, reads=m.reads),
            deliveries=m.deliveries,
            started_at=e.started_at,
            cancelled=e.stopping,
            head=len(s.ledger),
            opened_at=s.created,
            tail=() if after is None else tuple(s.ledger[after : None if before is None else before - 1]),
            read=tuple(s.ledger[seq - 1] for seq in reads),
        )

    def _owed(self, e: EvaluationBook) -> list[MessageBook]:
        partition = self.books.partition(e.session)
        return [self.books.messages[partition, message] for message in sorted(e.open)]

    def _at(self, m: MessageBook, state: State, due: float | None) -> None:
        if m.state != state:
            m.since = self.now
        m.state, m.due = state, None if due is None else round(due, 3)
