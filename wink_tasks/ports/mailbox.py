"""The mailbox: work that is owed, and the commands that change it together with the ledger, all or nothing.

Every command may be repeated by its adapter after a lost reply: it carries a nonce, and answers the same to the same
nonce. All raise LedgerUnavailableError where the store cannot be reached or refuses to write, and ValueInvalidError
where something is to be written that is not JSON.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal, Protocol

import msgspec

from wink_tasks.core.contracts import require
from wink_tasks.core.delivery import Message, State
from wink_tasks.core.events import AnyEvent, Changed, EvaluationAccepted, Json, Recorded, Terminal

Standing = Literal["held", "cancelled", "stale"]
Listed = Literal["ready", "leased", "dead"]
Effect = Literal["ready", "waiting", "answered", "ended", "early"]


class Address(msgspec.Struct, frozen=True):
    """Where a message is: what a doorbell says."""

    tenant: str
    session: str
    message: str


class Receipt(msgspec.Struct, frozen=True):
    """The proof of a claim: a newer claim makes it stale."""

    address: Address
    epoch: int
    nonce: str


class Doorbell(msgspec.Struct, frozen=True, kw_only=True):
    """What has to be told to Celery: this message is ready in this mailbox, for this task."""

    address: Address
    mailbox: str
    task: str
    shown: str = ""
    priority: int | None = None
    trace: Mapping[str, str] = {}
    headers: Mapping[str, Any] = {}

    @classmethod
    def of(cls, message: Message) -> Doorbell:
        """The doorbell of `message`."""
        return cls(
            address=Address(message.tenant, message.session, message.id),
            mailbox=message.mailbox,
            task=message.task,
            shown=message.shown,
            priority=message.priority,
            trace=message.trace,
            headers=message.headers,
        )


class Acceptance(msgspec.Struct, frozen=True, kw_only=True):
    """A run to accept: its event, its first message, and whether it waits for a busy session (`busy="wait"`).

    `outcome` is the message that its end will make, whoever ends it.
    """

    event: EvaluationAccepted
    message: Message
    outcome: Message
    busy: Literal["wait", "reject"] = "wait"
    actor: str


class Accepted(msgspec.Struct, frozen=True, kw_only=True):
    """`created` is False when this very id was accepted before: its first handle stands.

    `doorbells` are to be rung (none where the run waits for its session or its time).
    """

    created: bool
    seq: int
    doorbells: tuple[Doorbell, ...] = ()


class Claimed(msgspec.Struct, frozen=True, kw_only=True):
    """A message in the hands of its claimer.

    `last`: it lost a delivery with its worker, and would be dead if it lost this one. `started_at` is when the
    evaluation was first claimed, moved by what its clock stood still since. `tail` are the ledger's events after the
    sequence number that the claimer knew; a settler that goes on is not told its own again, and none of a
    fork's that is its parent's. `read` are those that the message names, of a call and of an outcome after its
    EvaluationAccepted. `head` is the ledger's last sequence number, `opened_at` when its first event (a fork's first
    own) was written, which tells it from an earlier one of the same name.
    `cancelled`: it was asked to stop, and has not ended. `paused`: this message was held back, and its evaluation's
    clock stands still since. `checkpoint` is what an earlier delivery kept, None where none did.
    """

    receipt: Receipt
    message: Message
    deliveries: int
    pardoned: int = 0
    last: bool = False
    started_at: float
    cancelled: bool
    head: int
    opened_at: float
    tail: tuple[Recorded, ...] = ()
    read: tuple[Recorded, ...] = ()
    paused: bool = False
    checkpoint: Json = None

    @property
    def delivery_count(self) -> int:
        """WINK's word for `deliveries`: how often the message was claimed, this time included."""
        return self.deliveries

    @property
    def tries(self) -> int:
        """The deliveries that count, this one included."""
        return self.deliveries - self.pardoned


class NotClaimed(msgspec.Struct, frozen=True, kw_only=True):
    """`busy`: another holds it, or it is not due; `gone`: done, dead or forgotten; `dead`: buried by this claim."""

    reason: Literal["busy", "gone", "dead"]
    doorbells: tuple[Doorbell, ...] = ()


class Settlement(msgspec.Struct, frozen=True, kw_only=True):
    """What came of a step: its events, and the messages that follow from it.

    `end` is the terminal event, appended last; it closes all that is open of the evaluation, frees the session, and
    makes its outcome a message. `serves` are the mailboxes from which the settler would go on with the first message
    that became ready. `after` is the sequence number that it knows. A settlement that is given again with the `nonce`
    of one whose answer got lost is answered as that one.
    """

    receipt: Receipt
    actor: str
    nonce: str = ""
    events: Sequence[AnyEvent] = ()
    messages: Sequence[Message] = ()
    end: Terminal | None = None
    serves: Iterable[str] = ()
    after: int | None = None


