"""The keeper renews what it holds, and stops what should not go on."""

from __future__ import annotations

import threading

import pytest

from tests.unit.runtime.conftest import Shop
from tests.workers import eventually
from wink_tasks.core.errors import LedgerUnavailableError
from wink_tasks.ports.mailbox import Address, Claimed, Receipt
from wink_tasks.runtime.keeper import LeaseKeeper
from wink_tasks.runtime.stop import Stop
from wink_tasks.testing import FakeClock, answer, scripted


class Store:
    """A mailbox that answers `extend` as it is told."""

    def __init__(self, standing: str = "held") -> None:
        self.standing = standing
        self.asked: list[list[Receipt]] = []
        self.away = False
        self.seen = threading.Event()

    def extend(self, receipts):
        self.seen.set()
        if self.away:
            raise LedgerUnavailableError("away")
        self.asked.append(list(receipts))
        return [self.standing] * len(receipts)


def receipt(message: str, epoch: int = 1) -> Receipt:
    return Receipt(Address("t", "s", message), epoch, "n")


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


def test_it_renews_until_the_step_ends(clock: FakeClock):
    store = Store()
    keeper = LeaseKeeper(store, clock, every=1)
    keeper.renew()
    keeper.hold(receipt("m"), limit=10, stop=Stop())
    keeper.renew()
    assert store.asked == [[receipt("m")]]
    assert keeper.held() == (receipt("m"),)
    keeper.release(receipt("m", epoch=0))
    assert keeper.held() == (receipt("m"),)
    keeper.release(receipt("m"))
    keeper.release(receipt("m"))
    keeper.renew()
    assert len(store.asked) == 1


@pytest.mark.parametrize(("standing", "why", "held"), [("stale", "lost", 0), ("cancelled", "cancelled", 1)])
def test_it_stops_what_should_not_go_on(clock: FakeClock, standing: str, why: str, held: int):
    stop = Stop()
    keeper = LeaseKeeper(Store(standing), clock, every=1)
    keeper.hold(receipt("m"), limit=10, stop=stop)
    keeper.renew()
    assert (stop.why, stop.cancelled) == (why, standing == "cancelled")
    assert len(keeper.held()) == held


def test_a_stuck_step_loses_its_lease_at_its_limit(clock: FakeClock):
    store, stuck, fine = Store(), Stop(), Stop()
    keeper = LeaseKeeper(store, clock, every=1)
    keeper.hold(receipt("stuck"), limit=10, stop=stuck)
    keeper.hold(receipt("fine"), limit=20, stop=fine)
    clock.advance(10)
    keeper.renew()
    assert store.asked == [[receipt("fine")]]
    assert (stuck.why, fine.why) == ("limit", None)
    assert keeper.held() == (receipt("fine"),)


def test_its_thread_goes_on_when_the_store_was_away(clock: FakeClock, caplog: pytest.LogCaptureFixture):
    store = Store()
    store.away = True
    keeper = LeaseKeeper(store, clock, every=0.001)
    keeper.stop()
    keeper.hold(receipt("m"), limit=1000, stop=Stop())
    keeper.start()
    assert store.seen.wait(10)
    store.away = False
    eventually(lambda: store.asked, "it renews again")
    keeper.stop()
    keeper.stop()
    assert "1 leases not renewed: LedgerUnavailableError: away" in caplog.text


def test_a_step_is_held_while_it_runs_and_its_call_cut_when_it_should_stop(shop: Shop):
    with scripted(shop.wink, {}) as kit, shop.wink.in_memory(clock=kit.clock) as house:
        kit.script(shop.chat, [answer("hi")])
        run = shop.chat.with_options(countdown=1).delay("x")
        kit.clock.advance(2)
        house.store.mailbox.reap()
        claimed = house.store.mailbox.claim(Address("default", run.id, run.id), task="shop.chat", owner="me", after=0)
        assert isinstance(claimed, Claimed)
        assert house.store.mailbox.extend([claimed.receipt]) == ["held"]
        run.cancel()
        assert house.store.mailbox.extend([claimed.receipt]) == ["cancelled"]


def test_two_claims_of_one_message_in_one_process_are_told_apart(clock: FakeClock):
    """The first one is a zombie, and hears of it though the second is held beside it."""

    class Fencing(Store):
        """Only epoch 2 holds."""

        def extend(self, receipts):
            return ["held" if one.epoch == 2 else "stale" for one in receipts]

    zombie, newest = Stop(), Stop()
    keeper = LeaseKeeper(Fencing(), clock, every=1)
    keeper.hold(receipt("m", epoch=1), limit=10, stop=zombie)
    keeper.hold(receipt("m", epoch=2), limit=10, stop=newest)
    keeper.renew()
    assert (zombie.is_set, newest.is_set) == (True, False)
    assert keeper.held() == (receipt("m", epoch=2),)


def test_the_steps_of_one_evaluation_are_cancelled_at_once(clock: FakeClock):
    mine, call, other = Stop(), Stop(), Stop()
    keeper = LeaseKeeper(Store(), clock, every=1000)
    keeper.hold(receipt("run"), limit=10, stop=mine)
    keeper.hold(receipt("run~turn1.call0"), limit=10, stop=call)
    keeper.hold(receipt("runner"), limit=10, stop=other)
    assert keeper.cancel("run") == 2
    assert (mine.why, call.why, other.why) == ("cancelled", "cancelled", None)
    assert keeper.cancel("unknown") == 0
    assert len(keeper.held()) == 3
