"""How coroutines have blocking calls made, and wait for events, without holding their loop or a thread each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ParamSpec, Protocol, TypeVar

from wink_tasks.core.events import Recorded

P = ParamSpec("P")
T = TypeVar("T")


class Aside(Protocol):
    """Makes a blocking call from a coroutine."""

    async def __call__(self, call: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """What `call` returns or raises. It runs in the caller's context variables, and is over within seconds.

        Cancelling the wait takes back a call that has not begun; one that has begun goes on to its end.
        """
        ...


class Waiting(Protocol):
    """Waits for what comes in a session."""

    async def next(self, tenant: str, session: str, *, after: int, timeout: float) -> Sequence[Recorded]:  # noqa: ASYNC109
        """The events after `after` as soon as there is one, none after `timeout` seconds.

        Raises LedgerUnavailableError.
        """
        ...
