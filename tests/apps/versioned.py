"""An application as it is deployed: its version is in the environment, and its prompt's answer is its instructions."""

from __future__ import annotations

import os
from dataclasses import dataclass

from celery import Celery

from wink_tasks import Prompt, Section, Wink
from wink_tasks.ports.provider import Request, Response

URL = os.environ["WINK_REDIS_URL"]
VERSION = os.environ.get("APP_VERSION", "1")

app = Celery("versioned", broker=URL, backend=URL)
app.conf.update(worker_prefetch_multiplier=1, broker_connection_retry_on_startup=True)


@dataclass
class Topic:
    """What is talked about."""

    name: str


class Echo:
    """Says what it was told to do."""

    async def complete(self, request: Request) -> Response:
        """See `ports.provider`."""
        return Response(text=request.instructions, model="m")

    async def close(self) -> None:
        """See `ports.provider`."""


wink = Wink(app, providers={"echo": Echo()})
talk = wink.register(
    Prompt(
        ns="versioned",
        key="talk",
        params=Topic,
        sections=[Section("talk", f"You are version {VERSION}.")],
        user="Of ${name}.",
        models=("echo:m",),
        version=VERSION,
        on_change="park" if VERSION == "2" else "continue",
    )
)
