"""What the facts about a store and a fleet mean for the application. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Final, Literal

import msgspec

from wink_tasks.ports.fleet import StoreFacts, Worker
from wink_tasks.runtime.registry import Registry

OLDEST_REDIS: Final = (6, 2)
NEARLY_FULL: Final = 0.8
MEBIBYTE: Final = 1 << 20


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that was looked at. `way_out` is empty where nothing has to be done."""

    level: Literal["ok", "warning", "error"]
    what: str
    way_out: str = ""


def about_store(facts: StoreFacts) -> Iterator[Finding]:
    """Version, persistence, eviction and memory."""
    name = f"{facts.product} {facts.version}"
    numbers = tuple(int(part) for part in re.findall(r"\d+", facts.version)[:2])
    if facts.product == "redis" and numbers < OLDEST_REDIS:
        yield _error(f"{name} is older than 6.2", "upgrade it: commands that we need are missing")
    else:
        yield _ok(name)
    if facts.persistent:
        yield _ok("it persists its data")
    else:
        yield _warning("it has no persistence: a restart forgets every run", "switch on appendonly (AOF)")
    if facts.eviction == "noeviction":
        yield _ok("it evicts nothing")
    else:
        yield _error(f"maxmemory-policy is {facts.eviction}: it may drop ledgers", "set it to noeviction")
    used = f"{facts.used_memory / MEBIBYTE:.0f} MiB used"
    if not facts.max_memory:
        yield _ok(f"{used}, without a limit of its own")
    elif facts.used_memory > NEARLY_FULL * facts.max_memory:
        limit = f"{used} of {facts.max_memory / MEBIBYTE:.0f}"
        yield _warning(limit, "raise maxmemory, or shorten WINK_RETENTION: when it is full, nothing can be written")
    else:
        yield _ok(f"{used} of {facts.max_memory / MEBIBYTE:.0f}")


def about_fleet(workers: Sequence[Worker], registry: Registry, *, version: str) -> Iterator[Finding]:
    """Who is alive, and what declared here nobody serves or knows."""
    for worker in workers:
        what = f"worker {worker.name} ({worker.pool}, pid {worker.pid}) serves {', '.join(worker.mailboxes)}"
        if worker.version == version:
            yield _ok(what)
        else:
            yield _warning(f"{what}; it is version {worker.version}, here is {version}", "deploy one version")
    if not workers:
        yield _error("no worker is alive", "start one: wink worker")
        return
    served = {mailbox for worker in workers for mailbox in worker.mailboxes}
    for mailbox in sorted(registry.mailboxes() - served):
        yield _error(f"no live worker serves mailbox {mailbox!r}", f"start one: wink worker -Q {mailbox}")
    known = {prompt for worker in workers for prompt in worker.prompts}
    for prompt in sorted(registry.prompts.keys() - known):
        yield _error(f"no live worker knows prompt {prompt!r}", "deploy the application to the workers, too")


def _ok(what: str) -> Finding:
    return Finding(level="ok", what=what)


def _warning(what: str, way_out: str) -> Finding:
    return Finding(level="warning", what=what, way_out=way_out)


def _error(what: str, way_out: str) -> Finding:
    return Finding(level="error", what=what, way_out=way_out)
