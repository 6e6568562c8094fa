"""What a worker's main process does with revoked, lost and limited doorbells, without a worker."""

from __future__ import annotations

import logging
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from billiard.einfo import ExceptionInfo
from celery import Celery, signals
from celery.exceptions import Ignore, Retry, Terminated, TimeLimitExceeded
from celery.worker import state as worker_state

from tests.unit.runtime.conftest import Shop
from wink_tasks import CancelledError, LeaseLostError
from wink_tasks.adapters.celery import control
from wink_tasks.adapters.celery.children import PoolChildren
from wink_tasks.adapters.celery.requests import StepRequest
from wink_tasks.adapters.celery.revoked import StepRevoked
from wink_tasks.adapters.celery.ringer import header
from wink_tasks.core.errors import DeadLetteredError, LedgerUnavailableError
from wink_tasks.ports.mailbox import Address, Claimed
from wink_tasks.ports.work import StepEnd
from wink_tasks.runtime.interrupts import Interrupts
from wink_tasks.runtime.stop import Stop, Why
from wink_tasks.testing import scripted
from wink_tasks.testing.inline import NoObserver
from wink_tasks.wiring import actor_of

CHILD = 4242
"""A pid of nobody."""


class Timer:
    """Calls at once, as often as it is told to."""

    def __init__(self) -> None:
        self.called = 0

    def call_after(self, _: float, call: Any, args: tuple[Any, ...] = ()) -> None:
        self.called += 1
        call(*args)


class Pool:
    """Celery's prefork pool, as far as it matters here: one child, which ends when it is terminated."""

    def __init__(self) -> None:
        self._pool = SimpleNamespace(_pool=[SimpleNamespace(pid=CHILD)], register_with_event_loop=lambda _: None)
        self.killed: list[int] = []
        self.looked = 0

    def terminate_job(self, pid: int, signum: int) -> None:
        assert pid == CHILD
        self.killed.append(signum)

    def maintain_pool(self) -> None:
        self.looked += 1


class Desk:
    """The shop, with one run whose first turn is in the hands of a child."""

    def __init__(self, shop: Shop, kit: Any) -> None:
        self.shop = shop
        self.house = shop.wink.house()
        self.events: list[tuple[str, str]] = []
        self.acknowledged: list[str] = []
        self.run = shop.chat.with_options(countdown=1).delay("x")
        kit.clock.advance(1)
        self.pool = Pool()
        shop.wink.children.use(Timer(), self.pool)
        dispatcher = SimpleNamespace(enabled=True, groups=(), send=self._sent)
        shop.wink.events.use(dispatcher, "w@host")

    def _sent(self, kind: str, **fields: Any) -> None:
        self.events.append((kind, fields["uuid"]))

    def claim(self, owner: str | None = None) -> Claimed:
        address = Address("default", self.run.id, self.run.id)
        claimed = self.house.store.mailbox.claim(address, task="shop.chat", owner=owner or actor_of(CHILD), after=None)
        assert isinstance(claimed, Claimed)
        return claimed

    def request(self, task: str = "shop.chat", id: str | None = None, **headers: Any) -> StepRequest:  # noqa: A002
        name = id or self.run.id
        fields = {"id": name, "task": task, "root_id": self.run.id, "argsrepr": "()", "kwargsrepr": "{}", **headers}
        message = SimpleNamespace(
            headers={**fields, "wink": header(Address("default", self.run.id, name))},
            body=b"",
            content_type="application/json",
            content_encoding="utf-8",
            payload=([], {}, {}),
            delivery_info={},
            properties={},
        )
        request = StepRequest(
            message,
            app=self.shop.app,
            task=self.shop.app.tasks[task],
            on_ack=lambda *_: self.acknowledged.append(name),
            eventer=SimpleNamespace(enabled=True, send=self._sent),
        )
        request.worker_pid, request.time_start = CHILD, 1.0
        return request

    def message(self) -> Any:
        return self.house.store.ledger.message("default", self.run.id, self.run.id)


@pytest.fixture
def desk(shop: Shop) -> Iterator[Desk]:
    with scripted(shop.wink, {}) as kit:
        yield Desk(shop, kit)
    worker_state.revoked.clear()


@contextmanager
def away(desk: Desk) -> Iterator[None]:
    """The store cannot be reached."""

    def unavailable(*_: Any, **__: Any) -> Any:
        raise LedgerUnavailableError("away")

    ledger = desk.house.store.ledger
    ledger.tenant_of = unavailable
    try:
        yield
    finally:
        del ledger.tenant_of


def lost(error: BaseException) -> ExceptionInfo:
    try:
        raise error  # noqa: TRY301 - so it gets its traceback
    except BaseException:  # noqa: BLE001 - whatever a child was lost by
        return ExceptionInfo()


