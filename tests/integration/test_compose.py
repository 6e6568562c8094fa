"""The fleet of docker-compose.yml as local processes: commands, environments and health checks as written there."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from celery import Celery

from tests.workers import PATIENCE, ROOT, eventually
from wink_tasks import Wink
from wink_tasks.adapters.redis.embedded import find_server, free_port

COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text())


class Fleet:
    """Its services; what Compose and Docker would do to a command is done here: names, variables, folders, ports."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ports = {"6379": str(free_port()), "5555": str(free_port())}
        self.url = f"redis://127.0.0.1:{self.ports['6379']}"
        self.started: dict[str, subprocess.Popen[bytes]] = {}
        (folder / "bin").mkdir()
        (folder / "bin" / "redis-server").symlink_to(find_server())
        # The image has Redis's own client; here is one that knows the only thing it is asked.
        (folder / "bin" / "redis-cli").write_text(
            f"#!{sys.executable}\nfrom redis import Redis\nprint('PONG' * Redis(port={self.ports['6379']}).ping())\n"
        )
        (folder / "bin" / "redis-cli").chmod(0o755)

    def here(self, text: str) -> str:
        """As Compose and Docker would have it inside of a container of this machine."""
        text = re.sub(r"\$\{(\w+):-([^}]*)\}", lambda found: found[2], text)
        text = text.replace("$$", "$").replace("redis://redis:", "redis://127.0.0.1:")
        text = re.sub("|".join(self.ports), lambda found: self.ports[found[0]], text)
        return text.replace("/tmp/", f"{self.folder}/")  # noqa: S108 - as the file has it

    def env(self, name: str) -> dict[str, str]:
        given = COMPOSE["services"][name].get("environment", {})
        path = f"{self.folder / 'bin'}{os.pathsep}{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        inherited = {one: value for one, value in os.environ.items() if not one.startswith(("WINK_", "CELERY_"))}
        ours = {one: self.here(value) for one, value in given.items()}
        return {**inherited, **ours, "PATH": path, "PYTHONPATH": str(ROOT), "HOSTNAME": socket.gethostname()}

    def start(self, name: str) -> None:
        command = [self.here(part) for part in COMPOSE["services"][name]["command"]]
        if name == "redis":
            command += ["--port", self.ports["6379"], "--bind", "127.0.0.1"]  # what the image's own configuration does
        with (self.folder / f"{name}.log").open("wb") as log:
            self.started[name] = subprocess.Popen(
                command, cwd=self.folder, env=self.env(name), stdout=log, stderr=log, start_new_session=True
            )

    def healthy(self, name: str) -> bool:
        kind, *test = COMPOSE["services"][name]["healthcheck"]["test"]
        command = ["sh", "-c", self.here(test[0])] if kind == "CMD-SHELL" else [self.here(part) for part in test]
        done = subprocess.run(command, cwd=self.folder, env=self.env(name), capture_output=True, check=False)
        return done.returncode == 0

    def stop(self) -> dict[str, int]:
        """What `docker compose stop` does, those first that depend on others."""
        codes = {}
        for name, process in reversed(self.started.items()):
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
            try:
                codes[name] = process.wait(float(COMPOSE["services"][name]["stop_grace_period"].removesuffix("s")))
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                codes[name] = process.wait(PATIENCE)
        self.started.clear()
        return codes


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[Fleet]:
    found = Fleet(tmp_path)
    yield found
    found.stop()


def test_the_fleet_comes_up_healthy_works_and_stops_within_its_grace(fleet: Fleet):
    assert not fleet.healthy("redis")
    fleet.start("redis")
    eventually(lambda: fleet.healthy("redis"), f"redis is healthy; logs: {fleet.folder}")
    assert not any(fleet.healthy(name) for name in ("beat", "flower"))
    for name in ("turns", "tools", "beat", "flower"):
        fleet.start(name)

    app = Celery("code_review", set_as_current=False, broker=fleet.env("turns")["CELERY_BROKER_URL"])
    wink = Wink(app, redis_url=fleet.env("turns")["WINK_REDIS_URL"])
    alive = wink.house().store.fleet.workers
    eventually(lambda: len(alive()) == 2, f"both workers join; logs: {fleet.folder}")
    for name in ("turns", "tools", "beat", "flower"):
        eventually(lambda name=name: fleet.healthy(name), f"{name} is healthy; logs: {fleet.folder}")
    assert sorted((worker.pool, worker.mailboxes) for worker in alive()) == [
        ("prefork", ("tools",)),
        ("thread", ("turns",)),
    ]

    sent = app.send_task("code_review.review", kwargs={"path": "orders"}, queue="turns")
    owed = wink.run(sent.id)
    eventually(lambda: owed.status == "SUCCESS", f"a review is done; logs: {fleet.folder}")
    assert owed.get()["files_read"]
    wink.leave()

    codes = fleet.stop()
    assert codes.keys() == {"redis", "turns", "tools", "beat", "flower"}
    assert {name: code for name, code in codes.items() if code} == {}
