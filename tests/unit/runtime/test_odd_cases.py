"""What happens seldom, and must be right all the same."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from celery import signals
from celery.exceptions import Ignore, Reject

from tests.unit.runtime.conftest import NoProvider, Review, Shop
from wink_tasks import (
    CancelledError,
    ConfigurationError,
    DeadlineExceededError,
    DeclarationError,
    LedgerUnavailableError,
    ParamsChangedError,
    ProviderRejectedError,
    RunTimeoutError,
    SessionExpiredError,
    ToolError,
)
from wink_tasks.adapters.celery.children import PoolChildren
from wink_tasks.adapters.celery.ringer import address_in, header
from wink_tasks.adapters.celery.task_events import TaskEvents
from wink_tasks.adapters.celery.worker import attach
from wink_tasks.core.errors import LedgerFormatError
from wink_tasks.core.events import Call
from wink_tasks.core.transcript import ToolAnswered
from wink_tasks.ports.fleet import Worker
from wink_tasks.ports.mailbox import Address, Claimed
from wink_tasks.ports.provider import Response
from wink_tasks.runtime.call import work_call
from wink_tasks.runtime.outcome import work_outcome
from wink_tasks.runtime.stop import Stop
from wink_tasks.runtime.turn import shown
from wink_tasks.testing import FakeClock, answer, call, calls, scripted
from wink_tasks.testing.inline import InlineWorker, NoObserver


def claim(shop: Shop, run, message: str = "") -> Claimed:
    house = shop.wink.house()
    name = message or run.id
    task = "shop.chat" if not message else "shop.note"
    claimed = house.store.mailbox.claim(Address("default", run.session.id, name), task=task, owner="t", after=0)
    assert isinstance(claimed, Claimed)
    return claimed


@pytest.mark.parametrize(
    "value", [None, "x", {}, {"version": 2}, {"version": 1, "tenant": "t", "session": 3, "message": "m"}]
)
def test_a_header_that_is_not_ours(value: object):
    assert address_in(value) is None


def test_a_header_leads_back():
    address = Address("t", "s", "m")
    assert address_in(header(address)) == address


def test_wait_is_get(shop: Shop):
    with scripted(shop.wink, {shop.chat: [answer("hi")]}):
        assert shop.chat.delay("x").wait(timeout=10) == "hi"


def test_a_run_of_a_dropped_session(shop: Shop):
    with scripted(shop.wink, {shop.chat: [answer("hi")]}) as kit:
        run = shop.chat.delay("x")
        kit.clock.advance(100)
        assert shop.wink.house().store.ledger.expire(older_than=50) == 1
        with pytest.raises(SessionExpiredError, match="was dropped when its session's retention ended"):
            run.get()


def test_explaining_what_is_leased(shop: Shop):
    with scripted(shop.wink, {}):
        run = shop.chat.with_options(countdown=1).delay("x")
        shop.wink.house().clock.advance(2)
        claimed = claim(shop, run)
        run.cancel()
        assert run.explain() == f"turn {run.id} is leased by t; cancel was requested"
        record = shop.wink.house().store.ledger.evaluation("default", run.id)
        assert record is not None
        desk = shop.wink.desk()
        assert (
            desk.explain(msgspec.structs.replace(record, open_messages=()))
            == "has no open message; cancel was requested"
        )
        assert claimed.deliveries == 1


def test_explaining_what_is_ready_and_failed(shop: Shop):
    with scripted(shop.wink, {shop.chat: [answer("")] * 9}):
        failed = shop.chat.delay("x")
        assert failed.explain().startswith("failed: OutputInvalidError: after 2 repair rounds")
        house = shop.wink.house()
        run = shop.chat.with_options(countdown=1).delay("x")
        house.clock.advance(2)
        house.store.mailbox.reap()
        assert f"turn {run.id} is ready, but no live worker serves mailbox 'celery'" in run.explain()


def test_a_doorbell_of_a_worker_that_ends_is_for_another_one(shop: Shop):
    task = shop.review.task
    task.wink = SimpleNamespace(steps=lambda: SimpleNamespace(closing=True))
    task.push_request(wink=header(Address("t", "s", "m")), called_directly=False)
    try:
        with pytest.raises(Reject) as caught:
            task.work()
        assert caught.value.requeue
    finally:
        task.pop_request()


def test_a_doorbell_while_redis_is_away_is_left(shop: Shop, caplog: pytest.LogCaptureFixture):
    class Away:
        """No store."""

        closing = False

        def run(self, *args, **kwargs):
            raise LedgerUnavailableError("away")

    task = shop.review.task
    task.wink = SimpleNamespace(steps=Away, events=NoObserver())
    task.push_request(wink=header(Address("t", "s", "m")), called_directly=False, timelimit=(None, 5))
    try:
        assert task.serves() == frozenset()
        with pytest.raises(Ignore):
            task.work()
    finally:
        task.pop_request()
    assert "step m is left to be delivered again: away" in caplog.text


def test_a_tool_of_which_only_celery_knows_is_adopted_as_a_run(shop: Shop):
    task = shop.note.task
    task.push_request(called_directly=False, id="theirs", timelimit=(None, None))
    try:
        with shop.wink.in_memory():
            with pytest.raises(Ignore):  # in memory, its own doorbell has done the work already
                task.work(text="a")
            assert (shop.wink.run("theirs").get().text, shop.done) == ("a", ["note a"])
    finally:
        task.pop_request()


def test_events_are_sent_where_they_are_wanted(shop: Shop, caplog: pytest.LogCaptureFixture):
    events = TaskEvents(shop.app, PoolChildren())
    events.send("task-started", uuid="nobody listens")
    sent = []

    class Dispatcher:
        """Celery's, as far as it matters here."""

        enabled = False
        groups = ()

        def send(self, kind, **fields):
            if fields["uuid"] == "broken":
                raise OSError("no broker")
            if self.enabled:
                sent.append(fields["uuid"])

    dispatcher = Dispatcher()
    events.use(dispatcher, "w@host")
    events.send("task-started", uuid="off")
    dispatcher.enabled = True
    events.send("task-started", uuid="on")
    events.send("task-started", uuid="broken")
    assert sent == ["on"]
    assert "task event task-started not sent: OSError: no broker" in caplog.text


