"""What Redis may lose: a fail-over forgets what no replica had, and bounds that hold for what is no message of ours."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from redis import Redis

from tests.server import EmbeddedServer
from tests.workers import eventually
from wink_tasks.adapters.redis.rejections import RedisRejections
from wink_tasks.adapters.redis.store import RedisStore
from wink_tasks.core.errors import LeaseLostError
from wink_tasks.testing.conformance.driver import Driver, responded, succeeded
from wink_tasks.testing.conformance.operator import rejected


@pytest.fixture
def d(redis_url: str) -> Iterator[Driver]:
    store = RedisStore(redis_url, partitions=4)
    yield Driver(store)
    store.close()


@pytest.fixture
def server(redis_url: str) -> Iterator[Redis]:
    with Redis.from_url(redis_url) as client:
        yield client


def test_an_epoch_that_is_issued_twice_matches_no_receipt_twice(d: Driver, server: Redis) -> None:
    """A fail-over to a replica that has not seen a claim: the next one gives its epoch out again."""
    d.accept("e1")
    before = dumped(server)
    old = d.claim("e1", owner="w1")
    restore(server, before)
    new = d.claim("e1", owner="w2")
    assert (old.receipt.epoch, new.receipt.epoch) == (1, 1)
    assert list(d.mailbox.extend([old.receipt, new.receipt])) == ["stale", "held"]
    with pytest.raises(LeaseLostError):
        d.settle(old, responded("e1"))
    assert d.settle(new, responded("e1")).first == 3
    assert d.names() == ["EvaluationAccepted", "ModelResponded"]


def test_a_settlement_that_a_fail_over_forgot_is_recorded_when_it_is_given_again(d: Driver, server: Redis) -> None:
    d.accept("e1")
    claimed = d.claim("e1")
    before = dumped(server)
    assert d.settle(claimed, responded("e1"), messages=[d.turn("e1", 2)]).first == 3
    restore(server, before)
    assert d.names() == ["EvaluationAccepted"]
    assert d.settle(claimed, responded("e1"), messages=[d.turn("e1", 2)]).first == 3
    assert d.look("e1~turn2").state == "ready"


def dumped(server: Redis) -> dict[bytes, bytes]:
    """All that is on the server."""
    return {key: server.dump(key) for key in server.keys("*")}


def restore(server: Redis, dumped: dict[bytes, bytes]) -> None:
    """Put the server back to where it was."""
    server.flushdb()
    for key, value in dumped.items():
        server.restore(key, 0, value)


def test_a_letter_that_goes_while_it_is_looked_for_is_passed_over(d: Driver, server: Redis) -> None:
    for name in ("e1", "e2"):
        d.accept(name, name)
    (gone,) = server.keys("*message:e1")
    server.delete(gone)
    assert [one.sent.id for one in d.mailbox.peek("turns", state="ready")] == ["e2"]


def test_what_was_rejected_is_bounded_in_number_and_in_bytes(d: Driver, redis_url: str) -> None:
    commands = d.mailbox._commands  # type: ignore[attr-defined]  # with other bounds than those of a store
    few = RedisRejections(commands, most=3)
    for number in range(5):
        few.keep(rejected(number))
    assert ([one.task for one in few.kept()], few.count()) == (["t2", "t3", "t4"], 5)
    small = RedisRejections(commands, most_bytes=2_000)
    for number in range(5, 10):
        small.keep(rejected(number, b"x" * 700))
    assert [one.task for one in small.kept()] == ["t8", "t9"]
    assert small.drop([one.id for one in small.kept()]) == 2
    small.keep(rejected(10, b"x" * 5_000))
    assert [one.task for one in small.kept()] == ["t10"], "one that is larger than all is kept alone"
    assert small.count() == 11


@pytest.fixture
def followed(tmp_path: Path) -> Iterator[tuple[str, Redis]]:
    """The address of a server, and one that follows it. Not the test run's: a follower costs memory there."""
    with (
        EmbeddedServer(tmp_path / "first", options={"appendonly": "no"}) as first,
        EmbeddedServer(tmp_path / "second", options={"appendonly": "no"}) as second,
        Redis.from_url(second.url) as client,
    ):
        client.replicaof("127.0.0.1", first.url.rpartition(":")[2].partition("/")[0])
        eventually(lambda: client.info("replication")["master_link_status"] == "up", "it follows")
        yield first.url, client


def test_a_run_that_replicas_have_not_confirmed_is_warned_of_and_counts(
    followed: tuple[str, Redis], caplog: pytest.LogCaptureFixture
) -> None:
    url, replica = followed
    confirmed = Driver(RedisStore(url, partitions=4, replica_acks=1))
    assert confirmed.accept("e1").created
    claimed = confirmed.claim("e1")
    assert replica.exists(*replica.keys("*evaluation:e1"))
    confirmed.settle(claimed, responded("e1"))
    assert caplog.text == ""
    lacking = Driver(RedisStore(url, partitions=4, replica_acks=2))
    assert lacking.accept("e2", "s2").created
    assert "1 of 2 replicas (WINK_REPLICA_ACKS) have confirmed what Redis at redis://127.0.0.1" in caplog.text
    caplog.clear()
    lacking.settle(lacking.claim("e2", "s2"), end=succeeded("e2"))
    assert (lacking.status("e2"), caplog.text) == ("SUCCESS", ""), "not again so soon"
