"""Reading, and forgetting."""
# ruff: noqa: D102, PLR2004 - tests

from __future__ import annotations

import pytest

from wink_tasks.core.errors import SessionBusyError, UnknownSessionError
from wink_tasks.core.events import AnyEvent, Dispatched, SessionOpened
from wink_tasks.ports.ledger import MessageRecord, Snapshot
from wink_tasks.testing.clock import FakeClock
from wink_tasks.testing.conformance.driver import TENANT, Driven, Driver, responded, rung, succeeded


def ended(d: Driver, evaluation: str, session: str) -> None:
    """An evaluation that has come and gone."""
    d.accept(evaluation, session)
    d.settle(d.claim(evaluation, session), end=succeeded(evaluation))
    d.settle(d.claim(f"{evaluation}~outcome", session))


def noted(number: int) -> Dispatched:
    """An event of an application's own."""
    return Dispatched(name="proj.Noted", data={"number": number})


def opened(session: str) -> AnyEvent:
    """The first event."""
    return SessionOpened(tenant=TENANT, session=session)


class LedgerConformance(Driven):
    """What can be read, and what is forgotten."""

    def test_those_that_run_or_wait_are_found(self, d: Driver) -> None:
        for name, session in (("e1", "s1"), ("e2", "s1"), ("e3", "s3"), ("e4", "s4")):
            d.accept(name, session)
        d.settle(d.claim("e3", "s3"), end=succeeded("e3"))
        d.accept("e5", "s5", tenant="globex")
        found = {(one.tenant, one.id): one for one in d.ledger.running()}
        assert set(found) == {(TENANT, "e1"), (TENANT, "e2"), (TENANT, "e4"), ("globex", "e5")}
        assert found[TENANT, "e2"] == d.ledger.evaluation(TENANT, "e2")

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

    def test_waiting_for_any_of_several_gives_what_is_there(self, d: Driver) -> None:
        d.accept("e1")
        d.accept("e2", "s2")
        cursors = {(TENANT, "s1"): 1, (TENANT, "s2"): 2, (TENANT, "s3"): 0, ("globex", "s1"): 0}
        came = d.ledger.wait_any(cursors, timeout=5)
        assert {owner: [record.seq for record in events] for owner, events in came.items()} == {(TENANT, "s1"): [2]}
        assert dict(d.ledger.wait_any({(TENANT, "s1"): 2, (TENANT, "s2"): 2}, timeout=0.01)) == {}

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

    def test_the_tenant_of_an_id(self, d: Driver) -> None:
        d.accept("e1")
        d.accept("e2", "s2", tenant="globex")
        with pytest.raises(SessionBusyError):
            d.accept("e3", busy="reject")
        assert [d.ledger.tenant_of(name) for name in ("e1", "e2", "e4")] == [TENANT, "globex", None]

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
            nonce=claimed.receipt.nonce,
            due=clock.now() + 10,
        )
        assert d.look("e1") == expected
        d.mailbox.nack(claimed.receipt, delay=0, counts=False, error="later")
        d.settle(d.claim("e1", owner="w2"), end=succeeded("e1"))
        look = d.look("e1")
        assert (look.state, look.deliveries, look.pardoned, look.epoch) == ("done", 2, 1, 2)
        assert (look.owner, look.nonce, look.error, look.due) == ("w2", "", "", 0)
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

    def test_an_application_appends_after_what_it_knows(self, d: Driver) -> None:
        assert list(d.append(opened("s1"), noted(1), expected=0)) == []
        assert list(d.append(noted(2), noted(3), expected=2)) == []
        behind = d.append(noted(9), expected=1)
        assert [(record.seq, record.event, record.actor) for record in behind] == [
            (2, noted(1), "a1"),
            (3, noted(2), "a1"),
            (4, noted(3), "a1"),
        ]
        assert d.ledger.read(TENANT, "s1")[0].event == opened("s1")
        found = d.ledger.session(TENANT, "s1")
        assert found is not None
        assert (found.head, found.current) == (4, "")
        with pytest.raises(UnknownSessionError, match="does not reach 5"):
            d.append(noted(9), expected=5)
        with pytest.raises(UnknownSessionError, match="does not reach 1"):
            d.append(noted(9), expected=1, session="s2")

    def test_a_session_that_an_application_opened_is_listed(self, d: Driver, clock: FakeClock) -> None:
        d.append(opened("s1"), noted(1), expected=0)
        [found] = d.ledger.sessions()
        assert (found.head, found.created_at, found.updated_at) == (2, clock.now(), clock.now())

    def test_a_run_begins_in_a_session_that_an_application_opened(self, d: Driver) -> None:
        d.append(opened("s1"), noted(1), expected=0)
        assert d.accept("e1").seq == 3
        d.claim("e1")
        d.append(noted(2), expected=3)
        assert [type(record.event).__name__ for record in d.ledger.read(TENANT, "s1")] == [
            "SessionOpened",
            "Dispatched",
            "EvaluationAccepted",
            "Dispatched",
        ]

    def test_an_appended_session_is_dropped_like_any(self, d: Driver) -> None:
        d.append(opened("s1"), noted(1), expected=0)
        d.ledger.keep_snapshot(TENANT, "s1", Snapshot(seq=2, fingerprint="f", slices=b"{}"))
        assert d.ledger.delete(TENANT, "s1")
        assert d.ledger.snapshot(TENANT, "s1") is None
        d.append(opened("s1"), expected=0)
        assert d.ledger.snapshot(TENANT, "s1") is None

    def test_the_newest_snapshot_is_kept(self, d: Driver) -> None:
        first, second = (Snapshot(seq=seq, fingerprint="f", slices=b"{}") for seq in (2, 3))
        d.ledger.keep_snapshot(TENANT, "s1", first)
        assert d.ledger.snapshot(TENANT, "s1") is None
        d.append(opened("s1"), noted(1), expected=0)
        d.ledger.keep_snapshot(TENANT, "s1", second)
        assert d.ledger.snapshot(TENANT, "s1") is None
        d.append(noted(2), expected=2)
        d.ledger.keep_snapshot(TENANT, "s1", second)
        d.ledger.keep_snapshot(TENANT, "s1", first)
        assert d.ledger.snapshot(TENANT, "s1") == second
        assert d.ledger.snapshot("globex", "s1") is None
