"""What each command costs: round trips, commands that its script runs, and keys that it touches. None may creep up."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from redis import Connection, Redis

from wink_tasks.adapters.redis.store import RedisStore
from wink_tasks.core.ids import partition_of
from wink_tasks.ports.mailbox import Address, Claimed
from wink_tasks.testing.clock import FakeClock
from wink_tasks.testing.conformance.driver import TENANT, Driver, responded, succeeded


class Counting(Connection):
    """Counts what is sent, whatever number of commands it carries."""

    sent = 0

    def send_packed_command(self, command: Any, check_health: bool = True) -> None:
        Counting.sent += 1
        super().send_packed_command(command, check_health)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def d(redis_url: str, clock: FakeClock) -> Iterator[Driver]:
    store = RedisStore(redis_url, partitions=4, clock=clock)
    store.link._connections._factory.connection_class = Counting
    yield Driver(store)
    store.close()


@pytest.fixture
def cost(redis_url: str, d: Driver) -> Iterator[Callable[[Callable[[], Any]], tuple[int, int, int]]]:
    """Round trips, commands and keys of what is done; first it is done once to have its script known."""
    with Redis.from_url(redis_url) as redis:

        def commands() -> int:
            stats = redis.info("commandstats")
            return sum(one["calls"] for name, one in stats.items() if name not in ("cmdstat_info", "cmdstat_monitor"))

        def measured(work: Callable[[], Any]) -> tuple[int, int, int]:
            Counting.sent = 0
            before = commands()
            with redis.monitor() as monitor:
                work()
                redis.echo("end")
                keys = set()
                for seen in monitor.listen():
                    words = seen["command"].split()
                    if words[0] == "ECHO":
                        break
                    keys |= {word for word in words[1:] if word.startswith("wink:") and seen["client_type"] == "lua"}
            return Counting.sent, commands() - before - 2, len(keys)

        yield measured


def here(d: Driver, prefix: str) -> str:
    """An evaluation id that lives where session s1 does."""
    home = partition_of("s1", 4)
    return next(name for name in (f"{prefix}{number}" for number in range(99)) if partition_of(name, 4) == home)


def dead(d: Driver, name: str) -> Claimed:
    """A turn that died, and whose end was told."""
    d.accept(name, name)
    claimed = d.claim(name, name)
    d.mailbox.bury(claimed.receipt, reason="r", error="")
    d.settle(d.claim(f"{name}~outcome", name))
    return claimed


def test_each_command_is_one_round_trip_and_no_dearer_than_it_was(
    d: Driver, clock: FakeClock, cost: Callable[[Callable[[], Any]], tuple[int, int, int]]
) -> None:
    warm(d, clock)
    d.accept("e1", "t1")
    first = d.claim("e1", "t1")
    calls = [d.call("e1", place, "t1", reads=(0,)) for place in range(3)]
    follow = d.turn("e1", 2, "t1", needs=3)
    found = {
        "accept": cost(lambda: d.accept(here(d, "f"))),
        "extend": cost(lambda: d.mailbox.extend([first.receipt])),
        "settle": cost(lambda: d.settle(first, responded("e1", 3), messages=[*calls, follow], serves=["tools"])),
        "claim": cost(lambda: d.claim("e1~turn1.call1", "t1", after=0)),
    }
    second = d.claim("e1~turn1.call2", "t1")
    found["nack"] = cost(lambda: d.mailbox.nack(second.receipt, delay=5, counts=True, error="x", paused="p"))
    found["wake"] = cost(lambda: d.mailbox.wake(Address(TENANT, "t1", "e1~turn1.call2")))
    again = d.claim("e1~turn1.call2", "t1")
    found["resume"] = cost(lambda: d.mailbox.resume(again.receipt, after=None))
    found["bury"] = cost(lambda: d.mailbox.bury(again.receipt, reason="r", error="x"))
    found["cancel"] = cost(lambda: d.mailbox.cancel(TENANT, "e1", by="ann", reason="r"))
    dead(d, "e2")
    found["revive"] = cost(lambda: d.mailbox.revive(Address(TENANT, "e2", "e2"), by="ann"))
    dead(d, "e3")
    found["purge"] = cost(lambda: d.mailbox.purge([Address(TENANT, "e3", "e3")]))
    trips = {name: one[0] for name, one in found.items()}
    assert trips == {**dict.fromkeys(found, 1), "cancel": 2}, "cancel looks first where the evaluation lives"
    for name, (_, commands, keys) in found.items():
        most_commands, most_keys = MOST[name]
        assert (commands <= most_commands, keys <= most_keys) == (True, True), (name, commands, keys)


MOST = {
    "accept": (27, 16),
    "extend": (9, 3),
    "settle": (35, 18),
    "claim": (19, 10),
    "nack": (16, 8),
    "wake": (11, 6),
    "resume": (15, 7),
    "bury": (20, 12),
    "cancel": (19, 10),
    "revive": (23, 14),
    "purge": (13, 6),
}
"""The commands that the server runs for each, the script included, and the keys that it touches."""


def warm(d: Driver, clock: FakeClock) -> None:
    """Have the server know every script."""
    d.accept("w1", "w1")
    claimed = d.claim("w1", "w1")
    d.mailbox.extend([claimed.receipt])
    d.mailbox.resume(claimed.receipt, after=None)
    d.mailbox.nack(claimed.receipt, delay=5, counts=False, error="")
    d.mailbox.wake(Address(TENANT, "w1", "w1"))
    d.settle(d.claim("w1", "w1"), end=succeeded("w1"))
    d.mailbox.cancel(TENANT, "w1", by="ann", reason="r")
    dead(d, "w2")
    d.mailbox.revive(Address(TENANT, "w2", "w2"), by="ann")
    dead(d, "w3")
    d.mailbox.purge([Address(TENANT, "w3", "w3")])
    d.mailbox.reap()


def test_what_is_held_is_extended_in_one_round_trip_whatever_its_number(
    d: Driver, clock: FakeClock, cost: Callable[[Callable[[], Any]], tuple[int, int, int]]
) -> None:
    warm(d, clock)
    receipts = []
    for place in range(300):
        d.accept(f"e{place}", f"s{place}")
        receipts.append(d.claim(f"e{place}", f"s{place}").receipt)
    trips, commands, _ = cost(lambda: d.mailbox.extend(receipts))
    assert (trips, commands <= 300 * 5) == (1, True), commands


def test_a_round_of_the_reaper_is_one_round_trip_and_no_more_than_it_was_asked(
    d: Driver, clock: FakeClock, cost: Callable[[Callable[[], Any]], tuple[int, int, int]]
) -> None:
    warm(d, clock)
    for place in range(60):
        d.accept(f"e{place}", "s1" if place == 0 else f"s{place}")
    clock.advance(5)
    rung: list[Any] = []
    trips, commands, _ = cost(lambda: rung.extend(d.mailbox.reap(limit=10)))
    assert (trips, len(rung) <= 40, commands <= 40 * 6 + 40) == (1, True, True), (len(rung), commands)


def test_a_page_of_dead_letters_is_two_round_trips_a_partition(
    d: Driver, clock: FakeClock, cost: Callable[[Callable[[], Any]], tuple[int, int, int]]
) -> None:
    calls = d.fan_out("e1", 150)
    for call in calls:
        d.mailbox.bury(call.receipt, reason="r", error="")
    trips, _, _ = cost(lambda: list(d.mailbox.peek("tools")))
    assert trips == 3 + 2 * 2, "three partitions have none, one has two pages"
    assert cost(d.mailbox.dead)[0] == 2
