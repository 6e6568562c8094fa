"""What only a real server shows of forks: they share what is stored, and a loan outlives no fork that never came."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from redis import Redis

from wink_tasks.adapters.redis.forks import LOAN_HOLDS, LOAN_KEPT
from wink_tasks.adapters.redis.store import RedisStore
from wink_tasks.core.errors import DuplicateError, SessionForkedError
from wink_tasks.core.ids import partition_of
from wink_tasks.testing.clock import FakeClock
from wink_tasks.testing.conformance.driver import TENANT, Driver
from wink_tasks.testing.conformance.forks import fork, numbers
from wink_tasks.testing.conformance.ledger import noted, opened


class Stalling(FakeClock):
    """At its next readings time has gone on by so many seconds."""

    def __init__(self) -> None:
        super().__init__()
        self.stalls: list[float] = []

    def now(self) -> float:
        if self.stalls:
            self.advance(self.stalls.pop(0))
        return super().now()


@pytest.fixture
def clock() -> Stalling:
    return Stalling()


@pytest.fixture
def d(redis_url: str, clock: Stalling) -> Iterator[Driver]:
    store = RedisStore(redis_url, partitions=16, clock=clock)
    driver = Driver(store)
    driver.append(opened("s1"), *map(noted, range(2, 7)), expected=0)
    yield driver
    store.close()


@pytest.fixture
def server(redis_url: str) -> Iterator[Any]:
    with Redis.from_url(redis_url, decode_responses=True) as client:
        yield client


def loans(server: Any) -> list[str]:
    found = [note for key in server.keys("*:forks:*") for note in server.hvals(key)]
    return sorted(note.partition(" ")[2] for note in found)


def test_nothing_is_copied_and_the_two_may_live_in_different_slots(d: Driver, server: Any):
    assert partition_of("s1", 16) != partition_of("s2", 16)
    fork(d, "s1", "s2", 6)
    [key] = server.keys("*:ledger:s2")
    assert [entry for entry, _ in server.xrange(key)] == ["7-0"]
    assert len(numbers(d, "s2")) == 7


def test_a_loan_whose_fork_never_came_holds_its_parent_for_an_hour(d: Driver, server: Any, clock: Stalling):
    d.ledger._commands.run("lend", TENANT, "s1", "loan", "s2", 3)
    with pytest.raises(SessionForkedError, match="'s2'"):
        d.ledger.delete(TENANT, "s1")
    clock.advance(LOAN_KEPT - 1)
    assert d.ledger.expire(older_than=1) == 0
    clock.advance(1)
    assert d.ledger.delete(TENANT, "s1")
    assert server.keys("*:forks:*") == []


def test_a_loan_of_a_fork_that_is_there_never_runs_out(d: Driver, clock: Stalling):
    fork(d, "s1", "s2", 3)
    d.ledger._commands.run("lend", TENANT, "s1", "loan", "s3", 3)
    clock.advance(LOAN_KEPT * 10)
    with pytest.raises(SessionForkedError, match="delete 's2' first"):
        d.ledger.delete(TENANT, "s1")


def test_who_comes_too_late_with_a_loan_takes_another(d: Driver, server: Any, clock: Stalling):
    clock.stalls = [0, LOAN_HOLDS + 1]
    fork(d, "s1", "s2", 3)
    assert numbers(d, "s2") == [1, 2, 3, 4]
    assert loans(server) == ["s2"]


def test_who_finds_the_name_taken_gives_the_loan_back(d: Driver, server: Any):
    fork(d, "s1", "s2", 3)
    with pytest.raises(DuplicateError):
        fork(d, "s1", "s2", 4)
    assert loans(server) == ["s2"]
    d.ledger.delete(TENANT, "s2")
    assert loans(server) == []
