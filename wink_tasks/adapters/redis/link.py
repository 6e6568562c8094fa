"""The way to the server: one pool of connections a process, commands that are repeated, errors that say what to do."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from typing import Any, Final, TypeVar
from urllib.parse import urlsplit

from redis import BlockingConnectionPool, ConnectionPool, Redis
from redis.backoff import NoBackoff
from redis.exceptions import (
    AuthenticationError,
    AuthorizationError,
    ConnectionError as LinkError,
    NoPermissionError,
    NoScriptError,
    RedisError,
    TimeoutError as LinkTimeout,
)
from redis.retry import Retry

from wink_tasks.adapters.redis.scripts import script
from wink_tasks.core.errors import ConfigurationError, LedgerUnavailableError, WinkError

T = TypeVar("T")

CONNECTIONS: Final = 64
ATTEMPTS: Final = 3
"""A socket may be silent for this part of the time after which a command is given up."""

FIRST_PAUSE: Final = 0.02
LONGEST_PAUSE: Final = 0.5

_REFUSALS: Final = {
    "OOM": "it is at its maxmemory: give it more, or let retention drop sessions sooner",
    "READONLY": "it is a read-only replica: point WINK_REDIS_URL at the primary",
    "MISCONF": "it cannot write to its disk, and so takes no writes",
    "LOADING": "it is still loading its data",
}


def redacted(url: str) -> str:
    """The address without its password."""
    parts = urlsplit(url)
    if parts.password is None:
        return url
    return parts._replace(netloc=f"{parts.username or ''}:***@{parts.netloc.rpartition('@')[2]}").geturl()


class Link:
    """Runs commands on the server at `url`, for any number of threads, also after a fork.

    A command whose answer does not come is repeated for up to `give_up_after` seconds, then LedgerUnavailableError is
    raised; so only commands that may be repeated go through here.
    """

    def __init__(self, url: str, give_up_after: float) -> None:
        self.url = redacted(url)
        self._url = url
        self._give_up_after = give_up_after
        self._silence = give_up_after / ATTEMPTS
        self._clients: dict[int, tuple[Redis, Redis]] = {}
        self._pools()

    def run(self, name: str, keys: Sequence[str], *args: Any) -> Any:
        """The answer of one script."""
        command = script(name)

        def once(client: Any) -> Any:
            try:
                return client.execute_command("EVALSHA", command.sha, len(keys), *keys, *args)
            except NoScriptError:
                return client.execute_command("EVAL", command.source, len(keys), *keys, *args)

        return self.call(once)

    def run_each(self, name: str, calls: Sequence[tuple[Sequence[str], Sequence[Any]]]) -> list[Any]:
        """The answers of one script for several sets of keys and arguments, in one round trip."""
        command = script(name)

        def once(client: Any) -> list[Any]:
            pipe = client.pipeline(transaction=False)
            for keys, args in calls:
                pipe.execute_command("EVALSHA", command.sha, len(keys), *keys, *args)
            return list(pipe.execute())

        def loaded(client: Any) -> list[Any]:
            try:
                return once(client)
            except NoScriptError:
                client.script_load(command.source)
                return once(client)

        return self.call(loaded)

    def ask(self, *queries: Sequence[Any], waits: bool = False) -> list[Any]:
        """The answers of plain commands, in one round trip. One that blocks `waits` on a connection of its own."""

        def once(client: Any) -> list[Any]:
            pipe = client.pipeline(transaction=False)
            for query in queries:
                pipe.execute_command(*query)
            return list(pipe.execute())

        return self.call(once, waits=waits)

    def call(self, command: Callable[[Redis], T], *, waits: bool = False) -> T:
        """What `command` makes of a client; one that `waits` gets a connection of its own.

        Raises LedgerUnavailableError, ConfigurationError where the server does not let us in.
        """
        started, pause = time.monotonic(), FIRST_PAUSE
        while True:
            try:
                return command(self._client(waits=waits))
            except (LinkError, LinkTimeout) as error:
                used = time.monotonic() - started
                if _denied(error) or used + pause + self._silence > self._give_up_after:
                    raise self._explained(error) from error
            except RedisError as error:
                raise self._explained(error) from error
            time.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)

    def close(self) -> None:
        """Let go of this process's connections; the next command makes new ones."""
        for client in self._clients.pop(os.getpid(), ()):
            client.connection_pool.disconnect()

    def _client(self, *, waits: bool) -> Redis:
        process = os.getpid()
        if process not in self._clients:
            quick, slow = self._pools()
            self._clients[process] = (Redis(connection_pool=quick), Redis(connection_pool=slow))
        return self._clients[process][waits]

    def _pools(self) -> tuple[ConnectionPool, ConnectionPool]:
        options: dict[str, Any] = {
            "protocol": 2,
            "retry": Retry(NoBackoff(), 0),
            "socket_connect_timeout": self._silence,
            "socket_timeout": self._silence,
        }
        try:
            quick = BlockingConnectionPool.from_url(
                self._url, max_connections=CONNECTIONS, timeout=self._give_up_after, **options
            )
            options["socket_timeout"] = None
            return quick, ConnectionPool.from_url(self._url, max_connections=1 << 20, **options)
        except ValueError as error:
            raise ConfigurationError(f"{self.url!r} is not the address of a Redis: {error}") from error

    def _explained(self, error: RedisError) -> WinkError:
        if _denied(error):
            return ConfigurationError(f"Redis at {self.url} does not let us in: {error}; look at WINK_REDIS_URL")
        text = str(error)
        code = str(getattr(error, "status_code", ""))
        for word, advice in _REFUSALS.items():
            if word in (code, *text.replace("-", " ").split()):
                return LedgerUnavailableError(f"Redis at {self.url} refuses the command: {advice} ({text})")
        return LedgerUnavailableError(
            f"Redis at {self.url} did not answer within {self._give_up_after:g} s: {text or type(error).__name__}"
        )


def _denied(error: RedisError) -> bool:
    return isinstance(error, AuthenticationError | AuthorizationError | NoPermissionError)
