"""The mailbox: work that is owed, and the commands that change it together with the ledger, all or nothing.

Every command may be repeated by its adapter after a lost reply: it carries a nonce, and answers the same to the same
nonce. All raise LedgerUnavailableError where the store cannot be reached or refuses to write.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Literal, Protocol

import msgspec

from wink_tasks.core.delivery import Message
from wink_tasks.core.events import AnyEvent, EvaluationAccepted, Recorded, Terminal

Standing = Literal["held", "cancelled", "stale"]


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
        )


class Acceptance(msgspec.Struct, frozen=True, kw_only=True):
    """A run to accept: its event, its first turn, and whether it waits for a busy session (`busy="wait"`).

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

    `started_at` is when the evaluation was first claimed. `tail` are the ledger's events after the sequence number
    that the claimer knew; a settler that goes on is not told its own again. `read` are those that the message names,
    of a call and of an outcome after its EvaluationAccepted. `head` is the ledger's last sequence number, `opened_at`
    when its first event was written, which tells it from an earlier one of the same name. `cancelled`: it was asked to
    stop, and has not ended.
    """

    receipt: Receipt
    message: Message
    deliveries: int
    started_at: float
    cancelled: bool
    head: int
    opened_at: float
    tail: tuple[Recorded, ...] = ()
    read: tuple[Recorded, ...] = ()


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


class Mailbox(Protocol):
    """The commands. Core decides whether, the store makes it atomic."""

    def accept(self, acceptance: Acceptance) -> Accepted:
        """Open the session where there is none, record the run, and owe its first turn.

        Raises DuplicateError where the id belongs to another session, tenant or prompt, SessionBusyError.
        """
        ...

    def claim(self, address: Address, *, task: str, owner: str, after: int | None) -> Claimed | NotClaimed:
        """Take the message for its visibility timeout. `after` None asks for no tail.

        A message out of retries is buried instead: `StepDied` is recorded, a tool call counts as answered, a turn ends
        its evaluation with DeadLetteredError. A doorbell whose `task` is not the message's is answered `gone`.
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

    def nack(self, receipt: Receipt, *, delay: float, counts: bool, error: str) -> tuple[Doorbell, ...]:
        """Give the message back, to be claimed after `delay` seconds; `counts` False pardons the delivery.

        Raises LeaseLostError for a stale receipt. Where the evaluation was cancelled, the message is closed.
        """
        ...

    def bury(self, receipt: Receipt, *, reason: str, error: str) -> tuple[Doorbell, ...]:
        """Make the message a dead letter now, as a claim out of retries does. Raises LeaseLostError."""
        ...

    def cancel(self, tenant: str, evaluation: str, *, by: str, reason: str) -> tuple[Doorbell, ...]:
        """Record the wish, close what nobody works on, and end the evaluation where nobody works on it at all.

        Of an evaluation that has ended: nothing. Raises UnknownRunError.
        """
        ...

    def reap(self, *, limit: int = 100) -> tuple[Doorbell, ...]:
        """What is due: expired leases and delayed messages become ready; ready ones are rung again after a pause.

        It looks at no more than `limit` messages of a partition.
        """
        ...

    def depth(self, mailboxes: Iterable[str]) -> Mapping[str, Depth]:
        """Depth and age of each mailbox."""
        ...
