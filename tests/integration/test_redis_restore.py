"""A restoration that does not come to its end leaves nothing that anybody reads."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from redis import Redis

from wink_tasks.adapters.redis.store import RedisStore
from wink_tasks.core.errors import StoreRefusedError
from wink_tasks.core.events import Dispatched, Recorded, SessionOpened


class Interrupted(BaseException):
    """The process ends here."""


class Events(list):
    """Has something happen when its second piece is taken."""

    def __init__(self, events, happens):
        super().__init__(events)
        self.happens = happens
        self.pieces = 0

    def __getitem__(self, place):
        self.pieces += isinstance(place, slice)
        if self.pieces == 2 and isinstance(place, slice):
            self.happens()
        return super().__getitem__(place)


@pytest.fixture
def store(redis_url: str) -> Iterator[RedisStore]:
    store = RedisStore(redis_url, partitions=4)
    yield store
    store.close()


@pytest.fixture
def server(redis_url: str) -> Iterator[Redis]:
    with Redis.from_url(redis_url) as server:
        yield server


def ledger() -> list[Recorded]:
    events = [SessionOpened(tenant="t", session="s"), *(Dispatched(name="a.B", data=n) for n in range(700))]
    return [Recorded(seq, 1.5, "a", event) for seq, event in enumerate(events, 1)]


def restore(store: RedisStore, events: list[Recorded]) -> bool:
    return store.ledger.restore("t", "s", created_at=1.5, events=events, evaluations=[])


def test_a_killed_one_leaves_events_that_nobody_reads_and_that_expire(store: RedisStore, server: Redis):
    def end():
        raise Interrupted

    with pytest.raises(Interrupted):
        restore(store, Events(ledger(), end))
    [staged] = server.keys("wink:*")
    assert b":t:staged:" in staged
    assert 0 < server.ttl(staged) <= 3600
    assert store.ledger.session("t", "s") is None
    assert store.ledger.sessions() == []
    assert store.ledger.read("t", "s") == ()
    assert restore(store, ledger()) is True
    assert len(store.ledger.read("t", "s")) == 701
    [ledger_key] = server.keys("wink:*:ledger:s")
    assert server.ttl(ledger_key) == -1


def test_one_whose_events_are_lost_on_the_way_is_refused(store: RedisStore, server: Redis):
    def lose():
        server.delete(*server.keys("*:staged:*"))

    with pytest.raises(StoreRefusedError, match="'s' is gone before all of it was"):
        restore(store, Events(ledger(), lose))
    assert store.ledger.session("t", "s") is None
