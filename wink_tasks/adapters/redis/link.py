"""The way to the server: connections for many threads, commands that are repeated, errors that say what to do."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final, TypeVar
from urllib.parse import urlsplit

from redis import ConnectionPool
from redis.exceptions import (
    AskError,
    AuthenticationError,
    AuthorizationError,
    BusyLoadingError,
    ClusterDownError,
    ConnectionError as LinkError,
    MasterDownError,
    MovedError,
    NoPermissionError,
    NoScriptError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
    ResponseError,
    TimeoutError as LinkTimeout,
    TryAgainError,
)

from wink_tasks.adapters.redis.scripts import script
from wink_tasks.core.errors import ConfigurationError, LedgerUnavailableError, StoreRefusedError, WinkError

log = logging.getLogger(__name__)

T = TypeVar("T")
Query = Sequence[Any]

CONNECTIONS: Final = 64
"""How many commands of a process are on their way at once; further threads wait for their turn. As many stay open."""

UNBOUNDED: Final = 2**31
"""redis-py counts every connection that it ever made; how many there are at once is bounded here."""

ATTEMPTS: Final = 3
"""The server may be silent for this part of the time after which a command is given up."""

CONFIRMED: Final = frozenset({"accept", "settle"})
"""The commands that wait for replicas: a run that was promised, and what was paid for."""

WARN_EVERY: Final = 60.0
"""Seconds between two warnings that replicas lag."""

FIRST_PAUSE: Final = 0.02
LONGEST_PAUSE: Final = 0.5

_REFUSALS: Final = {
    "OOM": "it is at its maxmemory: give it more, or let retention drop sessions sooner",
    "READONLY": "it is a read-only replica: point WINK_REDIS_URL at the primary",
    "MISCONF": "it cannot write to its disk, and so takes no writes",
    "LOADING": "it is still loading its data",
    "BUSY": "somebody's script keeps it busy",
    "NOREPLICAS": "too few replicas follow it for its min-replicas-to-write",
    "MASTERDOWN": "it is a replica that lost its primary: point WINK_REDIS_URL at the primary",
    "CLUSTERDOWN": "its cluster is down",
    "TRYAGAIN": "its cluster moves what the command needs",
    "ASK": "its cluster moves what the command needs",
    "MOVED": "another node of its cluster has what the command needs: look at WINK_REDIS_URL",
}

_CODES: Final[Mapping[type[RedisError], str]] = {
    OutOfMemoryError: "OOM",
    ReadOnlyError: "READONLY",
    BusyLoadingError: "LOADING",
    MasterDownError: "MASTERDOWN",
    ClusterDownError: "CLUSTERDOWN",
    TryAgainError: "TRYAGAIN",
    AskError: "ASK",
    MovedError: "MOVED",
}
"""Whose code redis-py takes out of the text."""


def redacted(url: str) -> str:
    """The address without its password."""
    parts = urlsplit(url)
    if parts.password is None:
        return url
    return parts._replace(netloc=f"{parts.username or ''}:***@{parts.netloc.rpartition('@')[2]}").geturl()


class Connections:
    """Open connections of one process. redis-py makes and speaks them; pooling and repeating is done here."""

    def __init__(self, url: str, silence: float) -> None:
        try:
            self._factory = ConnectionPool.from_url(
                url,
                max_connections=UNBOUNDED,
                protocol=2,
                socket_connect_timeout=silence,
                socket_timeout=silence,
            )
        except ValueError as error:
            raise ConfigurationError(f"{redacted(url)!r} is not the address of a Redis: {error}") from error
        self.process = os.getpid()
        self._idle: deque[tuple[Any, int]] = deque()
        self._places = threading.Semaphore(CONNECTIONS)

    def use(self, converse: Callable[[Any], T], *, waits: bool) -> T:
        """What `converse` makes of a connection; one that `waits` long takes nobody's place."""
        if waits:
            return self._use(converse)
        with self._places:
            return self._use(converse)

    def tell(self, queries: Sequence[Query]) -> None:
        """Send, and leave the answers to the next user of the connection."""
        with self._places:
            connection, unread = self._take()
            try:
                connection.send_packed_command(connection.pack_commands(queries))
                unread += len(queries)
            except BaseException:
                connection.disconnect()
                unread = 0
                raise
            finally:
                self._idle.append((connection, unread))

    def close(self) -> None:
        """Close those that are idle."""
        while self._idle:
            self._idle.pop()[0].disconnect()

    def _take(self) -> tuple[Any, int]:
        """A connection, and how many answers nobody has read from it."""
        try:
            return self._idle.pop()
        except IndexError:
            return self._factory.make_connection(), 0

    def _use(self, converse: Callable[[Any], T]) -> T:
        connection, unread = self._take()
        try:
            for _ in range(unread):
                with suppress(ResponseError):  # of a command that nobody waits for
                    connection.read_response()
            return converse(connection)
        except ResponseError:
            raise
        except BaseException:
            # A signal may have come between question and answer: the next user must not be told this answer.
            connection.disconnect()
            raise
        finally:
            self._idle.append((connection, 0))
            if len(self._idle) > CONNECTIONS:
                self._idle.popleft()[0].disconnect()


