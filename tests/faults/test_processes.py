"""Processes that are killed by what they run, that stop and come back, or whose clock is wrong."""

from __future__ import annotations

import os
import signal
import threading

from tests.apps import faulty
from tests.faults.conftest import Site
from tests.workers import eventually


def test_poison_dies_alone(sites: list[Site], redis_url: str):
    """It kills its process each time, with fifty innocents in it.

    Their leases are long enough that none is lost by itself where so many threads wait for one another.
    """
    site = Site(redis_url, visibility_timeout=3)
    sites.append(site)
    innocents = [f"r{number}" for number in range(50)]
    everybody = [*innocents, "poison"]
    over = threading.Event()
    kills = []

    def supervise() -> None:
        while not over.is_set():
            process = site.worker()
            process.join()
            kills.append(process.exitcode)

    # All of them are inside of the tool when poison strikes for the first time, and again each time until the last.
    site.shut("tool")
    supervisor = threading.Thread(target=supervise)
    supervisor.start()
    try:
        for run in everybody:
            site.run(run)
        for tries in (1, 2, 3):
            eventually(lambda: all(site.done(f"tool:{run}") >= tries for run in everybody), f"try {tries}")  # noqa: B023 - asked before the loop goes on
            site.redis.set(f"strike:{site.plan.prefix}", tries)
            eventually(lambda: len(kills) == tries, "it strikes")  # noqa: B023 - asked before the loop goes on
        site.open("tool")
        for run in innocents:
            site.whole(run)
            assert site.done(f"tool:{run}") == 4
        assert site.result("poison") == faulty.Sum(total=0), "a dead call is an answer to the model"
        depth = site.wink.house().store.mailbox.depth(["turns", "tools"])
        assert (depth["tools"].dead, depth["turns"].dead) == (1, 0)
        assert (site.done("tool:poison"), len(kills)) == (4, 4)
    finally:
        over.set()
        os.kill(site.processes[-1].pid, signal.SIGKILL)
        supervisor.join()


def test_a_zombie_records_nothing(site: Site):
    """It is stopped in the tool, beyond its lease, and goes on when another one has done the work."""
    site.shut("tool")
    zombie = site.worker()
    site.run("r")
    eventually(lambda: site.done("tool:r"), "it is in the tool")
    os.kill(zombie.pid, signal.SIGSTOP)
    site.worker()
    eventually(lambda: site.done("tool:r") == 2, "another one is")
    site.open("tool")
    site.whole("r")
    os.kill(zombie.pid, signal.SIGCONT)
    site.shut("model")
    site.run("s")
    site.run("t")
    eventually(lambda: site.done("model:s:0") == site.done("model:t:0") == 1, "work goes on")
    site.open("model")
    site.whole("s")
    site.whole("t")
    site.whole("r")


def test_a_worker_whose_clock_is_an_hour_ahead_or_behind(site: Site):
    ahead = site.worker(ahead=3600.0)
    runs = [f"r{number}" for number in range(4)]
    for run in runs[:2]:
        site.run(run)
    for run in runs[:2]:
        site.whole(run)
    os.kill(ahead.pid, signal.SIGKILL)
    site.worker(ahead=-3600.0)
    for run in runs[2:]:
        site.run(run)
    for run in runs[2:]:
        site.whole(run)
    assert all(site.done(f"model:{run}:0") == 1 for run in runs)
