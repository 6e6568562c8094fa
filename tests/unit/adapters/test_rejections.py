"""What a consumer's hooks keep, and what they leave to Celery."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from wink_tasks.adapters.celery import rejections
from wink_tasks.adapters.celery.rejections import LARGEST_HEADERS, Rejecting, rejected, republish
from wink_tasks.core.errors import LedgerUnavailableError
from wink_tasks.ports.rejections import LARGEST_BODY, Rejected


class Message(SimpleNamespace):
    """A kombu message, as far as it matters here."""

    def __init__(self, body: Any = b"x", **others: Any) -> None:
        known = {"headers": {"task": "their.task"}, "properties": {}, "content_type": "application/json"}
        where = {"content_encoding": "utf-8", "delivery_info": {"routing_key": "celery"}, "acknowledged": False}
        super().__init__(body=body, **{**known, **where, **others})

    def reject(self) -> None:
        self.acknowledged = True


class Consumer:
    """Celery's, as far as it matters here: it tells what it was asked to do."""

    def __init__(self) -> None:
        self.did: list[str] = []
        self.task_consumer = SimpleNamespace(channel=None)

    def on_unknown_message(self, body: Any, message: Any) -> None:
        self.did.append("unknown message")

    def on_unknown_task(self, body: Any, message: Any, error: Exception) -> None:
        raise KeyError("id")

    def on_invalid_task(self, body: Any, message: Any, error: Exception) -> None:
        self.did.append("invalid task")
        message.reject()

    def on_decode_error(self, message: Any, error: Exception) -> None:
        self.did.append("decode error")

    def create_task_handler(self) -> Any:
        def on_task_received(message: Any) -> str:
            if isinstance(message.body, Exception):
                raise message.body
            return "received"

        return on_task_received


@pytest.fixture
def kept() -> list[Rejected]:
    return []


@pytest.fixture
def consumer(kept: list[Rejected]) -> Consumer:
    found = Consumer()
    Rejecting(kept.append).watch(found, lambda celery_does: celery_does)
    return found


def test_each_hook_keeps_and_then_lets_celery_do_what_it_does(consumer: Consumer, kept: list[Rejected]):
    consumer.on_unknown_message(None, Message())
    consumer.on_invalid_task(None, Message(), ValueError("api_key=hunter2"))
    consumer.on_decode_error(Message(), ValueError("no"))
    consumer.task_consumer.on_decode_error(Message(), ValueError("no"))
    assert consumer.did == ["unknown message", "invalid task", "decode error", "decode error"]
    assert [one.reason for one in kept] == ["unknown format", "invalid", "undecodable", "undecodable"]
    assert (kept[1].error, kept[1].queue, kept[1].task) == ("ValueError: api_key=***", "celery", "their.task")


def test_where_celery_itself_stumbles_the_message_is_rejected(
    consumer: Consumer, kept: list[Rejected], caplog: pytest.LogCaptureFixture
):
    message = Message()
    consumer.on_unknown_task(None, message, KeyError("their.task"))
    assert message.acknowledged
    assert [one.reason for one in kept] == ["unknown task"]
    assert "Celery could not tell of a message that it rejects: KeyError: 'id'" in caplog.text
    consumer.on_unknown_task(None, Message(acknowledged=True), KeyError("their.task"))


def test_a_message_at_which_the_worker_would_end_is_invalid(
    consumer: Consumer, kept: list[Any], monkeypatch: pytest.MonkeyPatch
):
    handle = consumer.create_task_handler()
    assert handle(Message()) == "received"
    strange = Message(body=TypeError("unhashable"))
    monkeypatch.setattr(rejections, "rejected", lambda message, reason, error: (message, reason, error))
    assert handle(strange) is None
    assert kept == [(strange, "invalid", strange.body)]
    assert consumer.did == ["invalid task"]
    with pytest.raises(TypeError):
        handle(Message(body=TypeError("late"), acknowledged=True))
    with pytest.raises(OSError, match="connection"):
        handle(Message(body=OSError("connection")))


def test_what_a_task_rejects_for_good_is_kept(kept: list[Rejected]):
    did: list[Any] = []
    request = SimpleNamespace(on_reject=lambda *args: did.append(args), message=Message())
    Rejecting(kept.append).received(request)
    request.on_reject("logger", (), True)
    assert kept == []
    request.on_reject("logger", (), False)
    request.on_reject("logger", ())
    assert [one.reason for one in kept] == ["rejected by its task"] * 2
    assert did == [("logger", (), True), ("logger", (), False), ("logger", (), False)]


