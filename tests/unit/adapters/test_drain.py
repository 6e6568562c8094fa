"""From the first wish that a worker ends to the end of its process."""

from __future__ import annotations

import queue
import signal
import threading
from collections.abc import Iterator
from types import SimpleNamespace
from weakref import WeakSet

import pytest
from celery import signals
from celery.worker import state
from kombu.message import Message
from vine import promise

from tests.unit.runtime.conftest import NoProvider, Shop
from tests.workers import eventually
from wink_tasks.adapters.celery import lifecycle
from wink_tasks.adapters.celery.lifecycle import Drain

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT)


class Request:
    """A task of the host's that runs."""

    def __init__(self, cancelled: list) -> None:
        self.task = SimpleNamespace(acks_late=True)
        self._cancelled = cancelled

    def cancel(self, pool, *, emit_retry):
        self._cancelled.append((pool, emit_retry))


class Shrinking(WeakSet):
    """Refuses to be copied the first time."""

    copied = 0

    def copy(self):
        self.copied += 1
        if self.copied == 1:
            raise RuntimeError("Set changed size during iteration")
        return super().copy()


class Process:
    """A worker process: what Celery and the leaver were asked, in order."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, pool: str) -> None:
        self.done: list = []
        self.left: queue.SimpleQueue[int] = queue.SimpleQueue()
        self.cancelled: list = []
        self.broker_away = False
        monkeypatch.setattr(lifecycle, "COURTESY", 0.05)
        monkeypatch.setattr(lifecycle, "HUSH", 0.05)
        monkeypatch.setattr(lifecycle, "LOOK", 0.01)
        monkeypatch.setattr(state, "should_stop", None)
        monkeypatch.setattr(state, "active_requests", WeakSet())
        self.pool = type("TaskPool", (), {"__module__": f"celery.concurrency.{pool}", "limit": 1})()
        channel = SimpleNamespace(
            _in_poll=True, _brpop_read=self.read, qos=SimpleNamespace(restore_unacked_once=self.asked("restore"))
        )
        acknowledges = Message(body="", channel=None)
        acknowledges.ack = lambda **_: self.done.append("ack")
        self.hub = SimpleNamespace(_pop_ready=lambda: {promise(acknowledges.ack_log_error, (None, ())), print})
        self.consumer = SimpleNamespace(
            pool=self.pool,
            task_consumer=SimpleNamespace(cancel=self.asked("cancel"), channel=channel),
            controller=SimpleNamespace(hub=self.hub, exitcode=None, wait_for_soft_shutdown=self.asked("soft")),
        )

    def asked(self, what: str):
        return lambda: self.done.append(what)

    def read(self) -> None:
        self.done.append("read")
        if self.broker_away:
            raise ConnectionError("broker away")
        raise queue.Empty

    def closing(self) -> None:
        self.done.append("closing")

    def hand_back(self) -> int:
        self.done.append("hand back")
        return 1

    def leave(self) -> None:
        self.done.append("leave")

    def drain(self, grace: float) -> Drain:
        drain = Drain(self, self.consumer, grace=grace, leave=self.left.put)
        drain.start()
        return drain

    def code(self) -> int:
        return self.left.get(timeout=30)


@pytest.fixture(autouse=True)
def handlers() -> Iterator[list]:
    """Celery's handlers, in this process's main thread."""
    before, called = {number: signal.getsignal(number) for number in SIGNALS}, []
    for number in SIGNALS:
        signal.signal(number, lambda number, _: called.append(number))
    yield called
    for number, handler in before.items():
        signal.signal(number, handler)


def test_asked_once_it_waits_for_the_grace(monkeypatch: pytest.MonkeyPatch, handlers: list):
    process = Process(monkeypatch, "thread")
    process.drain(grace=0.01)
    signal.raise_signal(signal.SIGTERM)
    assert process.code() == 0
    assert process.done == ["closing", "hand back", "hand back", "leave", "ack", "restore"]
    assert handlers == [signal.SIGTERM]


@pytest.mark.parametrize(
    ("first", "second", "code"),
    [(signal.SIGTERM, signal.SIGTERM, 0), (signal.SIGTERM, signal.SIGQUIT, 1), (signal.SIGINT, signal.SIGINT, 1)],
)
def test_asked_twice_it_does_not_wait(
    monkeypatch: pytest.MonkeyPatch, handlers: list, first: signal.Signals, second: signal.Signals, code: int
):
    """Nor does Celery's next handler for Ctrl-C, which the first one installs, come to end runs behind our back."""
    process = Process(monkeypatch, "solo")

    def celerys(number, _) -> None:
        handlers.append(number)
        state.should_stop = 0
        signal.signal(signal.SIGINT, lambda *_: handlers.append("by force"))

    signal.signal(first, celerys)
    process.drain(grace=3600)
    signal.raise_signal(first)
    eventually(lambda: process.done == ["closing"], "it claims nothing")
    signal.raise_signal(second)
    assert process.code() == process.consumer.controller.exitcode == code
    assert state.should_stop == int(second == signal.SIGQUIT)
    assert handlers == [first]


