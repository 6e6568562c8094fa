"""What a canvas with prompts must do, on any broker: each scenario starts one, and gives what looks at its end."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any
from uuid import uuid4

import pytest
from celery import Celery, chain, chord, group
from celery.canvas import Signature
from celery.exceptions import ChordError, TaskRevokedError
from redis import Redis

from tests.workers import WorkerProcess, Workers, eventually
from wink_tasks import ProviderRejectedError

APP = "tests.apps.canvas"
Check = Callable[[], None]


class Site:
    """The application in this process, and its workers: one for prompts, which may be killed, and one for the rest."""

    def __init__(self, app: ModuleType, redis: Redis, workers: Workers) -> None:
        self.app = app
        self.redis = redis
        self.workers = workers

    def start_turns(self) -> WorkerProcess:
        return self.workers.start(APP, "turns", concurrency=32, wink=self.app.wink)

    def close(self, gate: str) -> None:
        self.redis.set(f"closed:{gate}", 1)

    def open(self, gate: str) -> None:
        self.redis.delete(f"closed:{gate}", "held")

    def held(self) -> list[str]:
        return self.redis.lrange("held", 0, -1)

    def noted(self, where: str, count: int) -> list[str]:
        return eventually(
            lambda: (found := self.redis.lrange(where, 0, -1)) and len(found) >= count and found, f"{count} of {where}"
        )


def let_go(app: Celery) -> None:
    """Close what an app has open: results that are collected later would ask its backend again."""
    consumer = app.backend.result_consumer
    consumer.stop()
    consumer.subscribed_to.clear()
    app.backend.client.close()
    app.close()


@contextmanager
def site_on(redis_url: str, broker_url: str, workers: Workers, env: dict[str, str]) -> Iterator[Site]:
    """The application on these servers, its workers started."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {"WINK_REDIS_URL": redis_url, "CELERY_BROKER_URL": broker_url, **env}.items():
            patch.setenv(name, value)
            workers.env[name] = value
        sys.modules.pop(APP, None)
        app = importlib.import_module(APP)
        with Redis.from_url(redis_url, decode_responses=True) as redis:
            site = Site(app, redis, workers)
            workers.start(APP, "plain", concurrency=8, wink=app.wink)
            site.start_turns()
            yield site
        for worker in workers.started:
            worker.stop()
        app.wink.leave()
        let_go(app.app)


def chain_through_a_prompt(site: Site) -> Check:
    app = site.app
    last = chain(app.echo.s("a"), app.shout.s(), app.text_of.s())()

    def check() -> None:
        assert last.get(timeout=60) == "A"
        assert last.parent.get(timeout=10) == app.Said(text="A"), "a run, answered from the ledger"
        assert last.parent.parent.get(timeout=10) == "a"

    return check


def chain_that_ends_in_a_prompt(site: Site) -> Check:
    app = site.app
    last = chain(app.echo.s("a"), app.shout.si("mine"))()
    return lambda: _equal(last.get(timeout=60), app.Said(text="MINE"))


def chain_that_breaks_before_its_prompt(site: Site) -> Check:
    app = site.app
    last = chain(app.fails.s(), app.shout.s())()
    unfit = chain(app.echo.s(5), app.shout.s())()

    def check() -> None:
        with pytest.raises(ValueError, match="as it should"):
            last.get(timeout=60)  # of its parent, whose end Celery stores before that of what follows
        eventually(lambda: last.state == "FAILURE", "what follows a failure has failed")
        with pytest.raises(Exception, match="text"):
            unfit.get(timeout=60)

    return check


def group_of_prompts(site: Site) -> Check:
    app = site.app
    words = [f"w{number}" for number in range(10)]
    started = group(app.shout.s(word) for word in words)()
    return lambda: _equal(started.get(timeout=60), [app.Said(text=word.upper()) for word in words])


def chord_of_prompts(site: Site) -> Check:
    app = site.app
    last = chord([app.shout.s(word) for word in "abc"], app.gather.s())()
    return lambda: _equal(last.get(timeout=60), "ABC")


def chord_with_a_prompt_as_body(site: Site) -> Check:
    app = site.app
    last = chord([app.echo.s("a"), app.echo.s("b")], app.digest.s(last="!"))()
    return lambda: _equal(last.get(timeout=60), app.Said(text="A+B!"))


def callbacks(site: Site) -> Check:
    app, where = site.app, f"heard:{uuid4()}"
    further = chain(app.text_of.s(), app.echo.s(), app.shout.s(), app.heard.s(where))
    run = app.shout.apply_async(["a"], link=[app.heard.s(where), further], link_error=app.wrong.s(where))

    def check() -> None:
        noted = site.noted(where, 2)
        assert {line.partition(" ")[2] for line in noted} == {"A"}
        assert run.get(timeout=60) == app.Said(text="A")

    return check


