"""Telling all workers at once that an evaluation was cancelled. The ledger has it: what gets lost costs seconds."""

from __future__ import annotations

import logging
import threading
from typing import Any, Final

from celery import Celery

from wink_tasks.core.redaction import redact

log = logging.getLogger(__name__)

CANCEL: Final = "wink_cancel"
"""The control command. Workers believe the ledger, not the command."""

_one_at_a_time: Final = threading.Lock()
"""Celery's broadcast holds one connection of its pool and waits for another: as many at once as there are would wait
for one another for ever."""


def tell_workers(app: Celery, tenant: str, run: str, **options: Any) -> None:
    """Broadcast it. `options` are `terminate`, `signal`, and Celery's `connection`, `reply`, `timeout`.

    A broker that cannot be reached is logged, never raised.
    """
    arguments = {"tenant": tenant, "run": run, **{name: options.pop(name, None) for name in ("terminate", "signal")}}
    try:
        with _one_at_a_time:
            app.control.broadcast(CANCEL, arguments=arguments, **options)
    except Exception as error:  # noqa: BLE001 - whatever a broker raises; each keeper hears of it at its next renewal
        log.warning("workers not told that %s was cancelled: %s", run, redact(f"{type(error).__name__}: {error}"))
