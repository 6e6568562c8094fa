"""Faults that were found once, each kept from coming back."""

from __future__ import annotations

import asyncio
import threading
from contextlib import contextmanager
from datetime import UTC, datetime
from types import SimpleNamespace

import pytest
from celery._state import _task_stack
from celery.exceptions import Ignore, Reject, Retry
from msgspec import structs

from tests.unit.runtime.conftest import NoProvider, Review, Shop
from wink_tasks import (
    BlockingInTaskError,
    CancelledError,
    DeadlineExceededError,
    LedgerUnavailableError,
    ParametersInvalidError,
    PayloadTooLargeError,
    PromptFailedError,
    RunTimeoutError,
    ThrottledError,
    ToolContext,
    ToolError,
)
from wink_tasks.adapters.celery.children import PoolChildren
from wink_tasks.adapters.celery.task_events import TaskEvents
from wink_tasks.core.codec import clean
from wink_tasks.core.events import ToolFailed
from wink_tasks.core.transcript import ToolAnswered
from wink_tasks.ports.mailbox import Address
from wink_tasks.ports.provider import Response
from wink_tasks.runtime.stop import Stop
from wink_tasks.runtime.turn import work_turn
from wink_tasks.testing import FakeClock, answer, call, calls, scripted
from wink_tasks.testing.inline import NoObserver


def started(shop: Shop, run, house) -> None:
    """Let the run's first turn become ready, without anybody working on it."""
    object.__setattr__(house.parts, "ringer", SimpleNamespace(ring=lambda _: None))
    house.clock.advance(2)
    house.store.mailbox.reap()


def test_a_model_call_that_is_stopped_without_a_cancel_is_made_again():
    asked = []

    class Slow(NoProvider):
        """Never answers the first time."""

        async def complete(self, request):
            asked.append(request)
            if len(asked) == 1:
                reached.set()
                await asyncio.Event().wait()
            return answer("at last")

    reached = threading.Event()
    shop, clock = Shop(providers={"house": Slow()}, step_limit=5), FakeClock()
    with shop.wink.in_memory(clock=clock, pass_time=clock.advance) as house:
        run = shop.chat.with_options(countdown=1).delay("x")

        def pass_the_limit() -> None:
            assert reached.wait(10)
            clock.advance(6)
            house.parts.keeper.renew()

        helper = threading.Thread(target=pass_the_limit)
        helper.start()
        assert run.get() == "at last"
        helper.join()
        assert len(asked) == 2


@pytest.mark.parametrize(("timeout", "runs"), [(5.0, 1), (None, 2)])
def test_a_tool_that_is_stopped_without_a_cancel(timeout: float | None, runs: int):
    """At its own time limit it has failed; at the limit of the process it is delivered again."""
    shop, clock = Shop(providers={"house": NoProvider()}, step_limit=5), FakeClock()
    ran = []

    @shop.wink.tool(timeout=timeout)
    def dawdle(ctx: ToolContext) -> str:
        """Take too long, the first time."""
        ran.append(ctx.delivery_count)
        if len(ran) == 1:
            clock.advance(6)
            shop.wink.house().parts.keeper.renew()
        ctx.check()
        return "done"

    @shop.wink.prompt(output=str, tools=[dawdle], model="house:m", deadline=None)
    def waiter() -> str:
        """You wait."""
        return "go"

    with scripted(shop.wink, {}) as kit:
        clock = kit.clock
        kit.script(waiter, [call(dawdle), answer("ok")])
        run = waiter.delay()
        assert run.get() == "ok"
        assert len(ran) == runs
        failed = [record.event.kind for record in run.events() if isinstance(record.event, ToolFailed)]
        assert failed == (["timeout"] if timeout else [])


