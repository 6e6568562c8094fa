"""What Celery cannot run is kept as it came, beside all that Celery itself does about it.

Celery's own hooks are replaced for each consumer: a message that is of no known format, names no known task, is invalid
or cannot be decoded is kept first, and then handled as ever. What a task rejects (`Reject(requeue=False)`) is kept as
well. A message of a shape at which Celery would end the whole worker is rejected instead.
"""

from __future__ import annotations

import logging
import reprlib
import time
from collections.abc import Callable, Mapping
from types import MethodType
from typing import Any, Final

import msgspec
from celery import Celery

from wink_tasks.adapters.celery.wire import survive
from wink_tasks.core.codec import clean
from wink_tasks.core.errors import WinkError
from wink_tasks.core.redaction import redact
from wink_tasks.ports.rejections import LARGEST_BODY, Rejected

log = logging.getLogger(__name__)

Keep = Callable[[Rejected], None]

KEEP_AGAIN: Final = 30.0
"""Seconds for which nothing is kept after the store was away: the host's other tasks must not wait for it."""

LONGEST_NAME: Final = 200
LARGEST_HEADERS: Final = 16 * 1024

PAIR: Final = 2

SHAPES: Final = (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError)
"""What Celery raises at values of a kind that it does not expect. Connection errors are none of these."""


class Rejecting:
    """Keeps what the consumers of one worker reject."""

    def __init__(self, keep: Keep) -> None:
        self._keep = keep
        self._quiet_until = 0.0

    def watch(self, consumer: Any, unknown_task: Callable[..., Callable[..., None]]) -> None:
        """Keep what this consumer rejects. `unknown_task` makes the hook for unknown tasks of the one given to it."""
        # From the class: at each reconnection the instance has what the last one put there.
        does = type(consumer)

        def on_unknown_message(body: Any, message: Any) -> None:
            self.keep(message, "unknown format", None)
            self._guarded(message, MethodType(does.on_unknown_message, consumer), body, message)

        def on_unknown_task(body: Any, message: Any, error: Exception) -> None:
            self.keep(message, "unknown task", error)
            self._guarded(message, MethodType(does.on_unknown_task, consumer), body, message, error)

        def on_invalid_task(body: Any, message: Any, error: Exception) -> None:
            self.keep(message, "invalid", error)
            self._guarded(message, MethodType(does.on_invalid_task, consumer), body, message, error)

        def on_decode_error(message: Any, error: Exception) -> None:
            self.keep(message, "undecodable", error)
            does.on_decode_error(consumer, message, error)

        def create_task_handler(*args: Any, **options: Any) -> Callable[[Any], Any]:
            handle = does.create_task_handler(consumer, *args, **options)

            def on_task_received(message: Any) -> Any:
                try:
                    _check_limits(message)
                    return handle(message)
                except SHAPES as error:
                    if message.acknowledged:
                        raise
                    return on_invalid_task(None, message, error)

            return on_task_received

        consumer.on_unknown_message = on_unknown_message
        consumer.on_unknown_task = unknown_task(on_unknown_task)
        consumer.on_invalid_task = on_invalid_task
        consumer.on_decode_error = consumer.task_consumer.on_decode_error = on_decode_error
        consumer.create_task_handler = create_task_handler
        survive(consumer.task_consumer.channel, lambda one: self._kept(lambda: one))

    def received(self, request: Any) -> None:
        """Keep the message of this request if its task rejects it for good."""
        celery_does = request.on_reject

        def on_reject(logger: Any, errors: Any, requeue: bool = False) -> Any:
            if not requeue:
                self.keep(request.message, "rejected by its task", None)
            return celery_does(logger, errors, requeue)

        request.on_reject = on_reject

    def keep(self, message: Any, reason: str, error: Exception | None) -> None:
        """Keep a message, if that can be done."""
        self._kept(lambda: rejected(message, reason, error))

    def _kept(self, made: Callable[[], Rejected]) -> None:
        if time.monotonic() < self._quiet_until:
            return
        try:
            self._keep(made())
        except WinkError as failure:
            self._quiet_until = time.monotonic() + KEEP_AGAIN
            told = redact(f"{type(failure).__name__}: {failure}")
            log.warning("a rejected message was not kept, nor are others for %g s: %s", KEEP_AGAIN, told)
        except SHAPES as failure:
            log.warning("a rejected message was not kept: %s: %s", type(failure).__name__, failure)

    def _guarded(self, message: Any, celery_does: Callable[..., None], *args: Any) -> None:
        """What Celery does, also where it stumbles over the shape of what it rejects."""
        try:
            celery_does(*args)
        except SHAPES as error:
            log.warning("Celery could not tell of a message that it rejects: %s: %s", type(error).__name__, error)
            if not message.acknowledged:
                message.reject()


