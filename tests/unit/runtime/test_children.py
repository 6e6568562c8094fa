"""Leases of children are kept by their parent."""

from __future__ import annotations

import threading

import pytest

from tests.workers import eventually
from wink_tasks.core.errors import LeaseLostError, LedgerUnavailableError, StoreRefusedError
from wink_tasks.ports.mailbox import Address, Receipt
from wink_tasks.runtime.children import Children, ForwardingKeeper
from wink_tasks.runtime.closing import close_each, hand_back
from wink_tasks.runtime.keeper import LeaseKeeper
from wink_tasks.runtime.stop import Stop
from wink_tasks.testing import FakeClock


def receipt(message: str) -> Receipt:
    return Receipt(Address("t", "s", message), 1, "n")


class Mailbox:
    """Answers as it is told."""

    def __init__(self) -> None:
        self.standings: dict[str, str] = {}
        self.given: list[tuple[str, bool, str]] = []
        self.refuses: Exception | None = None

    def extend(self, receipts):
        return [self.standings.get(one.address.message, "held") for one in receipts]

    def nack(self, receipt, *, delay, counts, error, begun):
        assert (delay, begun) == (0, True)
        if self.refuses is not None:
            raise self.refuses
        self.given.append((receipt.address.message, counts, error))
        return (f"bell of {receipt.address.message}",)


class Bells:
    """What was rung."""

    def __init__(self) -> None:
        self.rung: list[str] = []

    def ring(self, doorbells):
        self.rung += doorbells


class Line:
    """Both ends at once: what one says, the other hears in that moment."""

    def __init__(self, pid: int, lines: dict[int, Line]) -> None:
        self.pid = pid
        self.lines = lines
        self.cut = False
        self.called = False

    def open(self, hear):
        self.hear = hear

    def send(self, message):
        if self.cut:
            raise BrokenPipeError("nobody there")
        if not self.called:
            self.called = True
            self.lines["came"](self.pid)
        self.lines["hear"](self.pid, message)

    def close(self):
        self.lines["gone"](self.pid)


class Lines(dict):
    """The parent's end of some lines."""

    closed = False

    def open(self, **calls):
        self.update(calls)

    def send(self, child, message):
        self[child].hear(message)

    def close(self):
        self.closed = True

    def child(self, pid: int, closing=lambda: None) -> ForwardingKeeper:
        self[pid] = Line(pid, self)
        keeper = ForwardingKeeper(self[pid], closing=closing)
        keeper.start()
        return keeper


