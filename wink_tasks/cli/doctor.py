"""`wink doctor`: what is wrong with an installation, and the way out of it."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.metadata import version as installed
from typing import Final

import typer

from wink_tasks.app import Wink
from wink_tasks.cli.options import App, Json, application
from wink_tasks.cli.printing import console, print_json, print_table
from wink_tasks.core.errors import WinkError
from wink_tasks.runtime.findings import Finding, about_fleet, about_store
from wink_tasks.wiring import redis_url

UNHEALTHY: Final = 1


def doctor(app: App = None, as_json: Json = False) -> None:
    """Examine Redis, the workers and the application. Exit code 1 where an error was found."""
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
        store = wink.house().store
        facts = store.fleet.facts()
        wink.house().agree()
        workers = store.fleet.workers()
    except WinkError as error:
        yield Finding(level="error", what=str(error), way_out="mend this first: nothing else can be examined")
        return
    yield Finding(level="ok", what=f"ledgers are in {store.url}, from {why}")
    yield from about_store(facts)
    yield from about_fleet(workers, wink.registry, version=installed("wink-tasks"))