def test_a_turn_that_comes_before_its_calls_are_answered_is_given_back(shop: Shop):
    with scripted(shop.wink, {shop.review: [call(shop.look, where="a")]}) as kit:
        run = shop.review.with_options(countdown=1, deadline=3600).delay("src")
        house = shop.wink.house()
        started(shop, run, house)
        assert house.steps.run(Address("default", run.id, run.id), "shop.review", serves=(), observer=NoObserver())
        turn = Address("default", run.id, f"{run.id}~turn2")
        claimed = house.store.mailbox.claim(turn, task="shop.review:turn", owner="x", after=None)
        assert claimed.reason == "busy"
        first = Address("default", run.id, f"{run.id}~turn1.call0")
        called = house.store.mailbox.claim(
            first, task="shop.look", owner="x", after=house.parts.cache.known("default", run.id)
        )
        unlimited = structs.replace(called, message=structs.replace(called.message, kind="turn", limit_at=None))
        given_back = work_turn(house.parts, unlimited, Stop())
        assert (given_back.error, given_back.counts) == ("its calls are not answered yet", False)
        house.clock.advance(3601)
        house.store.mailbox.reap()
        assert house.steps.run(turn, "shop.review:turn", serves=(), observer=NoObserver())
        assert isinstance(run.get(propagate=False), DeadlineExceededError)
        assert len(kit.requests) == 1


def test_a_run_that_waits_and_expires_does_not_start_beside_the_current_one(shop: Shop):
    """Also where the worker's clock is behind the store's."""
    with scripted(shop.wink, {shop.chat: lambda _: answer("ok")}) as kit:
        chat = shop.chat.with_options(session="s")
        first = chat.with_options(countdown=500).delay("a")
        second = chat.with_options(expires=10).delay("b")
        house = shop.wink.house()
        house.clock.advance(10.5)
        [bell] = house.store.mailbox.reap()
        object.__setattr__(house.parts, "clock", FakeClock(house.clock.now() - 5))
        assert house.steps.run(bell.address, bell.task, serves=(), observer=NoObserver())
        with pytest.raises(CancelledError, match="expired before it started"):
            second.get()
        assert first.status == "PENDING"
        assert not kit.requests


def test_a_prompt_that_nobody_knows_still_meets_its_limit(shop: Shop):
    with scripted(shop.wink, {}):
        run = shop.chat.with_options(countdown=1, expires=20).delay("x")
        shop.wink.registry.prompts.pop("shop.chat")
        with pytest.raises(CancelledError, match="expired"):
            run.get()


def test_a_claim_after_a_cancel_starts_nothing(shop: Shop):
    with scripted(shop.wink, {shop.chat: [answer("ok")]}) as kit:
        run = shop.chat.with_options(countdown=1).delay("x")
        house = shop.wink.house()
        started(shop, run, house)
        address = Address("default", run.id, run.id)
        house.store.mailbox.claim(address, task="shop.chat", owner="dead", after=None)
        run.cancel("no more")
        house.clock.advance(11)
        claimed = house.store.mailbox.claim(address, task="shop.chat", owner="w", after=None)
        successor, end = house.steps._step(claimed, (), NoObserver(), first=True)
        assert (successor, end.kind) == (None, "revoked")
        with pytest.raises(CancelledError, match="no more"):
            run.get()
        assert not kit.requests


def test_retry_after_zero_is_no_hot_loop(shop: Shop):
    with scripted(shop.wink, {shop.chat: [*[ThrottledError("busy", retry_after=0)] * 5, answer("ok")]}) as kit:
        began = kit.clock.now()
        assert shop.chat.delay("x").get() == "ok"
        assert kit.clock.now() - began >= 5


def test_text_that_is_no_utf8_is_recorded_readably():
    shop = Shop(providers={"house": NoProvider()})

    @shop.wink.tool
    def odd(how: str) -> str:
        """Be odd."""
        raise (ToolError if how == "told" else OSError)("caf\udce9")

    @shop.wink.prompt(output=str, tools=[odd], model="house:m")
    def reader() -> str:
        """You read."""
        return "caf\udce9"

    said = [calls((odd, {"how": "told"}), (odd, {"how": "raised"})), Response(text="caf\udce9", model="m")]
    with scripted(shop.wink, {reader: said}) as kit:
        assert reader.delay().get() == "caf\\udce9"
        answers = [item.value for item in kit.requests[-1].items if isinstance(item, ToolAnswered)]
        assert answers == ["caf\\udce9", "The tool failed with OSError."]
    assert clean("café") == "café"


