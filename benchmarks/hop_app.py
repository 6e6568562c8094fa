"""The two sides of `hop.py` on one Celery app: an evaluation of five steps, and a chain of five bare tasks."""

from __future__ import annotations

import os

from celery import Celery

from wink_tasks import ToolContext, Wink
from wink_tasks.core.events import Call
from wink_tasks.core.transcript import ToolAnswered
from wink_tasks.ports.provider import Request, Response

QUEUE = os.environ["HOP_QUEUE"]

app = Celery("hop")
app.conf.broker_url = app.conf.result_backend = os.environ["HOP_REDIS_URL"]
app.conf.task_default_queue = f"{QUEUE}-default"
app.conf.worker_prefetch_multiplier = 1
app.conf.broker_connection_retry_on_startup = True


class InstantProvider:
    """Asks for the tool twice, then answers."""

    async def complete(self, request: Request) -> Response:
        """See `ports.provider`."""
        done = sum(isinstance(item, ToolAnswered) for item in request.items)
        if done == 2:
            return Response(text="done", model="instant")
        return Response(text="", model="instant", calls=(Call(id=f"c{done}", tool="add", arguments={"n": done}),))

    async def close(self) -> None:
        """See `ports.provider`."""


wink = Wink(
    app,
    providers={"instant": InstantProvider()},
    redis_url=os.environ["HOP_REDIS_URL"],
    continuation=os.environ.get("HOP_CONTINUATION") == "1",
)


@wink.tool(queue=QUEUE)
def add(ctx: ToolContext, n: int) -> int:
    """Add one."""
    return n + 1


@wink.prompt(output=str, tools=[add], model="instant:model", queue=QUEUE)
def five_steps(text: str) -> str:
    """You are quick."""
    return text


@app.task(name="hop.bare", acks_late=True, queue=QUEUE, shared=False)
def bare(n: int) -> int:
    """One bare hop."""
    return n + 1
