"""`wink doctor`: what is in use, what is wrong with it, and the way out."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.metadata import version as installed
from typing import Final

import typer
from celery import Celery

from wink_tasks.adapters.celery.host import redis_url
from wink_tasks.app import Wink
from wink_tasks.cli.options import App, Json, application
from wink_tasks.cli.printing import console, print_json, print_table
from wink_tasks.core.errors import WinkError
from wink_tasks.core.redaction import redact
from wink_tasks.runtime.findings import (
    Finding,
    about_clocks,
    about_fleet,
    about_grace,
    about_pauses,
    about_pools,
    about_settings,
    about_store,
)

UNHEALTHY: Final = 1
PATIENCE: Final = 3
"""Seconds for the broker to answer."""


def doctor(app: App = None, as_json: Json = False) -> None:
    """Examine Redis, the broker, the workers and the application. Exit code 1 where an error was found."""
    with application(app) as wink:
        findings = list(examine(wink))
    healthy = all(one.level != "error" for one in findings)
    if as_json:
        print_json({"healthy": healthy, "findings": findings})
    else:
        rows = ((one.level, one.what, one.way_out) for one in findings)
        print_table(console(), ("", "what", "way out"), rows)
    if not healthy:
        raise typer.Exit(UNHEALTHY)


def examine(wink: Wink) -> Iterator[Finding]:
    """All findings; they end with the first that hides the others."""
    try:
        _, why = redis_url(wink.settings, wink.app)
        house = wink.house()
        facts = house.store.fleet.facts()
        now = house.clock.now()
        house.agree()
        workers, pauses = house.store.fleet.workers(), house.store.pauses.paused()
        depths = house.store.mailbox.depth(sorted(wink.registry.mailboxes()))
    except WinkError as error:
        yield Finding(level="error", what=str(error), way_out="mend this first: nothing else can be examined")
        return
    yield Finding(level="ok", what=f"ledgers are in {house.store.url}, from {why}")
    if why != "WINK_REDIS_URL":
        what = "ledgers share their Redis with Celery: its queues or results may fill the memory"
        yield Finding(level="warning", what=what, way_out="give them one of their own: WINK_REDIS_URL")
    yield from about_store(facts)
    yield from about_celery(wink.app)
    yield from about_fleet(workers, wink.registry, version=installed("wink-tasks"))
    yield from about_pauses(pauses)
    yield from about_settings(house.compared_settings(), workers)
    yield from about_pools(workers, wink.registry, depths)
    yield from about_clocks(now, facts, workers)
    yield from about_grace(wink.settings.shutdown_grace, wink.settings.provider_timeout)


def about_celery(app: Celery) -> Iterator[Finding]:
    """Whether the broker answers, and where results go."""
    with app.connection_for_write() as broker:
        address = broker.as_uri()
        try:
            broker.ensure_connection(max_retries=1, timeout=PATIENCE)
        except Exception as error:  # noqa: BLE001 - each transport has errors of its own
            told = redact(f"{type(error).__name__}: {error}")
            what = f"the broker {address} does not answer ({told})"
            yield Finding(level="error", what=what, way_out="start it, or mend broker_url: doorbells do not ring")
        else:
            yield Finding(level="ok", what=f"the broker is {address}")
    backend = app.backend.as_uri()
    if backend == "disabled://":
        yield Finding(level="ok", what="no result backend: get() asks the ledger; chords need one")
    else:
        yield Finding(level="ok", what=f"results are in {backend}")
