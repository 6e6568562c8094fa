"""A site: processes of `tests.apps.faulty` around one Redis, forked from a server that has imported everything."""

from __future__ import annotations

import itertools
import multiprocessing
import os
import signal
from collections.abc import Iterator
from typing import Any

import pytest
from msgspec import structs
from redis import Redis

from tests.apps import faulty
from tests.apps.faulty import Plan
from tests.workers import eventually

PREFIXES = (f"site{number}" for number in itertools.count())
CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["tests.apps.faulty"])


class Site:
    """Runs are named by their ids. `done` counts what was done: `model:<run>:<turn>`, `tool:<run>`, `outcome:<run>`."""

    def __init__(self, url: str, **options: Any) -> None:
        self.plan = Plan(url, next(PREFIXES), **options)
        self.redis = Redis.from_url(url, decode_responses=True)
        self.wink, self.total = faulty.build(self.plan)
        self.ids = itertools.count()
        self.processes: list[Any] = []

    def start(self, target: Any, *args: Any, **options: Any) -> Any:
        """A process of this site; `options` change its plan."""
        process = CONTEXT.Process(target=target, args=(structs.replace(self.plan, **options), *args))
        process.start()
        self.processes.append(process)
        return process

    def worker(self, **options: Any) -> Any:
        """A worker process."""
        return self.start(faulty.work, f"w{next(self.ids)}", **options)

    def publisher(self, run: str, **options: Any) -> Any:
        """A process that starts a run, and ends."""
        return self.start(faulty.publish, run, **options)

    def run(self, name: str) -> None:
        """Start a run from this process."""
        self.total.apply_async((name,), task_id=name)

    def done(self, what: str) -> int:
        """How often this was done."""
        return int(self.redis.hget(f"done:{self.plan.prefix}", what) or 0)

    def shut(self, what: str) -> None:
        """Let nobody pass there."""
        self.redis.set(f"shut:{self.plan.prefix}:{what}", 1)

    def open(self, what: str) -> None:
        """Let all pass."""
        self.redis.delete(f"shut:{self.plan.prefix}:{what}")

    def result(self, name: str) -> Any:
        """What a run gives, or the error that it ended with."""
        return self.wink.run(name).get(timeout=40, propagate=False)

    def events(self, name: str) -> list[str]:
        """The names of a run's events."""
        return [type(record.event).__name__ for record in self.wink.session(name).events()]

    def whole(self, name: str) -> None:
        """The run succeeded, and its ledger holds each step once."""
        assert self.result(name) == faulty.Sum(total=3)
        assert self.events(name) == [
            "SessionOpened",
            "EvaluationAccepted",
            "EvaluationStarted",
            "ModelResponded",
            "ToolReturned",
            "ModelResponded",
            "EvaluationSucceeded",
        ]
        eventually(lambda: self.done(f"outcome:{name}"), f"outcome of {name}")

    def close(self) -> None:
        """End all."""
        for process in self.processes:
            if process.is_alive():
                os.kill(process.pid, signal.SIGKILL)
            process.join()
            process.close()
        self.wink.leave()
        self.redis.close()


@pytest.fixture
def sites() -> Iterator[list[Site]]:
    """Sites that a test makes, all ended after it."""
    made: list[Site] = []
    yield made
    for site in made:
        site.close()


@pytest.fixture
def site(sites: list[Site], redis_url: str) -> Site:
    """One site on the test's Redis."""
    sites.append(Site(redis_url))
    return sites[0]