def test_a_revoked_id_of_ours_is_cancelled_and_its_doorbell_heard(desk: Desk, caplog: pytest.LogCaptureFixture):
    request = desk.request()
    worker_state.revoked.add(request.id)
    with away(desk):
        assert not request.revoked(), "its message says what is left to do"
    assert "is not cancelled yet: away" in caplog.text
    assert request.id in worker_state.revoked, "it is asked again with the next doorbell"
    assert desk.run.status == "PENDING"
    assert not request.revoked()
    assert desk.run.status == "REVOKED"
    assert request.id not in worker_state.revoked
    assert desk.events == [], "the outcome tells"


def test_what_was_never_accepted_is_revoked_and_expires_as_ever(desk: Desk):
    past = (datetime.now(UTC) - timedelta(seconds=5)).isoformat()
    stranger = desk.request(id="stranger", expires=past)
    with away(desk):
        assert not stranger.revoked(), "nobody can tell, and the worker goes on"
    assert stranger.revoked()
    assert desk.acknowledged == ["stranger"]
    mine = desk.request(expires=past)
    assert not mine.revoked(), "it was accepted in time"


def test_terminating_a_request_cancels_and_ends_its_child(desk: Desk):
    desk.claim()
    request = desk.request()
    worker_state.task_reserved(request)
    worker_state.task_accepted(request)
    request.terminate(desk.pool, "TERM")
    assert desk.run.status == "STARTED", "the child has it"
    assert desk.pool.killed == [signal.SIGKILL], "it did not listen, so it is killed after a while"
    assert desk.pool.looked == 20, "and is looked for until it is gone"
    request.on_failure(lost(Terminated(9)))
    assert desk.run.status == "REVOKED"
    assert desk.acknowledged == [request.id]
    request.stop(desk.pool)
    assert desk.pool.killed == [signal.SIGKILL], "it is over"
    request.on_failure(lost(Terminated(9)))
    assert desk.events == []


def test_a_step_that_is_not_accepted_yet_is_ended_when_it_is(desk: Desk):
    desk.claim()
    request = desk.request()
    request.time_start = None
    request.terminate(desk.pool, signal.SIGQUIT)
    assert desk.pool.killed == []
    request.on_accepted(CHILD, 0.0)
    assert desk.pool.killed == [signal.SIGQUIT]


def test_a_lost_connection_ends_nothing_but_a_shutdown_gives_back(desk: Desk):
    desk.claim()
    request = desk.request()
    request.cancel(desk.pool)
    assert desk.message().state == "leased"
    thread = desk.request()
    thread.worker_pid = os.getpid()
    thread.cancel(desk.pool, emit_retry=False)
    assert desk.message().state == "leased"
    request.cancel(desk.pool, emit_retry=False)
    assert desk.pool.killed == [signal.SIGTERM]
    record = desk.message()
    assert (record.deliveries, record.pardoned) == (2, 1), "it is delivered anew, and the first one does not count"
    assert desk.events == [("task-retried", request.id)]


def test_what_a_lost_child_held_is_given_back_once(desk: Desk):
    desk.claim()
    request = desk.request()
    request.on_failure(lost(TimeLimitExceeded(1)))
    request.on_timeout(soft=False, timeout=1)
    request.on_failure(lost(TimeLimitExceeded(1)))
    record = desk.message()
    assert (record.deliveries, record.pardoned) == (2, 0), "it is delivered anew, and the first one counts"
    assert desk.events == [("task-retried", request.id)]
    assert desk.acknowledged == [request.id]


def test_a_step_with_which_it_went_on_is_told_of_under_its_own_id(desk: Desk):
    for _ in range(3):
        claimed = desk.claim()
        desk.house.store.mailbox.nack(claimed.receipt, delay=0, counts=True, error="again")
    desk.claim()
    doorbell = desk.request(task="shop.note", id=f"{desk.run.id}~turn0.call0")
    doorbell.on_failure(lost(Terminated(9)))
    assert desk.events[:2] == [("task-succeeded", doorbell.id), ("task-failed", desk.run.id)]
    assert desk.run.status == "FAILURE"


@pytest.mark.parametrize("holder", ["another", "nobody"])
def test_a_child_that_held_nothing(desk: Desk, holder: str):
    if holder == "another":
        desk.claim("host:1")
    request = desk.request()
    request.on_failure(lost(Terminated(9)))
    assert desk.message().deliveries == (holder == "another")
    assert desk.events == [("task-retried", request.id)]


