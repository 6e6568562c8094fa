"""An application whose tools behave badly, each in its way; what they did is in the list `seen` of its Redis."""

from __future__ import annotations

import asyncio
import ctypes
import os
import signal

from celery import Celery
from redis import Redis

from wink_tasks import ToolContext, Wink
from wink_tasks.core.events import Call
from wink_tasks.core.transcript import ToolAnswered
from wink_tasks.ports.provider import Request, Response

URL = os.environ["WINK_REDIS_URL"]

app = Celery("lives")
app.conf.update(
    broker_url=os.environ.get("CELERY_BROKER_URL", URL),
    result_backend=URL,
    worker_prefetch_multiplier=1,
    broker_connection_retry_on_startup=True,
)


class OneCall:
    """Asks for the tool that the user names, then says what it returned. Asked for `model`, it does not answer."""

    async def complete(self, request: Request) -> Response:
        """See `ports.provider`."""
        if isinstance(last := request.items[-1], ToolAnswered):
            return Response(text=str(last.value), model="m")
        tool = request.items[0].content
        if tool == "model":
            await self.hang()
            return Response(text="answered", model="m")
        return Response(text="", model="m", calls=(Call(id="c", tool=tool, arguments={}),))

    async def hang(self) -> None:
        """Until the gate is open; says how that ended."""
        from redis.asyncio import Redis as AsyncRedis

        async with AsyncRedis.from_url(URL) as redis:
            await redis.rpush("seen", f"model:{os.getpid()}")
            try:
                while not await redis.exists("gate"):
                    await redis.blpop(["never"], timeout=0.05)
            finally:
                note("model over")

    async def close(self) -> None:
        """See `ports.provider`."""


wink = Wink(app, providers={"one": OneCall()})


def note(what: str) -> None:
    """Tell the test."""
    with Redis.from_url(URL) as redis:
        redis.rpush("seen", what)


@wink.tool
def nap(ctx: ToolContext) -> str:
    """Wait for the gate, and look now and then whether that is still wanted."""
    return wait(ctx, "nap", ctx.check)


@wink.tool
def doze(ctx: ToolContext) -> str:
    """Wait for the gate, whatever is wanted."""
    return wait(ctx, "doze", lambda: None)


def wait(ctx: ToolContext, name: str, check) -> str:
    """Until the gate is open. A pause of this process is no reason for its client to give up."""
    with Redis.from_url(URL, socket_timeout=None) as redis:
        redis.rpush("seen", f"{name}:{os.getpid()}:{ctx.delivery_count}")
        try:
            while not redis.exists("gate"):
                redis.blpop("never", 0.05)
                check()
        except Exception as error:
            redis.rpush("seen", f"{name} over:{os.getpid()}:{type(error).__name__}")
            raise
        redis.rpush("seen", f"{name} over:{os.getpid()}")
    return f"{name} {ctx.delivery_count}"


@wink.tool
def hog(ctx: ToolContext) -> str:
    """Hold the GIL for 3 s, the first time."""
    note(f"hog:{os.getpid()}:{ctx.delivery_count}")
    if ctx.delivery_count == 1:
        ctypes.PyDLL(None).usleep(3_000_000)
    note(f"hog:{os.getpid()}:over")
    return f"hog {ctx.delivery_count}"


@wink.tool
def die(ctx: ToolContext) -> str:
    """End this process, the first time."""
    note(f"die:{os.getpid()}:{ctx.delivery_count}")
    if ctx.delivery_count == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    return f"die {ctx.delivery_count}"


@wink.tool
def loops() -> str:
    """Run a coroutine."""

    async def looped() -> str:
        return "looped"

    return asyncio.run(looped())


@wink.prompt(output=str, tools=[nap, doze, hog, die, loops], model="one:m", deadline=None)
def use(tool: str) -> str:
    """You use a tool."""
    return tool


@app.task(name="lives.other", shared=False, acks_late=True)
def other() -> str:
    """A task of the host's own."""
    with Redis.from_url(URL) as redis:
        redis.rpush("seen", f"other:{os.getpid()}")
        while not redis.exists("gate:other"):
            redis.blpop("never", 0.05)
    return "done"
