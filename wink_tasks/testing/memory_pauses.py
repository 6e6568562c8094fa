"""The pauses in force, in memory."""

from __future__ import annotations

from collections.abc import Sequence

from wink_tasks.ports.pauses import Pause, Subject
from wink_tasks.testing.memory_books import Books


class MemoryPauses:
    """See the port for what each method does."""

    def __init__(self, books: Books) -> None:
        self._books = books

    def pause(self, pause: Pause) -> Pause:
        """Hold back; what is in force."""
        with self._books.lock:
            return self._books.pauses.setdefault((pause.subject, pause.name), pause)

    def resume(self, subject: Subject, name: str) -> None:
        """Let go on."""
        with self._books.lock:
            self._books.pauses.pop((subject, name), None)

    def paused(self) -> Sequence[Pause]:
        """Those in force, the earliest first."""
        with self._books.lock:
            return sorted(self._books.pauses.values(), key=lambda pause: (pause.at, pause.subject, pause.name))
