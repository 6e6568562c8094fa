"""The providers of a process by name: made at first use, each behind its guards."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from wink_tasks.core.errors import ConfigurationError
from wink_tasks.ports.provider import Provider

Factory = Callable[[], Provider]
Guard = Callable[[Provider, str], Provider]


def split_model(model: str) -> tuple[str, str]:
    """`openai:gpt-5-mini` as its provider and the provider's own name of the model.

    Raises ConfigurationError for a name without a provider.
    """
    provider, colon, name = model.partition(":")
    if not (provider and colon and name):
        message = f'model {model!r} names no provider: write "provider:model", like "openai:gpt-5-mini"'
        raise ConfigurationError(message)
    return provider, name


_refusals: list[str] = []


@contextmanager
def refusing_remote(reason: str) -> Iterator[None]:
    """Within it, a provider that calls something outside of this process is not made: what tests are kept in."""
    _refusals.append(reason)
    try:
        yield
    finally:
        _refusals.remove(reason)


class Providers:
    """`guards` are wrapped around each provider, the first one outermost."""

    def __init__(self, factories: Mapping[str, Factory], guards: Sequence[Guard] = ()) -> None:
        self._factories = factories
        self._guards = guards
        self._lock = threading.Lock()
        self._made: dict[str, Provider] = {}

    def __getitem__(self, name: str) -> Provider:
        with self._lock:
            if name not in self._made:
                if name not in self._factories:
                    known = ", ".join(sorted(self._factories))
                    message = f"no provider is called {name!r}; there are: {known}. Add yours by Wink(providers=...)"
                    raise ConfigurationError(message)
                provider = self._factories[name]()
                if _refusals and getattr(provider, "remote", False):
                    message = f"provider {name!r} calls a real model: {_refusals[-1]}"
                    raise ConfigurationError(message)
                for guard in reversed(self._guards):
                    provider = guard(provider, name)
                self._made[name] = provider
            return self._made[name]

    async def close(self) -> None:
        """Close all that were made, also where one fails."""
        with self._lock:
            made, self._made = self._made, {}
        for outcome in await asyncio.gather(*(one.close() for one in made.values()), return_exceptions=True):
            if isinstance(outcome, BaseException):
                raise outcome


def factories(providers: Mapping[str, Provider | Factory]) -> dict[str, Factory]:
    """What makes each of them; one that is made already is taken as it is."""

    def factory(given: Any) -> Factory:
        made = not isinstance(given, type) and hasattr(given, "complete")
        return (lambda: given) if made else given

    return {name: factory(given) for name, given in providers.items()}
