"""An application whose tools are coroutines."""

from __future__ import annotations

import asyncio
import os
import time

from celery import Celery

from wink_tasks import Wink
from wink_tasks.core.events import Call
from wink_tasks.core.transcript import ToolAnswered
from wink_tasks.ports.provider import Request, Response

URL = os.environ["WINK_REDIS_URL"]

app = Celery("awaited", broker=URL)
app.conf.update(worker_prefetch_multiplier=1, broker_connection_retry_on_startup=True)


class Provider:
    """Asks for two calls of the tool that the user named, side by side, and tells what they returned."""

    async def complete(self, request: Request) -> Response:
        """See `ports.provider`."""
        answers = [item.text for item in request.items if isinstance(item, ToolAnswered)]
        if answers:
            return Response(text=",".join(answers), model="m")
        tool = request.items[-1].content
        calls = tuple(Call(id=f"c{n}", tool=tool, arguments={"me": n}) for n in range(2))
        return Response(text="", model="m", calls=calls)

    async def close(self) -> None:
        """See `ports.provider`."""


wink = Wink(app, providers={"pairs": Provider()}, split_queues=True)
_here: dict[int, asyncio.Event] = {}


@wink.tool(parallel=True)
async def meet(me: int) -> str:
    """Return once the other one is here, too."""
    for n in range(2):
        _here.setdefault(n, asyncio.Event())
    _here[me].set()
    await _here[1 - me].wait()
    return f"{me} met {1 - me}"


@wink.tool(inline=True)
async def block(me: int) -> str:
    """Hold the loop."""
    time.sleep(2 if me else 0)  # noqa: ASYNC251, TID251 - it is this that must be noticed
    return f"{me} blocked"


@wink.tool(parallel=True)
async def forget(me: int) -> str:
    """Never return."""
    await asyncio.Event().wait()
    return str(me)


@wink.prompt(output=str, tools=[meet, block, forget], model="pairs:m", deadline=60)
def pair(tool: str) -> str:
    """You pair."""
    return tool
