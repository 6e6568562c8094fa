"""Hostile messages on a real worker: counted, kept, and nobody is harmed."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from types import ModuleType

import pytest
from redis import Redis

from tests import hostile
from tests.workers import Workers, eventually
from wink_tasks.adapters.celery.rejections import republish
from wink_tasks.ports.rejections import LARGEST_BODY


@pytest.fixture
def gated(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """The gated application, on the test's Redis, in this process."""
    monkeypatch.setenv("WINK_REDIS_URL", redis_url)
    monkeypatch.setenv("CELERY_BROKER_URL", redis_url)
    sys.modules.pop("tests.apps.gated", None)
    module = importlib.import_module("tests.apps.gated")
    yield module
    module.wink.leave()


@pytest.mark.parametrize("pool", ["threads", "prefork"])
def test_what_celery_cannot_run_is_kept_and_the_worker_works_on(
    gated: ModuleType, workers: Workers, redis_url: str, pool: str
):
    worker = workers.start("tests.apps.gated", "turns,tools,gated", pool=pool, concurrency=2, wink=gated.wink)
    store = gated.wink.house().store
    bad = hostile.rejected_ones("gated.total", "gated.adds", "gated.refuses")
    good = hostile.harmless_ones("gated.total", "gated.adds")
    hostile.send(gated.app, "gated", hostile.many(bad, 2 * len(bad)))
    hostile.send(gated.app, "gated", iter(good))
    none = hostile.no_messages("gated")
    raw = [*none, *hostile.odd_messages("gated")]
    with Redis.from_url(redis_url) as redis:
        redis.lpush("gated", *raw)
    count = 2 * len(bad) + len(raw)
    eventually(lambda: store.rejections.count() == count, "all are counted")
    kept = list(store.rejections.kept())
    assert {one.reason for one in kept} == {
        *("unknown format", "unknown task", "undecodable", "invalid", "rejected by its task", "no message"),
    }
    assert [one.body for one in kept if one.reason == "no message"] == [item[:LARGEST_BODY] for item in none]
    assert {one.queue for one in kept} == {"gated", "{'a': 1}"}  # what the message itself says
    assert max(one.size for one in kept) == 1_000_000
    assert b"{ not json" in {one.body for one in kept}

    with Redis.from_url(redis_url) as redis:
        redis.set("gate:model", 1)
        redis.set("gate:tool", 1)
        assert gated.adds.apply_async((1, 2), queue="gated").get(timeout=60) == 3
        assert gated.total.delay("x").get(timeout=60) == gated.Sum(total=3)
        eventually(lambda: redis.hlen("unacked") == 0, "Celery lets go of each")
    assert (worker.process.poll(), store.rejections.count()) == (None, count)

    [refused] = [one for one in kept if one.task == "gated.refuses"][:1]
    republish(gated.app, refused)
    eventually(lambda: store.rejections.count() == count + 1, "it came again, and was rejected again")
    again = list(store.rejections.kept())[-1]
    assert (again.body, again.task, dict(again.headers)) == (refused.body, refused.task, dict(refused.headers))
