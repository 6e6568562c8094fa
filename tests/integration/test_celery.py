"""Prompts and tools as Celery tasks, on real workers: turns on threads, tools on prefork."""

from __future__ import annotations

import importlib
import sys
import threading
from collections.abc import Iterator
from types import ModuleType
from typing import Any, Self

import pytest
from celery import Celery
from celery.exceptions import TaskRevokedError
from celery.result import AsyncResult
from redis import Redis

from tests.workers import Workers, eventually
from wink_tasks import (
    BlockingInTaskError,
    CancelledError,
    EvaluationFailedError,
    RunTimeoutError,
    TaskFailedError,
    ToolFailedError,
    UnknownRunError,
)
from wink_tasks.adapters.redis.embedded import EmbeddedServer
from wink_tasks.core.events import ToolFailed


class Site:
    """The gated application in this process, its workers, and what its model and tools announced."""

    def __init__(self, module: ModuleType, url: str, workers: Workers) -> None:
        self.module = module
        self.url = url
        self.workers = workers
        self.redis = Redis.from_url(url, decode_responses=True)

    def open(self, *gates: str) -> None:
        for gate in gates:
            self.redis.set(f"gate:{gate}", 1)

    def reset(self) -> None:
        self.redis.delete("seen", "gate:model", "gate:tool")

    def seen(self) -> list[str]:
        return self.redis.lrange("seen", 0, -1)