def test_workers_of_other_apps_are_left_alone(shop: Shop):
    class Other:
        """A worker of another app."""

        app = object()

    called = []
    member = SimpleNamespace(
        app=shop.app,
        events=TaskEvents(shop.app, PoolChildren()),
        children=PoolChildren(),
        check=lambda: called.append("check"),
        join=lambda describe: called.append("join"),
        postpone=lambda *_: called.append("postpone"),
        keep=lambda _: called.append("keep"),
        leave=lambda: called.append("leave"),
    )
    before = set(shop.app.steps["consumer"])
    attach(member, "1", lambda: {"prompts": (), "tools": (), "tasks": ()}, grace=30)
    for signal in (signals.worker_init, signals.worker_ready, signals.worker_shutdown):
        signal.send(sender=Other())
    assert called == []
    [step] = set(shop.app.steps["consumer"]) - before
    seen = []

    class Consumer:
        """Celery's, as far as it matters here."""

        event_dispatcher = None
        hostname = "h"
        task_consumer = SimpleNamespace(channel=SimpleNamespace())
        timer = pool = None

        def on_unknown_task(self, *args):
            seen.append(args)

    consumer = Consumer()
    step(consumer).start(consumer)
    told = dict.fromkeys(("body", "properties", "delivery_info", "content_type", "content_encoding"))
    message = SimpleNamespace(headers={"task": "theirs"}, ack=lambda: seen.append("ack"), **told)
    consumer.on_unknown_task(None, message, KeyError("theirs"))
    assert called == ["check", "keep"]
    signals.task_received.send(sender=Other(), request=None)
    assert seen[0][1] is message

    def broken(*_):
        raise OSError("no store")

    member.postpone = broken
    message.headers = {"task": "ours", "wink": header(Address("t", "s", "m"))}
    consumer.on_unknown_task(None, message, KeyError("ours"))
    assert seen[1:] == ["ack"]


def test_a_session_that_was_deleted_and_opened_anew_is_read_anew(shop: Shop):
    with scripted(shop.wink, {shop.chat: lambda request: answer(str(len(request.items)))}) as kit:
        chat = shop.chat.with_options(session="s")
        assert [chat.delay("a").get(), chat.delay("b").get()] == ["1", "3"]
        ledger = shop.wink.house().store.ledger
        assert ledger.delete("default", "s")
        kit.clock.advance(1)
        assert chat.delay("c").get() == "1"


