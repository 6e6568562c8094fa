"""Telling all workers at once that an evaluation was cancelled. The ledger has it: what gets lost costs seconds."""

from __future__ import annotations

import logging
from contextlib import nullcontext
from typing import Any, Final

from celery import Celery

from wink_tasks.adapters.celery.ringer import RETRIES, bounded
from wink_tasks.core.redaction import redact

log = logging.getLogger(__name__)

CANCEL: Final = "wink_cancel"
"""The control command. Workers believe the ledger, not the command."""


def tell_workers(
    app: Celery,
    tenant: str,
    run: str,
    *,
    terminate: bool | None = None,
    signal: str | None = None,
    connection: Any = None,
    reply: bool = False,
    timeout: float = 1.0,
) -> None:
    """Broadcast it; with `reply`, wait so many seconds for who answers. `connection` None is one of our own.

    A broker that cannot be reached, or does not answer, is logged, never raised, and never waited for.
    """
    arguments = {"tenant": tenant, "run": run, "terminate": terminate, "signal": signal}
    try:
        with bounded(app, **RETRIES) if connection is None else nullcontext(connection) as used:
            mailbox = app.control.mailbox(used)
            mailbox.producer_pool = None  # the app's would open a second connection, and wait for it without end
            if reply:
                mailbox.multi_call(CANCEL, arguments, timeout=timeout)
            else:
                mailbox.abcast(CANCEL, arguments)
    except Exception as error:  # noqa: BLE001 - whatever a broker raises; each keeper hears of it at its next renewal
        log.warning("workers not told that %s was cancelled: %s", run, redact(f"{type(error).__name__}: {error}"))
