"""Who is alive, and who reaps."""
# ruff: noqa: D102, PLR2004 - tests

from __future__ import annotations

from itertools import pairwise

from msgspec import structs

from wink_tasks.ports.fleet import Worker
from wink_tasks.ports.store import Store
from wink_tasks.testing.clock import FakeClock

ONE = Worker(
    name="w1",
    pid=1,
    version="0.1.0",
    pool="threads",
    mailboxes=("turns", "tools"),
    prompts=("proj.review",),
    at=1000.5,
    slots=200,
    digests={"proj.review": "abc"},
    settings={"partitions": "16"},
)
TWO = Worker(name="w2", pid=2, version="0.1.0", pool="prefork", mailboxes=("tools",), tools=("proj.read",))


class FleetConformance:
    """The registry of workers, the election of the reaper, and what all share."""

    def test_a_worker_lives_while_it_beats(self, store: Store, clock: FakeClock) -> None:
        store.fleet.beat(TWO, every=2, term=5)
        clock.advance(6)
        store.fleet.beat(ONE, every=2, term=5)
        first, second = structs.replace(ONE, seen_at=clock.now()), structs.replace(TWO, seen_at=clock.now() - 6)
        assert list(store.fleet.workers()) == [first, second]
        clock.advance(4)
        assert list(store.fleet.workers()) == [first]
        store.fleet.beat(ONE, every=2, term=5)
        assert list(store.fleet.workers()) == [structs.replace(ONE, seen_at=clock.now())]

    def test_one_of_them_is_the_reaper(self, store: Store, clock: FakeClock) -> None:
        assert store.fleet.beat(ONE, every=2, term=5).reaper
        assert store.fleet.beat(TWO, every=2, term=5).reaper is False
        clock.advance(4)
        assert store.fleet.beat(ONE, every=2, term=5).reaper
        clock.advance(4)
        assert store.fleet.beat(TWO, every=2, term=5).reaper is False
        clock.advance(1)
        assert store.fleet.beat(TWO, every=2, term=5).reaper
        assert store.fleet.beat(ONE, every=2, term=5).reaper is False

    def test_the_others_take_turns(self, store: Store, clock: FakeClock) -> None:
        """However many there are, they look one after the other, and one soon after the reaper's term."""
        beats = {"every": 2, "term": 3, "spacing": 0.25}
        due = {f"s{number}": clock.now() for number in range(50)}
        looks: list[float] = []
        for _ in range(150):
            assert store.fleet.beat(ONE, **beats).reaper
            for name in [name for name, at in due.items() if at <= clock.now()]:
                beat = store.fleet.beat(structs.replace(TWO, name=name), **beats)
                assert not beat.reaper
                due[name] = clock.now() + beat.pause
                looks.append(clock.now())
            clock.advance(0.25)
        assert {later - earlier for earlier, later in pairwise(looks[50:])} <= {0.25, 0.5}
        assert len(store.fleet.workers()) == 51
        clock.advance(3)
        following = min(name for name, at in due.items() if at <= clock.now())
        found = store.fleet.beat(structs.replace(TWO, name=following), **beats)
        assert (found.reaper, found.vacant) == (True, 0.25)
        assert store.fleet.beat(structs.replace(TWO, name=following), **beats).vacant == 0

    def test_the_only_other_one_looks_as_soon_as_the_term_has_ended(self, store: Store, clock: FakeClock) -> None:
        beats = {"every": 2, "term": 2}
        store.fleet.beat(ONE, **beats)
        assert store.fleet.beat(TWO, **beats).pause == 2
        clock.advance(0.5)
        store.fleet.beat(ONE, **beats)
        clock.advance(1.5)
        assert store.fleet.beat(TWO, **beats).pause == 0.5
        clock.advance(0.5)
        assert store.fleet.beat(TWO, **beats).reaper

    def test_who_leaves_is_gone_at_once(self, store: Store) -> None:
        store.fleet.beat(ONE, every=2, term=5)
        store.fleet.beat(TWO, every=2, term=5)
        store.fleet.leave(TWO.id)
        store.fleet.leave(TWO.id)
        assert [worker.name for worker in store.fleet.workers()] == ["w1"]
        assert store.fleet.beat(TWO, every=2, term=5).reaper is False, "the other one is the reaper still"
        store.fleet.leave(ONE.id)
        assert store.fleet.beat(TWO, every=2, term=5).reaper

    def test_two_workers_of_one_name_are_two(self, store: Store) -> None:
        twin = structs.replace(ONE, pid=3)
        assert store.fleet.beat(ONE, every=2, term=5).reaper
        assert store.fleet.beat(twin, every=2, term=5).reaper is False
        assert [(worker.name, worker.pid) for worker in store.fleet.workers()] == [("w1", 1), ("w1", 3)]
        store.fleet.leave(twin.id)
        assert [worker.pid for worker in store.fleet.workers()] == [1]

    def test_what_the_first_wrote_is_in_force(self, store: Store) -> None:
        assert store.fleet.agree({"partitions": "16"}) == {"partitions": "16"}
        assert store.fleet.agree({"partitions": "8", "prefix": "wink"}) == {"partitions": "16", "prefix": "wink"}

    def test_the_store_tells_about_itself(self, store: Store) -> None:
        facts = store.fleet.facts()
        assert facts.product
        assert facts.eviction == "noeviction"
        assert facts.used_memory >= 0
        assert facts.max_memory == 0
        assert facts.now > 0
