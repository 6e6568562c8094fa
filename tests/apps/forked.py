"""A resource that says in which process it was made, used in the main process before the pool forks."""

from __future__ import annotations

import os

from celery.signals import worker_init

from tests.apps.durable import announce, app, wink

__all__ = ["app"]


class Connection:
    """Belongs to one process."""

    def __init__(self) -> None:
        self.pid = os.getpid()
        announce(f"open {self.pid}")

    def close(self) -> None:
        """Tell the test."""
        announce(f"close {self.pid} in {os.getpid()}")


wink.resources.bind(Connection, Connection)


@worker_init.connect(weak=False)
def use_it_early(**_: object) -> None:
    """As a host does that looks at its resources before the pool forks."""
    wink.house().parts.resources.of_call("early")[Connection]


@wink.task
def whose(connection: Connection) -> list[int]:
    """Who made the connection, and who uses it."""
    return [connection.pid, os.getpid()]