class Household:
    """A parent."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.mailbox = Mailbox()
        self.bells = Bells()
        self.lines = Lines()
        self.keeper = LeaseKeeper(self.mailbox, self.clock, every=1000)
        self.children = Children(self.lines, self.keeper, self.mailbox, self.bells)
        self.children.start()


@pytest.fixture
def house() -> Household:
    return Household()


def test_what_a_child_holds_its_parent_renews(house: Household):
    child = house.lines.child(7)
    stop = Stop()
    child.hold(receipt("m"), limit=10, stop=stop)
    assert house.keeper.held() == child.held() == (receipt("m"),)
    house.keeper.renew()
    assert stop.why is None
    child.release(receipt("m"))
    child.release(receipt("m"))
    assert house.keeper.held() == child.held() == ()


@pytest.mark.parametrize(("standing", "why"), [("stale", "lost"), ("cancelled", "cancelled")])
def test_the_child_is_told_to_stop(house: Household, standing: str, why: str):
    child, mine, other = house.lines.child(7), Stop(), Stop()
    child.hold(receipt("m"), limit=10, stop=mine)
    child.hold(receipt("n"), limit=10, stop=other)
    house.mailbox.standings["m"] = standing
    house.keeper.renew()
    assert (mine.why, other.why) == (why, None)


def test_a_step_in_a_child_is_stopped_at_its_limit_and_cancelled_from_either_end(house: Household):
    child, late, two, three = house.lines.child(7), Stop(), Stop(), Stop()
    child.hold(receipt("late"), limit=10, stop=late)
    child.hold(receipt("two"), limit=99, stop=two)
    child.hold(receipt("three~turn2"), limit=99, stop=three)
    house.clock.advance(11)
    house.keeper.renew()
    assert (late.why, two.why, three.why) == ("limit", None, None)
    assert house.keeper.cancel("two") == child.cancel("three") == 1
    assert (two.why, three.why) == ("cancelled", "cancelled")


def test_a_stop_that_comes_too_late_is_nothing(house: Household):
    child, stop = house.lines.child(7), Stop()
    child.hold(receipt("m"), limit=10, stop=stop)
    in_parent = house.keeper.stop_of(receipt("m"))
    child.release(receipt("m"))
    in_parent.set("lost")
    assert stop.why is None


def test_without_its_parent_a_child_begins_nothing(house: Household, caplog: pytest.LogCaptureFixture):
    child = house.lines.child(7)
    child.hold(receipt("m"), limit=10, stop=Stop())
    house.lines[7].cut = True
    with pytest.raises(LeaseLostError, match="nobody renews the lease of n: the main process does not answer"):
        child.hold(receipt("n"), limit=10, stop=Stop())
    child.release(receipt("m"))
    assert child.held() == ()
    assert "was not told that m is over: nobody there" in caplog.text


@pytest.mark.parametrize("pardoned", [False, True])
def test_what_a_dead_child_held_is_given_back_at_once(house: Household, pardoned: bool):
    child, other = house.lines.child(7), house.lines.child(8)
    child.hold(receipt("m"), limit=10, stop=Stop())
    other.hold(receipt("n"), limit=10, stop=Stop())
    if pardoned:
        house.children.pardon()
    child.stop()
    eventually(lambda: house.bells.rung, "it rings")
    assert house.mailbox.given == [("m", not pardoned, "process 7, which worked on it, died")]
    assert house.bells.rung == ["bell of m"]
    assert house.keeper.held() == (receipt("n"),)


@pytest.mark.parametrize(
    ("refuses", "said"),
    [
        (LeaseLostError("closed"), "is not its own any more"),
        (LedgerUnavailableError("away"), "waits for its lease: away"),
    ],
)
def test_what_cannot_be_given_back_is_said(
    house: Household, refuses: Exception, said: str, caplog: pytest.LogCaptureFixture
):
    caplog.set_level("INFO")
    house.mailbox.refuses = refuses
    child = house.lines.child(7)
    child.hold(receipt("m"), limit=10, stop=Stop())
    child.stop()
    eventually(lambda: said in caplog.text, "it is said")
    assert house.bells.rung == []


def test_children_that_are_there_and_those_to_come_hear_that_the_worker_ends(house: Household):
    heard: list[str] = []
    first = house.lines.child(7, closing=lambda: heard.append("first"))
    first.hold(receipt("m"), limit=10, stop=Stop())
    house.children.closing()
    second = house.lines.child(8, closing=lambda: heard.append("second"))
    second.hold(receipt("n"), limit=10, stop=Stop())
    assert heard == ["first", "second"]
    house.children.stop()
    assert house.lines.closed


def test_what_is_in_hand_is_given_back_before_its_step_hears_of_it():
    house, order = Household(), []
    mine, stop = receipt("m"), Stop()
    house.keeper.hold(mine, limit=10, stop=stop)
    stop.then(lambda: order.append(list(house.mailbox.given)))
    assert hand_back(house.keeper, house.mailbox, house.bells) == 1
    assert order == [[("m", False, "handed back: its worker shut down")]]
    assert (stop.why, house.bells.rung, house.keeper.held()) == ("handed back", ["bell of m"], ())


@pytest.mark.parametrize(
    ("refuses", "asked"),
    [(LeaseLostError("closed"), 2), (LedgerUnavailableError("away"), 1), (StoreRefusedError("no"), 2)],
)
def test_a_step_that_cannot_be_handed_back_is_stopped_all_the_same(refuses: Exception, asked: int):
    """A store that is away would cost seconds for each of them."""
    house, stops = Household(), [Stop(), Stop()]
    tried = []

    def nack(*_, **__):
        tried.append(1)
        raise refuses

    house.mailbox.nack = nack
    for place, stop in enumerate(stops):
        house.keeper.hold(receipt(f"m{place}"), limit=10, stop=stop)
    assert hand_back(house.keeper, house.mailbox, house.bells) == 0
    assert [stop.why for stop in stops] == ["handed back", "handed back"]
    assert len(tried) == asked


def test_a_step_that_ends_while_it_is_handed_back(monkeypatch: pytest.MonkeyPatch):
    house = Household()
    house.keeper.hold(receipt("m"), limit=10, stop=Stop())
    monkeypatch.setattr(house.keeper, "stop_of", lambda _: None)
    assert hand_back(house.keeper, house.mailbox, house.bells) == 1


def test_each_part_ends_though_another_fails_or_hangs(caplog: pytest.LogCaptureFixture):
    caplog.set_level("INFO")
    never, ended = threading.Event(), []

    def fails() -> None:
        raise OSError("password=hunter2")

    close_each(
        [
            ("first", lambda: ended.append("first")),
            ("bad", fails),
            ("stuck", never.wait),
            ("last", lambda: ended.append("last")),
        ],
        seconds=0.05,
    )
    never.set()
    assert ended == ["first", "last"]
    assert "bad did not end cleanly: OSError: " in caplog.text
    assert "hunter2" not in caplog.text
    assert "stuck did not end within 0.05 s" in caplog.text
    assert "ended, in this order: first, bad, stuck, last" in caplog.text
