"""A plain Celery project gains one file: its worker command, its configuration and its own tasks stay as they were."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent
from types import ModuleType
from typing import Any

import pytest
from redis import Redis

from tests.workers import ROOT, WorkerProcess, eventually

CELERY = """
    import os
    from celery import Celery, Task

    class Audited(Task):
        audited = True

    class Routes:
        def __repr__(self):
            return "Routes"

        def route_for_task(self, task, *_, **__):
            return {"queue": "orders"} if task.startswith("shop.tasks.") else None

    app = Celery("shop", task_cls=Audited, broker=os.environ["CELERY_BROKER_URL"], include=INCLUDE)
    app.conf.update(
        accept_content=["pickle", "json"],
        task_serializer="pickle",
        worker_prefetch_multiplier=4,
        task_routes=[Routes()],
        task_time_limit=45,
        task_ignore_result=True,
    )
"""

TASKS = """
    import json, os
    from redis import Redis
    from shop.celery import app

    def tell(key, value):
        with Redis.from_url(os.environ["CELERY_BROKER_URL"]) as redis:
            redis.rpush(key, json.dumps(value, default=str))

    @app.task
    def ship(items):
        tell("shipped", sorted(items))  # a set: only pickle carries it

    @app.task(bind=True, max_retries=1)
    def flaky(self):
        tell("tried", self.request.retries)
        raise self.retry(countdown=0)

    @app.task(bind=True)
    def facts(self):
        mine = {name: str(getattr(self, name)) for name in
                ("acks_late", "reject_on_worker_lost", "serializer", "time_limit", "ignore_result", "track_started")}
        conf = {name: repr(app.conf[name]) for name in sorted(app.conf.table(with_defaults=True)) if name != "include"}
        tell("facts", {"task": mine, "conf": conf, "audited": self.audited, "limit": self.request.timelimit,
                       "base": type(self).__mro__[1].__name__, "queue": self.request.delivery_info["routing_key"]})
"""

AGENTS = """
    from wink_tasks import Wink
    from wink_tasks.core.events import Call
    from wink_tasks.core.transcript import ToolAnswered
    from wink_tasks.ports.provider import Response
    from shop.celery import app

    class Clerk:
        async def complete(self, request):
            if isinstance(request.items[-1], ToolAnswered):
                return Response(text='%d in stock' % request.items[-1].value, model="m")
            return Response(text="", model="m", calls=(Call(id="c", tool="stock", arguments={"name": "tea"}),))

        async def close(self):
            pass

    wink = Wink(app, providers={"clerk": Clerk()})

    @wink.tool
    def stock(name: str) -> int:
        "How many there are."
        return len(name)

    @wink.prompt(output=str, tools=[stock], model="clerk:m")
    def ask(name: str) -> str:
        "You know the shelves."
        return name
"""


class Project:
    """The files of the project, the module of one of them, and its worker."""

    def __init__(self, folder: Path, url: str) -> None:
        self.folder = folder
        self.redis = Redis.from_url(url, decode_responses=True)
        path = os.pathsep.join([str(folder), str(ROOT)])
        # A worker that takes pickle refuses to run as root, where the tests may run.
        self.env = {"CELERY_BROKER_URL": url, "PYTHONPATH": path, "C_FORCE_ROOT": "1"}

    def write(self, *modules: str) -> None:
        package = self.folder / "shop"
        package.mkdir(exist_ok=True)
        include = [f"shop.{name}" for name in modules]
        texts = {"__init__": "", "celery": CELERY.replace("INCLUDE", repr(include)), "tasks": TASKS, "agents": AGENTS}
        for name in ("__init__", "celery", *modules):
            (package / f"{name}.py").write_text(dedent(texts[name]))

    def worker(self) -> WorkerProcess:
        log = self.folder / "worker.log"
        with log.open("wb") as out:
            process = subprocess.Popen(
                [
                    sys.executable,
                    "-m",
                    "celery",
                    "-A",
                    "shop",
                    "worker",
                    "-Q",
                    "celery,orders",
                    "-c",
                    "2",
                    "-l",
                    "INFO",
                ],
                cwd=self.folder,
                env={**os.environ, **self.env},
                stdout=out,
                stderr=out,
                start_new_session=True,
            )
        return WorkerProcess("shop", process, log)

    def told(self, key: str, count: int = 1) -> list[Any]:
        eventually(lambda: self.redis.llen(key) >= count, f"{key}; the worker's log:\n{self.folder}")
        return [json.loads(value) for value in self.redis.lrange(key, 0, -1)]


@pytest.fixture
def project(tmp_path: Path, redis_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Project]:
    made = Project(tmp_path, redis_url)
    monkeypatch.setenv("CELERY_BROKER_URL", redis_url)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield made
    for name in [name for name in sys.modules if name.split(".")[0] == "shop"]:
        del sys.modules[name]


def own_behaviour(project: Project, tasks: ModuleType) -> dict[str, Any]:
    """What the project's own tasks do on its worker, and what they see of their app."""
    project.redis.flushall()
    worker = project.worker()
    try:
        tasks.ship.delay({"tea", "milk"})
        tasks.flaky.delay()
        tasks.facts.delay()
        return {key: project.told(key, count) for key, count in (("shipped", 1), ("tried", 2), ("facts", 1))}
    finally:
        worker.stop()


def test_a_project_with_a_prompt_is_the_project_that_it_was(project: Project):
    project.write("tasks")
    tasks = importlib.import_module("shop.tasks")
    before, conf = own_behaviour(project, tasks), dict(tasks.app.conf.table(with_defaults=True))

    project.write("tasks", "agents")
    agents = importlib.import_module("shop.agents")
    assert own_behaviour(project, tasks) == before
    assert dict(tasks.app.conf.table(with_defaults=True)) == conf
    [facts] = before["facts"]
    assert facts["audited"]
    assert facts["queue"] == "orders"
    assert facts["limit"] == [45, None]

    worker = project.worker()
    try:
        assert agents.ask.delay("tea").get(timeout=60) == "3 in stock"
    finally:
        assert worker.stop() == 0
    agents.wink.leave()


def test_the_project_routes_prompts_and_tools_as_its_other_tasks(project: Project):
    project.write("tasks", "agents")
    agents = importlib.import_module("shop.agents")
    agents.app.conf.task_routes = {"shop.ask": "clerks", "shop.stock": "shelves"}  # before the first is routed
    run = agents.ask.delay("tea")
    assert project.redis.llen("clerks") == 1
    assert run.status == "PENDING"
    assert agents.wink.registry.tool_mailbox(agents.stock.definition, agents.ask.definition) == "shelves"
    agents.wink.leave()
