"""Durable tasks that announce in Redis what they do, and wait for the test's gate where it may kill their worker."""

from __future__ import annotations

import os

from celery import Celery
from celery.exceptions import Reject
from redis import Redis

from wink_tasks import ToolContext, Wink

URL = os.environ["WINK_REDIS_URL"]

app = Celery("durable")
app.conf.update(
    broker_url=os.environ.get("CELERY_BROKER_URL", URL),
    result_backend=URL,
    worker_prefetch_multiplier=1,
    broker_connection_retry_on_startup=True,
)
wink = Wink(app)
GATE_AFTER = 2


def announce(what: str) -> None:
    """Tell the test."""
    with Redis.from_url(URL) as redis:
        redis.rpush("seen", what)


def wait_for_gate() -> None:
    """Until the test opens it."""
    with Redis.from_url(URL) as redis:
        while not redis.exists("gate"):
            redis.blpop("never", 0.05)


@wink.task(visibility_timeout=1)
def count(ctx: ToolContext, upto: int) -> list[int]:
    """Count, and go on from where the last delivery was."""
    done: list[int] = ctx.checkpointed or []
    for number in range(len(done) + 1, upto + 1):
        announce(f"count {number}")
        done.append(number)
        ctx.checkpoint(done)
        if number == GATE_AFTER:
            wait_for_gate()
    return [*done, ctx.delivery_count]


@wink.task(visibility_timeout=1, max_retries=0)
def once(what: str) -> str:
    """Do something that must not be done twice."""
    announce(f"once {what}")
    wait_for_gate()
    return what


@wink.task(autoretry_for=(ConnectionError,), retry_backoff=0.2)
def flaky(ctx: ToolContext, how: str) -> str:
    """Fail in one of Celery's ways, the first time."""
    if ctx.delivery_count == 1 and how == "retry":
        raise flaky.task.retry(countdown=0.2, exc=ValueError(how))
    if ctx.delivery_count == 1 and how == "raise":
        raise ConnectionError(how)
    if how == "reject":
        raise Reject("unfit", requeue=False)
    if how == "fail":
        raise ValueError(how)
    return f"{how} {ctx.delivery_count}"
