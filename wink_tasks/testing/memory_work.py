"""What a command does to messages, sessions and evaluations in memory: twin of the fragments in adapters/redis/lua."""

from __future__ import annotations

from msgspec import structs

from wink_tasks.core.delivery import RING_AGAIN, TABLE, Command, Lane, Message, State, on_its_last, ring_pause
from wink_tasks.core.events import (
    AnyEvent,
    Changed,
    EvaluationCancelled,
    EvaluationFailed,
    EvaluationPaused,
    EvaluationResumed,
    Recorded,
    StepDied,
    StepRevived,
)
from wink_tasks.core.ids import outcome_id
from wink_tasks.ports.ledger import Status
from wink_tasks.ports.mailbox import Address, Claimed, Doorbell, Effect, Receipt, Reopening
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

    def opened(self, tenant: str, name: str) -> SessionBook:
        """A session that nobody has written to."""
        s = SessionBook(tenant, name, created=self.now, updated=self.now)
        self.books.sessions[tenant, name] = s
        self.books.tombstones.pop((tenant, name), None)
        return s

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
        m.rings, m.bell = rings, round(self.now + len(self._bells) / 1e6, 6)
        m.rung = m.bell if rings == 1 else m.rung
        self._at(m, "ready", None)
        m.again = round(self.now + ring_pause(rings), 3)
        self._bells.append(m)
        self.books.lanes.setdefault(self.books.lane(m), Lane())

    def arrive(self, m: MessageBook) -> None:
        """One of a message's bells has arrived."""
        name = self.books.lane(m)
        lane = self.books.lanes[name]
        answers = self.books.probing.get(name) == m.sent.id
        passed = max(lane.passed, lane.probed if answers and self.now - lane.probed <= RING_AGAIN else m.rung)
        if answers:
            del self.books.probing[name]
            lane = structs.replace(lane, probes=0)
        self.books.lanes[name] = structs.replace(lane, passed=passed, claimed=self.now)

    def delay(self, m: MessageBook, seconds: float) -> None:
        """Hide a message."""
        self._at(m, "delayed", self.now + seconds)

    def hold(self, m: MessageBook, command: Command) -> None:
        """Lease a message for its visibility timeout from now."""
        self._at(m, TABLE[m.state][command], self.now + m.sent.visibility_timeout)

    def lease(self, m: MessageBook, owner: str, nonce: str) -> None:
        """Give a message to a claimer."""
        e = self.evaluation_of(m)
        m.claimed_at = m.claimed_at or self.now
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

    def finish(self, e: EvaluationBook, s: SessionBook, status: Status, died: str = "") -> None:
        """Close what is open, make the outcome, and let the next evaluation of the session begin."""
        e.died = died
        e.status, e.ended_seq, e.ended_at = status, len(s.ledger), self.now
        for m in self._owed(e):
            self.close(m, "cancel")
        outcome = structs.replace(e.outcome, id=outcome_id(e.id, e.resumed)) if e.resumed else e.outcome
        self.place(self.create(outcome, also=e.ended_seq))
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

    def bury(self, m: MessageBook, reason: str, error: str, actor: str, code: str = "", *, final: bool = False) -> None:
        """Make a dead letter: a dead call counts as answered, a dead turn or task ends its evaluation.

        `code` is an error class for an end that DeadLetteredError would not describe; nothing resumes a `final` one.
        """
        e, s = self.evaluation_of(m), self.session_of(m)
        self._at(m, TABLE[m.state]["bury"], None)
        m.reason, m.error = reason, error
        e.open.discard(m.sent.id)
        e.dead.append(m.sent.id)
        if e.ended_seq:
            return
        call = m.sent.call or None
        died = StepDied(evaluation=e.id, message=m.sent.id, reason=reason, error=error, call=call, code=code)
        self.append(s, actor, died)
        if e.stopping:
            self.halt(e, s, actor)
        elif m.sent.kind == "call":
            self.wake(self.books.message(s.id, m.sent.wakes))
        else:
            why = f"{m.sent.id} is a dead letter: {reason}" + (f"; last error: {error}" if error else "")
            self.append(s, actor, EvaluationFailed(evaluation=e.id, code=code or "DeadLetteredError", message=why))
            self.finish(e, s, "FAILURE", "" if final else m.sent.id)

    def pause(self, e: EvaluationBook, s: SessionBook, m: MessageBook, why: str) -> None:
        """A message is held back: its evaluation's clock stands still, if it does not already."""
        if e.paused or e.ended_seq or e.stopping:
            return
        self.append(s, m.owner, EvaluationPaused(evaluation=e.id, reason=why))
        e.paused, e.paused_at = m.sent.id, self.now

    def resume(
        self, e: EvaluationBook, s: SessionBook, actor: str, since: float, changed: Changed | None = None
    ) -> float:
        """Let the clock of an evaluation run on that stood still since `since`; for how many seconds it did."""
        seconds = round(self.now - since, 3)
        self.append(s, actor, EvaluationResumed(evaluation=e.id, seconds=seconds, changed=changed))
        e.started_at = round(e.started_at + seconds, 3)
        e.paused = ""
        return seconds

    def revive(self, m: MessageBook, by: str) -> Effect:
        """Try a dead letter again, or close it where that would change nothing."""
        e, s = self.evaluation_of(m), self.session_of(m)
        moot = self._moot(m, e)
        if moot == "early":
            return moot
        e.dead.remove(m.sent.id)
        if moot is not None:
            self._at(m, "done", None)
            return moot
        self.append(s, by, StepRevived(evaluation=e.id, message=m.sent.id, by=by))
        m.pardoned, m.nonce, m.owner = m.deliveries, "", ""
        if m.sent.kind != "outcome":
            seconds = self.resume(e, s, by, e.ended_at)
            e.resumed += 1
            e.ended_seq, e.ended_at, e.died, e.first = 0, 0.0, "", m.sent.id
            e.open.add(m.sent.id)
            if s.current:
                e.status, m.needs = "WAITING", 1
                s.waiting.append(e.id)
                self._at(m, "delayed", None if m.sent.limit_at is None else m.sent.limit_at + seconds)
                return "waiting"
            e.status, s.current = "STARTED", e.id
        e.open.add(m.sent.id)
        self.ring(m, 1)
        return "ready"

    def reopen(self, e: EvaluationBook, s: SessionBook, reopening: Reopening) -> None:
        """Let an evaluation go on that failed, with a new message."""
        letter = self.books.message(s.id, e.died)
        if letter is not None and letter.state == "dead":
            e.dead.remove(e.died)
            self._at(letter, "done", None)
        self.resume(e, s, reopening.by, e.ended_at, reopening.changed)
        e.resumed, e.outcome, e.status = e.resumed + 1, reopening.outcome, "STARTED"
        e.ended_seq, e.ended_at, e.died, e.first = 0, 0.0, "", reopening.message.id
        s.current = e.id
        self.place(self.create(reopening.message))

    def _moot(self, m: MessageBook, e: EvaluationBook) -> Effect | None:
        """Why a dead letter is not tried again; None where it is."""
        if m.sent.kind == "call":
            return "answered"
        if m.sent.kind == "outcome":
            newest = e.ended_seq and m.sent.id == outcome_id(e.id, e.resumed)
            return None if newest else "ended"
        if e.died != m.sent.id:
            return "ended"
        return "early" if e.open else None

    def hand(self, m: MessageBook, after: int | None, before: int | None = None) -> Claimed:
        """A message for its claimer, with the events after `after` and before `before`."""
        e, s = self.evaluation_of(m), self.session_of(m)
        reads = (e.accepted_seq, *m.reads) if m.sent.kind in ("call", "outcome") else m.reads
        return Claimed(
            receipt=Receipt(Address(m.sent.tenant, m.sent.session, m.sent.id), m.epoch, m.nonce),
            message=structs.replace(m.sent, reads=m.reads),
            deliveries=m.deliveries,
            pardoned=m.pardoned,
            last=on_its_last(m.deliveries, m.pardoned, m.lost, m.sent.max_retries),
            started_at=round(e.started_at + (self.now - e.paused_at if e.paused else 0.0), 3),
            cancelled=e.stopping,
            head=len(s.ledger),
            opened_at=s.created,
            tail=() if after is None else tuple(s.ledger[max(after, s.base) : None if before is None else before - 1]),
            read=tuple(s.ledger[seq - 1] for seq in reads),
            paused=e.paused == m.sent.id,
            checkpoint=m.checkpoint,
        )

    def _owed(self, e: EvaluationBook) -> list[MessageBook]:
        partition = self.books.partition(e.session)
        return [self.books.messages[partition, message] for message in sorted(e.open)]

    def _at(self, m: MessageBook, state: State, due: float | None) -> None:
        if m.state != state:
            m.since = self.now
        m.state, m.due, m.again = state, None if due is None else round(due, 3), None
