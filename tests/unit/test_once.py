"""Idempotency keys."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest
from celery import Celery

from tests.unit.runtime.conftest import NoProvider, Shop
from wink_tasks import ConflictError, EvaluationFailedError, ParametersInvalidError, Wink
from wink_tasks.core.ids import keyed_id
from wink_tasks.testing.scripted import answer, scripted


@pytest.fixture
def shop() -> Shop:
    return Shop(providers={"house": NoProvider()})


def test_the_first_run_of_a_key_is_everybodys_while_it_runs_and_when_it_succeeded(shop: Shop):
    with scripted(shop.wink, {shop.chat: lambda request: answer(request.items[-1].content)}):
        keyed = shop.chat.with_options(idempotency_key="order 7")
        first = keyed.with_options(countdown=10).delay("x")
        assert keyed.delay("x").id == first.id
        assert first.get() == "x"
        assert keyed.delay("x").id == first.id
        assert keyed.apply_async(kwargs={"text": "x"}).id == first.id
        assert shop.chat.with_options(idempotency_key="order 8").delay("x").id != first.id
        assert keyed.with_options(tenant="globex").delay("x").id != first.id


def test_a_run_that_failed_or_was_cancelled_gives_the_key_free(shop: Shop):
    with scripted(shop.wink, {shop.chat: [answer("good"), answer("better")]}):
        keyed = shop.chat.with_options(idempotency_key="k")
        cancelled = keyed.with_options(countdown=10).delay("x")
        cancelled.cancel()
        failed = keyed.with_options(deadline=0).delay("x")
        with pytest.raises(EvaluationFailedError):
            failed.get()
        good = keyed.delay("y")
        assert good.get() == "good", "also with other arguments"
        assert keyed.delay("y").id == good.id
        assert len({cancelled.id, failed.id, good.id}) == 3


def test_other_arguments_are_a_conflict(shop: Shop):
    with scripted(shop.wink, {shop.chat: lambda _: answer("ok")}):
        keyed = shop.chat.with_options(idempotency_key="k")
        run = keyed.delay("x")
        with pytest.raises(
            ConflictError, match=rf"'k' of prompt 'shop\.chat' belongs to run '{run.id}', which has other"
        ):
            keyed.delay("y")
        with pytest.raises(ConflictError, match=f"which has session '{run.id}'"):
            keyed.with_options(session="s").delay("x")
        named = shop.chat.with_options(idempotency_key="n", session="s")
        assert named.delay("x").id == named.delay("x").id


def test_a_key_is_kept_as_long_as_the_session(shop: Shop):
    with scripted(shop.wink, {shop.chat: lambda _: answer("ok")}) as kit:
        keyed = shop.chat.with_options(idempotency_key="k")
        first = keyed.delay("x")
        kit.clock.advance(100)
        shop.wink.house().store.ledger.expire(older_than=50)
        second = keyed.delay("x")
        assert second.id == keyed_id("default", "shop.chat", "k", 1) != first.id
        assert keyed.delay("x").id == second.id


def test_a_key_that_somebody_takes_meanwhile_for_another_session(shop: Shop):
    with scripted(shop.wink, {shop.chat: lambda _: answer("ok")}):
        run = keyed_id("default", "shop.chat", "k", 0)
        shop.chat.apply_async(["x"], task_id=run, tenant="globex", session="theirs")
        with pytest.raises(ConflictError, match="which has another session"):
            shop.chat.with_options(idempotency_key="k").delay("x")


def test_what_does_not_fit(shop: Shop):
    with pytest.raises(ParametersInvalidError, match="idempotency_key='' does not fit"):
        shop.chat.with_options(idempotency_key="")
    with scripted(shop.wink, {}), pytest.raises(ParametersInvalidError, match="both name the run"):
        shop.chat.apply_async(["x"], task_id="t", idempotency_key="k")


def test_callers_that_come_at_once_get_one_run(redis_url: str):
    app = Celery("many", broker="memory://", set_as_current=False)
    wink = Wink(app, redis_url=redis_url, providers={"house": NoProvider()})

    @wink.prompt(output=str, model="house:m")
    def chat(text: str) -> str:
        """You talk."""
        return text

    app.finalize()
    start = Barrier(8)

    def call(_: int) -> str:
        start.wait(30)
        return chat.with_options(idempotency_key="k").delay("x").id

    with ThreadPoolExecutor(8) as pool:
        [run] = set(pool.map(call, range(8)))
    ledger = wink.house().store.ledger
    assert [record.id for record in ledger.evaluations("default", run)] == [run]
    assert ledger.message("default", run, run) is not None
    wink.leave()
    app.close()
