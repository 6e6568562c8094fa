"""Who is alive, and who reaps."""
# ruff: noqa: D102 - tests

from __future__ import annotations

from msgspec import structs

from wink_tasks.ports.fleet import Worker
from wink_tasks.testing.clock import FakeClock
from wink_tasks.testing.conformance.driver import Store

ONE = Worker(name="w1", pid=1, version="0.1.0", pool="threads", mailboxes=("turns", "tools"), prompts=("proj.review",))
TWO = Worker(name="w2", pid=2, version="0.1.0", pool="prefork", mailboxes=("tools",), tools=("proj.read",))


class FleetConformance:
    """The registry of workers, the election of the reaper, and what all share."""

    def test_a_worker_lives_while_it_beats(self, store: Store, clock: FakeClock) -> None:
        store.fleet.beat(TWO, lifetime=10, term=5)
        clock.advance(6)
        store.fleet.beat(ONE, lifetime=10, term=5)
        first, second = structs.replace(ONE, seen_at=clock.now()), structs.replace(TWO, seen_at=clock.now() - 6)
        assert list(store.fleet.workers()) == [first, second]
        clock.advance(4)
        assert list(store.fleet.workers()) == [first]
        store.fleet.beat(ONE, lifetime=10, term=5)
        assert list(store.fleet.workers()) == [structs.replace(ONE, seen_at=clock.now())]

    def test_one_of_them_is_the_reaper(self, store: Store, clock: FakeClock) -> None:
        assert store.fleet.beat(ONE, lifetime=10, term=5) is True
        assert store.fleet.beat(TWO, lifetime=10, term=5) is False
        clock.advance(4)
        assert store.fleet.beat(ONE, lifetime=10, term=5) is True
        clock.advance(4)
        assert store.fleet.beat(TWO, lifetime=10, term=5) is False
        clock.advance(1)
        assert store.fleet.beat(TWO, lifetime=10, term=5) is True
        assert store.fleet.beat(ONE, lifetime=10, term=5) is False

    def test_who_leaves_is_gone_at_once(self, store: Store) -> None:
        store.fleet.beat(ONE, lifetime=10, term=5)
        store.fleet.beat(TWO, lifetime=10, term=5)
        store.fleet.leave("w2")
        store.fleet.leave("w2")
        assert [worker.name for worker in store.fleet.workers()] == ["w1"]
        assert store.fleet.beat(TWO, lifetime=10, term=5) is False, "the other one is the reaper still"
        store.fleet.leave("w1")
        assert store.fleet.beat(TWO, lifetime=10, term=5) is True

    def test_what_the_first_wrote_is_in_force(self, store: Store) -> None:
        assert store.fleet.agree({"partitions": "16"}) == {"partitions": "16"}
        assert store.fleet.agree({"partitions": "8", "prefix": "wink"}) == {"partitions": "16", "prefix": "wink"}

    def test_the_store_tells_about_itself(self, store: Store) -> None:
        facts = store.fleet.facts()
        assert facts.product
        assert facts.eviction == "noeviction"
        assert facts.used_memory >= 0
        assert facts.max_memory == 0
