"""The reaper shows that its worker is alive, and brings back what is due where it is elected."""

from __future__ import annotations

import pytest

from tests.unit.runtime.conftest import Shop
from tests.workers import eventually
from wink_tasks.core.errors import LedgerUnavailableError
from wink_tasks.ports.fleet import Worker
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
    return Reaper(worker=lambda: worker(name), beat=2, every=1, retention=100, **{**parts, **others})


def test_one_is_elected_and_the_next_follows_when_it_leaves():
    store = MemoryStore(FakeClock())
    first, second = reaper(store, "a"), reaper(store, "b")
    assert (first.round(), second.round()) == (1, 2)
    assert [one.name for one in store.fleet.workers()] == ["a", "b"]
    first.stop()
    first.stop()
    assert second.round() == 1
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

        def expire(self, *, older_than):
            asked.append(older_than)

    one = reaper(store, ledger=Ledger(), clock=clock)
    for _ in range(5):
        one.round()
    clock.advance(61)
    one.round()
    assert asked == [100, 100]


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