def test_secrets_and_size_of_what_a_prompt_says(shop: Shop):
    @shop.wink.prompt(output=str, model="house:m")
    def leaky(size: int) -> str:
        """You leak."""
        if size:
            return "x" * size
        raise RuntimeError("postgres://u:hunter2@db is away")

    with scripted(shop.wink, {leaky: [answer("ok")]}):
        with pytest.raises(PromptFailedError) as caught:
            leaky.delay(0).get()
        assert "hunter2" not in str(caught.value)
        with pytest.raises(PayloadTooLargeError, match="what the user says has"):
            leaky.delay(1_000_001).get()


def test_more_calls_than_an_answer_may_ask_for(shop: Shop):
    many = calls(*[(shop.look, {"where": str(place)}) for place in range(300)])
    with scripted(shop.wink, {shop.review: [many, answer(Review(summary="s", score=1))]}) as kit:
        shop.review.delay("src").get()
        answers = [item for item in kit.requests[-1].items if isinstance(item, ToolAnswered)]
        assert len(answers) == 300
        assert sum(item.failed for item in answers) == 44
        assert len(shop.done) == 256


def test_events_of_a_run_that_has_ended_end_whatever_was_seen(shop: Shop):
    with scripted(shop.wink, {shop.chat: [answer("ok")]}):
        run = shop.chat.delay("x")
        last = list(run.events())[-1]
        assert list(run.events(after=last.seq)) == []
        assert list(run.events(after=last.seq + 7)) == []


def test_a_run_whose_session_was_deleted_is_not_waited_for(shop: Shop):
    with scripted(shop.wink, {shop.chat: [answer("ok")]}):
        run = shop.chat.delay("x")
        assert shop.wink.house().store.ledger.delete("default", run.id)
        with pytest.raises(LookupError):
            run.get()


def test_waiting_where_the_work_would_be_done_is_refused(shop: Shop):
    @shop.wink.tool
    async def asks() -> str:
        """Wait for a run on the loop that has to do the work."""
        try:
            shop.wink.run("some-run").get()
        except BlockingInTaskError as error:
            return str(error)
        return "waited"

    @shop.wink.tool
    def waits() -> str:
        """Wait for a run in a step."""
        try:
            shop.chat.with_options(countdown=5).delay("inner").get()
        except BlockingInTaskError as error:
            return str(error)
        return "waited"

    @shop.wink.prompt(output=str, tools=[asks, waits], model="house:m")
    def asker() -> str:
        """You ask."""
        return "go"

    with scripted(shop.wink, {asker: [calls((asks, {}), (waits, {})), answer("ok")]}) as kit:
        assert asker.delay().get() == "ok"
        first, second = (item.value for item in kit.requests[-1].items if isinstance(item, ToolAnswered))
        assert "inside an async tool" in first
        assert "nobody is left to work on" in second


def test_the_status_of_an_ended_run_may_be_read_in_a_task(shop: Shop):
    with scripted(shop.wink, {shop.chat: [answer("ok")]}):
        run = shop.chat.delay("x")
        task = shop.note.task
        task.push_request(called_directly=False)
        _task_stack.push(task)
        try:
            assert (run.status, run.ready(), run.result) == ("SUCCESS", True, "ok")
            for wait in (run.get, lambda: list(run.events())):
                with pytest.raises(BlockingInTaskError, match=r"inside task 'shop\.note'"):
                    wait()
        finally:
            _task_stack.pop()
            task.pop_request()


def test_a_far_deadline_is_no_error(shop: Shop):
    with scripted(shop.wink, {shop.chat: lambda _: answer("ok")}) as kit:
        far = shop.chat.with_options(deadline=datetime.max.replace(tzinfo=UTC))
        assert far.delay("x").get() == "ok"
        assert len(kit.requests) == 1
    with pytest.raises(ParametersInvalidError, match="deadline=inf"):
        shop.chat.with_options(deadline=float("inf"))


@contextmanager
def adopting_while_redis_is_away(shop: Shop, broker: str):
    def away(*_):
        raise LedgerUnavailableError("away")

    shop.app.conf.broker_url = broker
    shop.app.conf.task_default_queue = "strangers"  # the memory of memory:// is everybody's
    task = shop.chat.task
    task.wink = SimpleNamespace(send=away)
    sent = {"args": ["x"], "kwargs": {}, "delivery_info": {"exchange": "", "routing_key": "strangers"}}
    task.push_request(called_directly=False, id="theirs", is_eager=False, retries=0, **sent)
    try:
        yield task
    finally:
        task.pop_request()


