"""What the in-memory store does beyond what every store does: it forgets by the test's clock, and tells what is due."""

from __future__ import annotations

import pytest

from wink_tasks.testing.clock import FakeClock
from wink_tasks.testing.conformance.driver import TENANT, Driver, succeeded
from wink_tasks.testing.memory import MemoryStore

HOUR = 3600


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def store(clock: FakeClock) -> MemoryStore:
    return MemoryStore(clock)


def test_a_closed_message_is_forgotten_after_an_hour(store: MemoryStore, clock: FakeClock) -> None:
    d = Driver(store)
    d.accept("e1")
    d.settle(d.claim("e1"), end=succeeded("e1"))
    clock.advance(HOUR - 1)
    assert d.look("e1").state == "done"
    clock.advance(1)
    assert store.ledger.message(TENANT, "s1", "e1") is None
    assert d.look("e1~outcome").state == "ready", "what is owed is not"


def test_a_tombstone_stands_for_ninety_days(store: MemoryStore, clock: FakeClock) -> None:
    d = Driver(store)
    d.accept("e1")
    d.settle(d.claim("e1"), end=succeeded("e1"))
    assert store.ledger.expire(older_than=0) == 1
    clock.advance(90 * 24 * HOUR - 1)
    assert store.ledger.expired(TENANT, "s1") is True
    clock.advance(1)
    assert store.ledger.expired(TENANT, "s1") is False


def test_it_tells_when_something_is_due(store: MemoryStore, clock: FakeClock) -> None:
    d = Driver(store)
    assert store.next_due() is None
    d.accept("e1", not_before=clock.now() + 60)
    assert store.next_due() == clock.now() + 60
    d.accept("e2", "s2")
    assert store.next_due() == clock.now() + 5
    assert d.claim("e2", "s2").deliveries == 1
    assert store.next_due() == clock.now() + 10
    store.close()
    assert store.url == "memory://"


def test_time_does_not_go_back(clock: FakeClock) -> None:
    clock.advance(1.5)
    assert (clock.now(), clock.monotonic()) == (1_800_000_001.5, 1.5)
    with pytest.raises(ValueError, match="does not go back"):
        clock.advance(-1)
