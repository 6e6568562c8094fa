"""The sides of `recovery.py`: evaluations whose tools count what they did, or hold on, and a bare `acks_late` task."""

from __future__ import annotations

import os
import time

from celery import Celery
from redis import Redis

from wink_tasks import ToolContext, Wink
from wink_tasks.core.events import Call
from wink_tasks.core.transcript import ToolAnswered, UserSaid
from wink_tasks.ports.provider import Request, Response

URL = os.environ["RECOVERY_REDIS_URL"]

app = Celery("recovery")
app.conf.broker_url = app.conf.result_backend = URL
app.conf.worker_prefetch_multiplier = 1
app.conf.broker_connection_retry_on_startup = True

redis = Redis.from_url(URL)


class CountingProvider:
    """Asks for the tool twice, then answers. What it was asked is counted."""

    async def complete(self, request: Request) -> Response:
        """See `ports.provider`."""
        said = next(item.content for item in request.items if isinstance(item, UserSaid))
        done = sum(isinstance(item, ToolAnswered) for item in request.items)
        redis.hincrby("asked", f"{said}:{done}", 1)
        if done == 2:
            return Response(text="done", model="instant")
        return Response(text="", model="instant", calls=(Call(id=f"c{done}", tool="count", arguments={}),))

    async def close(self) -> None:
        """See `ports.provider`."""


class HoldingProvider(CountingProvider):
    """Asks for `hold`, then answers."""

    async def complete(self, request: Request) -> Response:
        """See `ports.provider`."""
        said = next(item.content for item in request.items if isinstance(item, UserSaid))
        if any(isinstance(item, ToolAnswered) for item in request.items):
            return Response(text="done", model="instant")
        return Response(text="", model="instant", calls=(Call(id="c", tool="hold", arguments={"run": said}),))


wink = Wink(
    app,
    providers={"counting": CountingProvider(), "holding": HoldingProvider()},
    redis_url=URL,
    split_queues=True,
)


@wink.tool
def count(ctx: ToolContext) -> int:
    """Do something that must not be done again once it is recorded."""
    return int(redis.hincrby("called", ctx.idempotency_key, 1))


@wink.tool
def hold(ctx: ToolContext, run: str) -> str:
    """Hold on until the benchmark lets go, and note which process began when."""
    redis.rpush(f"began:{run}", f"{os.getpid()} {time.time()}")
    while not redis.exists(f"go:{run}") and os.getpid() == int(redis.lindex(f"began:{run}", 0).split()[0]):
        time.sleep(0.005)
    return "held"


@wink.prompt(output=str, tools=[count], model="counting:m", deadline=None)
def five_steps(text: str) -> str:
    """You are quick."""
    return text


@wink.prompt(output=str, tools=[hold], model="holding:m", deadline=None)
def held(run: str) -> str:
    """You hold on."""
    return run


@app.task(name="recovery.bare", acks_late=True, queue="bare", shared=False)
def bare(run: str) -> str:
    """The same without us."""
    redis.rpush(f"began:{run}", f"{os.getpid()} {time.time()}")
    while os.getpid() == int(redis.lindex(f"began:{run}", 0).split()[0]):
        time.sleep(0.005)
    return "held"
