"""What every store has to do: pytest classes for a new back end, which the in-memory store and Redis pass.

Derive from each class and provide two fixtures: `clock`, a `FakeClock`, and `store`, an empty store that takes its time
from it::

    class TestMailboxOnMine(MailboxConformance, MyFixtures): ...

To show that every command may be repeated, run the classes a second time with a store whose first replies are lost.
"""

from wink_tasks.testing.conformance.cancel import CancelConformance
from wink_tasks.testing.conformance.delivery import DeliveryConformance
from wink_tasks.testing.conformance.driver import Driver, Store
from wink_tasks.testing.conformance.fleet import FleetConformance
from wink_tasks.testing.conformance.ledger import LedgerConformance
from wink_tasks.testing.conformance.mailbox import MailboxConformance

__all__ = [
    "CancelConformance",
    "DeliveryConformance",
    "Driver",
    "FleetConformance",
    "LedgerConformance",
    "MailboxConformance",
    "Store",
]
