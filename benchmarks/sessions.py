"""What sessions cost: folding, dispatching as one grows, opening a long one, writers side by side, a tool's files."""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from celery import Celery
from redis import Redis

from wink_tasks import ReducerContext, Replace, Session, SliceView, ToolContext, Wink, Workspace
from wink_tasks.adapters.redis.embedded import EmbeddedServer
from wink_tasks.adapters.redis.store import RedisStore
from wink_tasks.core.events import Dispatched, Recorded, SessionOpened
from wink_tasks.core.session import SessionState, fold
from wink_tasks.core.typed import slice_name
from wink_tasks.runtime.slices import SliceDeclarations

WINDOW = 1000
"""How many dispatches are timed into either session."""

SLICES = SliceDeclarations(tuple)


@dataclass(frozen=True)
class Added:
    """An event."""

    amount: int


@dataclass(frozen=True)
class Total:
    """What a reducer that reads before it writes makes of the events."""

    amount: int


def add(view: SliceView[Total], event: Added, *, context: ReducerContext) -> Replace[Total]:
    """Read, modify, write."""
    latest = view.latest()
    return Replace((Total(event.amount + (latest.amount if latest else 0)),))


SLICES.event(Added)
SLICES.register(Total, {Added: add})


def opened(store: RedisStore, name: str) -> Session:
    """A session as an application opens it."""
    return Session(store.ledger, "default", name, reducers=SLICES.reducers)


def fold_rate(count: int) -> float:
    """Events a second that are folded, each by its slice and by one reducer."""
    event = Dispatched(name=slice_name(Added) or "", data={"amount": 1})
    records = [Recorded(1, 0.0, "", SessionOpened(tenant="t", session="s"))]
    records += [Recorded(seq, 0.0, "", event) for seq in range(2, count + 2)]
    began = time.perf_counter()
    fold(SessionState(reducers=SLICES.reducers), records)
    return count / (time.perf_counter() - began)


def grown(store: RedisStore, name: str, events: int) -> Session:
    """A session of so many events."""
    session = opened(store, name)
    for _ in range(events):
        session.dispatch(Added(1))
    return session


def dispatches(store: RedisStore, raw: Redis, until: int, window: int) -> tuple[float, float, float]:
    """Median seconds of a raw append, and of a dispatch from 1,000 events on and from `until` on; turn about."""
    young, old = grown(store, "young", 1000), grown(store, "long", until)
    works = (
        lambda: raw.xadd("raw:ledger", {"t": 1, "a": "bench", "v": 1, "e": b'{"amount":1}' * 6}),
        lambda: young.dispatch(Added(1)),
        lambda: old.dispatch(Added(1)),
    )
    write, early, late = (statistics.median(taken) for taken in timed(works, window))
    return write, early, late


def openings(store: RedisStore, names: tuple[str, ...], times: int) -> list[float]:
    """Median seconds of opening each session and reading the newest value of a slice; turn about."""
    works = [lambda name=name: opened(store, name)[Total].latest() for name in names]
    return [statistics.median(taken) for taken in timed(works, times)]


def timed(works: Sequence[Callable[[], object]], times: int) -> list[list[float]]:
    """Seconds of each, done in turn: a machine is not always as fast."""
    taken: list[list[float]] = [[] for _ in works]
    for _ in range(times):
        for work, seconds in zip(works, taken, strict=True):
            began = time.perf_counter()
            work()
            seconds.append(time.perf_counter() - began)
    return taken


def write(url: str, count: int) -> None:
    """One of the writers."""
    session = opened(RedisStore(url), "shared")
    for _ in range(count):
        session.dispatch(Added(1))


def lost_updates(url: str, writers: int, count: int) -> int:
    """How many of the writers' updates are missing in the end."""
    command = [sys.executable, __file__, "--writer", url, str(count)]
    processes = [subprocess.Popen(command) for _ in range(writers)]
    if any(process.wait() for process in processes):
        raise SystemExit("a writer failed")
    total = opened(RedisStore(url), "shared")[Total].latest()
    return writers * count - (total.amount if total else 0)


def workspaces(files: int, size: int, times: int) -> tuple[float, float]:
    """Median seconds of a tool call that replaces a file of a workspace of so many, without and with a transaction.

    Both run in memory, turn about: the one writes through the operating system, the other through its resource.
    """
    wink = Wink(Celery("bench", set_as_current=False))

    @wink.task
    def plain(folder: str, text: str) -> int:
        target = Path(folder) / "7" / "7.txt"
        new = target.with_suffix(".new")
        new.write_text(text)
        new.replace(target)
        return 1

    @wink.task
    def within(ctx: ToolContext, text: str) -> int:
        ctx.resources[Workspace].write("7/7.txt", text)
        return 1

    with tempfile.TemporaryDirectory() as folder:
        for number in range(files):
            place = Path(folder) / str(number % 50) / f"{number // 50}.txt"
            place.parent.mkdir(exist_ok=True)
            place.write_bytes(b"x" * size)
        taken: tuple[list[float], list[float]] = ([], [])
        with wink.in_memory(resources={Workspace: lambda: Workspace.at(folder)}):
            for number in range(times):
                for which, start in enumerate((lambda text: plain.delay(folder, text), within.delay)):
                    began = time.perf_counter()
                    start(f"text {number}").get()
                    taken[which].append(time.perf_counter() - began)
    return statistics.median(taken[0]), statistics.median(taken[1])


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=100_000)
    parser.add_argument("--writers", type=int, default=8)
    parser.add_argument("--updates", type=int, default=2000)
    parser.add_argument("--writer", nargs=2, metavar=("URL", "COUNT"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.writer:
        write(args.writer[0], int(args.writer[1]))
        return
    if args.events < 2000:
        parser.error(f"--events {args.events}: at least 2000 are needed, to compare with a session of 1000")
    rate = fold_rate(args.events)
    without, within = workspaces(5000, 10_000, 200)
    few = workspaces(50, 10_000, 200)[1]
    with tempfile.TemporaryDirectory() as folder, EmbeddedServer(Path(folder)) as server:
        store, raw = RedisStore(server.url), Redis.from_url(server.url)
        append, early, late = dispatches(store, raw, args.events, window=WINDOW)
        grown(store, "short", 100)
        short, long = openings(store, ("short", "long"), 200)
        lost = lost_updates(server.url, args.writers, args.updates)
        store.close()
        raw.close()
    print(f"folded {rate:,.0f} events a second")
    print(
        f"raw append {append * 1e6:.0f} us, dispatch at 1,000 events {early * 1e6:.0f} us, at {args.events:,} ", end=""
    )
    print(f"{late * 1e6:.0f} us")
    print(f"opening a session of 100 events {short * 1e6:.0f} us, of {args.events:,} {long * 1e6:.0f} us")
    print(f"tool call that replaces a file of 5,000: {without * 1e3:.2f} ms without a transaction, ", end="")
    print(f"{within * 1e3:.2f} ms with one; with one, of 50 files: {few * 1e3:.2f} ms")
    print(
        json.dumps(
            {
                "fold_events_per_s": round(rate),
                "dispatch_over_append": round(early / append, 2),
                "dispatch_growth_ratio": round(late / early, 2),
                "load_100k_over_100_ratio": round(long / short, 2),
                "lost_updates": lost,
                "workspace_ms": round((within - without) * 1e3, 2),
            }
        )
    )


if __name__ == "__main__":
    main()
