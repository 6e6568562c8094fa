"""`wink up`: the embedded server in the foreground."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from wink_tasks.adapters.redis.embedded import DEFAULT_DIRECTORY, EmbeddedServer, serves
from wink_tasks.cli.ending import Ending
from wink_tasks.cli.printing import console
from wink_tasks.core.errors import LedgerUnavailableError

LOOK_EVERY = 1.0
"""Seconds between two looks whether the server still runs."""


def up(
    directory: Annotated[Path, typer.Option("--dir", help="Where its data are.")] = DEFAULT_DIRECTORY,
    port: Annotated[int | None, typer.Option(min=1, max=65535, help="A fixed port; else the last one, or any.")] = None,
) -> None:
    """Run the embedded Redis server of a folder, or join the one that runs there, until Ctrl-C."""
    out = console()
    server = EmbeddedServer(directory, port=port)
    with Ending() as ending:
        try:
            server.start()
            ending.check()
            what = "runs" if server.started_here else "runs already, and stays when this command ends,"
            out.out(f"Redis {what} at {server.url}, with its data in {server.directory}")
            out.out(exports(server.url))
            out.out("Ctrl-C ends it." if server.started_here else "Ctrl-C ends this command.")
            out.file.flush()
            stay(server, ending.pause)
        finally:
            server.stop()


def exports(url: str) -> str:
    """The shell's line that has this server used by what is started after it."""
    return f"export WINK_REDIS_URL={url} CELERY_BROKER_URL={url}"


def stay(server: EmbeddedServer, pause: Callable[[float], object]) -> None:
    """Return never. Raises LedgerUnavailableError once the server has gone."""
    port = int(server.url.rpartition(":")[2].partition("/")[0])
    while serves(port, server.directory):
        pause(LOOK_EVERY)
    raise LedgerUnavailableError(f"the server at {server.url} has gone; see {server.log_path}")
