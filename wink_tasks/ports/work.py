"""Working on a message, as whoever hears its doorbell asks for it."""

from __future__ import annotations

from collections.abc import Collection
from typing import Protocol

from wink_tasks.core.delivery import Message
from wink_tasks.ports.mailbox import Address


class Observer(Protocol):
    """Told of the steps that a worker goes on with; the first one is its doorbell's own."""

    def began(self, message: Message) -> None:
        """A continued step begins."""
        ...

    def ended(self, message: Message, seconds: float, error: Exception | None) -> None:
        """It is over."""
        ...


class StepRunner(Protocol):
    """Works on messages in this process."""

    def run(self, address: Address, task: str, *, serves: Collection[str], observer: Observer) -> bool:
        """Work on a message and its successors in mailboxes that are in `serves`.

        False where there was nothing to do. Raises what a tool raised, once that is recorded, and
        LedgerUnavailableError.
        """
        ...
