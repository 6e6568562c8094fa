"""What a Django project expects of Celery, for prompts and for continued steps."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from celery import Celery
from celery.fixups.django import DjangoFixup

from wink_tasks.core.errors import UnsupportedError

log = logging.getLogger(__name__)


def on_commit(app: Celery, name: str) -> Callable[..., None]:
    """The function of that name of the app's task class, which waits for the end of Django's transaction.

    It is called with whatever has `delay` and `apply_async` in the place of a task. Raises UnsupportedError.
    """
    found: Callable[..., None] | None = getattr(app.Task, name, None)
    if found is None:
        message = (
            f"{name} waits for Django's transaction, and this Celery app is no Django project's: "
            f"set DJANGO_SETTINGS_MODULE before the app is made, or give it a task class that has {name}"
        )
        raise UnsupportedError(message)
    return found


def between_steps(app: Celery) -> None:
    """Close Django's connections as Celery does before and after each task: a continued step is none to Celery."""
    fixups: list[Any] = [fixup for fixup in app._fixups if isinstance(fixup, DjangoFixup)]  # noqa: SLF001 - no other way
    for fixup in fixups:
        try:
            fixup.worker_fixup.close_database()
            fixup.worker_fixup.close_cache()
        except Exception as error:  # noqa: BLE001 - whatever a driver raises; the step meets it where it matters
            log.warning("Django's connections were not closed: %s: %s", type(error).__name__, error)