def test_steps_that_read_what_is_not_there(shop: Shop):
    with scripted(shop.wink, {shop.chat: [call(shop.note, text="a"), answer("ok")]}):
        run = shop.chat.with_options(countdown=1).delay("x")
        shop.wink.house().clock.advance(2)
        claimed = claim(shop, run)
        parts = shop.wink.house().parts
        wrong = msgspec.structs.replace(claimed, message=msgspec.structs.replace(claimed.message, task="shop.note"))
        with pytest.raises(LedgerFormatError, match=r"reads .*, not its call"):
            work_call(parts, wrong, Stop())
        with pytest.raises(LedgerFormatError, match=r"reads .*, not an evaluation's end"):
            work_outcome(parts, wrong)


def test_an_outcome_that_cannot_be_told_is_a_dead_letter_of_its_own(shop: Shop, caplog: pytest.LogCaptureFixture):
    with scripted(shop.wink, {shop.chat: [answer("ok")]}) as kit:

        class Broken:
            """The result backend does not answer."""

            def deliver(self, outcome):
                raise OSError("redis://:hunter2@backend is away")

        object.__setattr__(shop.wink.house().parts, "outcomes", Broken())
        run = shop.chat.delay("x")
        assert run.get() == "ok"
        for _ in range(10):
            kit.clock.advance(120)
            shop.wink.house().ringer.ring(shop.wink.house().store.mailbox.reap())
        message = shop.wink.house().store.ledger.message("default", run.id, f"{run.id}~outcome")
        assert message is not None
        assert (message.state, message.deliveries) == ("dead", 4)
        assert "hunter2" not in caplog.text + message.error
        assert "step failed" in caplog.text or "failed (delivery 1)" in caplog.text


def test_a_missing_provider_and_a_missing_key_end_the_evaluation():
    class Keyless(NoProvider):
        """Has no key."""

        async def complete(self, request):
            raise ConfigurationError("set SOME_API_KEY")

    shop = Shop(providers={"house": Keyless})
    with shop.wink.in_memory(clock=FakeClock()):
        with pytest.raises(ProviderRejectedError, match="set SOME_API_KEY"):
            shop.chat.delay("x").get()
        with pytest.raises(DeclarationError, match="no provider is called 'gone'"):
            shop.chat.with_options(model="gone:m").delay("x")
    with (
        shop.wink.in_memory(clock=FakeClock(), providers={}),
        pytest.raises(ProviderRejectedError, match="no provider is called 'house'"),
    ):
        shop.chat.with_options(model=["house:m"]).delay("x").get()


def test_a_provider_that_takes_too_long_meets_the_deadline():
    class Slow(NoProvider):
        """Never answers, or raises a time-out of its own at first."""

        tries = 0

        async def complete(self, request):
            if request.items[-1].content == "hang":
                await asyncio.Event().wait()
            self.tries += 1
            if self.tries == 1:
                raise TimeoutError("the provider's own")
            return answer("at last")

    shop, clock = Shop(providers={"house": Slow()}), FakeClock()
    with shop.wink.in_memory(clock=clock, pass_time=clock.advance):
        with pytest.raises(DeadlineExceededError, match="after 0 turns"):
            shop.chat.with_options(deadline=datetime(2020, 1, 1, tzinfo=UTC)).delay("x").get()
        with pytest.raises(DeadlineExceededError, match="passed while house:small was answering"):
            shop.chat.with_options(deadline=0.05).delay("hang").get()
        assert shop.chat.delay("x").get() == "at last"


def test_parameters_that_no_longer_fit(shop: Shop):
    with scripted(shop.wink, {}):
        run = shop.chat.with_options(countdown=1).delay("x")
        later = Shop(providers={"house": NoProvider()})

        @later.wink.prompt(output=str, model="house:m", name="other")
        def other(number: int) -> str:
            """You changed."""
            return str(number)

        shop.wink.registry.prompts["shop.chat"] = later.wink.registry.prompts["shop.other"]
        with pytest.raises(ParamsChangedError):
            run.get()


