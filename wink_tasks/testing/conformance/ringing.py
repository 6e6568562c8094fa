"""Doorbells that get lost, and those that only wait for their turn."""
# ruff: noqa: D102 - tests

from __future__ import annotations

from msgspec import structs

from wink_tasks.ports.mailbox import Accepted, Address
from wink_tasks.testing.clock import FakeClock
from wink_tasks.testing.conformance.driver import Driven, Driver, rung, succeeded


class RingingConformance(Driven):
    """When a doorbell rings again. Each evaluation has a session, and so mostly a partition, of its own."""

    def test_one_that_was_not_published_rings_again(self, d: Driver, clock: FakeClock) -> None:
        published(d, "e1")
        d.accept("e2", "e2")
        for seconds in range(1, 5):
            clock.advance(1)
            assert d.mailbox.reap() == (), seconds
            published(d, f"new{seconds}")
        clock.advance(1)
        assert rung(d.mailbox.reap()) == ["e2"]

    def test_one_that_was_published_and_overtaken_rings_again(self, d: Driver, clock: FakeClock) -> None:
        for number in range(8):
            published(d, f"e{number}")
            clock.advance(1)
        d.claim("e6", "e6")
        assert rung(d.mailbox.reap()) == ["e0", "e1"], "those that rang five seconds before"
        assert d.mailbox.reap() == (), "once"
        d.claim("e1", "e1")
        clock.advance(1)
        assert d.mailbox.reap() == (), "a bell of e1 that arrived may have been its first: it tells nothing of others"
        d.claim("e7", "e7")
        assert rung(d.mailbox.reap()) == ["e2"]

    def test_what_waits_behind_others_is_left_alone(self, d: Driver, clock: FakeClock) -> None:
        """One slow worker and a backlog: the oldest is claimed each 3 s, though all have waited for long."""
        for number in range(20):
            published(d, f"e{number}", visibility_timeout=1000)
        clock.advance(4)
        for number in range(19):
            d.claim(f"e{number}", f"e{number}")
            for _ in range(3):
                clock.advance(1)
                assert d.mailbox.reap() == ()

    def test_into_silence_one_is_rung_and_ever_more_seldom(self, d: Driver, clock: FakeClock) -> None:
        for number in range(9):
            clock.advance(0.1)
            published(d, f"e{number}", visibility_timeout=1000)
        for pause in (5, 10, 20, 40, 60, 60):
            clock.advance(pause - 0.01)
            assert d.mailbox.reap() == ()
            clock.advance(0.01)
            bells = d.mailbox.reap()
            assert rung(bells) == ["e8"], "the newest: whatever waits is before it"
            d.mailbox.confirm(bells)
        d.claim("e0", "e0")
        clock.advance(59)
        assert d.mailbox.reap() == (), "an answer, but not to that bell"
        d.claim("e8", "e8")
        clock.advance(5)
        assert len(d.mailbox.reap()) == 1, "it was answered: the next silence is a new one"

    def test_if_the_one_is_claimed_at_once_all_were_lost(self, d: Driver, clock: FakeClock) -> None:
        names = [f"e{number}" for number in range(9)]
        for name in names:
            published(d, name)
        clock.advance(5)
        [bell] = d.mailbox.reap()
        d.mailbox.confirm([bell])
        clock.advance(0.5)
        first = bell.address.message
        d.claim(first, first)
        assert sorted(rung(d.mailbox.reap())) == [name for name in names if name != first]

    def test_if_it_is_claimed_later_the_others_arrived_before_it(self, d: Driver, clock: FakeClock) -> None:
        for name in ("e1", "e2"):
            published(d, name)
        clock.advance(2)
        published(d, "e3")
        clock.advance(5)
        bells = d.mailbox.reap()
        assert rung(bells) == ["e3"]
        d.mailbox.confirm(bells)
        clock.advance(5.001)
        d.claim("e3", "e3")
        assert d.mailbox.reap() == (), "e1 and e2 rang two seconds before e3 did first"

    def test_no_more_than_asked_ring_at_once(self, d: Driver, clock: FakeClock) -> None:
        for number in range(30):
            published(d, f"e{number}")
        clock.advance(6)
        published(d, "last")
        d.claim("last", "last")
        found = []
        while bells := d.mailbox.reap(limit=2):
            assert len(bells) <= 2 * 16
            d.mailbox.confirm(bells)
            found += rung(bells)
        assert sorted(found) == sorted(f"e{number}" for number in range(30))

    def test_mailboxes_and_priorities_do_not_overtake_each_other(self, d: Driver, clock: FakeClock) -> None:
        published(d, "e1", priority=1)
        published(d, "e2", mailbox="slow")
        clock.advance(1)
        for number in range(6):
            published(d, f"f{number}", priority=9)
            d.claim(f"f{number}", f"f{number}")
            published(d, f"g{number}", priority=1)
            published(d, f"h{number}", mailbox="slow")
            clock.advance(1)
            assert d.mailbox.reap() == ()

    def test_an_expired_lease_rings_though_its_mailbox_moves_on(self, d: Driver, clock: FakeClock) -> None:
        published(d, "e1")
        d.claim("e1", "e1")
        clock.advance(10)
        published(d, "e2")
        d.claim("e2", "e2")
        bells = d.mailbox.reap()
        assert rung(bells) == ["e1"]
        d.mailbox.confirm(bells)
        clock.advance(1)
        assert d.mailbox.reap() == ()

    def test_confirming_is_for_those_that_wait(self, d: Driver, clock: FakeClock) -> None:
        accepted = d.accept("e1")
        claimed = d.claim("e1")
        d.mailbox.confirm(accepted.doorbells)
        d.mailbox.confirm([])
        d.mailbox.confirm([structs.replace(bell, address=Address("acme", "s9", "e9")) for bell in accepted.doorbells])
        clock.advance(10)
        assert rung(d.mailbox.reap()) == ["e1"], "its lease is due all the same"
        d.settle(claimed, end=succeeded("e1"))
        d.mailbox.confirm(accepted.doorbells)
        assert d.look("e1").state == "done"

    # what a crash leaves

    def test_leases_that_nobody_could_renew_are_spared_once(self, d: Driver, clock: FakeClock) -> None:
        d.accept("e1", "e1")
        d.accept("e2", "e2")
        d.accept("e3", "e3", not_before=clock.now() + 5)
        first, second = d.claim("e1", "e1"), d.claim("e2", "e2")
        clock.advance(9)
        d.mailbox.extend([second.receipt])
        clock.advance(1)
        d.mailbox.spare()
        assert (d.look("e1", "e1").state, d.look("e1", "e1").due) == ("leased", clock.now() + 10)
        assert d.look("e2", "e2").due == clock.now() + 9
        d.mailbox.spare()
        assert rung(d.mailbox.reap()) == ["e3"]
        assert list(d.mailbox.extend([first.receipt])) == ["held"]
        clock.advance(10)
        d.mailbox.reap()
        assert (d.look("e1", "e1").state, d.claim("e1", "e1", "w2").deliveries) == ("ready", 2)

    def test_a_claim_tells_whether_the_message_dies_with_its_worker(self, d: Driver, clock: FakeClock) -> None:
        d.accept("e1", retries=2)
        assert not d.claim("e1").last
        clock.advance(10)
        d.mailbox.reap()
        assert not d.claim("e1").last
        clock.advance(10)
        last = d.claim("e1")
        assert last.last, "two deliveries were lost, one of them without a reaper"
        d.mailbox.nack(last.receipt, delay=0, counts=False, error="postponed")
        assert d.claim("e1").last

    def test_a_last_try_after_errors_kills_no_worker(self, d: Driver) -> None:
        d.accept("e1", retries=1)
        d.mailbox.nack(d.claim("e1").receipt, delay=0, counts=True, error="boom")
        assert not d.claim("e1").last
        d.accept("e2", "s2", retries=0)
        assert not d.claim("e2", "s2").last


def published(d: Driver, evaluation: str, **options: object) -> Accepted:
    """Accept a run in a session of its own, and have its doorbell published."""
    accepted = d.accept(evaluation, evaluation, **options)
    d.mailbox.confirm(accepted.doorbells)
    return accepted
