"""A small application, anew for each test, that runs in memory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
from celery import Celery
from pydantic import BaseModel

from wink_tasks import ToolContext, ToolError, Wink


class Review(BaseModel):
    """What the prompt gives."""

    summary: str
    score: int


@dataclass(frozen=True)
class Note:
    """What a tool returns."""

    text: str


class Shop:
    """The application and what its tools did."""

    def __init__(self, **choices: Any) -> None:
        self.done: list[str] = []
        self.app = Celery("shop", set_as_current=False)
        self.wink = Wink(self.app, **choices)
        wink = self.wink

        @wink.tool
        def note(ctx: ToolContext, text: str) -> Note:
            """Write something down."""
            self.done.append(f"note {text}")
            if text == "bad":
                raise ToolError("that is not worth noting")
            if text == "worse":
                raise KeyError("password=hunter2")
            return Note(text)

        @wink.tool(parallel=True, retry_on=[ConnectionError], max_retries=1)
        def look(ctx: ToolContext, where: str) -> str:
            """Look somewhere."""
            self.done.append(f"look {where} {ctx.delivery_count}")
            if where == "away":
                raise ConnectionError("nobody there")
            return f"{where}: nothing"

        @wink.prompt(output=Review, tools=[note, look], model=["house:small", "house:large"], deadline=100)
        def review(path: str, depth: int = 1) -> str:
            """You review."""
            if path == "broken":
                raise ValueError("no such path")
            return f"Review {path} to depth {depth}."

        @wink.prompt(output=str, model="house:small", deadline=None, max_turns=3, tools=[note])
        def chat(text: str) -> str:
            """You talk."""
            return text

        self.note, self.look, self.review, self.chat = note, look, review, chat


class NoProvider:
    """Stands in the place of a model that is never asked."""

    async def complete(self, request):
        raise AssertionError(request)

    async def close(self) -> None:
        """Nothing to close."""


@pytest.fixture
def shop() -> Shop:
    return Shop(providers={"house": NoProvider()})
