"""A worker's life on each pool: what it holds while it lives, and what others get, and when, once it does not."""

from __future__ import annotations

import importlib
import os
import signal
import sys
from collections.abc import Callable, Iterable, Iterator
from types import ModuleType

import pytest
from redis import Redis

from tests.workers import WorkerProcess, Workers, eventually
from wink_tasks import LeaseLostError
from wink_tasks.core.events import ToolFailed, ToolReturned

QUICK = {"WINK_VISIBILITY_TIMEOUT": "1", "WINK_REAP_EVERY": "0.2", "WINK_WORKER_BEAT": "0.3"}
PATIENT = {**QUICK, "WINK_VISIBILITY_TIMEOUT": "3600"}
"""Nothing comes back by a lease that runs out."""

CLOSING = "nothing is claimed any more"


class Site:
    """The application in this process, its workers, and what its tools told."""

    def __init__(self, module: ModuleType, workers: Workers, url: str) -> None:
        self.module = module
        self.workers = workers
        self.redis = Redis.from_url(url, decode_responses=True)

    def fleet(self, pools: Iterable[tuple[str, dict[str, str]]], *, listening: int) -> list[WorkerProcess]:
        """Workers that start at the same time, each with a pool and an environment; the first few have our queue."""
        options = ("--without-mingle", "--without-gossip")
        started = [
            self.workers.start(
                "tests.apps.lives",
                "celery" if place < listening else "idle",
                pool=pool,
                concurrency=2,
                env=env,
                options=options,
            )
            for place, (pool, env) in enumerate(pools)
        ]
        for worker in started:
            self.workers.await_member(worker, self.module.wink)
        return started

    def listen(self, worker: WorkerProcess) -> None:
        """Have a worker hear our queue from now on."""
        control = self.module.app.control
        told = {"queue": "celery"}
        assert control.broadcast(
            "add_consumer", arguments=told, destination=[worker.name], reply=True, limit=1, timeout=30
        )

    def seen(self, prefix: str = "") -> list[str]:
        return [entry for entry in self.redis.lrange("seen", 0, -1) if entry.startswith(prefix)]

    def await_seen(self, prefix: str, times: int = 1) -> list[str]:
        return eventually(lambda: len(found := self.seen(prefix)) >= times and found, f"{times} times {prefix}")

    def open(self) -> None:
        self.redis.set("gate", 1)


def events(run) -> list:
    return [record.event for record in run.events(timeout=60)]


def results(run) -> list:
    return [event.value for event in events(run) if isinstance(event, ToolReturned)]


def ended(worker: WorkerProcess) -> int:
    return worker.process.wait(timeout=60)


def assert_its_parts_ended_in_order(worker: WorkerProcess, pool: str) -> None:
    [order] = [line for line in worker.log.read_text().splitlines() if "MainProcess] ended, in" in line]
    children = "lines to children, " if pool == "prefork" else ""
    assert order.endswith(f"ended, in this order: reaper, {children}keeper, resources, loop, ringer, store")


@pytest.fixture
def site(redis_url: str, workers: Workers, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Site]]:
    opened = []

    def opening(settings: dict[str, str]) -> Site:
        for name, value in {**settings, "WINK_REDIS_URL": redis_url, "CELERY_BROKER_URL": redis_url}.items():
            monkeypatch.setenv(name, value)
        sys.modules.pop("tests.apps.lives", None)
        opened.append(Site(importlib.import_module("tests.apps.lives"), workers, redis_url))
        return opened[0]

    yield opening
    for one in opened:
        one.open()
        one.redis.close()
        one.module.wink.leave()


@pytest.mark.parametrize("pool", ["threads", "prefork"])
def test_a_worker_that_is_killed_and_one_that_is_paused(site: Callable[..., Site], pool: str):
    here = site(QUICK)
    killed, paused, last = here.fleet([(pool, {}), (pool, {}), ("threads", {})], listening=1)
    run = here.module.use.delay("nap")
    here.await_seen("nap:")
    here.listen(paused)
    killed.kill()
    pid = here.await_seen("nap:", times=2)[1].split(":")[1]
    here.listen(last)
    os.killpg(paused.process.pid, signal.SIGSTOP)
    here.await_seen("nap:", times=3)
    os.killpg(paused.process.pid, signal.SIGCONT)
    here.await_seen(f"nap over:{pid}:{LeaseLostError.__name__}")
    here.open()
    assert run.get(timeout=60) == "nap 3"
    assert results(run) == ["nap 3"]
    assert not [event for event in events(run) if isinstance(event, ToolFailed)]


