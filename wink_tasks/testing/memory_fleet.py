"""The registry of workers in memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from msgspec import structs

from wink_tasks.ports.fleet import Beat, StoreFacts, Worker
from wink_tasks.testing.memory_books import Books


class MemoryFleet:
    """See the port for what each method does."""

    def __init__(self, books: Books) -> None:
        self._books = books

    def beat(self, worker: Worker, *, every: float, term: float, spacing: float = 0.0) -> Beat:
        """Be alive, and be the reaper where there is none."""
        with self._books.lock:
            now = self._books.now()
            name, until = self._books.reaper
            elected = name == worker.id or until <= now
            pause = every
            if elected:
                self._books.reaper = worker.id, now + term
            else:
                self._books.turn = max(self._books.turn + spacing, until)
                pause = self._books.turn - now
            self._books.workers[worker.id] = structs.replace(worker, seen_at=now), now + 2 * pause + 3 * every
            vacant = max(0.0, now - until) if until else 0.0
            return Beat(reaper=elected, pause=round(pause, 3), vacant=round(vacant, 3))

    def leave(self, worker: str) -> None:
        """Be gone at once."""
        with self._books.lock:
            self._books.workers.pop(worker, None)
            if self._books.reaper[0] == worker:
                self._books.reaper = "", 0.0

    def workers(self) -> Sequence[Worker]:
        """Those alive, by name."""
        with self._books.lock:
            now = self._books.now()
            return [worker for _, (worker, until) in sorted(self._books.workers.items()) if until > now]

    def agree(self, settings: Mapping[str, str]) -> Mapping[str, str]:
        """What is in force."""
        with self._books.lock:
            self._books.settings = {**settings, **self._books.settings}
            return dict(self._books.settings)

    def facts(self) -> StoreFacts:
        """What it is."""
        return StoreFacts(
            product="memory",
            version="",
            persistent=False,
            eviction="noeviction",
            used_memory=0,
            max_memory=0,
            now=self._books.now(),
        )
