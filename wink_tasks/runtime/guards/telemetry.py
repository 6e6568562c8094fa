"""A span around every model call."""

from __future__ import annotations

from wink_tasks.ports.provider import Provider, Request, Response
from wink_tasks.ports.telemetry import Tracer


class TelemetryGuard:
    """A provider whose calls are seen: a span each, with the model and what the call used."""

    def __init__(self, provider: Provider, *, name: str, tracer: Tracer) -> None:
        self._provider = provider
        self._name = name
        self._tracer = tracer

    async def complete(self, request: Request) -> Response:
        """See `ports.provider`."""
        attributes = {"gen_ai.provider.name": self._name, "gen_ai.request.model": request.model}
        with self._tracer.span("wink.provider.complete", attributes) as span:
            response = await self._provider.complete(request)
            span.set("gen_ai.usage.input_tokens", response.usage.input_tokens)
            span.set("gen_ai.usage.output_tokens", response.usage.output_tokens)
            return response

    async def close(self) -> None:
        """See `ports.provider`."""
        await self._provider.close()
