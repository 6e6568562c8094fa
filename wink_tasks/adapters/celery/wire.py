"""What lies in the broker's list on Redis and is no message of kombu's is kept; kombu would end the worker over it.

kombu pops an item, decodes it, takes out of it what a message needs and notes it as unacknowledged. Whatever one of
these raises leaves the consumer's loop, and the item is lost. Other brokers frame their messages themselves.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from types import MethodType
from typing import Any, Final

from kombu.transport.redis import Channel
from kombu.utils.encoding import bytes_to_str
from redis.exceptions import DataError

from wink_tasks.core.codec import clean
from wink_tasks.core.redaction import redact
from wink_tasks.ports.rejections import LARGEST_BODY, NO_MESSAGE, Rejected

log = logging.getLogger(__name__)

UNREADABLE: Final = (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError, DataError)
"""What kombu raises at what is no message; DataError at a delivery tag that Redis could not keep."""


def survive(channel: Any, keep: Callable[[Rejected], None]) -> None:
    """Have this channel keep what it cannot read, and read on. Does nothing for a channel of another broker."""
    if not isinstance(channel, Channel):
        return
    popped: list[Any] = []  # what was popped and is not yet noted as a message
    # From the classes: a channel may be met again, with what the last time put there.
    client, qos = channel.client, channel.qos
    parse, note = type(client).parse_response, type(qos).append
    read: Callable[..., Any] = type(channel)._brpop_read  # noqa: SLF001 - it has no other name

    def parse_response(self: Any, connection: Any, command: Any, **options: Any) -> Any:
        reply = parse(self, connection, command, **options)
        if command == "BRPOP":
            popped[:] = reply or ()
        return reply

    def append(self: Any, message: Any, delivery_tag: Any) -> None:
        note(self, message, delivery_tag)
        popped.clear()

    def brpop_read(**options: Any) -> Any:
        popped.clear()
        try:
            return read(channel, **options)
        except UNREADABLE as error:
            if not popped:  # nothing was read, or it was a message: this came of what Celery did with it
                raise
            where, item = popped
            keep(unreadable(bytes_to_str(where).rsplit(channel.sep, 1)[0], item, error))
            return True

    client.parse_response = MethodType(parse_response, client)
    qos.append = MethodType(append, qos)
    channel.handlers["BRPOP"] = brpop_read


def unreadable(queue: str, item: bytes | str, error: Exception) -> Rejected:
    """What was popped from this queue, as it is kept."""
    raw = item.encode("utf-8", "surrogateescape") if isinstance(item, str) else item
    told = redact(f"{type(error).__name__}: {error}")
    log.warning("what came from queue %r is no message, and is kept as a rejected one: %.200s", queue, told)
    return Rejected(
        queue=queue,
        reason=NO_MESSAGE,
        error=clean(told)[:1000],
        at=time.time(),
        size=len(raw),
        body=raw[:LARGEST_BODY],
    )
