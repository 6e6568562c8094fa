"""Reading, and forgetting."""
# ruff: noqa: D102, PLR2004 - tests

from __future__ import annotations

import pytest

from wink_tasks.core.errors import SessionBusyError
from wink_tasks.core.events import SessionOpened
from wink_tasks.ports.ledger import MessageRecord
from wink_tasks.testing.clock import FakeClock
from wink_tasks.testing.conformance.driver import TENANT, Driven, Driver, responded, rung, succeeded


def ended(d: Driver, evaluation: str, session: str) -> None:
    """An evaluation that has come and gone."""
    d.accept(evaluation, session)
    d.settle(d.claim(evaluation, session), end=succeeded(evaluation))
    d.settle(d.claim(f"{evaluation}~outcome", session))


class LedgerConformance(Driven):
    """What can be read, and what is forgotten."""

    def test_events_are_read_from_anywhere_and_up_to_a_number(self, d: Driver) -> None:
        d.accept("e1")
        d.settle(d.claim("e1"), *(responded("e1", turn=turn) for turn in range(1, 6)))
        assert [record.seq for record in d.ledger.read(TENANT, "s1")] == [1, 2, 3, 4, 5, 6, 7]
        assert [record.seq for record in d.ledger.read(TENANT, "s1", after=4)] == [5, 6, 7]
        assert [record.seq for record in d.ledger.read(TENANT, "s1", after=2, count=2)] == [3, 4]
        assert list(d.ledger.read(TENANT, "s1", after=7)) == []
        assert list(d.ledger.read("globex", "s1")) == []

    def test_waiting_gives_what_is_there(self, d: Driver) -> None:
        d.accept("e1")
        assert [record.seq for record in d.ledger.wait(TENANT, "s1", after=1, timeout=5)] == [2]
        assert list(d.ledger.wait(TENANT, "s1", after=2, timeout=0.01)) == []

    def test_what_is_not_there(self, d: Driver) -> None:
        d.accept("e1")
        assert d.ledger.session(TENANT, "s2") is None
        assert d.ledger.session("globex", "s1") is None
        assert d.ledger.evaluation(TENANT, "e2") is None
        assert d.ledger.evaluation("globex", "e1") is None
        assert list(d.ledger.evaluations(TENANT, "s2")) == []
        assert d.ledger.message(TENANT, "s1", "e2") is None
        assert d.ledger.message("globex", "s1", "e1") is None
        assert d.ledger.expired(TENANT, "s1") is False

    def test_a_message_as_it_stands(self, d: Driver, clock: FakeClock) -> None:
        d.accept("e1")
        claimed = d.claim("e1")
        expected = MessageRecord(
            id="e1",
            kind="turn",
            mailbox="turns",
            task="proj.review:turn",
            state="leased",
            deliveries=1,
            pardoned=0,
            epoch=1,
            owner="w1",
            due=clock.now() + 10,
        )
        assert d.look("e1") == expected
        d.mailbox.nack(claimed.receipt, delay=0, counts=False, error="later")
        d.settle(d.claim("e1", owner="w2"), end=succeeded("e1"))
        look = d.look("e1")
        assert (look.state, look.deliveries, look.pardoned, look.epoch) == ("done", 2, 1, 2)
        assert (look.owner, look.error, look.due) == ("w2", "", 0)
        assert d.ledger.message("globex", "s1", "e1") is None

    def test_the_evaluations_of_a_session_in_order(self, d: Driver) -> None:
        for name in ("e3", "e1", "e2"):
            d.accept(name)
        d.accept("e4", "s2")
        assert [record.id for record in d.ledger.evaluations(TENANT, "s1")] == ["e3", "e1", "e2"]
        assert d.ledger.evaluations(TENANT, "s1")[1] == d.ledger.evaluation(TENANT, "e1")

    def test_sessions_by_their_last_change(self, d: Driver, clock: FakeClock) -> None:
        names = [f"s{number}" for number in range(7)]
        for name in names:
            d.accept(f"e-{name}", name)
            clock.advance(1)
        d.accept("e-other", "s-other", tenant="globex")
        clock.advance(1)
        d.settle(d.claim("e-s2", "s2"), responded("e-s2"))
        newest = d.ledger.sessions()
        assert [session.session for session in newest] == ["s2", "s-other", "s6", "s5", "s4", "s3", "s1", "s0"]
        assert newest[0] == d.ledger.session(TENANT, "s2")
        assert (newest[0].head, newest[0].updated_at) == (3, clock.now())
        assert [session.session for session in d.ledger.sessions(limit=2)] == ["s2", "s-other"]
        assert [session.session for session in d.ledger.sessions(tenant=TENANT, limit=3)] == ["s2", "s6", "s5"]
        assert [session.tenant for session in d.ledger.sessions(tenant="globex")] == ["globex"]

    def test_an_old_session_is_found_among_many(self, d: Driver, clock: FakeClock) -> None:
        d.accept("e-old", "s-old", tenant="globex")
        for number in range(450):
            clock.advance(1)
            d.accept(f"e{number}", f"s{number}")
        assert [session.session for session in d.ledger.sessions(tenant="globex", limit=3)] == ["s-old"]
        assert [session.session for session in d.ledger.sessions(limit=1000)][-2:] == ["s0", "s-old"]

    def test_sessions_that_run_an_evaluation_are_counted(self, d: Driver) -> None:
        assert d.ledger.active_sessions() == 0
        d.accept("e1")
        d.accept("e2")
        d.accept("e3", "s2")
        assert d.ledger.active_sessions() == 2
        d.settle(d.claim("e1"), end=succeeded("e1"))
        assert d.ledger.active_sessions() == 2
        d.mailbox.cancel(TENANT, "e2", by="ann", reason="r")
        assert d.ledger.active_sessions() == 1
        ended(d, "e4", "s3")
        assert d.ledger.active_sessions() == 1

    def test_a_session_is_deleted_with_all_that_is_its_own(self, d: Driver, clock: FakeClock) -> None:
        ended(d, "e1", "s1")
        d.accept("e2")
        d.mailbox.bury(d.claim("e2").receipt, reason="poison", error="")
        ended(d, "e9", "s2")
        assert d.ledger.delete(TENANT, "s1") is True
        assert d.ledger.delete(TENANT, "s1") is False
        assert d.ledger.delete("globex", "s2") is False
        assert list(d.ledger.read(TENANT, "s1")) == []
        assert [d.ledger.session(TENANT, name) is None for name in ("s1", "s2")] == [True, False]
        assert [d.ledger.evaluation(TENANT, name) is None for name in ("e1", "e2", "e9")] == [True, True, False]
        assert [d.ledger.message(TENANT, "s1", name) for name in ("e2", "e2~outcome")] == [None, None]
        assert [session.session for session in d.ledger.sessions()] == ["s2"]
        depth = d.mailbox.depth(["turns"])["turns"]
        assert (depth.ready, depth.leased, depth.dead) == (0, 0, 0)
        clock.advance(1000)
        assert d.mailbox.reap() == ()
        assert d.ledger.expired(TENANT, "s1") is False
        assert rung(d.accept("e1").doorbells) == ["e1"], "its ids are free again"
        assert d.claim("e1").deliveries == 1
        assert rung(d.accept("e2", "s3").doorbells) == ["e2"]

    def test_a_session_at_work_is_not_deleted(self, d: Driver) -> None:
        d.accept("e1")
        with pytest.raises(SessionBusyError, match="'e1'"):
            d.ledger.delete(TENANT, "s1")
        assert d.claim("e1").deliveries == 1

    def test_retention_drops_what_has_ended_and_did_not_change(self, d: Driver, clock: FakeClock) -> None:
        d.accept("e0", "s0")
        ended(d, "e1", "s1")
        ended(d, "e2", "s2")
        clock.advance(100)
        ended(d, "e3", "s3")
        assert d.ledger.expire(older_than=100.5) == 0
        assert d.ledger.expire(older_than=100) == 2
        assert [d.ledger.session(TENANT, name) is None for name in ("s0", "s1", "s2", "s3")] == [
            False,
            True,
            True,
            False,
        ]
        assert [d.ledger.expired(TENANT, name) for name in ("s0", "s1", "s3")] == [False, True, False]
        assert d.ledger.expired("globex", "s1") is False
        assert d.ledger.evaluation(TENANT, "e1") is None
        d.accept("e1", "s1")
        assert d.ledger.expired(TENANT, "s1") is False, "it began anew"
        assert d.events() == [SessionOpened(tenant=TENANT, session="s1"), d.acceptance("e1").event]

    def test_retention_drops_no_more_than_asked_and_is_not_held_up(self, d: Driver, clock: FakeClock) -> None:
        for number in range(3):
            d.accept(f"busy{number}", f"b{number}")
        for number in range(5):
            ended(d, f"e{number}", f"s{number}")
        clock.advance(10)
        assert [d.ledger.expire(older_than=5, limit=2) for _ in range(4)] == [2, 2, 1, 0]
        assert len(d.ledger.sessions()) == 3
