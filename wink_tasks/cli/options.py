"""What several commands take, and the application that they are about."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from wink_tasks.app import Wink, find_wink
from wink_tasks.core.errors import ConfigurationError

App = Annotated[str | None, typer.Option("--app", envvar="WINK_APP", help="The application, as package.module:wink.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document, and nothing else, on standard output.")]
Tenant = Annotated[str | None, typer.Option("--tenant", help="The tenant; else WINK_DEFAULT_TENANT.")]
Limit = Annotated[int, typer.Option("--limit", min=1, help="How many at most, newest first.")]
Param = Annotated[list[str] | None, typer.Option("--param", help="A parameter as name=value; may be repeated.")]
Model = Annotated[str | None, typer.Option("--model", help="Another model, as provider:model.")]


@contextmanager
def application(path: str | None) -> Iterator[Wink]:
    """The application at `path`, which may be in the current folder. Raises ConfigurationError."""
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    wink = find_wink(path)
    _discover(wink)
    try:
        yield wink
    finally:
        wink.leave()


def _discover(wink: Wink) -> None:
    """Import what the app autodiscovers, as a worker does: prompts may be declared there."""
    try:
        wink.app.loader.import_default_modules()
    except ImportError as error:
        message = f"a module that the Celery app {wink.app.main!r} names or discovers cannot be imported: {error}"
        raise ConfigurationError(message) from error
