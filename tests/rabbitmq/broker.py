"""A RabbitMQ of the test's own: Debian's package, in directories and on ports that nobody else has."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from kombu import Connection
from kombu.exceptions import OperationalError

from tests.workers import eventually
from wink_tasks.adapters.redis.embedded import free_port

SERVER = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")
"""Below Debian's own command, which would change to another user and to the directories of the system's broker."""


@contextmanager
def rabbitmq(folder: Path) -> Iterator[str]:
    """Its address, while it runs."""
    if not SERVER.exists() or (mapping := shutil.which("epmd")) is None:
        pytest.fail(f"{SERVER} is not there: install Debian's package (apt-get install rabbitmq-server)")
    port, distribution, mapper = free_port(), free_port(), free_port()
    env = {
        **os.environ,
        "HOME": str(folder),
        "ERL_EPMD_PORT": str(mapper),
        "ERL_EPMD_ADDRESS": "127.0.0.1",
        "RABBITMQ_NODENAME": f"wink{port}@localhost",
        "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
        "RABBITMQ_NODE_PORT": str(port),
        "RABBITMQ_DIST_PORT": str(distribution),
        "RABBITMQ_MNESIA_BASE": str(folder / "mnesia"),
        "RABBITMQ_LOG_BASE": str(folder / "log"),
        "RABBITMQ_PID_FILE": str(folder / "pid"),
        "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "plugins"),
    }
    (folder / "plugins").write_text("[].")
    log = folder / "rabbitmq.log"
    with log.open("wb") as out:
        # The name server of Erlang in our hands, too: else the broker would start one that outlives it.
        names = subprocess.Popen([mapping, "-port", str(mapper)], env=env, stdout=out, stderr=out)
        server = subprocess.Popen([SERVER], env=env, stdout=out, stderr=out, start_new_session=True)
    url = f"amqp://guest:guest@127.0.0.1:{port}//"

    def answers() -> bool:
        if server.poll() is not None:
            pytest.fail(f"RabbitMQ ended at once:\n{log.read_text()[-4000:]}")
        with suppress(OSError, OperationalError), Connection(url, connect_timeout=2) as connection:
            return bool(connection.ensure_connection(max_retries=1))
        return False

    try:
        eventually(answers, "RabbitMQ answers")
        yield url
    finally:
        if server.poll() is None:
            # The Erlang machine only, so that the script above it buries its child and ends itself.
            os.kill(int((folder / "pid").read_text()), signal.SIGKILL)
        server.wait()
        names.terminate()
        names.wait()
