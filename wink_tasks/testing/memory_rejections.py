"""The rejected messages, in memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from msgspec import structs

from wink_tasks.ports.rejections import MOST_KEPT, Rejected
from wink_tasks.testing.memory_books import Books


class MemoryRejections:
    """See the port for what each method does. It bounds their number, not their bytes."""

    def __init__(self, books: Books) -> None:
        self._books = books

    def keep(self, rejected: Rejected) -> None:
        """Count it, and keep it."""
        with self._books.lock:
            self._books.rejections += 1
            self._books.rejected.append(structs.replace(rejected, id=f"{self._books.rejections}-0"))
            del self._books.rejected[:-MOST_KEPT]

    def kept(self) -> Iterator[Rejected]:
        """Those that are kept, oldest first."""
        with self._books.lock:
            return iter(tuple(self._books.rejected))

    def count(self) -> int:
        """How many there ever were."""
        with self._books.lock:
            return self._books.rejections

    def drop(self, names: Sequence[str]) -> int:
        """Forget those with these ids."""
        with self._books.lock:
            left = [one for one in self._books.rejected if one.id not in names]
            dropped = len(self._books.rejected) - len(left)
            self._books.rejected = left
            return dropped
