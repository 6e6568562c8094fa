"""Who is alive, who reaps, and what all processes must share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import msgspec


class Worker(msgspec.Struct, frozen=True, kw_only=True):
    """A live worker process: what it serves and knows. `seen_at` is the epoch second of its last sign of life.

    `at` is what its own clock said then, `slots` how many steps it works on at once (0: not told), `digests` are its
    prompts' by name, and `settings` those of its settings that others should have alike.
    """

    name: str
    pid: int
    version: str
    pool: str
    mailboxes: tuple[str, ...]
    prompts: tuple[str, ...] = ()
    tools: tuple[str, ...] = ()
    tasks: tuple[str, ...] = ()
    seen_at: float = 0.0
    at: float = 0.0
    slots: int = 0
    digests: Mapping[str, str] = {}
    settings: Mapping[str, str] = {}

    @property
    def id(self) -> str:
        """What it is registered as: two workers that were started without -n on one host share their name."""
        return f"{self.name}/{self.pid}"


class Beat(msgspec.Struct, frozen=True, kw_only=True):
    """The answer to a sign of life. `reaper`: this worker is the one that reaps. `pause`: seconds to its next sign.

    `vacant` are the seconds for which no worker was the reaper, before this sign.
    """

    reaper: bool
    pause: float
    vacant: float = 0.0


class StoreFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What the store says of itself. `append_only`: it loses seconds at most. `now` is epoch seconds by its clock."""

    product: str
    version: str
    persistent: bool
    eviction: str
    used_memory: int
    max_memory: int
    append_only: bool = False
    now: float = 0.0


class Fleet(Protocol):
    """The registry of workers. All raise LedgerUnavailableError where the store cannot be reached."""

    def beat(self, worker: Worker, *, every: float, term: float, spacing: float = 0.0) -> Beat:
        """Be alive until two more signs were missed; be the reaper for the next `term` seconds where there is none.

        A worker that is not the reaper is asked for its next sign after `every` seconds, or later: so that the signs
        of all of them are `spacing` seconds apart, and one comes soon after the reaper's term.
        """
        ...

    def leave(self, worker: str) -> None:
        """Be gone at once, as worker and as reaper; `worker` is its id."""
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
