"""Accepting, claiming and settling."""
# ruff: noqa: D102, PLR2004 - tests

from __future__ import annotations

import msgspec
import pytest
from msgspec import structs

from wink_tasks.core.errors import DuplicateError, LeaseLostError, SessionBusyError, ValueInvalidError
from wink_tasks.core.events import (
    CancelRequested,
    EvaluationAccepted,
    EvaluationFailed,
    EvaluationSucceeded,
    ModelResponded,
    SessionOpened,
)
from wink_tasks.ports.ledger import EvaluationRecord, SessionRecord
from wink_tasks.ports.mailbox import Address, Doorbell, NotClaimed
from wink_tasks.testing.clock import FakeClock
from wink_tasks.testing.conformance.driver import TENANT, Driven, Driver, responded, returned, rung, succeeded


class MailboxConformance(Driven):
    """The way of an evaluation through the mailbox where nothing goes wrong, and what is refused."""

    # accept

    def test_accepting_opens_the_session_and_owes_the_first_turn(self, d: Driver, clock: FakeClock) -> None:
        trace = {"traceparent": "00-1"}
        accepted = d.accept("e1", shown="path='src'", priority=5, trace=trace)
        bell = Doorbell(
            address=Address(TENANT, "s1", "e1"),
            mailbox="turns",
            task="proj.review:turn",
            shown="path='src'",
            priority=5,
            trace=trace,
        )
        assert (accepted.created, accepted.seq, accepted.doorbells) == (True, 2, (bell,))
        records = d.ledger.read(TENANT, "s1")
        assert [(record.seq, record.at, record.actor) for record in records] == [
            (1, clock.now(), "client"),
            (2, clock.now(), "client"),
        ]
        assert d.events() == [SessionOpened(tenant=TENANT, session="s1"), d.acceptance("e1").event]
        assert d.ledger.evaluation(TENANT, "e1") == EvaluationRecord(
            id="e1",
            tenant=TENANT,
            session="s1",
            prompt="proj.review",
            status="PENDING",
            accepted_seq=2,
            accepted_at=clock.now(),
            open_messages=("e1",),
            mailbox="turns",
        )
        assert d.ledger.session(TENANT, "s1") == SessionRecord(
            tenant=TENANT, session="s1", head=2, created_at=clock.now(), updated_at=clock.now(), current="e1"
        )

    def test_an_id_is_accepted_once(self, d: Driver) -> None:
        d.accept("e1")
        again = d.accept("e1")
        assert (again.created, again.seq, again.doorbells) == (False, 2, ())
        assert d.names() == ["EvaluationAccepted"]
        d.settle(d.claim("e1"), end=succeeded("e1"))
        assert d.accept("e1").created is False, "also after its end"

    @pytest.mark.parametrize("session", ["s1", "e1"], ids=["caller-chosen id", "id that names the session"])
    def test_an_id_belongs_to_one_session_tenant_and_prompt(self, d: Driver, session: str) -> None:
        d.accept("e1", session)
        for other in ({"session": "s2"}, {"prompt": "proj.other"}, {"tenant": "globex"}):
            with pytest.raises(DuplicateError, match="e1"):
                d.accept("e1", **{"session": session, **other})
        assert d.ledger.session(TENANT, "s2") is None
        assert d.ledger.session("globex", session) is None
        assert d.names(session) == ["EvaluationAccepted"]

    def test_what_is_not_json_is_refused_and_nothing_is_recorded(self, d: Driver) -> None:
        acceptance = d.acceptance("e1")
        event = structs.replace(acceptance.event, params={"path": object()})
        with pytest.raises(ValueInvalidError, match=r"EvaluationAccepted is not JSON: .*object"):
            d.mailbox.accept(structs.replace(acceptance, event=event))
        assert d.ledger.session(TENANT, "s1") is None
        d.accept("e1")
        claimed = d.claim("e1")
        with pytest.raises(ValueInvalidError, match="EvaluationSucceeded is not JSON"):
            d.settle(claimed, end=structs.replace(succeeded("e1"), output={"a", object()}))
        assert (d.names(), d.status("e1")) == (["EvaluationAccepted"], "STARTED")

    def test_an_evaluation_joins_no_session_of_its_own_id(self, d: Driver) -> None:
        d.accept("e1", "e2")
        with pytest.raises(DuplicateError, match="e2"):
            d.accept("e2", "e2")
        assert d.names("e2") == ["EvaluationAccepted"]
        assert d.ledger.evaluation(TENANT, "e2") is None

    def test_what_was_attached_and_the_callers_headers_are_kept(self, d: Driver) -> None:
        canvas = {"link": [{"task": "t.a", "args": [1, None], "options": {"task_id": "c1"}}]}
        headers = {"ticket": 7, "stamps": {"team": "blue"}}
        acceptance = d.acceptance("e1", headers=headers)
        event = msgspec.structs.replace(acceptance.event, canvas=canvas)
        [bell] = d.mailbox.accept(msgspec.structs.replace(acceptance, event=event)).doorbells
        assert bell.headers == headers
        settled = d.settle(d.claim("e1"), end=succeeded("e1"), serves=["turns"])
        assert settled.claimed is not None
        accepted = settled.claimed.read[0].event
        assert isinstance(accepted, EvaluationAccepted)
        assert accepted.canvas == canvas

    def test_a_session_runs_one_evaluation_at_a_time(self, d: Driver) -> None:
        d.accept("e1")
        assert d.accept("e2").doorbells == ()
        d.accept("e3")
        session = d.ledger.session(TENANT, "s1")
        assert session is not None
        assert (session.current, session.waiting) == ("e1", ("e2", "e3"))
        assert (d.status("e2"), d.look("e2").state, d.look("e2").needs) == ("WAITING", "delayed", 1)
        assert d.ask("e2") == NotClaimed(reason="busy")
        settled = d.settle(d.claim("e1"), end=succeeded("e1"))
        assert rung(settled.doorbells) == ["e1~outcome", "e2"]
        session = d.ledger.session(TENANT, "s1")
        assert session is not None
        assert (session.current, session.waiting) == ("e2", ("e3",))
        assert (d.status("e1"), d.status("e2"), d.status("e3")) == ("SUCCESS", "PENDING", "WAITING")
        assert d.claim("e2").message.reads == (3,)

    def test_who_will_not_wait_is_refused(self, d: Driver) -> None:
        d.accept("e1")
        with pytest.raises(SessionBusyError, match="'e1'"):
            d.accept("e2", busy="reject")
        assert d.ledger.evaluation(TENANT, "e2") is None
        assert d.names() == ["EvaluationAccepted"]
        d.settle(d.claim("e1"), end=succeeded("e1"))
        assert d.accept("e2", busy="reject").created

    def test_a_start_in_the_future_is_waited_for(self, d: Driver, clock: FakeClock) -> None:
        start = clock.now() + 60
        assert d.accept("e1", not_before=start).doorbells == ()
        assert (d.status("e1"), d.look("e1").state, d.look("e1").due) == ("PENDING", "delayed", start)
        assert d.accept("e2", busy="wait").doorbells == (), "it holds the session all the same"
        clock.advance(59)
        assert (d.ask("e1"), d.mailbox.reap()) == (NotClaimed(reason="busy"), ())
        clock.advance(1)
        assert rung(d.mailbox.reap()) == ["e1"]

    def test_a_limit_before_the_start_makes_ready(self, d: Driver, clock: FakeClock) -> None:
        d.accept("e1", not_before=clock.now() + 60, limit_at=clock.now() + 10)
        clock.advance(10)
        assert rung(d.mailbox.reap()) == ["e1"]

    def test_what_waits_for_its_session_and_for_its_start_waits_for_both(self, d: Driver, clock: FakeClock) -> None:
        d.accept("e1")
        d.accept("e2", not_before=clock.now() + 60)
        assert rung(d.settle(d.claim("e1"), end=succeeded("e1")).doorbells) == ["e1~outcome"]
        assert (d.look("e2").state, d.look("e2").needs, d.look("e2").due) == ("delayed", 0, clock.now() + 60)

    def test_a_limit_ends_the_wait_for_a_session(self, d: Driver, clock: FakeClock) -> None:
        d.accept("e1")
        d.accept("e2", limit_at=clock.now() + 9)
        d.accept("e3")
        clock.advance(9)
        assert sorted(rung(d.mailbox.reap())) == ["e1", "e2"]
        failed = EvaluationFailed(evaluation="e2", code="DeadlineExceededError", message="late")
        settled = d.settle(d.claim("e2"), end=failed)
        assert (settled.ended, rung(settled.doorbells)) == (True, ["e2~outcome"])
        session = d.ledger.session(TENANT, "s1")
        assert session is not None
        assert (session.current, session.waiting) == ("e1", ("e3",))
        assert d.status("e2") == "FAILURE"

    def test_a_limit_that_came_due_does_not_disturb_the_turn_when_the_session_is_free(
        self, d: Driver, clock: FakeClock
    ) -> None:
        d.accept("e1")
        d.accept("e2", limit_at=clock.now() + 9)
        clock.advance(9)
        running = d.claim("e1")
        d.mailbox.reap()
        claimed = d.claim("e2")
        assert rung(d.settle(running, end=succeeded("e1")).doorbells) == ["e1~outcome"]
        assert (d.look("e2").state, d.look("e2").needs, d.status("e2")) == ("leased", 0, "STARTED")
        assert d.settle(claimed, end=succeeded("e2")).ended

    # claim

    def test_a_claim_hands_over_the_message_and_starts_the_evaluation(self, d: Driver, clock: FakeClock) -> None:
        d.accept("e1", reads=(1,))
        accepted_at = clock.now()
        clock.advance(2.5)
        claimed = d.claim("e1", after=1)
        assert claimed.receipt.address == Address(TENANT, "s1", "e1")
        assert (claimed.receipt.epoch, claimed.deliveries, claimed.cancelled, claimed.head) == (1, 1, False, 2)
        assert claimed.started_at == clock.now()
        assert claimed.message == d.turn("e1", 1, reads=(1, 2))
        assert [record.seq for record in claimed.tail] == [2]
        assert [record.event for record in claimed.read] == d.events()
        record = d.ledger.evaluation(TENANT, "e1")
        assert record is not None
        assert (record.status, record.accepted_at, record.started_at) == ("STARTED", accepted_at, clock.now())
        look = d.look("e1")
        assert (look.state, look.owner, look.due) == ("leased", "w1", clock.now() + 10)

    def test_the_tail_is_what_the_claimer_does_not_know(self, d: Driver) -> None:
        d.accept("e1")
        assert [record.seq for record in d.claim("e1", after=0).tail] == [1, 2]
        d.accept("e2", "s2")
        assert d.claim("e2", "s2", after=2).tail == ()
        d.accept("e3", "s3")
        assert d.claim("e3", "s3", after=None).tail == ()

    def test_an_evaluation_starts_once(self, d: Driver, clock: FakeClock) -> None:
        first = d.fan_out("e1", 1)[0]
        clock.advance(5)
        d.settle(first, returned("e1"))
        assert d.claim("e1~turn2").started_at == first.started_at == clock.now() - 5

    @pytest.mark.parametrize(
        "wrong", [{"task": "proj.other"}, {"session": "s2"}, {"tenant": "globex"}, {"message": "e9"}]
    )
    def test_a_doorbell_that_does_not_fit_finds_nothing(self, d: Driver, wrong: dict[str, str]) -> None:
        d.accept("e1")
        d.accept("e2", "s2")
        assert d.ask(**{"message": "e1", **wrong}) == NotClaimed(reason="gone")
        assert d.look("e1").state == "ready"

    def test_a_leased_message_is_busy_and_a_closed_one_gone(self, d: Driver) -> None:
        d.accept("e1")
        claimed = d.claim("e1")
        assert d.ask("e1", owner="w2") == NotClaimed(reason="busy")
        d.settle(claimed, end=succeeded("e1"))
        assert d.ask("e1", owner="w2") == NotClaimed(reason="gone")

    # settle

    def test_a_settlement_records_ends_and_creates(self, d: Driver, clock: FakeClock) -> None:
        d.accept("e1")
        claimed = d.claim("e1")
        clock.advance(1.25)
        settled = d.settle(
            claimed,
            responded("e1"),
            responded("e1", 1),
            messages=[d.call("e1", 0, reads=(-1, 2, 0)), d.turn("e1", 2, needs=1)],
        )
        assert (settled.first, settled.ended, settled.claimed) == (3, False, None)
        assert rung(settled.doorbells) == ["e1~turn1.call0"]
        record = d.ledger.read(TENANT, "s1", after=3)[0]
        assert (record.seq, record.at, record.actor, record.event) == (4, clock.now(), "w1", responded("e1", 1))
        assert (d.look("e1").state, d.look("e1~turn2").state) == ("done", "delayed")
        call = d.claim("e1~turn1.call0")
        assert call.message.reads == (4, 2, 3)
        read = [record.event for record in call.read]
        assert read == [d.acceptance("e1").event, responded("e1", 1), d.acceptance("e1").event, responded("e1")]
        evaluation = d.ledger.evaluation(TENANT, "e1")
        assert evaluation is not None
        assert evaluation.open_messages == ("e1~turn1.call0", "e1~turn2")

    def test_the_last_of_parallel_calls_wakes_the_turn(self, d: Driver) -> None:
        first, second, third = d.fan_out("e1", 3)
        assert d.ask("e1~turn2") == NotClaimed(reason="busy")
        assert d.settle(second, returned("e1", 1)).doorbells == ()
        assert d.settle(first, returned("e1", 0)).doorbells == ()
        assert rung(d.settle(third, returned("e1", 2)).doorbells) == ["e1~turn2"]
        assert d.claim("e1~turn2").deliveries == 1

    def test_calls_in_order_wake_each_other(self, d: Driver) -> None:
        d.accept("e1")
        settled = d.settle(
            d.claim("e1"),
            messages=[
                d.call("e1", 0, wakes="e1~turn1.call1"),
                d.call("e1", 1, needs=1),
                d.turn("e1", 2, needs=1),
            ],
        )
        for expected in ("e1~turn1.call0", "e1~turn1.call1", "e1~turn2"):
            assert rung(settled.doorbells) == [expected]
            settled = d.settle(d.claim(expected))

    def test_a_message_may_start_later(self, d: Driver, clock: FakeClock) -> None:
        d.accept("e1")
        assert d.settle(d.claim("e1"), messages=[d.turn("e1", 2, not_before=clock.now() + 5)]).doorbells == ()
        clock.advance(5)
        assert d.claim("e1~turn2").deliveries == 1, "no reaper is needed"

    def test_what_waits_is_due_at_its_limit(self, d: Driver, clock: FakeClock) -> None:
        d.accept("e1")
        d.settle(d.claim("e1"), messages=[d.call("e1", 0), d.turn("e1", 2, needs=1, limit_at=clock.now() + 3)])
        clock.advance(3)
        assert rung(d.mailbox.reap()) == ["e1~turn2"]

    def test_the_settler_goes_on_with_what_it_serves(self, d: Driver) -> None:
        d.accept("e1")
        d.accept("e2")
        claimed = d.claim("e1", after=0)
        settled = d.settle(
            claimed,
            responded("e1", 2),
            messages=[d.call("e1", 0), d.call("e1", 1, mailbox="slow"), d.turn("e1", 2, needs=2)],
            serves=["slow", "turns"],
            after=2,
        )
        assert rung(settled.doorbells) == ["e1~turn1.call0"]
        mine = settled.claimed
        assert mine is not None
        assert (mine.receipt.address.message, mine.receipt.epoch, mine.deliveries) == ("e1~turn1.call1", 1, 1)
        assert [record.event for record in mine.tail] == [d.acceptance("e2").event], "not what it settled itself"
        assert [record.event for record in mine.read] == [d.acceptance("e1").event]
        assert (mine.head, d.look("e1~turn1.call1").owner) == (4, "w1")
        assert d.ask("e1~turn1.call1", owner="w2") == NotClaimed(reason="busy")
        d.settle(d.claim("e1~turn1.call0"))
        woken = d.settle(mine, returned("e1", 1), serves=["turns"])
        assert (woken.doorbells, woken.claimed and woken.claimed.receipt.address.message) == ((), "e1~turn2")
        assert woken.claimed is not None
        assert woken.claimed.tail == ()
        ended = d.settle(woken.claimed, end=succeeded("e1"), serves=["turns"], after=5)
        assert rung(ended.doorbells) == ["e2"]
        assert ended.claimed is not None
        assert ended.claimed.receipt.address.message == "e1~outcome"
        assert [type(record.event) for record in ended.claimed.read] == [EvaluationAccepted, EvaluationSucceeded]

    def test_the_end_closes_what_is_open_and_owes_the_outcome(self, d: Driver, clock: FakeClock) -> None:
        call = d.fan_out("e1", 2)[0]
        clock.advance(3)
        settled = d.settle(call, returned("e1"), end=succeeded("e1"))
        assert (settled.first, settled.ended, rung(settled.doorbells)) == (4, True, ["e1~outcome"])
        assert d.names() == ["EvaluationAccepted", "ModelResponded", "ToolReturned", "EvaluationSucceeded"]
        assert {d.look(name).state for name in ("e1~turn1.call0", "e1~turn1.call1", "e1~turn2")} == {"done"}
        record = d.ledger.evaluation(TENANT, "e1")
        assert record is not None
        assert (record.status, record.ended_seq, record.ended_at) == ("SUCCESS", 5, clock.now())
        assert record.open_messages == ("e1~outcome",)
        outcome = d.claim("e1~outcome")
        assert [type(event.event) for event in outcome.read] == [EvaluationAccepted, EvaluationSucceeded]
        done = d.settle(outcome)
        assert (done.first, done.ended, done.doorbells) == (6, True, ())
        record = d.ledger.evaluation(TENANT, "e1")
        assert record is not None
        assert (record.status, record.open_messages) == ("SUCCESS", ())
        assert d.mailbox.depth(["turns", "tools"])["turns"].ready == 0

    def test_a_step_is_settled_once(self, d: Driver) -> None:
        d.accept("e1")
        claimed = d.claim("e1")
        d.settle(claimed, responded("e1"), messages=[d.turn("e1", 2)])
        with pytest.raises(LeaseLostError, match="settle message 'e1'"):
            d.settle(claimed, responded("e1"), messages=[d.turn("e1", 2)])
        assert d.names() == ["EvaluationAccepted", "ModelResponded"]

    def test_others_may_write_between_claim_and_settlement(self, d: Driver) -> None:
        d.accept("e1")
        claimed = d.claim("e1")
        d.accept("e2")
        d.mailbox.cancel(TENANT, "e2", by="ann", reason="no")
        assert d.settle(claimed, responded("e1")).first == 6
        assert isinstance(d.events()[3], CancelRequested)
        assert isinstance(d.events()[5], ModelResponded)

    # depth

    def test_depth_and_age(self, d: Driver, clock: FakeClock) -> None:
        d.accept("e1", "s1")
        clock.advance(7)
        d.accept("e2", "s2")
        depth = d.mailbox.depth(["turns", "tools"])
        assert (depth["turns"].ready, depth["turns"].leased, depth["turns"].dead, depth["turns"].age) == (2, 0, 0, 7)
        assert (depth["tools"].ready, depth["tools"].age) == (0, 0)
        d.mailbox.bury(d.claim("e1").receipt, reason="poison", error="")
        d.claim("e2", "s2")
        depth = d.mailbox.depth(["turns"])
        assert (depth["turns"].ready, depth["turns"].leased, depth["turns"].dead) == (1, 1, 1)
