"""The registry of workers in memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from msgspec import structs

from wink_tasks.ports.fleet import StoreFacts, Worker
from wink_tasks.testing.memory_books import Books


class MemoryFleet:
    """See the port for what each method does."""

    def __init__(self, books: Books) -> None:
        self._books = books

    def beat(self, worker: Worker, *, lifetime: float, term: float) -> bool:
        """Be alive for `lifetime` seconds more; True where this worker is the reaper."""
        with self._books.lock:
            now = self._books.now()
            self._books.workers[worker.name] = structs.replace(worker, seen_at=now), now + lifetime
            name, until = self._books.reaper
            elected = name == worker.name or until <= now
            if elected:
                self._books.reaper = worker.name, now + term
            return elected

    def leave(self, name: str) -> None:
        """Be gone at once."""
        with self._books.lock:
            self._books.workers.pop(name, None)
            if self._books.reaper[0] == name:
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
            product="memory", version="", persistent=False, eviction="noeviction", used_memory=0, max_memory=0
        )
