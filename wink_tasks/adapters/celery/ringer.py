"""Doorbells as Celery messages: small, without callbacks, time or expiry, so that Celery cannot end an id by itself."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Final

from celery import Celery

from wink_tasks.core.ids import evaluation_of
from wink_tasks.core.redaction import redact
from wink_tasks.ports.mailbox import Address, Doorbell
from wink_tasks.ports.telemetry import Tracer

log = logging.getLogger(__name__)

HEADER: Final = "wink"
VERSION: Final = 1

_PUBLISH_POLICY: Final = {"max_retries": 1, "interval_start": 0, "interval_step": 0.1, "interval_max": 0.1}


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


class CeleryRinger:
    """Publishes doorbells to the queue of their mailbox."""

    def __init__(self, app: Celery, tracer: Tracer) -> None:
        self._app = app
        self._tracer = tracer

    def ring(self, doorbells: Iterable[Doorbell]) -> None:
        """See `ports.doorbell`."""
        for doorbell in doorbells:
            try:
                self._publish(doorbell)
            except Exception as error:  # noqa: BLE001 - whatever a broker raises, the reaper rings again
                log.warning(
                    "doorbell of %s to queue %r not published (%s: %s); it is rung again later",
                    doorbell.address.message,
                    doorbell.mailbox,
                    type(error).__name__,
                    redact(str(error)),
                )

    def _publish(self, doorbell: Doorbell) -> None:
        message = doorbell.address.message
        run = evaluation_of(message)
        optional = {} if doorbell.priority is None else {"priority": doorbell.priority}
        with self._tracer.attached(doorbell.trace):
            self._app.send_task(
                doorbell.task,
                task_id=message,
                queue=doorbell.mailbox,
                headers={HEADER: header(doorbell.address)},
                root_id=run,
                parent_id=None if message == run else run,
                argsrepr=f"({doorbell.shown})",
                kwargsrepr="{}",
                ignore_result=True,
                add_to_parent=False,
                serializer="json",
                retry=True,
                retry_policy=_PUBLISH_POLICY,
                **optional,
            )