def _check_limits(message: Any) -> None:
    """Raise TypeError for time limits of no known shape: prefork would hold a place for the task, and never free it."""
    told = message.headers
    if isinstance(told, Mapping) and "task" not in told:  # the first protocol
        try:
            told = message.payload
        except Exception:  # noqa: BLE001 - whatever a decoder raises: Celery's handler will meet it, too
            return
    limits = told.get("timelimit") if isinstance(told, Mapping) else None
    fits = isinstance(limits, list | tuple) and len(limits) == PAIR
    if limits is not None and not (fits and all(one is None or isinstance(one, int | float) for one in limits)):
        told = f"timelimit is {limits!r:.100}, not two numbers"
        raise TypeError(told)


def rejected(message: Any, reason: str, error: Exception | None) -> Rejected:
    """A Celery message as it is kept."""
    raw = _raw(message.body)
    (headers, whole), (properties, _) = _data(message.headers), _data(message.properties)
    info = message.delivery_info if isinstance(message.delivery_info, Mapping) else {}
    told = "" if error is None else redact(f"{type(error).__name__}: {error}")
    return Rejected(
        queue=_name(info.get("routing_key") or info.get("exchange") or ""),
        reason=reason,
        error=clean(told)[:LARGEST_HEADERS],
        at=time.time(),
        size=len(raw),
        body=raw[:LARGEST_BODY],
        task=_name(message.headers.get("task") or "") if isinstance(message.headers, Mapping) else "",
        content_type=_name(message.content_type) if message.content_type else None,
        content_encoding=_name(message.content_encoding) if message.content_encoding else None,
        headers=headers,
        has_headers=whole,
        properties=properties,
    )


def republish(app: Celery, one: Rejected) -> None:
    """Send it to its queue once more, as it came."""
    with app.producer_or_acquire() as producer:
        producer.publish(
            one.body,
            exchange="",
            routing_key=one.queue,
            content_type=one.content_type or "application/data",
            content_encoding=one.content_encoding or "binary",
            headers=dict(one.headers),
            retry=True,
            **{
                name: one.properties[name]
                for name in ("correlation_id", "reply_to", "priority")
                if name in one.properties
            },
        )


def _name(value: object) -> str:
    return clean(str(value))[:LONGEST_NAME]


def _raw(body: object) -> bytes:
    """A body as bytes. kombu gives some as text, and who makes a message by hand may put anything there."""
    if isinstance(body, str):
        try:
            return body.encode("utf-8", "surrogateescape")
        except UnicodeEncodeError:  # half of a pair
            return body.encode("utf-8", "surrogatepass")
    if isinstance(body, bytes | bytearray | memoryview):
        return bytes(body)
    return b"" if body is None else msgspec.json.encode(body, enc_hook=repr)


def _data(fields: object) -> tuple[Mapping[str, Any], bool]:
    """Fields as JSON has them, and whether these are all; what is too much or not to be written is told of in words."""
    if not isinstance(fields, Mapping):
        return {}, True
    try:
        data = msgspec.json.encode(fields, enc_hook=repr)
        if len(data) <= LARGEST_HEADERS:
            return msgspec.json.decode(data, type=dict[str, Any]), True
    except SHAPES as error:  # half of a surrogate pair, say
        return {"unreadable": f"{type(error).__name__}: {clean(reprlib.repr(fields))}"}, False
    return {"cut": len(data)}, False
