"""What lies in a queue on Redis and is no message, read by kombu without a worker."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from kombu import Connection, Consumer, Queue
from redis import Redis

from wink_tasks.adapters.celery.wire import survive
from wink_tasks.ports.rejections import LARGEST_BODY, Rejected


@pytest.fixture(params=["", "theirs:"])
def prefix(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def connection(redis_url: str, prefix: str) -> Iterator[Connection]:
    with Connection(redis_url, transport_options={"global_keyprefix": prefix}) as found:
        yield found


def test_it_is_kept_and_the_next_message_is_heard(connection: Connection, redis_url: str, prefix: str):
    kept: list[Rejected] = []
    heard: list[Any] = []

    def hear(body: Any, message: Any) -> None:
        heard.append(body)
        message.ack()

    survive(connection.default_channel, kept.append)
    survive(connection.default_channel, kept.append)  # as at a reconnection
    assert connection.default_channel.client.ping()
    with Consumer(connection.default_channel, [Queue("q", max_priority=9)], callbacks=[hear]) as consumer:
        consumer.channel.basic_publish(consumer.channel.prepare_message("first", content_type="text/plain"), "", "q")
        with Redis.from_url(redis_url) as redis:
            redis.lpush(f"{prefix}q", b"api_key=hunter2", b"x" * (LARGEST_BODY + 5))
            redis.lpush(f"{prefix}q\x06\x166", b"urgent")
        consumer.channel.basic_publish(consumer.channel.prepare_message("last", content_type="text/plain"), "", "q")
        for _ in range(5):
            connection.drain_events(timeout=5)
    assert heard == ["first", "last"]
    assert [(one.queue, one.reason, one.size) for one in kept] == [
        ("q", "no message", 15),
        ("q", "no message", LARGEST_BODY + 5),
        ("q", "no message", 6),
    ]
    assert [one.body[:15] for one in kept] == [b"api_key=hunter2", b"x" * 15, b"urgent"]
    assert kept[0].error == "JSONDecodeError: Expecting value: line 1 column 1 (char 0)"


def test_what_comes_of_a_message_is_not_swallowed(connection: Connection):
    kept: list[Rejected] = []

    def stumble(body: Any, message: Any) -> None:
        message.ack()
        raise ValueError(body)

    survive(connection.default_channel, kept.append)
    with Consumer(connection.default_channel, [Queue("q")], callbacks=[stumble]) as consumer:
        consumer.channel.basic_publish(consumer.channel.prepare_message("odd", content_type="text/plain"), "", "q")
        with pytest.raises(ValueError, match="odd"):
            connection.drain_events(timeout=5)
        with pytest.raises(TimeoutError):
            connection.drain_events(timeout=0.1)
    assert kept == []


def test_channels_of_other_brokers_are_left_alone():
    kept: list[Rejected] = []
    with Connection("memory://") as other:
        before = dict(vars(other.default_channel))
        survive(other.default_channel, kept.append)
        assert vars(other.default_channel) == before
