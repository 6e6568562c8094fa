"""Durable tasks on real workers that really die."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from types import ModuleType

import pytest
from celery import Celery
from redis import Redis

from tests.workers import Workers, eventually
from wink_tasks import DeadLetteredError, OutcomeUnknownError, TaskFailedError

QUICK = {"WINK_REAP_EVERY": "0.2", "WINK_WORKER_BEAT": "0.3"}


@pytest.fixture
def durable(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """The application, on the test's Redis, in this process."""
    monkeypatch.setenv("WINK_REDIS_URL", redis_url)
    monkeypatch.setenv("CELERY_BROKER_URL", redis_url)
    sys.modules.pop("tests.apps.durable", None)
    module = importlib.import_module("tests.apps.durable")
    yield module
    module.wink.leave()


@pytest.mark.parametrize("pool", ["threads", "prefork"])
def test_a_worker_killed_inside_of_tasks(durable: ModuleType, workers: Workers, redis_url: str, pool: str):
    redis = Redis.from_url(redis_url, decode_responses=True)

    def seen() -> list[str]:
        return sorted(redis.lrange("seen", 0, -1))

    workers.env.update(QUICK)
    first = workers.start("tests.apps.durable", "celery", pool=pool, concurrency=2, wink=durable.wink)
    counted, once = durable.count.delay(4), durable.once.delay("pay")
    eventually(lambda: seen() == ["count 1", "count 2", "once pay"], "both are at their gates")
    mailbox = durable.wink.house().store.ledger
    lease = mailbox.message("default", counted.id, counted.id).due
    eventually(lambda: mailbox.message("default", counted.id, counted.id).due > lease, "a lease of 1 s is renewed")
    first.kill()
    redis.set("gate", 1)
    workers.start("tests.apps.durable", "celery", pool=pool, concurrency=2, wink=durable.wink)

    assert counted.get(timeout=60) == [1, 2, 3, 4, 2], "the second delivery, from the checkpoint"
    with pytest.raises(OutcomeUnknownError, match="runs at most once"):
        once.get(timeout=60)
    assert seen() == ["count 1", "count 2", "count 3", "count 4", "once pay"]
    assert [type(record.event).__name__ for record in counted.events()] == ["EvaluationAccepted", "EvaluationSucceeded"]

    retried = [durable.flaky.delay(how) for how in ("retry", "raise")]
    assert [run.get(timeout=60) for run in retried] == ["retry 2", "raise 2"]
    with pytest.raises(DeadLetteredError, match="rejected; last error: unfit"):
        durable.flaky.delay("reject").get(timeout=60)
    with pytest.raises(TaskFailedError, match="ValueError: fail"):
        durable.flaky.delay("fail").get(timeout=60)
    stranger = Celery("stranger", broker=redis_url, backend=redis_url)
    assert stranger.send_task("durable.flaky", kwargs={"how": "retry"}).get(timeout=60) == "retry 2"
    redis.close()


def test_a_forked_child_makes_and_closes_its_own_resources(durable: ModuleType, workers: Workers, redis_url: str):
    redis = Redis.from_url(redis_url, decode_responses=True)
    sys.modules.pop("tests.apps.forked", None)
    forked = importlib.import_module("tests.apps.forked")
    workers.env.update(QUICK)
    worker = workers.start("tests.apps.forked", "celery", pool="prefork", concurrency=1, wink=durable.wink)
    made, used = forked.whose.delay().get(timeout=60)
    assert made == used != worker.process.pid
    assert forked.whose.delay().get(timeout=60) == [made, used], "one a process"
    worker.stop()
    main, child = f"open {worker.process.pid}", f"open {made}"
    assert redis.lrange("seen", 0, 1) == [main, child]
    assert sorted(redis.lrange("seen", 2, -1)) == sorted(
        f"close {pid} in {pid}" for pid in (worker.process.pid, made)
    ), "each by the process that made it"
