"""What the facts about a store and a fleet mean for the application. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final, Literal

import msgspec

from wink_tasks.ports.fleet import StoreFacts, Worker
from wink_tasks.ports.mailbox import Depth
from wink_tasks.ports.pauses import Pause
from wink_tasks.runtime.registry import Registry

IN_PROCESS: Final = "memory"
"""The product that is no server: for tests, and where tasks are eager."""

OLDEST_REDIS: Final = (6, 2)
NEARLY_FULL: Final = 0.8
MEBIBYTE: Final = 1 << 20
CLOCKS_DIFFER: Final = 1.0
"""Seconds; beats and questions take a part of one."""

CLOCKS_WRONG: Final = 30.0
CROWDED_POOLS: Final = ("prefork", "solo")
DIGITS: Final = 8


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that was looked at. `way_out` is empty where nothing has to be done."""

    level: Literal["ok", "warning", "error"]
    what: str
    way_out: str = ""


def about_store(facts: StoreFacts) -> Iterator[Finding]:
    """Version, persistence, eviction and memory."""
    if facts.product == IN_PROCESS:
        yield _ok("ledgers are in the memory of this process, and end with it")
        return
    name = f"{facts.product} {facts.version}".strip()
    numbers = tuple(int(part) for part in re.findall(r"\d+", facts.version)[:2])
    if facts.product == "redis" and numbers < OLDEST_REDIS:
        yield _error(f"{name} is older than 6.2", "upgrade it: commands that we need are missing")
    else:
        yield _ok(name)
    if facts.append_only:
        yield _ok("it persists each write within a second (AOF)")
    elif facts.persistent:
        yield _warning("it persists by snapshots: a crash forgets all since the last one", "switch on appendonly (AOF)")
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
    known = {name for worker in workers for name in (*worker.prompts, *worker.tools, *worker.tasks)}
    for kind, declared in (("prompt", registry.prompts), ("task", registry.tasks)):
        for name in sorted(declared.keys() - known - registry.tools.keys()):
            yield _error(f"no live worker knows {kind} {name!r}", "deploy the application to the workers, too")
    for worker in workers:
        for prompt in sorted(worker.digests.keys() & registry.prompts.keys()):
            theirs, ours = worker.digests[prompt][:DIGITS], registry.prompts[prompt].digest[:DIGITS]
            if theirs != ours:
                what = f"worker {worker.name} has another version of prompt {prompt!r}: {theirs}, here is {ours}"
                yield _warning(what, "deploy one version of the application")


def about_pauses(pauses: Iterable[Pause]) -> Iterator[Finding]:
    """What operators hold back."""
    for pause in pauses:
        yield _warning(str(pause), f"when it may go on: wink resume --{pause.subject} {pause.name}")


def about_settings(mine: Mapping[str, str], workers: Sequence[Worker]) -> Iterator[Finding]:
    """What processes should have alike, by what each of them tells."""
    for worker in workers:
        for name in sorted(worker.settings.keys() & mine.keys()):
            if worker.settings[name] != mine[name]:
                what = f"WINK_{name.upper()} is {worker.settings[name]} for worker {worker.name}, here {mine[name]}"
                yield _warning(what, "give all processes the same")


def about_clocks(now: float, facts: StoreFacts, workers: Sequence[Worker]) -> Iterator[Finding]:
    """This process's clock and the workers' against the store's. Deadlines and delays are reckoned by both."""
    clocks = {"this process": now - facts.now}
    clocks.update({f"worker {worker.name}": worker.at - worker.seen_at for worker in workers if worker.at})
    for whose, ahead in clocks.items():
        if abs(ahead) >= CLOCKS_DIFFER:
            what = f"the clock of {whose} is {abs(ahead):.0f} s {'ahead of' if ahead > 0 else 'behind'} the store's"
            way_out = "synchronise clocks (NTP): deadlines and delays are off by as much"
            yield (_error if abs(ahead) >= CLOCKS_WRONG else _warning)(what, way_out)
    if all(abs(ahead) < CLOCKS_DIFFER for ahead in clocks.values()):
        yield _ok(f"clocks agree within {CLOCKS_DIFFER:g} s")


def about_pools(workers: Sequence[Worker], registry: Registry, depths: Mapping[str, Depth]) -> Iterator[Finding]:
    """Turns wait for models: where each holds a process, few of them keep everything else out."""
    for mailbox in sorted({registry.turn_mailbox(prompt) for prompt in registry.prompts.values()} & depths.keys()):
        serving = [worker for worker in workers if mailbox in worker.mailboxes]
        crowded = [worker.name for worker in serving if worker.pool in CROWDED_POOLS]
        slots, depth = sum(worker.slots for worker in serving), depths[mailbox]
        if crowded and depth.ready and depth.leased >= slots:
            yield _warning(
                f"turns crowd {', '.join(crowded)}: {depth.leased} of {slots} slots that serve {mailbox!r} are taken, "
                f"{depth.ready} steps wait, the oldest for {depth.age:.0f} s",
                "set WINK_SPLIT_QUEUES=1, and give turns threads: celery -A ... worker -Q turns -P threads -c 200",
            )


def about_grace(grace: float, longest_call: float) -> Iterator[Finding]:
    """For how long a worker that is asked to end works on, against the longest model call; both in seconds."""
    what = f"workers that are asked to end wait {grace:g} s (WINK_SHUTDOWN_GRACE)"
    if grace < longest_call:
        yield _ok(f"{what}; a model call may take {longest_call:g} s, and one that is cut by a deploy is made again")
    else:
        yield _ok(f"{what}, and no model call takes longer")


def _ok(what: str) -> Finding:
    return Finding(level="ok", what=what)


def _warning(what: str, way_out: str) -> Finding:
    return Finding(level="warning", what=what, way_out=way_out)


def _error(what: str, way_out: str) -> Finding:
    return Finding(level="error", what=what, way_out=way_out)
