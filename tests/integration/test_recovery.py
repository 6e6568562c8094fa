"""A worker that dies costs seconds, and nothing that was done is done again."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from types import ModuleType

import pytest
from redis import Redis

from tests.workers import Workers, eventually
from wink_tasks.core.events import EvaluationSucceeded, ModelResponded, ToolReturned

QUICK = {"WINK_VISIBILITY_TIMEOUT": "1", "WINK_REAP_EVERY": "0.2", "WINK_WORKER_BEAT": "0.3"}


@pytest.fixture
def gated(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """The gated application, on the test's Redis, in this process."""
    monkeypatch.setenv("WINK_REDIS_URL", redis_url)
    monkeypatch.setenv("CELERY_BROKER_URL", redis_url)
    for name, value in QUICK.items():
        monkeypatch.setenv(name, value)
    sys.modules.pop("tests.apps.gated", None)
    module = importlib.import_module("tests.apps.gated")
    yield module
    module.wink.leave()


def kinds(run) -> list[str]:
    return [type(record.event).__name__ for record in run.events(timeout=60)]


@pytest.mark.parametrize("pool", ["threads", "prefork"])
def test_worker_killed_inside_a_turn_and_between_two_turns(
    gated: ModuleType, workers: Workers, redis_url: str, pool: str
):
    redis = Redis.from_url(redis_url, decode_responses=True)

    def seen(prefix: str) -> list[str]:
        return [entry for entry in redis.lrange("seen", 0, -1) if entry.startswith(prefix)]

    workers.env.update(QUICK)
    first = workers.start("tests.apps.gated", "turns", pool=pool, concurrency=2, wink=gated.wink)
    workers.start("tests.apps.gated", "tools", pool="prefork", concurrency=1, wink=gated.wink)
    run = gated.total.delay("numbers")
    eventually(lambda: seen("model:1:0"), "the first model call")
    first.kill()
    second = workers.start("tests.apps.gated", "turns", pool=pool, concurrency=2, wink=gated.wink)
    eventually(lambda: len(seen("model:1:0")) == 2, "the call is made again by the other worker")
    redis.set("gate:model", 1)
    eventually(lambda: seen("add:1:0"), "the first tool call")
    second.kill()
    redis.set("gate:tool", 1)
    workers.start("tests.apps.gated", "turns", pool=pool, concurrency=2, wink=gated.wink)

    assert run.get(timeout=60) == gated.Sum(total=3)
    assert len(seen("add:1:0")) == len(seen("add:1:1")) == 1
    assert len(seen("model:1:1")) == len(seen("model:1:2")) == 1
    events = [record.event for record in run.events()]
    assert [event.turn for event in events if isinstance(event, ModelResponded)] == [1, 2, 3]
    assert [event.value for event in events if isinstance(event, ToolReturned)] == [1, 2]
    assert isinstance(events[-1], EvaluationSucceeded)
    redis.close()
