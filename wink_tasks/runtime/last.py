"""Messages that would die with their worker: poison has to die alone."""

from __future__ import annotations

import threading

from wink_tasks.ports.mailbox import Address, Claimed, Receipt


class LastDeliveries:
    """A process works on one message at a time that lost deliveries with its workers and is on its last.

    Whatever kills a process again and again comes to its last delivery together with all that were beside it. Of these
    the process then takes one after the other, so that the one that kills it costs none of the others their last. It
    begins only when no other one can be in this process's hands: not while somebody may have claimed one, and claims
    that begin later put them off.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._holder: Receipt | None = None
        self._claiming: set[Address] = set()

    def claiming(self, address: Address) -> bool:
        """Before a claim: whether one on its last delivery is to be put off.

        Until `admit`, `over` or `not_claimed`, none of that kind begins.
        """
        with self._changed:
            if self._holder is not None:
                return True
            self._claiming.add(address)
            return False

    def admit(self, claimed: Claimed) -> bool:
        """Whether this process may work on it, as soon as this returns."""
        with self._changed:
            if not claimed.last:
                self._leave(claimed.receipt.address)
            elif self._holder is None:
                self._holder = claimed.receipt
                self._leave(claimed.receipt.address)
                self._changed.wait_for(lambda: not self._claiming)
            else:
                return False
            return True

    def over(self, claimed: Claimed) -> None:
        """It is given back, or no more work is done on it."""
        with self._changed:
            if self._holder == claimed.receipt:
                self._holder = None
            self._leave(claimed.receipt.address)

    def not_claimed(self, address: Address) -> None:
        """The claim brought nothing."""
        with self._changed:
            self._leave(address)

    def _leave(self, address: Address) -> None:
        self._claiming.discard(address)
        self._changed.notify_all()
