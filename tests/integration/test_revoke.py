"""Revoke, terminate and cancel end an evaluation, whatever it is doing; limits end a step; nothing else is touched."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator
from types import ModuleType

import pytest
from celery.exceptions import TaskRevokedError
from celery.result import AsyncResult
from redis import Redis

from tests.workers import PATIENCE, Workers, eventually
from wink_tasks import CancelledError
from wink_tasks.adapters.redis.embedded import EmbeddedServer
from wink_tasks.core.events import CancelRequested, ModelResponded, ToolFailed, ToolReturned
from wink_tasks.testing.mock_provider import MockProviderServer, Stall


class Site:
    """The application in this process, its workers, and what its tools announced."""

    def __init__(self, module: ModuleType, url: str, workers: Workers, vendor: MockProviderServer) -> None:
        self.module = module
        self.app = module.app
        self.url = url
        self.workers = workers
        self.vendor = vendor
        self.redis = Redis.from_url(url, decode_responses=True)

    def seen(self, what: str = "") -> list[str]:
        return [entry for entry in self.redis.lrange("seen", 0, -1) if entry.startswith(what)]

    def started(self, tools: str, announces: str, **options):
        """A run that works on the tool that announces itself."""
        self.redis.delete("seen")
        run = self.module.obey.with_options(**options).delay(tools)
        eventually(lambda: self.seen(announces), f"{announces} runs")
        return run


@pytest.fixture(scope="module")
def site(redis_server: EmbeddedServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    url = redis_server.url.rsplit("/", 1)[0] + "/6"
    with MockProviderServer([Stall()] * 3) as vendor, pytest.MonkeyPatch.context() as patch:
        env = {
            "WINK_REDIS_URL": url,
            "CELERY_BROKER_URL": url,
            "VENDOR_URL": vendor.url,
            "WATCH_SIGNALS": "1",
            "WINK_VISIBILITY_TIMEOUT": "60",
        }
        for name, value in env.items():
            patch.setenv(name, value)
        sys.modules.pop("tests.apps.revocable", None)
        module = importlib.import_module("tests.apps.revocable")
        workers = Workers(tmp_path_factory.mktemp("workers"), env)
        alone = ("--without-mingle", "--without-gossip")
        workers.start("tests.apps.revocable", "turns,celery", concurrency=6, options=alone)
        workers.start("tests.apps.revocable", "tools,children", pool="prefork", concurrency=2, options=alone)
        eventually(lambda: len(module.wink.house().store.fleet.workers()) == 2, "both workers join")
        yield Site(module, url, workers, vendor)
        for worker in workers.started:
            worker.stop()
        module.wink.leave()


def by_cancel(site: Site, run) -> None:
    run.cancel("enough")


def by_revoke(site: Site, run) -> None:
    run.revoke(terminate=True, signal="SIGTERM", wait=True, timeout=0.2)


def by_control(site: Site, run) -> None:
    site.app.control.revoke(run.id)


def by_terminating_its_step(site: Site, run) -> None:
    site.app.control.terminate(f"{run.id}~turn1.call0")


ENDINGS = [by_cancel, by_revoke, by_control, by_terminating_its_step]


def assert_ended_at_once(run) -> None:
    """Nobody waited for a lease: they are of 60 s here, and renewed each 20."""
    with pytest.raises(CancelledError) as caught:
        run.get(timeout=15)
    assert isinstance(caught.value, TaskRevokedError)
    assert (run.state, run.status) == ("REVOKED", "REVOKED")
    kinds = [type(record.event) for record in run.events()]
    assert kinds.count(CancelRequested) == 1


@pytest.mark.parametrize("end", ENDINGS)
def test_a_tool_on_threads_is_asked_through_its_context(site: Site, end: Callable):
    run = site.started("asks", "asks")
    end(site, run)
    assert_ended_at_once(run)


@pytest.mark.parametrize("end", ENDINGS)
def test_a_tool_in_a_child_is_ended_and_tidies_up(site: Site, end: Callable):
    run = site.started("sleeps", "sleeps")
    end(site, run)
    assert_ended_at_once(run)
    assert site.seen("tidied") == ["tidied"]


def test_a_tool_that_does_not_let_itself_be_ended_loses_its_process(site: Site):
    run = site.started("quick refuses", "refuses")
    by_control(site, run)
    assert_ended_at_once(run)
    assert site.seen("refused") == ["refused"]
    events = [record.event for record in run.events()]
    assert [type(event) for event in events if isinstance(event, ToolReturned | ModelResponded)] == [
        ModelResponded,
        ToolReturned,
        ModelResponded,
    ], "the partial work stays"
    assert site.module.obey.delay("quick quick").get(timeout=30) == "quick quick", "the child was replaced"


def test_a_signal_that_kills_is_sent_at_once(site: Site):
    run = site.started("sleeps", "sleeps")
    site.app.control.revoke(run.id, terminate=True, signal="KILL")
    assert_ended_at_once(run)
    assert site.seen("tidied") == []


@pytest.mark.parametrize("queue", ["turns", "children"])
def test_a_model_call_is_cut(site: Site, queue: str):
    before = site.vendor.hung_up
    run = site.module.ask_vendor.with_options(tenant="acme", session=f"s-{queue}", queue=queue).delay()
    assert site.vendor.wait_until(lambda: site.vendor.stalled == before + 1, PATIENCE)
    by_control(site, run)
    assert_ended_at_once(run)
    assert site.vendor.wait_until(lambda: site.vendor.hung_up == before + 1), "the vendor sees its socket closed"


def test_what_waits_is_cancelled_without_a_worker(site: Site):
    first = site.started("asks", "asks", session="busy")
    behind = site.module.obey.with_options(session="busy").delay("quick")
    later = site.module.obey.with_options(countdown=600).delay("quick")
    unheard = site.module.obey.with_options(queue="nowhere").delay("quick")
    site.app.control.revoke([behind.id, later.id, unheard.id])
    for run in (behind, later, unheard):
        assert_ended_at_once(run)
    assert first.status == "STARTED"
    first.cancel()
    assert_ended_at_once(first)
    eventually(lambda: AsyncResult(later.id, app=site.app).state == "REVOKED", "Celery hears of it, from the outcome")


def test_tasks_that_are_not_ours_are_revoked_as_ever(site: Site):
    run = site.started("asks", "asks")
    site.app.control.revoke(["theirs", run.id])
    assert_ended_at_once(run)
    # Celery's own part comes behind ours, and may still be on its way when the run has ended.
    eventually(lambda: AsyncResult("theirs", app=site.app).state == "REVOKED", "theirs is revoked as well")
    site.app.control.terminate("others")

    def revoked() -> list[list[str]]:
        answers = site.app.control.inspect(timeout=1).revoked() or {}
        return [sorted(ids) for ids in answers.values()]

    eventually(lambda: revoked() == [["others", "theirs"]] * 2, "both workers know them, and nothing of ours")
    assert site.module.plain.apply_async(task_id="fine").get(timeout=10) == "plain"


def test_a_hint_without_a_cancellation_changes_nothing(site: Site):
    run = site.started("asks", "asks")
    options = {"arguments": {"tenant": "default", "run": run.id}, "reply": True, "timeout": 1}
    answers = site.app.control.broadcast("wink_cancel", **options)
    assert sorted(next(iter(answer)) for worker in answers for answer in worker.values()) == ["error", "ok"]
    assert run.status == "STARTED"
    run.cancel()
    assert_ended_at_once(run)


def test_limits_end_a_step_and_not_the_evaluation(site: Site):
    site.redis.delete("seen")
    run = site.module.obey.delay("dawdles asks_for_a_while")
    assert run.get(timeout=30).startswith("The tool failed with SoftTimeLimitExceeded. The tool failed with ")
    kinds = [record.event.kind for record in run.events() if isinstance(record.event, ToolFailed)]
    assert kinds == ["timeout", "timeout"]


@pytest.mark.parametrize("tool", ["overruns", "dies"])
def test_a_step_that_loses_its_child_is_given_back_at_once(site: Site, tool: str):
    site.redis.delete("seen")
    run = site.module.obey.delay(tool)
    assert run.get(timeout=30) in ("done", "survived")
    assert [entry.split()[1] for entry in site.seen(tool)] == ["1", "2"]
    message = site.module.wink.house().store.ledger.message("default", run.id, f"{run.id}~turn1.call0")
    assert (message.deliveries, message.pardoned) == (2, 0), "it is counted"
    retried = f"signal task_retry revocable.{tool} {run.id}~turn1.call0"
    eventually(lambda: retried in site.seen(), "those who listen hear of it")


def test_signals_of_steps_and_of_the_end(site: Site):
    site.redis.delete("seen")
    run = site.module.obey.delay("inline")
    assert run.get(timeout=30) == "inline"
    call, turn, outcome = (f"{run.id}~{name}" for name in ("turn1.call0", "turn2", "outcome"))
    eventually(lambda: site.seen(f"signal task_postrun revocable.obey {run.id}"), "the slot ends")
    told = [entry.removeprefix("signal task_") for entry in site.seen("signal ") if run.id in entry]
    assert told == [
        f"prerun revocable.obey {run.id}",
        f"prerun revocable.inline {call}",
        f"success revocable.inline {call}",
        f"postrun revocable.inline {call}",
        f"prerun revocable.obey:turn {turn}",
        f"success revocable.obey:turn {turn}",
        f"postrun revocable.obey:turn {turn}",
        f"prerun revocable.obey:outcome {outcome}",
        f"success revocable.obey {run.id}",
        f"success revocable.obey:outcome {outcome}",
        f"postrun revocable.obey:outcome {outcome}",
        f"postrun revocable.obey {run.id}",
    ]