def test_asked_with_force_celery_only_stops_to_listen(monkeypatch: pytest.MonkeyPatch, handlers: list):
    process = Process(monkeypatch, "thread")
    process.drain(grace=3600)
    signal.raise_signal(signal.SIGQUIT)
    assert process.code() == 1
    assert (handlers, state.should_stop) == ([], 1)


def test_where_sigterm_is_remapped_it_is_force(monkeypatch: pytest.MonkeyPatch, handlers: list):
    process = Process(monkeypatch, "thread")
    monkeypatch.setattr(lifecycle, "REMAP_SIGTERM", "SIGQUIT")
    process.drain(grace=3600)
    signal.raise_signal(signal.SIGTERM)
    assert process.code() == 1
    assert handlers == []


def test_celery_may_end_by_another_way(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture):
    caplog.set_level("INFO")
    process = Process(monkeypatch, "thread")
    drain = process.drain(grace=0.01)
    drain.begin()
    drain.begin()
    assert process.code() == 0
    assert process.done.count("read") == 2
    assert "Celery ends: nothing is claimed any more" in caplog.text


@pytest.mark.parametrize("code", [1, "it said why"])
def test_a_worker_that_celery_ends_for_an_error_ends_with_its_code(monkeypatch: pytest.MonkeyPatch, code: object):
    process = Process(monkeypatch, "thread")
    process.consumer.controller.exitcode = code
    process.drain(grace=0.01).begin()
    assert process.code() == process.consumer.controller.exitcode == 1


@pytest.mark.parametrize("asked", [False, True])
def test_it_does_not_outlive_a_process_that_ends_by_itself(monkeypatch: pytest.MonkeyPatch, asked: bool):
    """A thread that runs while the interpreter is taken down may crash it."""
    ends = []
    monkeypatch.setattr(lifecycle.atexit, "register", lambda call, *args: ends.append((call, args)))
    process = Process(monkeypatch, "thread")
    process.drain(grace=3600)
    if asked:
        signal.raise_signal(signal.SIGTERM)
        eventually(lambda: process.done == ["closing"], "it waits for the grace")
    [(call, (thread,))] = ends
    call(thread)
    assert not thread.is_alive()
    assert process.left.empty()


def test_a_broker_that_is_away_keeps_nobody(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture):
    process = Process(monkeypatch, "thread")
    process.broker_away = True
    process.consumer.task_consumer.channel.qos.restore_unacked_once = process.read
    process.drain(grace=0.01).begin()
    assert process.code() == 0
    eventually(lambda: "doorbells were not given back: ConnectionError: broker away" in caplog.text, "it is said")
    assert "was not told that this worker stops to listen: ConnectionError: broker away" in caplog.text