class Link:
    """Runs commands on the server at `url`, for any number of threads, also after a fork.

    A command whose answer does not come is repeated for up to `give_up_after` seconds, then LedgerUnavailableError is
    raised; so only commands that may be repeated go through here. StoreRefusedError is raised at once where the server
    answers with an error that time does not cure.

    What `CONFIRMED` names waits until `replica_acks` replicas have it, for a part of a second at most; where they have
    not, it is done all the same, and a warning says what that means.
    """

    def __init__(self, url: str, give_up_after: float, replica_acks: int = 0) -> None:
        self._replica_acks = replica_acks
        self._warn_at = 0.0
        self.url = redacted(url)
        self._url = url
        self._give_up_after = give_up_after
        self._silence = give_up_after / ATTEMPTS
        self._connections = Connections(url, self._silence)

    def run(self, name: str, keys: Sequence[str], *args: Any) -> Any:
        """The answer of a script."""
        return self.run_each(name, [(keys, args)])[0]

    def run_each(self, name: str, calls: Sequence[tuple[Sequence[str], Sequence[Any]]]) -> list[Any]:
        """The answers of one script for several sets of keys and arguments, in one round trip."""
        command = script(name)
        queries: list[Query] = [("EVALSHA", command.sha, len(keys), *keys, *args) for keys, args in calls]
        confirmed = self._replica_acks > 0 and name in CONFIRMED
        if confirmed:
            queries.append(("WAIT", self._replica_acks, int(self._silence * 500)))

        def converse(connection: Any) -> list[Any]:
            try:
                return _converse(connection, queries)
            except NoScriptError:
                _converse(connection, [("SCRIPT", "LOAD", command.source)])
                return _converse(connection, queries)

        answers = self._persist(converse)
        if confirmed:
            self._look_at_replicas(answers.pop())
        return answers

    def ask(self, *queries: Query) -> list[Any]:
        """The answers of plain commands as the server gives them, in one round trip."""
        return self._persist(lambda connection: _converse(connection, queries))

    def tell(self, *queries: Query) -> None:
        """Send plain commands that are only hints: nobody waits for their answers, or hears where they got lost."""
        if not queries:
            return
        try:
            self._ours().tell(queries)
        except RedisError as error:
            log.debug("a hint got lost: %s", error)

    def wait(self, query: Callable[[float], Query], seconds: float) -> Any:
        """The answer of a command that the server holds back for up to `seconds`; `query` makes it of what is left."""
        until = time.monotonic() + seconds

        def converse(connection: Any) -> Any:
            left = max(0.001, until - time.monotonic())
            connection.send_command(*query(left))
            if not connection.can_read(left + self._silence):
                raise LinkTimeout("Timeout reading from socket")
            return connection.read_response()

        return self._persist(converse, waits=seconds)

    def close(self) -> None:
        """Let go of this process's connections; the next command makes new ones."""
        self._connections.close()

    def _persist(self, converse: Callable[[Any], T], *, waits: float | None = None) -> T:
        give_up = time.monotonic() + (waits or 0.0) + self._give_up_after
        pause = 0.0
        while True:
            try:
                return self._ours().use(converse, waits=waits is not None)
            except (LinkError, LinkTimeout) as error:
                if _denied(error) or time.monotonic() + pause + self._silence > give_up:
                    raise self._explained(error) from error
            except RedisError as error:
                raise self._explained(error) from error
            time.sleep(pause)
            pause = min(2 * pause or FIRST_PAUSE, LONGEST_PAUSE)

    def _look_at_replicas(self, acks: int) -> None:
        if acks < self._replica_acks and time.monotonic() >= self._warn_at:
            self._warn_at = time.monotonic() + WARN_EVERY
            log.warning(
                "%d of %d replicas (WINK_REPLICA_ACKS) have confirmed what Redis at %s has recorded: it counts, but a "
                "fail-over now may forget it; look at its replicas",
                acks,
                self._replica_acks,
                self.url,
            )

    def _ours(self) -> Connections:
        if self._connections.process != os.getpid():
            self._connections = Connections(self._url, self._silence)
        return self._connections

    def _explained(self, error: RedisError) -> WinkError:
        if _denied(error):
            return ConfigurationError(f"Redis at {self.url} does not let us in: {error}; look at WINK_REDIS_URL")
        words = {_CODES.get(type(error), ""), *str(error).replace("-", " ").split()}
        for word, advice in _REFUSALS.items():
            if word in words:
                return LedgerUnavailableError(f"Redis at {self.url} refuses the command: {advice} ({error})")
        if isinstance(error, ResponseError):
            return StoreRefusedError(f"Redis at {self.url} refuses the command, and will refuse it again: {error}")
        return LedgerUnavailableError(f"Redis at {self.url} did not answer within {self._give_up_after:g} s: {error}")


def _converse(connection: Any, queries: Sequence[Query]) -> list[Any]:
    """Send all, then read all; where the server refuses one of them, the first refusal is raised at the end."""
    if len(queries) == 1:
        connection.send_command(*queries[0])
        return [connection.read_response()]
    connection.send_packed_command(connection.pack_commands(queries))
    answers, refusals = [], []
    for _ in queries:
        try:
            answers.append(connection.read_response())
        except ResponseError as refusal:
            refusals.append(refusal)
    if refusals:
        raise refusals[0]
    return answers


def _denied(error: RedisError) -> bool:
    return isinstance(error, AuthenticationError | AuthorizationError | NoPermissionError)