class Settled(msgspec.Struct, frozen=True, kw_only=True):
    """`first` is the sequence number of the settlement's first event (head + 1 where it had none).

    `ended` tells that the evaluation is over: by this settlement, or because it was cancelled meanwhile and this was
    its last leased step. `claimed` is the successor that was leased to the settler.
    """

    first: int
    ended: bool
    doorbells: tuple[Doorbell, ...] = ()
    claimed: Claimed | None = None


class Depth(msgspec.Struct, frozen=True, kw_only=True):
    """How many messages of a mailbox are in a state; `age` is the seconds since the oldest ready one became ready."""

    ready: int = 0
    leased: int = 0
    dead: int = 0
    age: float = 0.0


class Peeked(msgspec.Struct, frozen=True, kw_only=True):
    """A message as it lies in its mailbox, looked at without a claim. Times are epoch seconds.

    `since` is when it came to its state, so when a dead letter died; `claimed_at` when it was claimed for the first
    time. `error` is the last failure, as "class: message", `reason` why it died.
    """

    sent: Message
    state: State
    since: float
    deliveries: int
    pardoned: int
    epoch: int
    owner: str = ""
    claimed_at: float = 0.0
    reason: str = ""
    error: str = ""
    traceback: str = ""

    @property
    def address(self) -> Address:
        """Where it is."""
        return Address(self.sent.tenant, self.sent.session, self.sent.id)


