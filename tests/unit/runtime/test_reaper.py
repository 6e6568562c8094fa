"""The reaper shows that its worker is alive, and brings back what is due where it is elected."""

from __future__ import annotations

import pytest
from redis import Redis

from tests.unit.runtime.conftest import Shop
from tests.workers import eventually
from wink_tasks.adapters.redis.store import RedisStore
from wink_tasks.core.errors import LedgerUnavailableError
from wink_tasks.ports.fleet import Worker
from wink_tasks.ports.mailbox import Address
from wink_tasks.runtime.reaper import Reaper
from wink_tasks.testing import FakeClock, MemoryStore


class Rung:
    """Keeps what is rung."""

    def __init__(self) -> None:
        self.bells = []

    def ring(self, doorbells):
        self.bells.extend(doorbells)


def worker(name: str) -> Worker:
    return Worker(name=name, pid=1, version="1", pool="threads", mailboxes=("q",))


def reaper(store: MemoryStore, name: str = "a", **others) -> Reaper:
    parts = {
        "fleet": store.fleet,
        "mailbox": store.mailbox,
        "ledger": store.ledger,
        "ringer": Rung(),
        "clock": FakeClock(),
    }
    return Reaper(worker=lambda: worker(name), beat=2, every=0.5, retention=100, **{**parts, **others})


def test_one_is_elected_and_the_next_follows_when_it_leaves():
    store = MemoryStore(FakeClock())
    first, second = reaper(store, "a"), reaper(store, "b")
    assert (first.round(), second.round()) == (0.5, 2), "the next one looks when the term has ended"
    assert [one.name for one in store.fleet.workers()] == ["a", "b"]
    first.stop()
    first.stop()
    assert second.round() == 0.5
    assert [one.name for one in store.fleet.workers()] == ["b"]


def test_what_is_due_is_rung(shop: Shop):
    with shop.wink.in_memory(clock=FakeClock()) as house:
        shop.chat.with_options(countdown=30).delay("x")
        rung = Rung()
        one = reaper(house.store, ringer=rung)
        one.round()
        assert not rung.bells
        house.clock.advance(31)
        one.round()
        assert [bell.task for bell in rung.bells] == ["shop.chat"]


def test_retention_is_looked_at_now_and_then():
    clock, store = FakeClock(), MemoryStore(FakeClock())
    asked = []

    class Ledger:
        """Counts."""

        def expire(self, *, older_than, archive):
            asked.append(older_than)
            return len(asked) == 2

    one = reaper(store, ledger=Ledger(), clock=clock)
    for _ in range(5):
        one.round()
    clock.advance(61)
    one.round()
    assert asked == [100, 100]
    clock.advance(5)
    one.round()
    assert asked == [100, 100, 100], "there may be more"
    clock.advance(59)
    one.round()
    assert asked == [100, 100, 100]


def test_its_thread_goes_on_when_the_store_was_away(caplog: pytest.LogCaptureFixture):
    store = MemoryStore(FakeClock())

    class Away:
        """Away at first."""

        tries = 0

        def beat(self, *args, **kwargs):
            self.tries += 1
            if self.tries == 1:
                raise LedgerUnavailableError("away")
            return store.fleet.beat(*args, **kwargs)

        def leave(self, name):
            store.fleet.leave(name)

    one = reaper(store, fleet=Away())
    one._beat = 0.001
    one.stop()
    one.start()
    eventually(store.fleet.workers, "it joins")
    one.stop()
    assert "nothing reaped: LedgerUnavailableError: away" in caplog.text
    assert not store.fleet.workers()


def test_it_ends_also_while_the_store_is_away(caplog: pytest.LogCaptureFixture):
    store = MemoryStore(FakeClock())

    class Gone:
        """There at first."""

        def beat(self, *args, **kwargs):
            return store.fleet.beat(*args, **kwargs)

        def leave(self, name):
            raise LedgerUnavailableError("away")

    one = reaper(store, fleet=Gone())
    one.round()
    one.stop()
    assert "left without a word: away" in caplog.text


@pytest.mark.parametrize(
    ("absence", "lived", "state"), [(20, True, "leased"), (20, False, "ready"), (1, True, "ready")]
)
def test_leases_are_spared_by_who_saw_the_store_away(shop: Shop, absence: int, lived: bool, state: str):
    """Not by a worker that was started since, nor after the time that a succession takes."""
    with shop.wink.in_memory(clock=FakeClock()) as house:
        shop.chat.with_options(countdown=1).apply_async(("x",), task_id="r")
        others = reaper(house.store, "old", clock=house.clock) if lived else None
        house.clock.advance(1)
        reaper(house.store, "a", clock=house.clock).round()
        house.store.mailbox.claim(Address("default", "r", "r"), task="shop.chat", owner="w", after=None)
        house.clock.advance(9)
        reaper(house.store, "a", clock=house.clock).round()
        house.clock.advance(3 + absence)
        (others or reaper(house.store, "new", clock=house.clock)).round()
        assert house.store.ledger.message("default", "r", "r").state == state


def test_fifty_idle_workers_ask_no_more_than_twice_as_much_as_one(redis_url: str):
    """Counted on the server, over a minute of the fake clock."""

    def asked(members: int) -> int:
        clock = FakeClock()
        store = RedisStore(redis_url, prefix=f"idle{members}", clock=clock)
        parts = {"fleet": store.fleet, "mailbox": store.mailbox, "ledger": store.ledger, "clock": clock}
        due = {reaper(store, f"w{number}", **parts): 0.0 for number in range(members)}
        counts = []
        with Redis.from_url(redis_url) as server:
            for seconds in (20, 60):
                server.config_resetstat()
                until = clock.monotonic() + seconds
                while clock.monotonic() < until:
                    for one in [one for one, at in due.items() if at <= clock.monotonic()]:
                        due[one] = clock.monotonic() + one.round()
                    clock.advance(0.25)
                stats = server.info("commandstats")
                counts.append(stats["cmdstat_evalsha"]["calls"])
        assert len(store.fleet.workers()) == members
        store.close()
        return counts[1]

    assert asked(50) <= 2 * asked(1)
