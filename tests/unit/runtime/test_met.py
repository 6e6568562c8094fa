"""What only shows where several parts meet."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from tests.unit.runtime.conftest import Shop
from tests.unit.runtime.test_sessions import Note, Step, Tally, declared, opened
from wink_tasks import DuplicateError, Wink
from wink_tasks.core.ids import keyed_id
from wink_tasks.core.log import Log
from wink_tasks.core.slices import SliceView
from wink_tasks.runtime.once import Claim, once
from wink_tasks.testing import answer, scripted
from wink_tasks.testing.clock import FakeClock
from wink_tasks.testing.memory import MemoryStore


def test_coroutines_write_to_sessions_and_wait_for_them():
    wink, store = declared(Wink()), MemoryStore(FakeClock())
    writer, reader = opened(wink, store), opened(wink, store)

    async def work() -> tuple[Any, list[int]]:
        await writer.adispatch(Step("a"))
        await writer.aseed(Note, [Note("n")])
        found = await reader.await_for(lambda view: view[Tally].latest() == Tally(1), timeout=5)
        return found[Note].latest(), [view.seq async for view in opened(wink, store).awatch(timeout=0)]

    assert asyncio.run(work()) == (Note("n"), [3])


def test_a_coroutine_waits_for_a_run_that_is_still_to_be_accepted(shop: Shop):
    with scripted(shop.wink, {shop.chat: [answer("ok")]}):
        expected = shop.chat.task.AsyncResult("later")
        shop.chat.apply_async(("x",), task_id="later")
        assert asyncio.run(expected.aget()) == "ok"
        assert not expected.expected


def test_an_id_that_is_taken_is_not_adopted(shop: Shop):
    def taken(*_: object) -> None:
        raise DuplicateError("taken")

    task = shop.chat.task
    task.wink = SimpleNamespace(send=taken)
    task.push_request(called_directly=False, id="theirs", is_eager=False, args=["x"], kwargs={})
    try:
        with pytest.raises(DuplicateError):
            task.work("x")
    finally:
        task.pop_request()


def test_who_comes_second_with_a_key_gets_the_first_ones_run(shop: Shop):
    with scripted(shop.wink, {shop.chat: [answer("ok")]}):
        run = shop.chat.with_options(idempotency_key="k").delay("x")
        ledger = shop.wink.house().store.ledger

        class Late:
            """Looks once before the first one was accepted."""

            looked = False

            def evaluation(self, tenant: str, evaluation: str) -> Any:
                before, self.looked = self.looked, True
                return ledger.evaluation(tenant, evaluation) if before else None

            def expired(self, *_: str) -> bool:
                return False

            def read(self, *args: Any, **options: Any) -> Any:
                return ledger.read(*args, **options)

        params = shop.chat.definition.bind("x")
        claim = Claim("default", "shop.chat", "k", params, None)
        assert run.id == keyed_id("default", "shop.chat", "k", 0)
        assert once(Late(), claim, lambda _: False) == run.id


def test_what_a_log_and_a_view_hold():
    log = Log((), (4, 5), absent=3)
    assert (len(log), list(log.since(3)), log.last(), Log().last(), repr(log)) == (5, [4, 5], 5, None, "<Log of 5>")
    with pytest.raises(LookupError, match="item 2 is not held, only those from 3 on"):
        log[2]
    view = SliceView(Log.of([1, 2]))
    assert (len(view), list(view), view.all(), view.where(lambda value: value > 1)) == (2, [1, 2], (1, 2), (2,))
