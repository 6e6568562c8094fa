"""The mailbox's reaper and its doorbells in memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from msgspec import structs

from wink_tasks.core.delivery import Again, Lane, ring_again
from wink_tasks.ports.mailbox import Doorbell
from wink_tasks.testing.memory_books import Books, MessageBook
from wink_tasks.testing.memory_work import Work


class MemoryRinging:
    """What becomes ready again, and what rings again."""

    def __init__(self, books: Books) -> None:
        self._books = books

    def reap(self, *, limit: int = 100) -> tuple[Doorbell, ...]:
        """Make ready what is due, and ring again what got lost."""
        with self._books.lock:
            every = range(self._books.partitions)
            bells = [bell for partition in every for bell in self._reap(partition, limit)]
            lanes = [self._lanes(partition) for partition in every]
            for partition, plan in enumerate(ring_again(lanes, self._books.now())):
                bells += self._ring(partition, plan, limit)
            return tuple(bells)

    def confirm(self, doorbells: Sequence[Doorbell]) -> None:
        """These were published."""
        with self._books.lock:
            for bell in doorbells:
                if m := self._books.message(bell.address.session, bell.address.message):
                    m.again = None

    def spare(self) -> None:
        """Hold the leases that have expired for another timeout."""
        with self._books.lock:
            work = Work(self._books)
            expired = [m for m in self._books.messages.values() if m.state == "leased" and (m.due or 0) <= work.now]
            for m in expired:
                work.hold(m, "extend")

    def _waiting(self, partition: int) -> list[MessageBook]:
        """The ready messages of a partition, the one whose bell rang first before all."""
        here = [m for (place, _), m in self._books.messages.items() if place == partition and m.state == "ready"]
        return sorted(here, key=lambda m: (m.bell, m.sent.id))

    def _lanes(self, partition: int) -> dict[str, Lane]:
        known = {name: lane for (place, name), lane in self._books.lanes.items() if place == partition}
        for m in self._waiting(partition):
            _, name = self._books.lane(m)
            oldest = known[name].oldest
            known[name] = structs.replace(known[name], oldest=m.bell if oldest is None else oldest, newest=m.bell)
        return known

    def _ring(self, partition: int, plan: Mapping[str, Again], limit: int) -> tuple[Doorbell, ...]:
        work = Work(self._books)
        for name, again in plan.items():
            here = [m for m in self._waiting(partition) if self._books.lane(m) == (partition, name)]
            lost = [m for m in here if again.before is not None and m.bell <= again.before]
            for m in lost[:limit]:
                work.ring(m, m.rings + 1)
            newest = here[-1]
            if again.probes:
                work.ring(newest, newest.rings + 1)
                self._books.probing[partition, name] = newest.sent.id
                self._books.lanes[partition, name] = structs.replace(
                    self._books.lanes[partition, name],
                    probed=newest.bell,
                    awaited=newest.rung,
                    probes=again.probes,
                )
        return work.doorbells()

    def _reap(self, partition: int, limit: int) -> tuple[Doorbell, ...]:
        work = Work(self._books)
        owed = [
            (m.due, name)
            for (place, name), m in self._books.messages.items()
            if place == partition and m.due is not None and m.due <= work.now
        ]
        for due, name in sorted(owed)[:limit]:
            m = self._books.messages[partition, name]
            if m.due != due:
                continue
            e = work.evaluation_of(m)
            if m.state == "leased" and e.stopping:
                work.close(m, "cancel")
                work.halt(e, work.session_of(m), "reaper")
            else:
                m.lost += m.state == "leased"
                work.ring(m, 1)
        unsure = [(m.again, m.sent.id, m) for m in self._waiting(partition) if m.again is not None]
        for again, _, m in sorted(unsure)[:limit]:
            if again <= work.now:
                work.ring(m, m.rings + 1)
        return work.doorbells()
