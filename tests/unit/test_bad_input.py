"""What a host may have, or a caller may give, that cannot work: one clear error, or what is documented."""

from __future__ import annotations

import logging
import socket
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from celery import Celery, chord

from tests.unit.runtime.conftest import NoProvider, Shop
from wink_tasks import (
    CancelledError,
    ConfigurationError,
    DeclarationError,
    DuplicateError,
    ParametersInvalidError,
    RunTimeoutError,
    UnsupportedError,
    Wink,
)
from wink_tasks.adapters.celery import ringer
from wink_tasks.adapters.celery.broadcast import tell_workers
from wink_tasks.adapters.celery.ringer import CeleryRinger
from wink_tasks.ports.mailbox import Address, Doorbell
from wink_tasks.ports.telemetry import NullTracer
from wink_tasks.testing.scripted import answer, scripted


@pytest.fixture
def shop() -> Shop:
    return Shop(providers={"house": NoProvider()})


@pytest.fixture
def wink(redis_url: str) -> Iterator[Wink]:
    """An application without a result backend, whose doorbells stay in memory."""
    made = Wink(Celery("bad", broker="memory://", set_as_current=False), redis_url=redis_url, providers={"house": Shop})
    yield made
    made.leave()
    made.app.close()


def chat_of(wink: Wink, name: str = "chat") -> Any:
    @wink.prompt(output=str, model="house:m", name=name)
    def chat(text: str) -> str:
        """You talk."""
        return text

    return chat


@pytest.mark.parametrize("accepted", [["pickle"], ["yaml"], ["application/x-python-serialize"]])
def test_a_host_that_accepts_no_json_is_told_when_it_starts_and_when_it_sends(wink: Wink, accepted: list[str]):
    chat = chat_of(wink)
    wink.app.conf.accept_content = accepted
    for use in (wink.check, lambda: chat.delay("x")):
        with pytest.raises(ConfigurationError, match=r"accept_content of the Celery app 'bad' .* add 'json'"):
            use()


@pytest.mark.parametrize("accepted", [["json", "pickle"], ["application/json"]])
def test_a_host_that_accepts_json_as_well_is_well(wink: Wink, accepted: list[str]):
    wink.app.conf.accept_content = accepted
    wink.check()


@pytest.mark.parametrize("backend", [None, "rpc://"])
def test_a_run_needs_no_result_backend(wink: Wink, backend: str | None):
    wink.app.conf.result_backend = backend
    run = chat_of(wink).delay("x")
    assert run.state == "PENDING"
    assert (run.exists(), wink.run("nobody").exists()) == (True, False)
    with pytest.raises(RunTimeoutError):
        run.get(timeout=0)
    run.cancel()
    with pytest.raises(CancelledError):
        run.get(timeout=5)
    assert run.state == "REVOKED"


def test_a_chord_without_a_result_backend_is_refused(wink: Wink):
    chat = chat_of(wink)
    with pytest.raises(NotImplementedError, match="result backend"):
        chord([chat.s("a")], chat.s())()
    with pytest.raises(ConfigurationError, match="a chord needs a result backend"):
        chat.apply_async(["x"], chord=chat.s())
    assert wink.house().store.ledger.sessions() == []


def test_a_task_of_the_host_that_has_the_name(wink: Wink):
    @wink.app.task(name="bad.chat", shared=False)
    def theirs() -> None:
        """Was there before."""

    chat_of(wink)
    told = r"another task is called 'bad\.chat' already \(in .*test_bad_input"
    with pytest.warns(Warning, match="already registered"), pytest.raises(DeclarationError, match=told):
        wink.check()


def test_a_task_of_the_host_that_has_the_name_in_an_app_that_is_final(wink: Wink):
    @wink.app.task(name="bad.chat", shared=False)
    def theirs() -> None:
        """Was there before."""

    wink.app.finalize()
    with pytest.warns(Warning, match="already registered"), pytest.raises(DeclarationError, match="another task"):
        chat_of(wink)


