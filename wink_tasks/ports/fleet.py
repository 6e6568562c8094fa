"""Who is alive, who reaps, and what all processes must share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import msgspec


class Worker(msgspec.Struct, frozen=True, kw_only=True):
    """A live worker process: what it serves and knows. `seen_at` is the epoch second of its last sign of life."""

    name: str
    pid: int
    version: str
    pool: str
    mailboxes: tuple[str, ...]
    prompts: tuple[str, ...] = ()
    tools: tuple[str, ...] = ()
    seen_at: float = 0.0


class StoreFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What the store says of itself."""

    product: str
    version: str
    persistent: bool
    eviction: str
    used_memory: int
    max_memory: int


class Fleet(Protocol):
    """The registry of workers. All raise LedgerUnavailableError where the store cannot be reached."""

    def beat(self, worker: Worker, *, lifetime: float, term: float) -> bool:
        """Be alive for `lifetime` seconds more; True where this worker is the reaper for the next `term` seconds."""
        ...

    def leave(self, name: str) -> None:
        """Be gone at once, as worker and as reaper."""
        ...

    def workers(self) -> Sequence[Worker]:
        """Those alive."""
        ...

    def agree(self, settings: Mapping[str, str]) -> Mapping[str, str]:
        """What is in force: the settings that the first process wrote, these where it is the first."""
        ...

    def facts(self) -> StoreFacts:
        """Product, version, persistence, eviction and memory of the store."""
        ...