def test_a_lease_that_was_lost_meanwhile_needs_not_be_given_back(desk: Desk, caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.INFO)
    claimed = desk.claim()
    ledger = desk.house.store.ledger
    look = ledger.message

    def late(*args: str) -> Any:
        record = look(*args)
        desk.house.store.mailbox.nack(claimed.receipt, delay=0, counts=False, error="")
        return record

    ledger.message = late
    try:
        given = desk.house.revocation.give_back(desk.run.id, pid=CHILD, counts=True, error="gone")
    finally:
        del ledger.message
    assert given is None
    assert "needs not be given back" in caplog.text


def test_a_store_that_is_away_leaves_it_to_the_lease(desk: Desk, caplog: pytest.LogCaptureFixture):
    desk.claim()
    with away(desk):
        desk.request().on_failure(lost(Terminated(9)))
    assert "delivered again when its lease runs out" in caplog.text
    assert desk.message().state == "leased"


def test_a_step_that_was_cut_is_told_of_as_revoked(desk: Desk):
    desk.request().on_failure(lost(StepRevoked("cut")))
    call = desk.request(task="shop.note", id=f"{desk.run.id}~turn1.call0")
    heard = []

    def revoked(sender=None, request=None, **_):
        heard.append((sender.name, request.id))

    signals.task_revoked.connect(revoked)
    try:
        call.on_failure(lost(StepRevoked("cut")))
    finally:
        signals.task_revoked.disconnect(revoked)
    assert desk.events == [("task-revoked", call.id)], "the run's row is its outcome's"
    assert heard == [("shop.note", call.id)]
    assert desk.acknowledged == [desk.run.id, call.id]


def test_other_ends_are_celerys(desk: Desk):
    request = desk.request(task="shop.note", id=f"{desk.run.id}~turn1.call0")
    request.on_failure(lost(Retry("later")))
    request.on_timeout(soft=True, timeout=1)
    assert desk.events == [("task-retried", request.id)]


def test_the_ends_of_steps_in_celerys_words(desk: Desk):
    tell = desk.shop.wink.events.tell
    told = [
        tell(StepEnd(kind="settled"), id="a", task="shop.note"),
        tell(StepEnd(kind="settled", error=ValueError("no")), id="b", task="shop.note"),
        tell(StepEnd(kind="dead", reason="too often"), id="c", task="shop.note"),
        tell(StepEnd(kind="returned", reason="later"), id="d", task="unknown.here"),
        tell(StepEnd(kind="absent"), id="e", task="shop.note"),
    ]
    assert told == ["SUCCESS", "FAILURE", "FAILURE", "RETRY", "IGNORED"]
    assert desk.events == [("task-succeeded", "a"), ("task-failed", "b"), ("task-failed", "c"), ("task-retried", "d")]
    task = desk.shop.app.tasks["shop.chat"]
    for kind, is_run, raised in [
        ("returned", True, Retry),
        ("revoked", True, StepRevoked),
        ("dead", True, Ignore),
        ("dead", False, DeadLetteredError),
        ("absent", False, Ignore),
    ]:
        with pytest.raises(raised):
            task._told(StepEnd(kind=kind), is_run=is_run)


def test_a_run_that_fails_is_heard_of_by_signals(desk: Desk):
    heard = []

    def failed(sender=None, task_id=None, exception=None, **_):
        heard.append((sender.name, task_id, type(exception), sender.request.id))

    signals.task_failure.connect(failed)
    try:
        desk.shop.wink.events.run_ended("r", "shop.chat", 1.0, error=DeadLetteredError("password=hunter2"))
    finally:
        signals.task_failure.disconnect(failed)
    desk.shop.wink.events.run_ended("s", "unknown.here", 1.0, error=CancelledError("enough"))
    assert heard == [("shop.chat", "r", DeadLetteredError, "r")]
    assert desk.events == [("task-failed", "r"), ("task-revoked", "s")]


def test_commands_of_a_worker_whose_store_is_away_are_celerys(desk: Desk, caplog: pytest.LogCaptureFixture):
    celerys = {name: control.Panel.data[name] for name in ("revoke", "terminate", "enable_events", "disable_events")}
    state = SimpleNamespace(
        app=desk.shop.app,
        consumer=SimpleNamespace(pool=desk.pool, event_dispatcher=SimpleNamespace(groups=set())),
    )
    other = SimpleNamespace(**{**vars(state), "app": Celery("other", backend="cache+memory://", set_as_current=False)})
    try:
        control.take_over(desk.shop.wink)
        control.take_over(desk.shop.wink)
        run_command = control.Panel.data
        with away(desk):
            run_command["revoke"](state, desk.run.id)
        assert "cannot be looked up: away" in caplog.text
        assert desk.run.status == "PENDING"
        assert desk.run.id in worker_state.revoked, "its doorbell cancels"
        assert "flagged as revoked" in run_command["revoke"](other, "theirs")["ok"]
        assert "already" in run_command["enable_events"](other)["ok"]
        assert run_command["wink_cancel"](other, "default", desk.run.id) == {"ok": f"nothing of {desk.run.id} is here"}
        assert "evaluations cancelled" in run_command["terminate"](state, "KILL", [desk.run.id])["ok"]
        assert desk.run.status == "REVOKED"
    finally:
        control.Panel.data.update(celerys)
        del control.Panel.data["wink_cancel"]
        control._celerys.clear()
        control._members.clear()