class Revived(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a dead letter that was revived.

    `ready`: it is tried again; `waiting`: as soon as its session is free; `answered`: its call counts as answered, and
    its evaluation went on; `ended`: its evaluation has ended otherwise. These two end it without any effect. `early`:
    the end by its death has not been told to Celery yet, and it stays dead until then.
    """

    effect: Effect
    doorbells: tuple[Doorbell, ...] = ()


class Reopening(msgspec.Struct, frozen=True, kw_only=True):
    """An evaluation that failed, and is to go on: with `message` for its next turn, and `outcome` for its next end.

    `head` is the session's last sequence number as the caller knows it, `changed` the terms that are others from then.
    """

    message: Message
    outcome: Message
    head: int
    changed: Changed | None = None
    by: str


class Reopened(msgspec.Struct, frozen=True, kw_only=True):
    """Whether an evaluation goes on.

    `moved`: its session has come further than the caller knows, or runs something; `early`: its end has not been told
    to Celery yet. Then nothing has changed.
    """

    effect: Literal["reopened", "moved", "early"]
    doorbells: tuple[Doorbell, ...] = ()


class Mailbox(Protocol):
    """The commands. Core decides whether, the store makes it atomic.

    WINK's `send` is `accept` for a new evaluation and `Settlement.messages` for all that follows: nothing is owed
    without the event that calls for it.
    """

    def accept(self, acceptance: Acceptance) -> Accepted:
        """Open the session where there is none, record the run, and owe its first turn.

        Raises DuplicateError where the id belongs to another session, tenant or prompt, or where the evaluation would
        open a session of its own id that there is already; SessionBusyError.
        """
        ...

    def claim(
        self, address: Address, *, task: str, owner: str, after: int | None, patient: bool = False, put_off: float = 0.0
    ) -> Claimed | NotClaimed:
        """Take the message for its visibility timeout. `after` None asks for no tail.

        Who is `patient` leaves an expired lease to the reaper, which knows whether anybody could have renewed it.
        `put_off` is for a process that has one of the kind in hand: a message that lost deliveries with its workers
        and is on its last is `busy`, and delayed by so many seconds, uncounted.

        A message out of retries is buried instead: `StepDied` is recorded, a tool call counts as answered, a turn or a
        task ends its evaluation with DeadLetteredError; with OutcomeUnknownError where a call or a task runs at most
        once (`max_retries` 0). A doorbell whose `task` is not the message's is answered `gone`.
        """
        ...

    def extend(self, receipts: Sequence[Receipt]) -> Sequence[Standing]:
        """Hold each message for another visibility timeout from now; `cancelled` is held, and asked to stop."""
        ...

    def settle(self, settlement: Settlement) -> Settled:
        """Append the events, end the message, and create what follows. Raises LeaseLostError for a stale receipt.

        Where the evaluation was cancelled meanwhile, the events are kept, but nothing follows.
        """
        ...

    def ack(self, receipt: Receipt, *, actor: str) -> tuple[Doorbell, ...]:
        """Settle with nothing to tell: the message is done. Raises LeaseLostError."""
        return self.settle(Settlement(receipt=receipt, actor=actor)).doorbells

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
        """Give the message back, to be claimed after `delay` seconds; `counts` False pardons the delivery.

        `paused` says why an operator holds it back: `EvaluationPaused` is recorded, once until `resume`. Without an
        `error` it keeps the one that it has. `begun` says that its function may have done its work: a call or a task
        that runs at most once (`max_retries` 0) then ends with OutcomeUnknownError, also if the delivery is pardoned.

        Raises LeaseLostError for a stale receipt. Where the evaluation was cancelled, the message is closed.
        """
        ...

    def resume(self, receipt: Receipt, *, after: int | None) -> Claimed:
        """Let the clock run on of an evaluation whose message was held back: `EvaluationResumed` is recorded.

        The claim is answered anew, with `started_at` moved by what the clock stood still. Raises LeaseLostError.
        """
        ...

    def bury(
        self, receipt: Receipt, *, reason: str, error: str, traceback: str = "", code: str = ""
    ) -> tuple[Doorbell, ...]:
        """Make the message a dead letter now, as a claim out of retries does.

        `code` is the error class with which its evaluation ends, if not DeadLetteredError. Raises LeaseLostError.
        """
        ...

    def checkpoint(self, receipt: Receipt, value: Json) -> None:
        """Keep `value`, which is JSON, with the message: its next claim brings it. The lease is not renewed by it.

        It is forgotten when the message is done, and stays with a dead letter. Raises LeaseLostError.
        """
        ...

    @require(lambda max_retries: max_retries >= 0, "max_retries of zero or more")
    def send_to_dlq(self, message: Claimed, reason: str, max_retries: int = 3) -> bool:
        """Bury the message if this was its last try by `max_retries`, whatever its own say; whether it is dead now.

        Raises ContractViolationError for a negative number, LeaseLostError.
        """
        if message.delivery_count <= max_retries:
            return False
        self.bury(message.receipt, reason=reason, error="")
        return True

    def wake(self, address: Address) -> tuple[Doorbell, ...]:
        """Make a message ready now that is delayed until a time. One that waits for others goes on waiting."""
        ...

    def revive(self, address: Address, *, by: str) -> Revived:
        """Try a dead letter again, with all its deliveries pardoned; its id, and so its idempotency key, stays.

        `StepRevived` is recorded. A dead turn's evaluation, which had ended by that death, is resumed
        (`EvaluationResumed`): it queues in its session like a new one, and will end once more, with an outcome of its
        own. A dead outcome is delivered again. Where it would change nothing, the message is done (see `Revived`).
        Raises NotDeadError.
        """
        ...

    def reopen(self, reopening: Reopening) -> Reopened:
        """Let an evaluation go on that failed: it has one more turn to take, and will end once more.

        `EvaluationResumed` is recorded, its clock stood still since its end, and the dead letter by which it ended,
        where there is one, is done. Whether it may go on, the caller has decided by all events up to `head`.
        """
        ...

    def purge(self, addresses: Sequence[Address]) -> int:
        """Forget these dead letters for good; how many there were. What their ledgers say stays."""
        ...

    def peek(self, mailbox: str, *, state: Listed = "dead") -> Iterator[Peeked]:
        """The messages of a mailbox in that state, those first that came to it first. Read in pages, as it goes."""
        ...

    def dead(self) -> Mapping[str, int]:
        """The mailboxes that hold dead letters, and how many."""
        ...

    def cancel(self, tenant: str, evaluation: str, *, by: str, reason: str) -> tuple[Doorbell, ...]:
        """Record the wish, close what nobody works on, and end the evaluation where nobody works on it at all.

        Of an evaluation that has ended: nothing. Raises UnknownRunError.
        """
        ...

    def confirm(self, doorbells: Sequence[Doorbell]) -> None:
        """These were published: they ring again only where they got lost. Waits for no answer, and raises nothing."""
        ...

    def reap(self, *, limit: int = 100) -> tuple[Doorbell, ...]:
        """What is due: expired leases and delayed messages become ready, and bells that got lost are rung again.

        A bell that nobody confirmed is lost after a pause, one that was published as `core.delivery.ring_again` tells.
        Of each kind it takes no more than `limit` messages of a partition.
        """
        ...

    def spare(self) -> None:
        """Hold the leases that have expired for another timeout, since nobody could renew them."""
        ...

    def depth(self, mailboxes: Iterable[str]) -> Mapping[str, Depth]:
        """Depth and age of each mailbox."""
        ...
