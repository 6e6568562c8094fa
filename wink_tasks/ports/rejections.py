"""What Celery could not run, kept as it came: dead letters that no ledger knows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final, Protocol

import msgspec

from wink_tasks.core.events import Json

LARGEST_BODY: Final = 256 * 1024
"""Bytes of a body that are kept; a longer one is cut, and cannot be replayed."""

NO_MESSAGE: Final = "no message"
"""The reason of what lay in a queue and was no message of Celery's at all. There is nothing to replay of it."""

MOST_KEPT: Final = 10_000
MOST_BYTES: Final = 32 * 1024 * 1024
"""How many are kept, and how many bytes of them together; then the oldest go. All are counted."""


class Rejected(msgspec.Struct, frozen=True, kw_only=True):
    """A Celery message that was rejected. `at` is epoch seconds, `size` the bytes that its body had.

    `queue` is where it came from, `properties` what else the broker said of it. Without `has_headers`, `headers` only
    tell why they could not be kept.
    """

    queue: str
    reason: str
    at: float
    size: int
    body: bytes
    id: str = ""
    error: str = ""
    task: str = ""
    content_type: str | None = None
    content_encoding: str | None = None
    headers: Mapping[str, Json] = {}
    has_headers: bool = True
    properties: Mapping[str, Json] = {}

    @property
    def is_whole(self) -> bool:
        """Whether all of its body and its headers were kept."""
        return len(self.body) == self.size and self.has_headers

    @property
    def is_message(self) -> bool:
        """Whether it was a message, and can be sent again."""
        return self.reason != NO_MESSAGE


class Rejections(Protocol):
    """The rejected messages. All raise LedgerUnavailableError where the store cannot be reached."""

    def keep(self, rejected: Rejected) -> None:
        """Count it, and keep it; the oldest go where that is too much."""
        ...

    def kept(self) -> Iterator[Rejected]:
        """Those that are kept, oldest first. Read in pages, as it goes."""
        ...

    def count(self) -> int:
        """How many there ever were."""
        ...

    def drop(self, names: Sequence[str]) -> int:
        """Forget those with these ids; how many there were."""
        ...
