"""An application whose model and tools wait for the test: each announces itself in Redis, and goes on when let."""

from __future__ import annotations

import os

from celery import Celery
from celery.exceptions import Reject
from pydantic import BaseModel
from redis import Redis
from redis.asyncio import Redis as AsyncRedis

from wink_tasks import BlockingInTaskError, ToolContext, ToolError, Wink
from wink_tasks.core.events import Call
from wink_tasks.core.limits import Usage
from wink_tasks.core.transcript import ToolAnswered, UserSaid
from wink_tasks.ports.provider import Request, Response

URL = os.environ["WINK_REDIS_URL"]

app = Celery("gated")
app.conf.update(
    broker_url=os.environ.get("CELERY_BROKER_URL", URL),
    result_backend=URL,
    worker_prefetch_multiplier=1,
    broker_connection_retry_on_startup=True,
    worker_send_task_events=True,
)


class Sum(BaseModel):
    """What the prompt gives."""

    total: int


class StubbornProvider:
    """Asks for the same call again and again."""

    async def complete(self, request: Request) -> Response:
        """See `ports.provider`."""
        call = Call(id=f"c{len(request.items)}", tool="divide", arguments={"a": 1})
        return Response(text="", model="m", calls=(call,))

    async def close(self) -> None:
        """See `ports.provider`."""


class GatedProvider:
    """Adds up what the tool returned; before each answer it waits until the test has let it pass."""

    async def complete(self, request: Request) -> Response:
        """See `ports.provider`."""
        asked = sum(isinstance(item, UserSaid) for item in request.items)
        done = [item for item in request.items if isinstance(item, ToolAnswered)]
        async with AsyncRedis.from_url(URL) as redis:
            await redis.rpush("seen", f"model:{asked}:{len(done)}")
            await wait_for(redis, "gate:model")
        if len(done) < 2:
            call = Call(id=f"c{len(done)}", tool="add", arguments={"a": 1, "b": len(done)})
            return Response(text="", model="m", calls=(call,), usage=Usage(requests=1, input_tokens=7, output_tokens=3))
        total = sum(item.value for item in done if not item.failed)
        return Response(
            text=f'{{"total": {total}}}', model="m", usage=Usage(requests=1, input_tokens=7, output_tokens=3)
        )

    async def close(self) -> None:
        """See `ports.provider`."""


async def wait_for(redis: AsyncRedis, gate: str) -> None:
    """Until the gate is open."""
    while not await redis.exists(gate):
        await redis.blpop(["never"], timeout=0.05)


wink = Wink(app, providers={"gated": GatedProvider(), "stubborn": StubbornProvider()}, split_queues=True)


@wink.tool
def add(ctx: ToolContext, a: int, b: int) -> int:
    """Add two numbers."""
    with Redis.from_url(URL) as redis:
        redis.rpush("seen", f"add:{a}:{b}")
        while not redis.exists("gate:tool"):
            redis.blpop("never", 0.05)
        ctx.check()
    if b < 0:
        raise ToolError("b is negative")
    return a + b


@wink.prompt(output=Sum, tools=[add], model="gated:m")
def total(text: str) -> str:
    """You add."""
    return f"Add up {text}."


@wink.tool(inline=True)
def divide(a: int) -> int:
    """Divide by nothing."""
    return a // 0


@wink.prompt(output=Sum, tools=[divide], model="stubborn:m")
def fragile() -> str:
    """You try."""
    return "Divide."


@app.task(name="gated.adds", shared=False)
def adds(a: int, b: int) -> int:
    """A task of the host's own."""
    return a + b


@app.task(name="gated.refuses", shared=False, acks_late=True)
def refuses(why: str) -> None:
    """A task of the host's own that will have none of it."""
    raise Reject(why, requeue=False)


def body(text: str) -> str:
    """You are declared later."""
    return text


@app.task(name="gated.waits", shared=False)
def waits() -> str:
    """Try to wait for a run inside of a task."""
    try:
        wink.run("some-run").get()
    except BlockingInTaskError as error:
        return type(error).__name__
    return "waited"
