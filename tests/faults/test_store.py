"""Redis away, restarted, or full while evaluations run."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from redis import Redis

from tests.faults.conftest import Site
from tests.faults.test_doorbells import STEPS
from tests.workers import eventually
from wink_tasks import LedgerUnavailableError
from wink_tasks.adapters.redis.embedded import EmbeddedServer


def test_redis_away_for_four_leases_and_restarted_under_load(sites: list[Site], tmp_path: Path):
    """What the models were asked before is not asked again: leases that nobody could renew are not taken."""
    server = EmbeddedServer(tmp_path)
    server.start()
    back = EmbeddedServer(tmp_path)
    try:
        site = Site(server.url)
        sites.append(site)
        for _ in range(2):
            site.worker()
        runs = [f"r{number}" for number in range(12)]
        site.shut("model")
        for run in runs[:6]:
            site.run(run)
        eventually(lambda: all(site.done(f"model:{run}:0") for run in runs[:6]), "models are asked")
        for run in runs[6:]:
            site.run(run)
        server.stop()
        away_for(4.0)
        back.start()
        site.open("model")
        for run in runs:
            site.whole(run)
            assert [site.done(f"{what}{run}{rest}") for what, rest in STEPS[:3]] == [1, 1, 1]
        site.close()
        sites.clear()
    finally:
        back.stop()


def away_for(seconds: float) -> None:
    """The absence itself is what is tested: longer than a lease."""
    threading.Event().wait(seconds)


def test_redis_full_refuses_new_work_and_records_what_is_paid(site: Site):
    site.shut("model")
    site.worker()
    site.run("r1")
    eventually(lambda: site.done("model:r1:0"), "the model is asked")
    with Redis.from_url(site.plan.url) as server:
        server.config_set("maxmemory", 1)
        try:
            site.open("model")  # DEL passes
            eventually(lambda: "ModelResponded" in site.events("r1"), "its answer is recorded")
            with pytest.raises(LedgerUnavailableError, match="maxmemory"):
                site.run("r2")
            assert site.wink.house().store.ledger.evaluation("default", "r2") is None
        finally:
            server.config_set("maxmemory", 0)
    site.whole("r1")
    assert site.done("model:r1:0") == 1
    site.run("r2")
    site.whole("r2")