def test_while_the_store_is_away_the_consumer_is_not_kept_waiting(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    asked = []

    def away(one: Rejected) -> None:
        asked.append(one)
        raise LedgerUnavailableError("redis://:hunter2@host is away")

    clock = SimpleNamespace(now=100.0)
    monkeypatch.setattr(rejections, "time", SimpleNamespace(monotonic=lambda: clock.now, time=lambda: 1.0))
    consumer = Consumer()
    Rejecting(away).watch(consumer, lambda celery_does: celery_does)
    for _ in range(3):
        consumer.on_unknown_message(None, Message())
    assert (len(asked), consumer.did) == (1, ["unknown message"] * 3)
    assert "a rejected message was not kept, nor are others for 30 s" in caplog.text
    assert "hunter2" not in caplog.text
    clock.now += 30
    consumer.on_unknown_message(None, Message())
    assert len(asked) == 2


def test_a_message_is_kept_as_it_came_within_bounds():
    one = rejected(
        Message(
            body="ä\udcff",
            headers={"task": ["odd"], "when": object()},
            properties={"priority": 3},
            content_type=None,
            content_encoding=None,
            delivery_info={"exchange": "theirs"},
        ),
        "invalid",
        None,
    )
    assert (one.body, one.size, one.queue, one.task) == ("ä".encode() + b"\xff", 3, "theirs", "['odd']")
    assert (one.content_type, one.content_encoding, one.error, dict(one.properties)) == (
        None,
        None,
        "",
        {"priority": 3},
    )
    assert one.headers["when"].startswith("<object object")
    large = rejected(Message(body=b"x" * (LARGEST_BODY + 5), headers={"h": "x" * LARGEST_HEADERS}), "invalid", None)
    assert (len(large.body), large.size, large.is_whole) == (LARGEST_BODY, LARGEST_BODY + 5, False)
    assert list(large.headers) == ["cut"]
    odd = rejected(Message(body=None, headers=5, properties=None, delivery_info=None), "unknown format", None)
    assert (odd.body, odd.queue, odd.headers, odd.properties) == (b"", "", {}, {})


def test_what_no_text_can_hold_is_kept_all_the_same(kept: list[Rejected]):
    keeping = Rejecting(kept.append)
    for body in ("\ud800", 10**15, {"a": 1}, ["x"], True, b"x"):
        keeping.keep(Message(body=body, headers={"id": "\ud800"}), "invalid", ValueError("\ud800"))
    assert [one.body for one in kept] == [b"\xed\xa0\x80", b"1000000000000000", b'{"a":1}', b'["x"]', b"true", b"x"]
    assert {one.has_headers or one.is_whole for one in kept} == {False}
    assert {one.headers["unreadable"] for one in kept} == {"UnicodeEncodeError: {'id': '\\ud800'}"}
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    keeping.keep(Message(headers={"id": deep}), "invalid", None)
    assert str(kept[-1].headers["unreadable"]).startswith("RecursionError: ")


def test_one_that_cannot_be_kept_does_not_hinder_the_next(
    kept: list[Rejected], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    keeping = Rejecting(kept.append)
    with monkeypatch.context() as patch:
        patch.setattr(rejections, "rejected", lambda *_: 1 // 0)
        keeping.keep(Message(), "invalid", None)
    assert "a rejected message was not kept: ZeroDivisionError" in caplog.text
    keeping.keep(Message(), "invalid", None)
    assert len(kept) == 1


def test_what_is_sent_again_is_what_came():
    published: list[Any] = []
    producer = SimpleNamespace(publish=lambda body, **options: published.append((body, options)))

    class Acquired:
        def __enter__(self) -> Any:
            return producer

        def __exit__(self, *_: object) -> None:
            pass

    known = {"reason": "unknown task", "at": 1.0, "size": 1, "body": b"x", "queue": "q"}
    one = Rejected(headers={"task": "t"}, properties={"correlation_id": "c", "delivery_tag": 5}, **known)
    republish(SimpleNamespace(producer_or_acquire=Acquired), one)  # type: ignore[arg-type]
    body, options = published[0]
    assert (body, options["routing_key"], options["exchange"], options["headers"]) == (b"x", "q", "", {"task": "t"})
    assert (options["content_type"], options["content_encoding"]) == ("application/data", "binary")
    assert (options["correlation_id"], "delivery_tag" in options) == ("c", False)


@pytest.mark.parametrize("limits", ["x", 5, [1], [1, 2, 3], ["1", None], {}])
def test_time_limits_of_no_known_shape_are_found_before_celery_holds_a_place(
    consumer: Consumer, kept: list[Rejected], limits: Any
):
    handle = consumer.create_task_handler()
    assert handle(Message(headers={"task": "t", "timelimit": limits})) is None
    assert handle(Message(headers={}, payload={"task": "t", "timelimit": limits})) is None
    assert [one.reason for one in kept] == ["invalid", "invalid"]
    assert "not two numbers" in kept[0].error


@pytest.mark.parametrize("limits", [None, [None, None], [3, 2.5], (1, None)])
def test_time_limits_that_fit_are_celerys_business(consumer: Consumer, limits: Any):
    handle = consumer.create_task_handler()
    assert handle(Message(headers={"task": "t", "timelimit": limits})) == "received"
    assert handle(Message(headers={}, payload=["no", "mapping"])) == "received"
    assert handle(Message(headers={})) == "received", "its payload cannot be read"
    assert handle(Message(headers=None)) == "received"
