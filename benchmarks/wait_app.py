"""Runs whose model does not answer: what `pools.py` weighs."""

from __future__ import annotations

import asyncio
import os

from celery import Celery

from wink_tasks import Wink
from wink_tasks.ports.provider import Request, Response

URL = os.environ["HOP_REDIS_URL"]

app = Celery("waiting", broker=URL)
app.conf.worker_prefetch_multiplier = 1
app.conf.task_default_queue = "waits"


class SilentProvider:
    """Never answers."""

    async def complete(self, request: Request) -> Response:
        """See `ports.provider`."""
        await asyncio.Event().wait()
        return Response(text="", model="silent")

    async def close(self) -> None:
        """See `ports.provider`."""


wink = Wink(app, providers={"silent": SilentProvider()}, redis_url=URL)


@wink.prompt(output=str, model="silent:model", deadline=None)
def wait(text: str) -> str:
    """You are silent."""
    return text
