"""An application whose model does as it is told, and whose tools do not end by themselves."""

from __future__ import annotations

import asyncio
import os
import threading

from celery import Celery, signals
from redis import Redis

from wink_tasks import ToolContext, Wink
from wink_tasks.adapters.providers.openai import OpenAIProvider
from wink_tasks.core.events import Call
from wink_tasks.core.transcript import ToolAnswered
from wink_tasks.ports.provider import Request, Response

URL = os.environ["WINK_REDIS_URL"]

app = Celery("revocable")
app.conf.update(
    broker_url=os.environ.get("CELERY_BROKER_URL", URL),
    result_backend=URL,
    worker_prefetch_multiplier=1,
    broker_connection_retry_on_startup=True,
    task_annotations={"revocable.overruns": {"time_limit": 1}},
)


PAUSE = threading.Event()


def note(what: str) -> None:
    """Have the test know."""
    with Redis.from_url(URL) as redis:
        redis.rpush("seen", what)


class ObedientProvider:
    """Asks for the tools that the prompt names, one after the other, and then gives what they gave; or hangs."""

    async def complete(self, request: Request) -> Response:
        """See `ports.provider`."""
        wanted = request.items[0].content.split()
        done = [item for item in request.items if isinstance(item, ToolAnswered)]
        if len(done) < len(wanted) and wanted[len(done)] == "hang":
            note("hangs")
            await asyncio.Event().wait()
        if len(done) < len(wanted):
            return Response(text="", model="m", calls=(Call(id=f"c{len(done)}", tool=wanted[len(done)], arguments={}),))
        return Response(text=" ".join(str(item.value) for item in done), model="m")

    async def close(self) -> None:
        """See `ports.provider`."""


wink = Wink(
    app,
    providers={
        "obedient": ObedientProvider(),
        "vendor": lambda: OpenAIProvider(base_url=os.environ["VENDOR_URL"], api_key="k"),
    },
    split_queues=True,
)


@wink.tool
def quick() -> str:
    """End at once."""
    return "quick"


@wink.tool(inline=True)
def inline() -> str:
    """End at once, where the prompt runs."""
    return "inline"


@wink.tool
def sleeps() -> str:
    """Sleep, and tidy up."""
    note(f"sleeps {os.getpid()}")
    try:
        PAUSE.wait(600)
    finally:
        note("tidied")
    return "slept"


@wink.tool
def refuses() -> str:
    """Sleep, whatever is raised."""
    note(f"refuses {os.getpid()}")
    while True:
        try:
            PAUSE.wait(600)
        except BaseException:  # noqa: BLE001 - what it is there for
            note("refused")


@wink.tool(inline=True)
def asks(ctx: ToolContext) -> str:
    """Ask now and then."""
    note("asks")
    while True:
        ctx.check()
        PAUSE.wait(0.02)


@wink.tool(inline=True, timeout=0.5)
def asks_for_a_while(ctx: ToolContext) -> str:
    """Ask until its time is over."""
    while True:
        ctx.check()
        PAUSE.wait(0.02)


@wink.tool(timeout=0.5)
def dawdles() -> str:
    """Sleep beyond its time."""
    note("dawdles")
    PAUSE.wait(600)
    return "dawdled"


@wink.tool(max_retries=1)
def overruns(ctx: ToolContext) -> str:
    """Run beyond Celery's hard limit, once."""
    note(f"overruns {ctx.delivery_count} {os.getpid()}")
    if ctx.delivery_count == 1:
        PAUSE.wait(600)
    return "done"


@wink.tool(max_retries=1)
def dies(ctx: ToolContext) -> str:
    """End its process, once."""
    note(f"dies {ctx.delivery_count}")
    if ctx.delivery_count == 1:
        os._exit(9)
    return "survived"


TOOLS = [quick, inline, sleeps, refuses, asks, asks_for_a_while, dawdles, overruns, dies]


@wink.prompt(output=str, tools=TOOLS, model="obedient:m", deadline=120)
def obey(text: str) -> str:
    """You obey."""
    return text


@wink.prompt(output=str, model="vendor:gpt-5.2", deadline=120)
def ask_vendor() -> str:
    """You stall."""
    return "Say nothing."


@app.task(name="revocable.plain", shared=False)
def plain() -> str:
    """A task that is none of ours."""
    return "plain"


def watched(name: str):
    """Note that a signal came, for which task, and under which id."""

    def heard(sender=None, task_id=None, request=None, **_):
        identity = task_id or getattr(request, "id", None) or sender.request.id
        note(f"signal {name} {getattr(sender, 'name', '')} {identity}")

    return heard


if os.environ.get("WATCH_SIGNALS"):
    for _name in ("task_prerun", "task_postrun", "task_success", "task_failure", "task_revoked", "task_retry"):
        getattr(signals, _name).connect(watched(_name), weak=False)