def test_an_id_that_is_taken(shop: Shop):
    with scripted(shop.wink, {shop.chat: lambda _: answer("ok"), shop.review: lambda _: answer("ok")}):
        first = shop.chat.apply_async(["x"], task_id="mine")
        assert shop.chat.apply_async(["y"], task_id="mine").get() == first.get(), "a canvas that repeats"
        for other in ({"session": "s"}, {"tenant": "globex"}):
            with pytest.raises(DuplicateError, match="'mine' belongs to another session, tenant or prompt"):
                shop.chat.apply_async(["x"], task_id="mine", **other)
        with pytest.raises(DuplicateError):
            shop.review.apply_async(["x"], task_id="mine")
        shop.chat.with_options(session="customer-7").delay("x")
        with pytest.raises(DuplicateError):
            shop.chat.apply_async(["x"], task_id="customer-7")


def test_arguments_that_are_no_json(shop: Shop):
    with scripted(shop.wink, {}), pytest.raises(ParametersInvalidError, match="text"):
        shop.chat.delay(object())


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"task_id": 5}, "task_id=5 does not fit: it takes text, not int"),
        ({"session": 5}, "session=5 does not fit: it takes text .*, not int"),
        ({"tenant": 5}, "tenant=5 does not fit: it takes text, not int"),
        ({"idempotency_key": 5}, "idempotency_key=5 does not fit: it takes text, not int"),
        ({"priority": "high"}, "priority='high' does not fit: it takes a whole number, not str"),
        ({"priority": True}, "priority=True does not fit: it takes a whole number, not bool"),
        ({"labels": ["a"]}, r"labels=\['a'\] does not fit: it takes names with values, not list"),
        ({"headers": [1]}, r"headers=\[1\] does not fit: it takes names with values, not list"),
        ({"queue": 5}, "queue=5 does not fit: it takes a name"),
        ({"eta": "tomorrow"}, "eta='tomorrow' does not fit: as text it is a moment of ISO 8601"),
        ({"eta": 5}, r"eta=5 does not fit: it takes an aware datetime \(seconds: use countdown\), not int"),
        ({"budget": 5}, "budget=5 does not fit: it takes a Budget, not int"),
        ({"budget": {"nope": 3}}, r"budget=\{'nope': 3\} does not fit: .*'nope'; it takes input_tokens, output_tokens"),
        ({"budget": {"total_tokens": -1}}, r"budget=\{'total_tokens': -1\} does not fit: .* greater than zero"),
        ({"model": 5}, 'model=5 does not fit: it takes "provider:model", or several in a list'),
        ({"link": 5}, r"link=5 does not fit: it takes a signature, like review\.s\(\)"),
        ({"link": {"task": "x"}}, r"link=\{'task': 'x'\} does not fit: it takes a signature"),
        ({"link_error": ["x"]}, "link_error='x' does not fit: it takes a signature"),
        ({"chain": [{}]}, r"chain=\{\} does not fit: it takes a signature"),
        ({"args": 5}, "args=5 does not fit: it takes a list or a tuple, not int"),
        ({"args": "x"}, "args='x' does not fit: it takes a list or a tuple, not str"),
        ({"kwargs": [1]}, r"kwargs=\[1\] does not fit: it takes names with values, not list"),
        ({"kwargs": {5: 1}}, "a name in kwargs=5 does not fit: it takes text, not int"),
    ],
    ids=str,
)
def test_options_of_another_kind_are_named(shop: Shop, options: dict[str, Any], told: str):
    with scripted(shop.wink, {}), pytest.raises(ParametersInvalidError, match=told):
        shop.chat.apply_async(**{"args": ["x"], **options})


def test_what_is_declared_is_a_function(wink: Wink):
    for decorator in ("tool", "task"):
        with pytest.raises(DeclarationError, match=rf"@wink\.{decorator} takes a function, .*\(name='mine'\)"):
            getattr(wink, decorator)("mine")
    with pytest.raises(DeclarationError, match="a resource is made by a class or a function, not by 'mine'"):
        wink.resource("mine")


def test_a_run_is_named_by_text(wink: Wink):
    run = chat_of(wink).delay("x")
    for given in (5, run):
        with pytest.raises(ParametersInvalidError, match=rf"run_id={given!r} does not fit: .* use run\.id"):
            wink.run(given)


