"""What every store has to do: pytest classes for a new back end, which the in-memory store and Redis pass.

Derive from `StoreConformance`, or from each of its classes, and provide two fixtures: `clock`, a `FakeClock`, and
`store`, an empty store that takes its time from it::

    class TestMyStore(StoreConformance): ...

To show that every command may be repeated, run it a second time with a store whose first replies are lost.
"""

from wink_tasks.ports.store import Store
from wink_tasks.testing.conformance.archive import ArchiveConformance
from wink_tasks.testing.conformance.cancel import CancelConformance
from wink_tasks.testing.conformance.delivery import DeliveryConformance
from wink_tasks.testing.conformance.driver import Driver
from wink_tasks.testing.conformance.fleet import FleetConformance
from wink_tasks.testing.conformance.forks import ForkConformance
from wink_tasks.testing.conformance.ledger import LedgerConformance
from wink_tasks.testing.conformance.letters import LetterConformance
from wink_tasks.testing.conformance.mailbox import MailboxConformance
from wink_tasks.testing.conformance.operator import OperatorConformance
from wink_tasks.testing.conformance.reopening import ReopeningConformance
from wink_tasks.testing.conformance.ringing import RingingConformance


class StoreConformance(
    MailboxConformance,
    DeliveryConformance,
    RingingConformance,
    CancelConformance,
    LetterConformance,
    LedgerConformance,
    ArchiveConformance,
    ForkConformance,
    ReopeningConformance,
    FleetConformance,
    OperatorConformance,
):
    """All of it."""


__all__ = [
    "ArchiveConformance",
    "CancelConformance",
    "DeliveryConformance",
    "Driver",
    "FleetConformance",
    "ForkConformance",
    "LedgerConformance",
    "LetterConformance",
    "MailboxConformance",
    "OperatorConformance",
    "ReopeningConformance",
    "RingingConformance",
    "Store",
    "StoreConformance",
]