def test_a_turn_whose_limit_came_while_calls_are_open_fails_also_by_a_slow_clock(shop: Shop):
    with scripted(shop.wink, {}) as kit:
        kit.script(shop.review, [call(shop.look, where="away")])
        house = shop.wink.house()
        run = shop.review.with_options(countdown=1, deadline=30).delay("src")
        house.clock.advance(1)
        steps = house.steps

        def ring_nothing(_: object) -> None:
            """The call's doorbell gets lost."""

        object.__setattr__(house.parts, "ringer", SimpleNamespace(ring=ring_nothing))
        house.store.mailbox.reap()
        assert steps.run(Address("default", run.id, run.id), "shop.review", serves=(), observer=NoObserver())
        house.clock.advance(31)
        house.store.mailbox.reap()
        behind = FakeClock(house.clock.now() - 10)
        object.__setattr__(house.parts, "clock", behind)
        turn = Address("default", run.id, f"{run.id}~turn2")
        assert steps.run(turn, "shop.review:turn", serves=(), observer=NoObserver())
        assert isinstance(run.get(propagate=False), DeadlineExceededError)


def test_an_async_tool_is_stopped_with_its_evaluation(shop: Shop):
    started = threading.Event()

    @shop.wink.tool
    async def sleeper() -> str:
        """Sleep."""
        started.set()
        await asyncio.Event().wait()
        return ""

    @shop.wink.prompt(output=str, tools=[sleeper], model="house:m")
    def dreamer() -> str:
        """You dream."""
        return "go"

    with scripted(shop.wink, {dreamer: [call(sleeper)]}):
        house = shop.wink.house()
        run = dreamer.with_options(countdown=1).delay()

        def cancel() -> None:
            assert started.wait(10)
            run.cancel("wake up")
            house.parts.keeper.renew()

        helper = threading.Thread(target=cancel)
        helper.start()
        with pytest.raises(CancelledError, match="wake up"):
            run.get()
        helper.join()


def test_call_ids_are_made_distinct(shop: Shop):
    twice = Response(
        text="",
        model="m",
        calls=tuple(
            Call(id=name, tool="note", arguments={"text": str(place)}) for place, name in enumerate(["a", "a", ""])
        ),
    )
    with scripted(shop.wink, {shop.chat: [twice, answer("ok")]}) as kit:
        assert shop.chat.delay("x").get() == "ok"
        ids = [item.call for item in kit.requests[-1].items if isinstance(item, ToolAnswered)]
        assert ids == ["a", "a#1", "#1"]


def test_arguments_as_they_are_shown():
    assert shown(["x"]) == "['x']"
    assert shown({"a": 1, "b": "c"}) == "a=1, b='c'"
    assert shown({"a": "x" * 300}, longest=10) == "a='xxxxxx…"


def test_a_message_that_is_held_by_another_is_not_given_back(shop: Shop):
    with scripted(shop.wink, {}):
        run = shop.chat.with_options(countdown=50).delay("x")
        shop.wink.postpone(Address("default", run.id, run.id), "shop.chat", "unknown here")
        shop.wink.house().clock.advance(60)
        shop.wink.postpone(Address("default", run.id, run.id), "shop.chat", "unknown here")
        assert "unknown here" in run.explain()


def test_a_process_that_never_worked_closes_nothing(shop: Shop):
    shop.wink.closing()
    shop.wink.leave()


def test_the_kit_stands_in_for_every_provider(shop: Shop):
    from wink_tasks.testing.scripted import Everywhere

    everywhere = Everywhere(NoProvider())
    assert (list(everywhere), len(everywhere), "any" in everywhere) == ([], 0, True)


def test_a_session_view_is_refreshed(shop: Shop):
    with scripted(shop.wink, {shop.review: lambda _: answer(Review(summary="s", score=1))}):
        run = shop.review.with_options(session="s").delay("x")
        assert run.get().score == 1
        view = shop.wink.session("s").view()
        assert (view.id, view.seq, len(view.transcript)) == ("s", 5, 2)
        with pytest.raises(LookupError, match="has no session 'other'"):
            shop.wink.session("other").seq  # noqa: B018 - reading it is the test


def test_what_a_tool_says_to_the_model_is_an_answer(shop: Shop):
    with scripted(shop.wink, {shop.chat: [calls((shop.note, {"text": "bad"})), answer("ok")]}):
        assert shop.chat.delay("x").get() == "ok"
    with pytest.raises(ToolError):
        raise ToolError("plain")


