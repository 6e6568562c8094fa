"""What we ask a model vendor and what it answers: the same for all of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import msgspec

from wink_tasks.core.events import Call, Json, Stop
from wink_tasks.core.limits import Usage
from wink_tasks.core.log import Log
from wink_tasks.core.transcript import Item


class ToolSpec(msgspec.Struct, frozen=True, kw_only=True):
    """A tool as the model is told of it; `parameters` is the JSON schema of its arguments (an object)."""

    name: str
    description: str
    parameters: Mapping[str, Json]


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """One model call of the prompt of that name. `output` is the JSON schema of the answer, None for plain text.

    `max_output_tokens` None is the provider's default. `digest` tells two requests apart without comparing them, and
    `parts`, a short digest of each of their parts, in what they differ.
    """

    prompt: str
    model: str
    instructions: str
    transcript: Log[Item]
    start: int
    tools: tuple[ToolSpec, ...]
    output: Mapping[str, Json] | None
    settings: Mapping[str, Json]
    max_output_tokens: int | None
    digest: str
    parts: Mapping[str, str] = {}

    @property
    def items(self) -> tuple[Item, ...]:
        """What the model is shown: the transcript from `start` on."""
        return tuple(self.transcript.since(self.start))


class Response(msgspec.Struct, frozen=True, kw_only=True):
    """One model answer. `model` is the one that answered, as the provider names it."""

    text: str
    model: str
    calls: tuple[Call, ...] = ()
    usage: Usage = Usage(requests=1)
    stop: Stop = "end"


class Provider(Protocol):
    """An adapter. It runs on one event loop a process, and must leave nothing behind when it is cancelled."""

    async def complete(self, request: Request) -> Response:
        """Ask the model once.

        Raises ThrottledError, ProviderUnavailableError, RequestRejectedError, ContextTooLongError; no SDK's own error
        leaves the adapter. Retrying is not its business.
        """
        ...

    async def close(self) -> None:
        """Let go of connections."""
        ...