def errbacks_of_a_failure(site: Site) -> Check:
    app, where = site.app, f"wrong:{uuid4()}"
    last = chain(app.shout.s("fail"), app.text_of.s()).apply_async(
        link_error=[app.wrong.s(where), app.wrong_here.s(where=where)]
    )

    def check() -> None:
        run = last.parent.id
        assert {f"old {run}", f"new {run} ProviderRejectedError"} <= set(site.noted(where, 2))
        with pytest.raises(ProviderRejectedError, match="it will not"):
            last.get(timeout=60)

    return check


def errbacks_of_a_cancelled_run(site: Site) -> Check:
    app, where = site.app, f"wrong:{uuid4()}"
    run = app.shout.apply_async(["wait"], link_error=[app.wrong.s(where), app.wrong_here.s(where=where)])
    eventually(lambda: run.status == "STARTED" and "asked:wait" in site.redis.lrange("seen", 0, -1), "it thinks")
    run.cancel("enough")

    def check() -> None:
        assert {f"old {run.id}", f"new {run.id} RunCancelledError"} <= set(site.noted(where, 2))
        with pytest.raises(TaskRevokedError):
            run.get(timeout=60)

    return check


def chord_that_fails(site: Site) -> Check:
    app, where = site.app, f"wrong:{uuid4()}"
    last = chord([app.shout.s("a"), app.shout.s("fail")], app.gather.s().on_error(app.wrong.s(where)))()

    def check() -> None:
        with pytest.raises(ChordError, match="it will not"):
            last.get(timeout=60, follow_parents=False)  # else the error of its header
        assert f"old {last.id}" in site.noted(where, 1)

    return check


def canvas_of_a_stranger(site: Site) -> Check:
    """From a process that has Celery, and none of our code: its messages are adopted, with what they carry."""
    app, where = site.app, f"stranger:{uuid4()}"
    stranger = Celery("stranger", broker=app.app.conf.broker_url, backend=app.app.conf.result_backend)
    stranger.conf.task_routes = app.app.conf.task_routes

    def theirs(name: str, *args: Any, **kwargs: Any) -> Signature:
        return stranger.signature(f"canvas.{name}", args, kwargs)

    @stranger.task(name="canvas.shout", typing=False, shared=False)
    def stub(text: str) -> None:
        """Declared for its name, so that its messages say `ignore_result` False."""

    chained = (stub.s("a").set(queue="turns") | theirs("plain.text_of") | theirs("plain.echo"))()
    joined = chord([theirs("shout", word).set(queue="turns") for word in "bc"], theirs("plain.gather"), app=stranger)()
    linked = theirs("shout", "d").apply_async(queue="turns", link=theirs("plain.heard", where))
    failing = theirs("shout", "fail").apply_async(queue="turns", link_error=theirs("plain.wrong", where))
    wrong = theirs("shout", "x", nonsense=1).set(queue="turns") | theirs("plain.text_of")
    refused = wrong.apply_async(link_error=theirs("plain.wrong", where))
    # Before anything is killed: what is not adopted is Celery's own, which delivers it again after an hour.
    eventually(lambda: f"old {refused.parent.id}" in site.redis.lrange(where, 0, -1), "what fits no prompt is refused")

    def check() -> None:
        assert chained.get(timeout=60) == "A"
        assert chained.parent.parent.get(timeout=60) == {"text": "A"}
        assert joined.get(timeout=60) == "BC"
        assert linked.get(timeout=60) == {"text": "D"}
        with pytest.raises(Exception, match="it will not"):
            failing.get(timeout=60)
        with pytest.raises(Exception, match="nonsense"):
            refused.get(timeout=60, follow_parents=False)
        noted = site.noted(where, 3)
        assert {f"old {failing.id}", f"old {refused.parent.id}"} <= set(noted)
        assert [line.partition(" ")[2] for line in noted if not line.startswith("old ")] == ["D"]
        let_go(stranger)

    return check


def _equal(found: Any, expected: Any) -> None:
    assert found == expected


SCENARIOS = [
    chain_through_a_prompt,
    chain_that_ends_in_a_prompt,
    chain_that_breaks_before_its_prompt,
    group_of_prompts,
    chord_of_prompts,
    chord_with_a_prompt_as_body,
    callbacks,
    errbacks_of_a_failure,
    errbacks_of_a_cancelled_run,
    chord_that_fails,
    canvas_of_a_stranger,
]


class CanvasScenarios:
    """Inherit, and give a fixture `site`, of module scope."""

    @pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.__name__)
    def test_canvas(self, site: Site, scenario: Callable[[Site], Check]) -> None:
        scenario(site)()

    def test_killed_between_the_end_of_a_run_and_its_callbacks(self, site: Site) -> None:
        site.redis.delete("seen")
        site.close("outcome")
        try:
            checks = [scenario(site) for scenario in SCENARIOS]
            eventually(lambda: len(site.held()) >= 26, "every run that can has ended, and no callback was made")
            site.workers.started[-1].kill()
        finally:
            site.open("outcome")
        site.start_turns()
        for check in checks:
            check()
