"""What a host's configuration says to us, and what of it cannot work together with doorbells."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from celery import Celery
from kombu.serialization import prepare_accept_content

from wink_tasks.core.errors import ConfigurationError, DeclarationError
from wink_tasks.settings import Settings

DOORBELL: Final = "application/json"


def check_host(app: Celery, owner: object, tasks: Iterable[str]) -> None:
    """Look whether the app's workers would take our doorbells, and whether the tasks of these names are `owner`'s.

    Raises ConfigurationError and DeclarationError, which name the way out. Finalizes the app.
    """
    accepted = prepare_accept_content(app.conf.accept_content)
    if accepted and DOORBELL not in accepted:
        message = (
            f"accept_content of the Celery app {app.main!r} is {sorted(accepted)}: doorbells are JSON, so its workers "
            f"would refuse them; add 'json' to accept_content (doorbells need nothing else)"
        )
        raise ConfigurationError(message)
    for name in tasks:
        check_name(name, app.tasks[name], owner)


def check_name(name: str, task: Any, owner: object) -> None:
    """Raise DeclarationError where the task that the app has under a name of ours is not `owner`'s."""
    if getattr(task, "wink", None) is not owner:
        message = (
            f"another task is called {name!r} already (in {task.__module__}), and Celery keeps the first of a name: "
            f"give one of the two another name="
        )
        raise DeclarationError(message)


def redis_url(settings: Settings, app: Celery) -> tuple[str, str]:
    """Where the ledgers are, and why there. Raises ConfigurationError where nothing tells."""
    if settings.redis_url:
        return settings.redis_url, "WINK_REDIS_URL"
    for name in ("result_backend", "broker_url"):
        url = getattr(app.conf, name) or ""
        if url.startswith(("redis://", "rediss://", "unix://", "redis+socket://")):
            return url.replace("redis+socket://", "unix://"), f"the app's {name}"
    message = (
        "nothing tells in which Redis the ledgers are: set WINK_REDIS_URL=redis://host:6379/0 "
        "(the app's result backend and broker are no Redis)"
    )
    raise ConfigurationError(message)


def router_queue(app: Celery, task: str) -> str:
    """The queue to which the app's own routes send a task."""
    queue: str = app.amqp.router.route({}, task)["queue"].name
    return queue