def test_a_session_is_named_not_given(shop: Shop):
    with scripted(shop.wink, {}), pytest.raises(ParametersInvalidError, match=r"use session\.id\), not Session"):
        shop.chat.with_options(session=shop.wink.session("s"))


def test_a_limit_that_a_run_does_not_take_names_the_one_that_it_does(shop: Shop):
    with scripted(shop.wink, {}):
        with pytest.raises(
            UnsupportedError, match=r"does not take time_limit \(for a limit of the whole run: deadline="
        ):
            shop.chat.apply_async(["x"], time_limit=3)
        with pytest.raises(UnsupportedError, match="a run does not take nonsense: it would be lost"):
            shop.chat.apply_async(["x"], nonsense=3)


def test_expires_in_the_past(shop: Shop):
    with scripted(shop.wink, {shop.chat: []}) as kit:
        past = datetime.fromtimestamp(kit.clock.now(), UTC) - timedelta(seconds=1)
        with pytest.raises(CancelledError, match="expired before it started"):
            shop.chat.with_options(expires=past).delay("x").get()
        with pytest.raises(ParametersInvalidError, match="expires=-1 does not fit"):
            shop.chat.with_options(expires=-1)


def test_two_apps_with_one_prefix_share_the_ledgers(wink: Wink, redis_url: str):
    other = Wink(
        Celery("other", broker="memory://", set_as_current=False), redis_url=redis_url, providers={"house": Shop}
    )
    mine, theirs = chat_of(wink), chat_of(other)
    mine.with_options(session="s").delay("x")
    assert theirs.with_options(session="s").delay("y").status == "WAITING", "one session is one, whoever speaks in it"
    mine.apply_async(["x"], task_id="t")
    with pytest.raises(DuplicateError):
        theirs.apply_async(["x"], task_id="t")
    assert theirs.name == "other.chat"
    other.leave()
    other.app.close()


@pytest.mark.parametrize("scheme", ["redis", "amqp"])
def test_a_broker_that_accepts_and_never_answers_does_not_hold_the_caller(
    scheme: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    monkeypatch.setattr(ringer, "PATIENCE", 0.2)
    monkeypatch.setattr(ringer, "BOUNDS", dict.fromkeys(ringer.BOUNDS, 0.2))
    with closing(socket.create_server(("127.0.0.1", 0))) as silent:
        app = Celery("silent", broker=f"{scheme}://127.0.0.1:{silent.getsockname()[1]}/0", set_as_current=False)
        bells = [
            Doorbell(address=Address("t", "s", name), mailbox="celery", task="p.q", headers={"ticket": 7})
            for name in ("one", "two", "three")
        ]
        publisher = CeleryRinger(app, NullTracer(), lambda _: None)
        with caplog.at_level(logging.WARNING):
            publisher.ring(bells)
        assert "doorbell of one to queue 'celery' not published" in caplog.text
        assert ", nor are 2 more; it is rung again later" in caplog.text
        tell_workers(app, "t", "run")
        assert "workers not told that run was cancelled: " in caplog.text
        publisher.close()
        publisher.close()
        app.close()


def test_a_doorbell_that_cannot_be_made_keeps_no_other_from_ringing(caplog: pytest.LogCaptureFixture):
    app = Celery("strict", broker="memory://", set_as_current=False)
    app.conf.update(task_create_missing_queues=False, task_default_queue="strict")
    publisher = CeleryRinger(app, NullTracer(), lambda _: None)
    bells = [
        Doorbell(address=Address("t", "s", name), mailbox=queue, task="p.q", headers={"ticket": 7})
        for name, queue in (("one", "nowhere"), ("two", "strict"))
    ]
    publisher.ring(bells)
    assert "doorbell of one to queue 'nowhere' not published" in caplog.text
    with app.connection_for_read() as connection, connection.SimpleQueue("strict") as queue:
        message = queue.get(timeout=5)
        message.ack()
    assert (message.headers["id"], message.headers["ticket"]) == ("two", 7)
    assert message.headers["wink"]["message"] == "two"
    publisher.close()
    app.close()
