"""The store on Redis does what every store has to do, also where each first reply of a command is lost."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.lossy import LossyConnection
from tests.traced import watch
from wink_tasks.adapters.redis.store import RedisStore
from wink_tasks.testing.clock import FakeClock
from wink_tasks.testing.conformance import Driver, StoreConformance


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


class TestRedis(StoreConformance):
    @pytest.fixture
    def store(self, redis_url: str, clock: FakeClock) -> Iterator[RedisStore]:
        store = RedisStore(redis_url, partitions=4, clock=clock)
        yield store
        store.close()


class TestRedisThatLosesReplies(StoreConformance):
    @pytest.fixture
    def store(self, redis_url: str, clock: FakeClock) -> Iterator[RedisStore]:
        # A busy machine may take seconds for one of thousands of replies, and the lost one has to be asked for again.
        store = RedisStore(redis_url, partitions=4, clock=clock, give_up_after=60)
        LossyConnection.at(store)
        yield store
        store.close()

    def test_replies_are_lost(self, store: RedisStore) -> None:
        lossy = LossyConnection.at(store)
        assert Driver(store).accept("e1").created
        assert lossy.lost == 2, "of home and accept"


class TestRedisReadsBeforeItWrites(StoreConformance):
    """On a Cluster whose slot migrates, a key that a script meets after its first write would leave half a command."""

    @pytest.fixture
    def store(self, redis_url: str, clock: FakeClock, monkeypatch: pytest.MonkeyPatch) -> Iterator[RedisStore]:
        watch(monkeypatch)
        store = RedisStore(redis_url, partitions=4, clock=clock)
        yield store
        store.close()
