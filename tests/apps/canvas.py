"""An application of plain tasks and prompts. The end of a run waits where the test says so."""

from __future__ import annotations

import asyncio
import json
import os

from celery import Celery, signals
from pydantic import BaseModel
from redis import Redis

from wink_tasks import RequestRejectedError, Wink
from wink_tasks.ports.provider import Request, Response
from wink_tasks.ports.telemetry import NullMetrics

URL = os.environ["WINK_REDIS_URL"]

app = Celery("canvas")
app.conf.update(
    broker_url=os.environ["CELERY_BROKER_URL"],
    result_backend=URL,
    worker_prefetch_multiplier=1,
    broker_connection_retry_on_startup=True,
    task_routes={"canvas.plain.*": "plain"},
)


class Said(BaseModel):
    """What a prompt gives."""

    text: str


class Parrot:
    """Says in capitals what it is told; refuses "fail"; thinks for ever about "wait"."""

    async def complete(self, request: Request) -> Response:
        """See `ports.provider`."""
        text = request.items[-1].content
        note("seen", f"asked:{text}")
        if text == "fail":
            raise RequestRejectedError("it will not")
        if text == "wait":
            await asyncio.Event().wait()
        return Response(text=json.dumps({"text": text.upper()}), model="m")

    async def close(self) -> None:
        """See `ports.provider`."""


class Gate(NullMetrics):
    """Is told that a run has ended: between the settlement that ends it and what is to be done then."""

    def histogram(self, name, value, tags=None):
        """See `ports.telemetry`."""
        if name == "wink.prompt.duration_seconds":
            hold("outcome")


def note(where: str, what: str) -> None:
    """Tell the test."""
    with Redis.from_url(URL) as redis:
        redis.rpush(where, what)


def hold(what: str) -> None:
    """Wait while the test has closed that gate."""
    with Redis.from_url(URL) as redis:
        if redis.exists(f"closed:{what}"):
            redis.rpush("held", what)
            while redis.exists(f"closed:{what}"):
                redis.blpop("never", 0.05)


@signals.task_prerun.connect
def before(task, **_):
    """The outcome of a run that was not settled by its own step, like one that was cancelled."""
    if task.name.endswith(":outcome"):
        hold("outcome")


wink = Wink(app, providers={"parrot": Parrot()}, metrics=Gate(), split_queues=True)


@wink.prompt(output=Said, model="parrot:m")
def shout(text: str) -> str:
    """You shout."""
    return text


@wink.prompt(output=Said, model="parrot:m")
def digest(texts: list[str], last: str = "") -> str:
    """You sum up."""
    return "+".join(texts) + last


@app.task(name="canvas.plain.echo")
def echo(text: str) -> str:
    """Give it back."""
    return text


@app.task(name="canvas.plain.text_of")
def text_of(said: dict) -> str:
    """What a prompt said."""
    return said["text"]


@app.task(name="canvas.plain.gather")
def gather(said: list[dict]) -> str:
    """What several prompts said."""
    return "".join(one["text"] for one in said)


@app.task(name="canvas.plain.heard", bind=True)
def heard(self, said: dict, where: str) -> None:
    """A callback."""
    note(where, f"{self.request.id} {said['text']}")


@app.task(name="canvas.plain.wrong")
def wrong(task_id: str, where: str) -> None:
    """An errback of the old form, which is sent."""
    note(where, f"old {task_id}")


@app.task(name="canvas.plain.wrong_here")
def wrong_here(request, error, traceback, where: str) -> None:
    """An errback of the new form, which is called where the end is told."""
    note(where, f"new {request.id} {type(error).__name__}")


@app.task(name="canvas.plain.fails")
def fails() -> None:
    """A task that fails."""
    raise ValueError("as it should")