def test_a_stranger_is_accepted_later_when_redis_is_away(shop: Shop):
    with adopting_while_redis_is_away(shop, "memory://") as task, pytest.raises(Retry, match="in 5s"):
        task.work("x")
    with shop.app.connection_for_read() as connection, connection.SimpleQueue("strangers") as queue:
        message = queue.get(timeout=1)
        assert (message.headers["task"], message.headers["id"]) == ("shop.chat", "theirs")
        assert message.headers["eta"]
        assert message.payload[:2] == [["x"], {}]
        message.ack()


def test_a_stranger_stays_with_the_broker_when_redis_and_broker_are_away(shop: Shop):
    with adopting_while_redis_is_away(shop, "redis://127.0.0.1:1/0") as task, pytest.raises(Reject) as rejected:
        task.work("x")
    assert rejected.value.requeue


def test_a_doorbell_of_another_version_is_left_to_others(shop: Shop, caplog: pytest.LogCaptureFixture):
    task = shop.chat.task
    task.push_request(called_directly=False, wink={"version": 99}, id="theirs")
    try:
        with pytest.raises(Ignore):
            task.work()
    finally:
        task.pop_request()
    assert "doorbell theirs says what this version cannot read" in caplog.text


@pytest.mark.parametrize("header", ["text", 5, [1], {}, {"version": "99"}, {"version": 1, "tenant": 5}])
def test_a_header_that_is_no_doorbells_is_rejected(shop: Shop, header: object):
    task = shop.chat.task
    task.push_request(called_directly=False, wink=header, id="theirs")
    try:
        with pytest.raises(Reject, match="header wink of theirs is no doorbell's") as refused:
            task.work()
    finally:
        task.pop_request()
    assert refused.value.requeue is False


def test_a_run_that_is_waited_for_too_long_says_so_also_behind_others(shop: Shop):
    with scripted(shop.wink, {}):
        run = shop.chat.with_options(countdown=100).delay("x")
        with pytest.raises(RunTimeoutError):
            run.get(timeout=0)


def test_apply_within_a_script_follows_it(shop: Shop):
    with scripted(shop.wink, {shop.chat: [answer("as written")]}):
        assert shop.chat.apply(["x"]).get() == "as written"


def test_a_tool_that_exits_fails_like_any_other(shop: Shop):
    @shop.wink.tool
    def quits() -> str:
        """Exit, as argparse does."""
        raise SystemExit(2)

    @shop.wink.prompt(output=str, tools=[quits], model="house:m")
    def caller() -> str:
        """You call."""
        return "go"

    with scripted(shop.wink, {caller: [call(quits), answer("ok")]}) as kit:
        assert caller.delay().get() == "ok"
        assert kit.requests[-1].items[-1].value == "The tool failed with SystemExit."


def test_parameters_that_are_no_utf8(shop: Shop):
    with scripted(shop.wink, {}), pytest.raises(ParametersInvalidError, match="hold text that is no UTF-8"):
        shop.chat.delay("\udc80")


def test_a_child_sends_events_where_its_main_process_told_that_somebody_listens(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
):
    sent = []

    @contextmanager
    def dispatcher(hostname=None):
        yield SimpleNamespace(send=lambda kind, **fields: sent.append((hostname, kind, fields["uuid"])))

    monkeypatch.setattr(shop.app.events, "default_dispatcher", dispatcher)
    children = PoolChildren()
    events = TaskEvents(shop.app, children)
    events.send("task-started", uuid="nothing is shared, and the configuration says no")
    children.share()
    events.send("task-started", uuid="nobody listens")
    children.tell_events(on=True)
    events.run_ended("run", "shop.review", 1.0, output="fine")
    task = shop.note.task
    task.push_request(hostname="w@host")
    _task_stack.push(task)
    try:
        events.run_ended("other", "unknown.here", 1.0, output="fine")
    finally:
        _task_stack.pop()
        task.pop_request()
    assert sent == [(None, "task-succeeded", "run"), ("w@host", "task-succeeded", "other")]
