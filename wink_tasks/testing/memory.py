"""A store in the memory of this process: what Redis is in production, for tests."""

from __future__ import annotations

from wink_tasks.ports.clock import Clock
from wink_tasks.testing.memory_books import Books
from wink_tasks.testing.memory_fleet import MemoryFleet
from wink_tasks.testing.memory_ledger import MemoryLedger
from wink_tasks.testing.memory_mailbox import MemoryMailbox
from wink_tasks.testing.memory_pauses import MemoryPauses
from wink_tasks.testing.memory_rejections import MemoryRejections


class MemoryStore:
    """A store whose ports behave as those on Redis do, by the time of `clock`; safe for threads."""

    url = "memory://"

    def __init__(self, clock: Clock, *, partitions: int = 16) -> None:
        self._books = Books(clock, partitions)
        self.mailbox = MemoryMailbox(self._books)
        self.ledger = MemoryLedger(self._books)
        self.fleet = MemoryFleet(self._books)
        self.pauses = MemoryPauses(self._books)
        self.rejections = MemoryRejections(self._books)

    def next_due(self) -> float | None:
        """Epoch seconds of the next thing that `reap` would do; None where there is none."""
        with self._books.lock:
            times = (time for m in self._books.messages.values() for time in (m.due, m.again))
            return min((time for time in times if time is not None), default=None)

    def close(self) -> None:
        """Nothing to let go of."""
