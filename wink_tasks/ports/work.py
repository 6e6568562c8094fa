"""Working on a message, as whoever hears its doorbell asks for it."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Literal, Protocol

import msgspec

from wink_tasks.core.delivery import Message
from wink_tasks.ports.ledger import MessageRecord
from wink_tasks.ports.mailbox import Address

Translation = Callable[[BaseException], BaseException]
"""What a function of the application raised, in our words.

The words of a task queue that ask for something become RetryLaterError, RejectedError, IgnoredError or TimeoutError;
whatever else stays as it is.
"""


class StepEnd(msgspec.Struct, frozen=True, kw_only=True):
    """How a step ended for whoever rang its doorbell.

    `settled`: its outcome is recorded, and `error` is what a tool raised. `returned`: given back, to be tried again
    after `delay` seconds. `revoked`: its evaluation was cancelled. `dead`: it was out of retries. `absent`: there was
    nothing to do, or another worker does it. `reason` tells why, but of a settled one.
    """

    kind: Literal["settled", "returned", "revoked", "dead", "absent"]
    reason: str = ""
    delay: float = 0.0
    error: Exception | None = None


class Observer(Protocol):
    """Told of the steps that a worker goes on with; the first one is its doorbell's own."""

    def began(self, message: Message) -> None:
        """A continued step begins."""
        ...

    def ended(self, message: Message, seconds: float, end: StepEnd) -> None:
        """It is over."""
        ...


class StepRunner(Protocol):
    """Works on messages in this process."""

    @property
    def closing(self) -> bool:
        """Whether this worker ends, and claims nothing any more."""
        ...

    def run(self, address: Address, task: str, *, serves: Collection[str], observer: Observer) -> StepEnd:
        """Work on a message and its successors in mailboxes that are in `serves`; how the first step ended.

        Raises what a tool raised, once that is recorded, and LedgerUnavailableError.
        """
        ...


class Revoker(Protocol):
    """Ends evaluations from outside of their steps. All raise LedgerUnavailableError. `some_id` may be a step's."""

    def cancel(self, some_id: str, *, by: str, reason: str) -> bool:
        """Cancel the evaluation in the ledger, whoever its tenant is; False where there is none."""
        ...

    def is_known(self, some_id: str) -> bool:
        """Whether there is such an evaluation."""
        ...

    def is_wanted(self, tenant: str, run: str) -> bool:
        """Whether somebody asked for its end: a control command is a hint, the ledger knows."""
        ...

    def works_on(self, run: str) -> bool:
        """Whether this process holds a step of it."""
        ...

    def stop(self, run: str) -> None:
        """Ask its steps in this process to stop."""
        ...

    def give_back(self, some_id: str, *, pid: int, counts: bool, error: str) -> MessageRecord | None:
        """Give back what process `pid` of this host, which is gone, held of the evaluation; None where it held nothing.

        What is returned is the message as it is then: closed where the evaluation was cancelled, dead where it is out
        of retries.
        """
        ...