@pytest.fixture(scope="module")
def workers_of_module(redis_server: EmbeddedServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    url = redis_server.url.rsplit("/", 1)[0] + "/7"
    patch = pytest.MonkeyPatch()
    patch.setenv("WINK_REDIS_URL", url)
    patch.setenv("CELERY_BROKER_URL", url)
    sys.modules.pop("tests.apps.gated", None)
    module = importlib.import_module("tests.apps.gated")
    workers = Workers(tmp_path_factory.mktemp("workers"), {"WINK_REDIS_URL": url, "CELERY_BROKER_URL": url})
    workers.start("tests.apps.gated", "turns,gated", wink=None)
    workers.start("tests.apps.gated", "tools", pool="prefork", concurrency=2, wink=None)
    eventually(lambda: len(module.wink.house().store.fleet.workers()) == 2, "both workers join")
    yield Site(module, url, workers)
    for worker in workers.started:
        worker.stop()
    module.wink.leave()
    patch.undo()


@pytest.fixture
def site(workers_of_module: Site) -> Site:
    workers_of_module.reset()
    return workers_of_module


class Events:
    """Celery's events as Flower receives them, while the block lasts."""

    def __init__(self, app: Celery) -> None:
        self.received: list[dict[str, Any]] = []
        self._connection = app.connection_for_read()
        self._receiver = app.events.Receiver(self._connection, handlers={"*": self.received.append})
        self._app = app
        self._thread = threading.Thread(target=self._receiver.capture, kwargs={"wakeup": False})

    def __enter__(self) -> Self:
        self._thread.start()
        with self._app.events.default_dispatcher() as dispatcher:
            eventually(lambda: dispatcher.send("test-event") or self.received, "events arrive")
        return self

    def __exit__(self, *_: object) -> None:
        self._receiver.should_stop = True
        self._thread.join(30)
        self._connection.release()

    def of(self, task_id: str) -> list[str]:
        return [event["type"] for event in self.received if event.get("uuid") == task_id]


def test_a_run_its_row_in_flower_and_its_result_for_plain_celery(site: Site):
    site.open("model", "tool")
    with Events(site.module.app) as events:
        run = site.module.total.delay("numbers")
        call = f"{run.id}~turn1.call0"
        assert run.get(timeout=60) == site.module.Sum(total=3)
        eventually(lambda: "task-succeeded" in events.of(run.id), "the run's row closes")
        eventually(lambda: "task-succeeded" in events.of(call), "the call's row closes")
    assert events.of(run.id).count("task-succeeded") == 1
    rows = {event["uuid"]: event for event in events.received if event["type"] == "task-received"}
    named = {event["name"]: event["args"] for event in rows.values() if event["uuid"].startswith(run.id)}
    assert named["gated.total"] == "(text='numbers')"
    assert named["gated.total:turn"].startswith("(turn=")
    assert named["gated.add"].startswith("(a=1, b=")
    plain = AsyncResult(run.id, app=Celery("plain", broker=site.url, backend=site.url))
    assert plain.get(timeout=10) == {"total": 3}


def test_a_failure_comes_out_of_get_as_our_error(site: Site):
    site.open("model", "tool")
    run = site.module.fragile.delay()
    with pytest.raises(ToolFailedError, match="3 tool calls in a row failed") as caught:
        run.get(timeout=60)
    assert (caught.value.run_id, caught.value.code) == (run.id, "ToolFailedError")
    assert run.status == "FAILURE"
    assert isinstance(run.result, ToolFailedError)
    failed = [record.event for record in run.events() if isinstance(record.event, ToolFailed)]
    assert "ZeroDivisionError" in failed[0].error
    plain = AsyncResult(run.id, app=Celery("plain", broker=site.url, backend=site.url))
    with pytest.raises(EvaluationFailedError):
        eventually(plain.ready, "the result is stored") and plain.get(timeout=10)


def test_cancel_cuts_a_model_call(site: Site):
    run = site.module.total.delay("numbers")
    eventually(lambda: site.seen() == ["model:1:0"], "the model is asked")
    run.cancel("changed my mind")
    with pytest.raises(TaskRevokedError) as caught:
        run.get(timeout=30)
    assert isinstance(caught.value, CancelledError)
    assert run.state == "REVOKED"


def test_cancel_reaches_a_tool_that_asks(site: Site):
    site.open("model")
    run = site.module.total.delay("numbers")
    eventually(lambda: "add:1:0" in site.seen(), "the tool runs")
    run.revoke()
    site.open("tool")
    with pytest.raises(CancelledError, match="revoked"):
        run.get(timeout=30)


def test_get_tells_why_it_gave_up(site: Site):
    run = site.module.total.with_options(queue="nowhere").delay("numbers")
    with pytest.raises(RunTimeoutError, match="no live worker serves mailbox 'nowhere'"):
        run.get(timeout=0.2)
    run.cancel()
    with pytest.raises(UnknownRunError):
        site.module.wink.run("no-such-run").get(timeout=1)
    assert site.module.wink.run("no-such-run").state == "PENDING"


def test_get_inside_a_task_is_refused(site: Site):
    refused = site.module.app.send_task("gated.waits", queue="gated")
    assert refused.get(timeout=30) == BlockingInTaskError.__name__


def test_a_process_with_nothing_but_celery_can_start_a_run(site: Site):
    site.open("model", "tool")
    stranger = Celery("stranger", broker=site.url, backend=site.url)
    sent = stranger.send_task("gated.total", kwargs={"text": "theirs"}, queue="turns")
    assert sent.get(timeout=60) == {"total": 3}
    assert site.module.wink.run(sent.id).get(timeout=10) == site.module.Sum(total=3)


def test_a_tool_alone_is_a_run_also_for_a_stranger(site: Site):
    site.open("tool")
    stranger = Celery("stranger", broker=site.url, backend=site.url)
    with Events(site.module.app) as events:
        sent = stranger.send_task("gated.add", kwargs={"a": 1, "b": 2}, queue="tools")
        run = site.module.add.delay(a=2, b=3)
        assert (run.get(timeout=60), run.session.id) == (5, run.id)
        assert sent.get(timeout=60) == 3
        failed = site.module.add.delay(a=2, b=-1)
        with pytest.raises(TaskFailedError, match="ToolError: b is negative"):
            failed.get(timeout=60)
        eventually(lambda: "task-succeeded" in events.of(run.id), "the run's row closes")
        eventually(lambda: "task-failed" in events.of(failed.id), "the other one's, too")
    assert events.of(run.id) == ["task-received", "task-started", "task-succeeded"]
    assert events.of(failed.id) == ["task-received", "task-started", "task-failed"]
    rows = {event["uuid"]: event for event in events.received if event["type"] == "task-received"}
    assert (rows[run.id]["name"], rows[run.id]["args"]) == ("gated.add", "(a=2, b=3)")


def test_a_task_that_a_worker_does_not_know_is_left_to_others(site: Site):
    site.open("model", "tool")
    late = site.module.wink.prompt(output=str, model="gated:m", queue="turns", name=f"late{len(site.module.app.tasks)}")
    handle = late(site.module.body)
    run = handle.delay("x")
    message = eventually(
        lambda: (m := site.module.wink.house().store.ledger.message("default", run.id, run.id)) and m.error and m,
        "the worker gives it back",
    )
    assert "unknown to this worker" in message.error
    assert (message.deliveries, message.pardoned) == (1, 1)
    assert run.status in ("PENDING", "STARTED")
    run.cancel()


def test_a_stranger_hears_that_its_arguments_do_not_fit(site: Site):
    stranger = Celery("stranger", broker=site.url, backend=site.url)
    sent = stranger.send_task("gated.total", kwargs={"wrong": 1}, queue="turns")
    with pytest.raises(Exception, match="wrong"):
        sent.get(timeout=30)