def test_a_tool_that_meets_an_absent_store_is_delivered_again(shop: Shop):
    @shop.wink.tool(max_retries=0)
    def reader() -> str:
        """Read the session."""
        raise LedgerUnavailableError("away")

    @shop.wink.prompt(output=str, tools=[reader], model="house:m")
    def asker() -> str:
        """You ask."""
        return "go"

    with scripted(shop.wink, {asker: [call(reader)]}):
        run = asker.with_options(countdown=1).delay()
        house = shop.wink.house()
        object.__setattr__(house.parts, "ringer", SimpleNamespace(ring=lambda _: None))
        house.clock.advance(2)
        house.store.mailbox.reap()
        house.steps.run(Address("default", run.id, run.id), "shop.asker", serves=(), observer=NoObserver())
        message = f"{run.id}~turn1.call0"
        with pytest.raises(LedgerUnavailableError):
            house.steps.run(Address("default", run.id, message), "shop.reader", serves=(), observer=NoObserver())
        record = house.store.ledger.message("default", run.id, message)
        assert record is not None
        assert record.state == "leased"


def test_a_store_that_goes_after_accept_costs_a_warning_only(shop: Shop, monkeypatch: pytest.MonkeyPatch):
    with scripted(shop.wink, {shop.chat: [answer("ok")]}):
        house = shop.wink.house()
        house.submitter._expects_workers = True

        def away():
            raise LedgerUnavailableError("away")

        monkeypatch.setattr(house.store.fleet, "workers", away)
        assert shop.chat.delay("x").get() == "ok"


def test_a_model_call_is_cut_when_its_evaluation_is_cancelled():
    asked = threading.Event()

    class Hanging(NoProvider):
        """Never answers."""

        async def complete(self, request):
            asked.set()
            await asyncio.Event().wait()

    shop, clock = Shop(providers={"house": Hanging()}), FakeClock()
    with shop.wink.in_memory(clock=clock, pass_time=clock.advance) as house:
        run = shop.chat.with_options(countdown=1).delay("x")

        def cancel() -> None:
            assert asked.wait(10)
            run.cancel("never mind")
            house.parts.keeper.renew()

        helper = threading.Thread(target=cancel)
        helper.start()
        with pytest.raises(CancelledError, match="never mind"):
            run.get()
        helper.join()


def inline(did: list[Any], next_due: Callable[[], float | None], pass_time: Any) -> InlineWorker:
    """A worker whose steps and passing time are told in `did`."""
    steps = SimpleNamespace(run=lambda address, *_, **__: did.append(address))
    return InlineWorker(
        steps=lambda: steps,
        mailbox=SimpleNamespace(reap=list),
        waiting=SimpleNamespace(next_due=next_due),
        clock=FakeClock(),
        pass_time=pass_time,
    )


def elsewhere(work: Callable[[], object]) -> None:
    """In another thread, to its end."""
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()


def test_a_clock_is_not_moved_under_somebody_who_works():
    did: list[Any] = []

    def next_due() -> float:
        elsewhere(lambda: worker.ring([SimpleNamespace(address="step", task="t")]))
        return 5.0

    worker = inline(did, next_due, lambda _: did.append("passed"))
    worker.work(10)
    assert did == ["passed", "step"]


def test_who_waits_for_the_real_clock_keeps_nobody_from_work():
    did: list[Any] = []
    asked = threading.Event()

    def next_due() -> float:
        asked.set()
        return FakeClock().now() + 3600

    worker = inline(did, next_due, None)
    waiter = threading.Thread(target=lambda: worker.work(3600))
    waiter.start()
    assert asked.wait(60)
    worker.ring([SimpleNamespace(address="step", task="t")])
    waiter.join(60)
    assert (did, waiter.is_alive()) == (["step"], False)


def test_nothing_left_to_do_is_said():
    worker = inline([], lambda: None, lambda _: None)
    with pytest.raises(RunTimeoutError, match="nothing is left to do in this process"):
        worker.work(5)


def test_explaining_what_waits_for_a_worker_that_is_there(shop: Shop):
    with scripted(shop.wink, {}):
        run = shop.chat.with_options(countdown=1).delay("x")
        house = shop.wink.house()
        house.clock.advance(2)
        house.store.mailbox.reap()
        worker = Worker(name="w", pid=1, version="1", pool="solo", mailboxes=("celery",))
        house.store.fleet.beat(worker, every=2, term=1)
        assert run.explain() == f"turn {run.id} is ready in mailbox 'celery'"