@pytest.mark.parametrize("pool", ["threads", "prefork"])
def test_workers_that_are_asked_to_end(site: Callable[..., Site], pool: str):
    """One after the grace, one that is asked twice, one that is asked with force, one that has time enough.

    Nothing comes back by a lease that runs out. Each has another hash seed, and so another order of bootsteps.
    """
    here = site(PATIENT)
    runs = ["doze", "model"]
    graces = ["0.2", "3600", "3600", "3600"]
    own = [(pool, {"PYTHONHASHSEED": str(n), "WINK_SHUTDOWN_GRACE": grace}) for n, grace in enumerate(graces)]
    leaving, *heirs, last = here.fleet([*own, ("threads", {})], listening=1)
    started = [here.module.use.delay(name) for name in runs]
    asked = [((signal.SIGTERM,), 0), ((signal.SIGTERM, signal.SIGTERM), 0), ((signal.SIGQUIT,), 1)]
    for tries, ((numbers, code), heir) in enumerate(zip(asked, heirs, strict=True), 1):
        for name in runs:
            here.await_seen(f"{name}:", times=tries)
        here.listen(heir)
        leaving.process.send_signal(numbers[0])
        if len(numbers) > 1:
            leaving.await_log(CLOSING)
            leaving.process.send_signal(numbers[1])
        for name in runs:
            here.await_seen(f"{name}:", times=tries + 1)
        assert ended(leaving) == code
        assert "2 steps in hand were handed back" in leaving.log.read_text()
        leaving = heir
    here.listen(last)
    leaving.process.send_signal(signal.SIGTERM)
    leaving.await_log(CLOSING)
    here.open()
    assert [run.get(timeout=60) for run in started] == ["doze 4", "answered"]
    assert results(started[0]) == ["doze 4"]
    assert ended(leaving) == 0
    for worker in here.workers.started[:4]:
        assert_its_parts_ended_in_order(worker, pool)


@pytest.mark.parametrize("pool", ["gevent", "solo"])
def test_a_worker_that_is_killed_and_one_that_is_asked_to_end(site: Callable[..., Site], pool: str):
    """Where a tool has an event loop of its own, though that of the model calls may be a greenlet of its thread."""
    here = site(QUICK)
    killed, leaving, last = here.fleet(
        [(pool, {}), (pool, {"WINK_SHUTDOWN_GRACE": "0.2"}), ("threads", {})], listening=1
    )
    assert here.module.use.delay("loops").get(timeout=60) == "looped"
    runs = ["doze"] if pool == "solo" else ["doze", "model"]  # it has one slot
    started = [here.module.use.delay(name) for name in runs]
    for name in runs:
        here.await_seen(f"{name}:")
    here.listen(leaving)
    killed.kill()
    for name in runs:
        here.await_seen(f"{name}:", times=2)
    here.listen(last)
    leaving.process.send_signal(signal.SIGTERM)
    for name in runs:
        here.await_seen(f"{name}:", times=3)
    assert ended(leaving) == 0
    assert f"{len(runs)} steps in hand were handed back" in leaving.log.read_text()
    assert_its_parts_ended_in_order(leaving, pool)
    here.open()
    assert [run.get(timeout=60) for run in started] == ["doze 3", "answered"][: len(runs)]
    assert results(started[0]) == ["doze 3"]


def test_a_lost_child_is_noticed_by_its_parent(site: Callable[..., Site]):
    here = site(PATIENT)
    here.fleet([("prefork", {})], listening=1)
    run = here.module.use.delay("die")
    assert run.get(timeout=60) == "die 2"


def test_a_child_that_holds_its_gil_keeps_its_lease(site: Callable[..., Site]):
    """For three lease times; another worker is there to claim."""
    here = site(QUICK)
    here.fleet([("prefork", {})] * 2, listening=2)
    run = here.module.use.delay("hog")
    assert run.get(timeout=60) == "hog 1"
    assert len(here.seen("hog:")) == 2


@pytest.mark.parametrize("pool", ["threads", "gevent"])
def test_where_nothing_could_renew_the_second_try_counts(site: Callable[..., Site], pool: str):
    here = site(QUICK)
    here.fleet([(pool, {})] * 2, listening=2)
    run = here.module.use.delay("hog")
    pid = int(here.await_seen("hog:")[0].split(":")[1])
    assert run.get(timeout=60) == "hog 2"
    assert results(run) == ["hog 2"]
    [hogged] = [worker for worker in here.workers.started if worker.process.pid == pid]
    hogged.await_log("of lives.hog does not count")


@pytest.mark.parametrize("pool", ["threads", "prefork"])
def test_a_hosts_own_task_ends_in_its_own_time(site: Callable[..., Site], pool: str):
    """Where it keeps a worker from ending, our steps are handed back, and wait for nobody."""
    here = site(PATIENT)
    leaving, heir = here.fleet([(pool, {"WINK_SHUTDOWN_GRACE": "0.1"}), ("threads", {})], listening=1)
    other = here.module.other.delay()
    run = here.module.use.delay("doze")
    here.await_seen("other:")
    here.await_seen("doze:")
    here.listen(heir)
    leaving.process.send_signal(signal.SIGTERM)
    here.await_seen("doze:", times=2)
    assert leaving.process.poll() is None
    here.redis.set("gate:other", 1)
    assert other.get(timeout=60) == "done"
    assert ended(leaving) == 0
    assert len(here.seen("other:")) == 1
    here.open()
    assert run.get(timeout=60) == "doze 2"