def test_another_broker_needs_not_be_told(monkeypatch: pytest.MonkeyPatch):
    process = Process(monkeypatch, "gevent")
    process.consumer.task_consumer.channel = SimpleNamespace()
    process.consumer.controller.hub = None
    process.drain(grace=0.01).begin()
    assert process.code() == 0
    assert sorted(process.done) == ["cancel", "closing", "hand back", "hand back", "leave"]


def test_with_force_a_hosts_tasks_are_waited_for_no_longer(monkeypatch: pytest.MonkeyPatch):
    process = Process(monkeypatch, "prefork")
    state.active_requests.add(theirs := Request(process.cancelled))
    process.drain(grace=0.01)
    signal.raise_signal(signal.SIGTERM)
    eventually(lambda: "hand back" in process.done, "ours are handed back")
    signal.raise_signal(signal.SIGQUIT)
    assert process.code() == process.consumer.controller.exitcode == 1
    assert process.cancelled == [(process.pool, False)]
    assert theirs in state.active_requests


def test_a_hosts_tasks_are_waited_for_but_not_when_asked_once_more(monkeypatch: pytest.MonkeyPatch):
    process = Process(monkeypatch, "thread")
    ends, stays = Request(process.cancelled), Request(process.cancelled)
    monkeypatch.setattr(state, "active_requests", Shrinking({ends, stays}))
    process.drain(grace=0.01)
    signal.raise_signal(signal.SIGTERM)
    eventually(lambda: "hand back" in process.done, "ours are handed back")
    state.active_requests.discard(ends)
    eventually(lambda: state.active_requests.copied > 3, "it looks again and again")
    assert "leave" not in process.done
    signal.raise_signal(signal.SIGTERM)
    assert process.code() == 0
    assert process.cancelled == []


def test_with_force_a_hosts_tasks_on_prefork_end_as_celery_does_it(monkeypatch: pytest.MonkeyPatch):
    process = Process(monkeypatch, "prefork")
    theirs = Request(process.cancelled)
    state.active_requests.add(theirs)
    process.drain(grace=3600)
    signal.raise_signal(signal.SIGQUIT)
    assert process.code() == 1
    assert process.done[:3] == ["closing", "hand back", "soft"]
    assert process.cancelled == [(process.pool, False)]


def test_a_task_that_ends_while_it_is_looked_for(monkeypatch: pytest.MonkeyPatch):
    process = Process(monkeypatch, "thread")
    monkeypatch.setattr(state, "active_requests", Shrinking())
    process.drain(grace=0.01)
    signal.raise_signal(signal.SIGTERM)
    assert process.code() == 0
    assert state.active_requests.copied == 2


def test_a_worker_that_connects_again_has_one_drain(monkeypatch: pytest.MonkeyPatch):
    shop = Shop(providers={"house": NoProvider()})
    made, joined = [], []

    class Made:
        """A drain that hears nothing."""

        def __init__(self, *_, **__) -> None:
            made.append(self)

        def start(self) -> None:
            """Nothing."""

    monkeypatch.setattr("wink_tasks.adapters.celery.worker.Drain", Made)
    monkeypatch.setattr(shop.wink, "join", joined.append)
    described = {"app": shop.app, "hostname": "h", "pool": Process(monkeypatch, "solo").pool}
    consumer = type("Consumer", (), described)()
    signals.worker_ready.send(sender=consumer)
    signals.worker_ready.send(sender=consumer)
    assert (len(made), len(joined)) == (1, 2)


def test_off_the_main_thread_signals_are_left_alone(monkeypatch: pytest.MonkeyPatch):
    process = Process(monkeypatch, "solo")
    before = signal.getsignal(signal.SIGTERM)
    thread = threading.Thread(target=lambda: process.drain(grace=0.01).begin())
    thread.start()
    thread.join()
    assert process.code() == 0
    assert signal.getsignal(signal.SIGTERM) == before
