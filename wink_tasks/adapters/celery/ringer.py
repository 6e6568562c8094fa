"""Doorbells as Celery messages: small, without callbacks, time or expiry, so that Celery cannot end an id by itself."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

from celery import Celery
from kombu.exceptions import LimitExceeded, OperationalError
from kombu.pools import ProducerPool

from wink_tasks.core.ids import evaluation_of
from wink_tasks.core.redaction import redact
from wink_tasks.ports.mailbox import Address, Doorbell
from wink_tasks.ports.telemetry import Tracer

log = logging.getLogger(__name__)

HEADER: Final = "wink"
VERSION: Final = 1

PATIENCE: Final = 2.0
"""Seconds that a broker has for each answer to a publisher of doorbells."""

BOUNDS: Final = {
    # Redis
    "socket_timeout": PATIENCE,
    "socket_connect_timeout": PATIENCE,
    # AMQP
    "read_timeout": PATIENCE,
    "write_timeout": PATIENCE,
}
"""What holds a transport to that; each knows its own options and leaves the others alone."""

RETRIES: Final = {"max_retries": 1, "interval_start": 0, "interval_step": 0.1, "interval_max": 0.1}
"""Who publishes tries once more: what was not heard is rung again, or seen in the ledger."""


def bounded(app: Celery, **options: object) -> Any:
    """A connection to the app's broker which gives it up where it does not answer. `options` are the transport's."""
    return app.connection_for_write(
        transport_options={**BOUNDS, **options, **app.conf.broker_transport_options},
        connect_timeout=min(PATIENCE, app.conf.broker_connection_timeout or PATIENCE),
    )


def header(address: Address) -> dict[str, object]:
    """What a doorbell says about its message."""
    return {
        "version": VERSION,
        "tenant": address.tenant,
        "session": address.session,
        "message": address.message,
    }


def address_in(value: object) -> Address | None:
    """The address in a doorbell's header; None where it is not one of ours, or of a version that we do not know."""
    if not isinstance(value, dict) or value.get("version") != VERSION:
        return None
    match value:
        case {"tenant": str(tenant), "session": str(session), "message": str(message)} if message.isprintable():
            return Address(tenant, session, message) if (tenant + session).isprintable() else None
        case _:
            return None


def is_newer(value: object) -> bool:
    """Whether a doorbell's header is of a version that only newer workers know."""
    version = value.get("version") if isinstance(value, dict) else None
    return isinstance(version, int) and version > VERSION


class CeleryRinger:
    """Publishes doorbells to the queue of their mailbox, and tells `confirm` which.

    Its connections are its own: they give up a broker that does not answer, which the app's may wait for without end.
    """

    def __init__(self, app: Celery, tracer: Tracer, confirm: Callable[[Sequence[Doorbell]], None]) -> None:
        self._app = app
        self._tracer = tracer
        self._confirm = confirm
        self._producers: ProducerPool | None = None
        self._opening = threading.Lock()

    def ring(self, doorbells: Iterable[Doorbell]) -> None:
        """See `ports.doorbell`. Those that follow one that was given up are left to the reaper as well."""
        published = []
        left = list(doorbells)
        while left:
            doorbell = left.pop(0)
            try:
                with self._pool().acquire(block=True, timeout=PATIENCE) as producer:
                    self._publish(doorbell, producer)
                published.append(doorbell)
            except Exception as error:  # noqa: BLE001 - whatever a broker raises, the reaper rings again
                silent = isinstance(error, (OperationalError, LimitExceeded, OSError))
                log.warning(
                    "doorbell of %s to queue %r not published (%s: %s)%s; it is rung again later",
                    doorbell.address.message,
                    doorbell.mailbox,
                    type(error).__name__,
                    redact(str(error)),
                    f", nor are {len(left)} more" if silent and left else "",
                )
                if silent:
                    break
        self._confirm(published)

    def close(self) -> None:
        """See `ports.doorbell`."""
        with self._opening:
            pool, self._producers = self._producers, None
        if pool is not None:
            pool.force_close_all()
            pool.connections.force_close_all()

    def _pool(self) -> ProducerPool:
        with self._opening:
            if self._producers is None:
                limit = self._app.conf.broker_pool_limit
                connections = bounded(self._app).Pool(limit)
                self._producers = ProducerPool(connections, limit=limit, Producer=self._app.amqp.Producer)
            return self._producers

    def _publish(self, doorbell: Doorbell, producer: Any) -> None:
        message = doorbell.address.message
        run = evaluation_of(message)
        optional = {} if doorbell.priority is None else {"priority": doorbell.priority}
        with self._tracer.attached(doorbell.trace):
            self._app.send_task(
                doorbell.task,
                task_id=message,
                queue=doorbell.mailbox,
                headers={**doorbell.headers, HEADER: header(doorbell.address)},
                producer=producer,
                root_id=run,
                parent_id=None if message == run else run,
                argsrepr=f"({doorbell.shown})",
                kwargsrepr="{}",
                ignore_result=True,
                add_to_parent=False,
                serializer="json",
                retry=True,
                retry_policy=RETRIES,
                **optional,
            )
