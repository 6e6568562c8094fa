"""The examples for Django, FastAPI and Flask: their own servers, real workers, and HTTP."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from celery import Celery
from redis import Redis

from tests.workers import PATIENCE, ROOT, Workers, eventually
from wink_tasks import UnsupportedError, Wink
from wink_tasks.adapters.redis.embedded import EmbeddedServer

BASE = "wink_tasks.examples.frameworks"
SETTINGS = f"{BASE}.django_site.settings"
BAD = "def f(x=[]):\n    return eval(x)\n"


class Site:
    """Servers of the three, each with a client; workers are started by the test that needs them first."""

    def __init__(self, folder: Path, env: dict[str, str]) -> None:
        self.env = {**os.environ, "PYTHONPATH": str(ROOT), **env}
        self.workers = Workers(folder, env)
        self._folder = folder
        self._started: list[subprocess.Popen[bytes]] = []
        self.clients: dict[str, httpx.Client] = {}

    def serve(self, name: str, *command: str, **env: str) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        log = (self._folder / f"{name}.log").open("wb")
        self._started.append(
            subprocess.Popen(
                [sys.executable, "-m", *(part.format(port=port) for part in command)],
                cwd=self._folder,
                env={**self.env, **env},
                stdout=log,
                stderr=log,
            )
        )
        log.close()
        self.clients[name] = httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=PATIENCE)

    def up(self, name: str) -> httpx.Client:
        def answers() -> bool:
            try:
                return self.clients[name].get("/reviews/none").status_code == 404
            except httpx.TransportError:
                return False

        eventually(answers, f"{name} answers; its log: {self._folder / name}.log")
        return self.clients[name]

    def close(self) -> None:
        for client in self.clients.values():
            client.close()
        for process in self._started:
            process.terminate()
        for worker in self.workers.started:
            worker.stop()
        for process in self._started:
            process.wait(PATIENCE)


@pytest.fixture(scope="module")
def site(redis_server: EmbeddedServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    server = redis_server.url.rsplit("/", 1)[0]
    folder = tmp_path_factory.mktemp("frameworks")
    (folder / "a.py").write_text(BAD)
    for database in (8, 9):
        with Redis.from_url(f"{server}/{database}") as client:
            client.flushdb()
    env = {
        "WINK_REDIS_URL": f"{server}/8",
        "CELERY_BROKER_URL": f"{server}/8",
        "WINK_DEMO_ROOT": str(folder),
        "SITE_DATABASE": str(folder / "site.sqlite3"),
    }
    found = Site(folder, env)
    django = {"WINK_REDIS_URL": f"{server}/9", "CELERY_BROKER_URL": f"{server}/9", "DJANGO_SETTINGS_MODULE": SETTINGS}
    django["WINK_SPLIT_QUEUES"] = "1"
    try:
        found.serve("fastapi", "uvicorn", f"{BASE}.fastapi_app:web", "--port", "{port}")
        found.serve("flask", "flask", "--app", f"{BASE}.flask_app", "run", "--port", "{port}")
        migrate = [sys.executable, "-m", "django", "migrate", "--run-syncdb", "-v0"]
        subprocess.run(migrate, check=True, cwd=folder, env={**found.env, **django})
        found.serve("django", "django", "runserver", "--noreload", "{port}", **django)
        # Cancelled before there is a worker, so that nobody can be quicker.
        for name in ("fastapi", "flask"):
            run = found.up(name).post("/reviews").json()["id"]
            assert found.clients[name].delete(f"/reviews/{run}").status_code == 202
            found.env[name] = run
        found.workers.start("wink_tasks.examples.code_review", "celery")
        found.workers.start(f"{BASE}.django_site", "turns,tools", env=django)
        yield found
    finally:
        found.close()


def ended(client: httpx.Client, run: str) -> dict[str, Any]:
    """What a poll says at last."""

    def poll() -> Any:
        answer = client.get(f"/reviews/{run}").raise_for_status().json()
        return answer["status"] not in ("PENDING", "STARTED", "WAITING") and answer

    return eventually(poll, "the review is there")


def test_flask_starts_and_polls(site: Site):
    flask = site.up("flask")
    run = flask.post("/reviews", params={"path": ".", "security": "1"})
    assert run.status_code == 202
    answer = ended(flask, run.json()["id"])
    assert answer["status"] == "SUCCESS"
    assert {finding["file"] for finding in answer["review"]["findings"]} == {"a.py"}
    cancelled = ended(flask, site.env["flask"])
    assert (cancelled["status"], "review" in cancelled) == ("REVOKED", False)
    assert cancelled["why"] == "was cancelled: cancelled over HTTP"
    for unknown in (flask.get("/reviews/none"), flask.delete("/reviews/none")):
        assert (unknown.status_code, "none" in unknown.json()["why"]) == (404, True)


def test_fastapi_awaits_and_streams(site: Site):
    fastapi = site.up("fastapi")
    run = fastapi.post("/reviews", params={"path": "a.py"}).json()["id"]
    with fastapi.stream("GET", f"/reviews/{run}/events") as stream:
        assert stream.headers["content-type"].startswith("text/event-stream")
        events = [line.partition(" ")[2] for line in stream.iter_lines() if line.startswith("event: ")]
    assert (events[0], events[-1]) == ("EvaluationAccepted", "EvaluationSucceeded")
    answer = fastapi.get(f"/reviews/{run}").raise_for_status().json()
    assert {finding["file"] for finding in answer["findings"]} == {"a.py"}
    cancelled = fastapi.get(f"/reviews/{site.env['fastapi']}")
    assert (cancelled.status_code, "cancelled over HTTP" in cancelled.json()["why"]) == (422, True)
    unknown = fastapi.get("/reviews/none/events")
    assert (unknown.status_code, unknown.json()["error"]) == (404, "UnknownRunError")


def test_django_reviews_what_a_transaction_saved(site: Site):
    django = site.up("django")
    begun = time.monotonic()
    run = django.post("/reviews", json={"a.py": BAD, "b.py": "x = 1\n"})
    assert run.status_code == 202
    answer = ended(django, run.json()["id"])
    assert answer["status"] == "SUCCESS", (answer, time.monotonic() - begun)
    assert [finding["rule"] for finding in answer["review"]["findings"]] == ["S307", "B006"]
    assert [file.partition("/")[2] for file in answer["review"]["files_read"]] == ["a.py", "b.py"]


def test_prompts_are_discovered_wait_for_the_commit_and_have_fresh_connections(tmp_path: Path):
    env = {**os.environ, "PYTHONPATH": str(ROOT), "SITE_DATABASE": str(tmp_path / "site.sqlite3")}
    done = subprocess.run(
        [sys.executable, str(ROOT / "tests/apps/in_django.py")], capture_output=True, env=env, check=False, text=True
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {
        "task_class": "DjangoTask",
        "discovered": ["django_site.review"],
        "inside": [],
        "after": 3,
        "named": ["three", "two"],
        "rolled back": 3,
        "no file": "there is no file 'one/none.py': list_files names them",
        "began": True,
        "ended": True,
    }
    assert "connections were not closed: OSError: gone" in done.stderr


def test_without_django_there_is_no_commit_to_wait_for():
    wink = Wink(Celery("plain", set_as_current=False))

    @wink.prompt(output=str, model="offline:m")
    def chat() -> str:
        """You talk."""
        return ""

    with pytest.raises(UnsupportedError, match="set DJANGO_SETTINGS_MODULE"):
        chat.delay_on_commit()
    with pytest.raises(UnsupportedError, match="apply_async_on_commit"):
        chat.apply_async_on_commit()
