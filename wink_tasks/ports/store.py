"""A store: where ledger, mailbox and all that goes with them are, in one place."""

from __future__ import annotations

from typing import Protocol

from wink_tasks.ports.fleet import Fleet
from wink_tasks.ports.ledger import Ledger
from wink_tasks.ports.mailbox import Mailbox
from wink_tasks.ports.pauses import Pauses
from wink_tasks.ports.rejections import Rejections


class Store(Protocol):
    """The ports that one store serves."""

    @property
    def mailbox(self) -> Mailbox:
        """Work that is owed."""
        ...

    @property
    def ledger(self) -> Ledger:
        """What happened."""
        ...

    @property
    def fleet(self) -> Fleet:
        """Who is alive."""
        ...

    @property
    def pauses(self) -> Pauses:
        """What operators hold back."""
        ...

    @property
    def rejections(self) -> Rejections:
        """What Celery could not run."""
        ...

    @property
    def url(self) -> str:
        """Where it is, without a password."""
        ...

    def close(self) -> None:
        """Let go of connections."""
        ...
