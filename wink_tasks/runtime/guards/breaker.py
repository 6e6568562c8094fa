"""Refuses calls to a model that failed too often lately."""

from __future__ import annotations

from wink_tasks.core.errors import ProviderUnavailableError, WinkError
from wink_tasks.ports.breaker import Breaker
from wink_tasks.ports.provider import Provider, Request, Response


class BreakerGuard:
    """A provider behind its breaker. Only unavailability counts: a refused request says nothing of the provider."""

    def __init__(self, provider: Provider, *, name: str, breaker: Breaker) -> None:
        self._provider = provider
        self._name = name
        self._breaker = breaker

    async def complete(self, request: Request) -> Response:
        """See `ports.provider`. Raises BreakerOpenError without a call."""
        key = f"{self._name}:{request.model}"
        self._breaker.admit(key)
        try:
            response = await self._provider.complete(request)
        except ProviderUnavailableError as error:
            self._breaker.failed(key, error)
            raise
        except WinkError:
            self._breaker.succeeded(key)
            raise
        except Exception as error:  # an adapter that lets its SDK's own errors out
            self._breaker.failed(key, error)
            raise
        except BaseException:
            self._breaker.released(key)
            raise
        self._breaker.succeeded(key)
        return response

    async def close(self) -> None:
        """See `ports.provider`."""
        await self._provider.close()
