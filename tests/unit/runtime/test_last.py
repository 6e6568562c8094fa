"""One message a process that lost deliveries with its workers is on its last."""

from __future__ import annotations

import threading

import msgspec

from tests.unit.runtime.conftest import Shop
from tests.workers import eventually
from wink_tasks.ports.mailbox import Address, Claimed
from wink_tasks.runtime.last import LastDeliveries
from wink_tasks.testing import FakeClock, answer
from wink_tasks.testing.inline import NoObserver
from wink_tasks.testing.scripted import scripted


def doomed(shop: Shop, house, run: str) -> Claimed:
    """A run's first turn that lost all deliveries but one with its workers."""
    address = Address("default", run, run)
    for _ in range(3):
        house.store.mailbox.claim(address, task="shop.chat", owner="dead", after=None)
        house.clock.advance(11)
        house.store.mailbox.reap()
    return house.store.mailbox.claim(address, task="shop.chat", owner="w", after=0)


def test_others_are_let_in_and_the_next_one_when_the_first_is_over(shop: Shop):
    with shop.wink.in_memory(clock=FakeClock()) as house:
        for run in ("a", "b"):
            shop.chat.with_options(countdown=1).apply_async(("x",), task_id=run)
        house.clock.advance(2)
        first, second = doomed(shop, house, "a"), doomed(shop, house, "b")
        assert first.last
        assert second.last
        last = LastDeliveries()
        assert last.admit(first)
        assert last.admit(msgspec.structs.replace(second, last=False))
        assert not last.admit(second)
        last.over(second)
        assert not last.admit(second)
        last.over(first)
        assert last.admit(second)


def test_none_begins_while_another_one_may_be_in_hand(shop: Shop):
    with shop.wink.in_memory(clock=FakeClock()) as house:
        shop.chat.with_options(countdown=1).apply_async(("x",), task_id="a")
        house.clock.advance(2)
        doomed_one = doomed(shop, house, "a")
        last, begun = LastDeliveries(), threading.Event()
        other, gone = Address("default", "b", "b"), Address("default", "c", "c")
        assert not any(last.claiming(one) for one in (doomed_one.receipt.address, other, gone))
        thread = threading.Thread(target=lambda: last.admit(doomed_one) and begun.set())
        thread.start()
        eventually(lambda: last.claiming(Address("default", "d", "d")), "it is held: later claims put others off")
        last.not_claimed(gone)
        assert not begun.is_set()
        last.not_claimed(other)
        thread.join()
        assert begun.is_set()
        last.over(doomed_one)
        assert not last.claiming(other)


def test_a_doorbell_beside_one_on_its_last_claims_nothing(shop: Shop):
    with scripted(shop.wink, {shop.chat: [answer("ok"), answer("ok")]}):
        house = shop.wink.house()
        for run in ("a", "b"):
            shop.chat.with_options(countdown=1).apply_async(("x",), task_id=run)
        house.clock.advance(2)
        first = doomed(shop, house, "a")
        house.store.mailbox.nack(doomed(shop, house, "b").receipt, delay=0, counts=False, error="")
        house.steps._last.admit(first)
        address = Address("default", "b", "b")
        for _ in range(2):  # the second one comes while it is delayed
            end = house.steps.run(address, "shop.chat", serves=(), observer=NoObserver())
            assert (end.kind, end.reason) == ("absent", "busy")
        look = house.store.ledger.message("default", "b", "b")
        assert look is not None
        assert (look.state, look.deliveries, look.pardoned) == ("delayed", 5, 2)
        house.steps._last.over(first)
        assert shop.wink.run("b").get() == "ok"


def test_it_is_given_back_uncounted_and_keeps_its_error(shop: Shop):
    with scripted(shop.wink, {shop.chat: [answer("ok")]}):
        house = shop.wink.house()
        for run in ("a", "b"):
            shop.chat.with_options(countdown=1).apply_async(("x",), task_id=run)
        house.clock.advance(2)
        first, second = doomed(shop, house, "a"), doomed(shop, house, "b")
        house.steps._last.admit(first)
        successor, end = house.steps._step(second, (), NoObserver(), first=True)
        assert (successor, end.kind) == (None, "returned")
        look = house.store.ledger.message("default", "b", "b")
        assert look is not None
        assert (look.state, look.deliveries, look.pardoned, look.error) == ("delayed", 4, 1, "")
        house.steps._last.over(first)
        assert shop.wink.run("b").get() == "ok"