def test_a_doorbell_whose_message_was_closed_before_it_began_is_told_of_as_revoked(desk: Desk):
    address = Address("default", desk.run.id, desk.run.id)
    desk.run.cancel("enough")
    ended = desk.house.steps.run(address, "shop.chat", serves=(), observer=NoObserver())
    assert ended == StepEnd(kind="revoked", reason="its evaluation ended before it began")
    unknown = Address("default", desk.run.id, f"{desk.run.id}~turn9")
    ended = desk.house.steps.run(unknown, "shop.chat:turn", serves=(), observer=NoObserver())
    assert ended == StepEnd(kind="absent", reason="gone")


def test_a_step_that_is_out_of_retries_is_told_of_as_dead(desk: Desk, shop: Shop):
    with scripted(shop.wink, {}) as kit:
        house = shop.wink.house()
        run = shop.chat.with_options(countdown=1).delay("x")
        kit.clock.advance(1)
        address = Address("default", run.id, run.id)
        for _ in range(4):
            assert isinstance(house.store.mailbox.claim(address, task="shop.chat", owner="w", after=None), Claimed)
            kit.clock.advance(10)
        house.store.mailbox.reap()
        ended = house.steps.run(address, "shop.chat", serves=(), observer=NoObserver())
    assert (ended.kind, run.id in ended.reason) == ("dead", True)


def test_ids_that_lead_nowhere(desk: Desk):
    revocation = desk.house.revocation
    assert not revocation.cancel("unknown~turn2", by="me", reason="r")
    assert revocation.give_back("unknown", pid=CHILD, counts=True, error="") is None
    assert not revocation.is_wanted("default", "unknown")
    assert not revocation.is_known("unknown")
    assert revocation.is_known(f"{desk.run.id}~turn7")
    books = desk.house.store.ledger._books
    books.homes["reserved"] = ("default", "s", "shop.chat")
    assert not revocation.cancel("reserved", by="me", reason="r")
    assert not revocation.is_known("reserved")


def test_a_worker_that_cannot_be_told_is_a_warning(shop: Shop, caplog: pytest.LogCaptureFixture):
    from wink_tasks.adapters.celery.broadcast import tell_workers

    shop.app.conf.broker_url = "redis://127.0.0.1:1/0"
    tell_workers(shop.app, "default", "r")
    assert "workers not told that r was cancelled" in caplog.text


def test_children_that_share_nothing_are_told_nothing():
    children = PoolChildren()
    children.tell_events(on=True)
    assert children.events_on() is None
    children.share()
    children.tell_events(on=True)
    assert children.events_on() is True
    children.use(Timer(), SimpleNamespace())
    children.reap(CHILD)


def test_a_signal_that_was_sent_by_somebody_else_is_left_to_them():
    before = signal.getsignal(signal.SIGUSR1)
    passed_on = []
    signal.signal(signal.SIGUSR1, lambda *_: passed_on.append("celery's"))
    try:
        interrupts = Interrupts()
        with interrupts.working(Stop()):
            assert not interrupts.listening
        interrupts.listen(signal.SIGUSR1)
        untouched = Stop()
        with interrupts.working(untouched), untouched.interruptible():
            signal.raise_signal(signal.SIGUSR1)
        assert passed_on == ["celery's"]
        assert not untouched.is_set
    finally:
        signal.signal(signal.SIGUSR1, before)


def wait_for_an_interrupt(asks: threading.Thread) -> None:
    asks.start()
    threading.Event().wait(30)


@pytest.mark.parametrize(("why", "raised"), [("cancelled", CancelledError), ("limit", LeaseLostError)])
def test_the_main_thread_is_interrupted_where_it_may_be(why: Why, raised: type[Exception]):
    before = signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    try:
        interrupts = Interrupts()
        interrupts.listen(signal.SIGUSR1)
        late = Stop()
        with interrupts.working(late):
            late.set(why)
            with pytest.raises(raised), late.interruptible():
                pytest.fail("it is not begun any more")
        signal.raise_signal(signal.SIGUSR1)
        stop = Stop()
        asks = threading.Thread(target=stop.set, args=[why])
        with interrupts.working(stop), pytest.raises(raised), stop.interruptible():
            wait_for_an_interrupt(asks)
        asks.join()
        over = Stop()
        with interrupts.working(over):
            pass
        over.set(why)
    finally:
        signal.signal(signal.SIGUSR1, before)
