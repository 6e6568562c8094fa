"""Bounds one model call as a whole: an SDK's own time-outs bound one read."""

from __future__ import annotations

import asyncio

from wink_tasks.core.errors import ProviderUnavailableError
from wink_tasks.ports.provider import Provider, Request, Response


class TimeLimitGuard:
    """A provider whose calls end after `seconds` at the latest."""

    def __init__(self, provider: Provider, *, name: str, seconds: float) -> None:
        self._provider = provider
        self._name = name
        self._seconds = seconds

    async def complete(self, request: Request) -> Response:
        """See `ports.provider`. A call that takes too long is a ProviderUnavailableError."""
        try:
            async with asyncio.timeout(self._seconds):
                return await self._provider.complete(request)
        except TimeoutError as error:
            message = f"{self._name}:{request.model} gave no answer in {self._seconds:g} s (WINK_PROVIDER_TIMEOUT)"
            raise ProviderUnavailableError(message) from error

    async def close(self) -> None:
        """See `ports.provider`."""
        await self._provider.close()
