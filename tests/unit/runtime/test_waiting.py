"""Waiting in a process that has no workers: whoever waits does the work, or another thread does."""

from __future__ import annotations

import asyncio
import sys
import threading
from dataclasses import replace

import pytest

from tests.unit.runtime.conftest import Shop
from tests.workers import eventually
from wink_tasks import CancelledError, Run, RunTimeoutError
from wink_tasks.testing import answer, call, scripted


def waiting_beside(shop: Shop, run: Run[str], *, cancels: bool) -> Run[str]:
    """A handle of the run whose work is done by somebody else just before it looks for some."""
    desk = shop.wink.desk()

    def nothing_left(_: float) -> None:
        if cancels:
            run.cancel("by another thread")
        raise RunTimeoutError("nothing is left to do")

    return Run(run.id, desk=lambda: replace(desk, work=nothing_left), tenant=run.tenant, app=shop.app)


def test_work_that_another_thread_did_is_no_reason_to_give_up(shop: Shop):
    with scripted(shop.wink, {}):
        first, second = (shop.chat.with_options(countdown=60).delay("x") for _ in range(2))
        with pytest.raises(CancelledError, match="by another thread"):
            waiting_beside(shop, first, cancels=True).get()
        with pytest.raises(CancelledError, match="by another thread"):
            asyncio.run(waiting_beside(shop, second, cancels=True).aget())


def test_where_nobody_has_anything_to_do_a_wait_gives_up(shop: Shop):
    with scripted(shop.wink, {}):
        run = shop.chat.with_options(countdown=60).delay("x")
        with pytest.raises(RunTimeoutError, match="nothing is left to do"):
            waiting_beside(shop, run, cancels=False).get()


def test_who_finds_another_thread_at_work_waits_for_its_end(shop: Shop):
    begun, gate, waiter = threading.Event(), threading.Event(), threading.get_ident()

    @shop.wink.tool
    def wait() -> str:
        """Wait."""
        begun.set()
        assert gate.wait(30)
        return "done"

    @shop.wink.prompt(output=str, tools=[wait], model="house:small")
    def patient() -> str:
        """You wait."""
        return "go"

    def let_go() -> None:
        eventually(lambda: sys._current_frames()[waiter].f_code.co_name == "work", "the other one waits")
        gate.set()

    with scripted(shop.wink, {patient: [call(wait), answer("ok")]}):
        at_work = threading.Thread(target=patient.apply_async, kwargs={"task_id": "one"})
        at_work.start()
        assert begun.wait(30)
        threads = [at_work, threading.Thread(target=let_go)]
        threads[1].start()
        assert shop.wink.run("one").get() == "ok"
        for thread in threads:
            thread.join()
