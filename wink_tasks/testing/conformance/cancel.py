"""Cancelling."""
# ruff: noqa: D102 - tests

from __future__ import annotations

import pytest

from wink_tasks.core.errors import LeaseLostError, UnknownRunError
from wink_tasks.core.events import CancelRequested, EvaluationCancelled
from wink_tasks.ports.mailbox import NotClaimed
from wink_tasks.testing.clock import FakeClock
from wink_tasks.testing.conformance.driver import TENANT, Driven, Driver, responded, returned, rung, succeeded


def cancel(d: Driver, evaluation: str = "e1") -> list[str]:
    """Cancel, and tell whose doorbells are to be rung."""
    return rung(d.mailbox.cancel(TENANT, evaluation, by="ann", reason='"enough"'))


CANCELLED = [
    CancelRequested(evaluation="e1", by="ann", reason='"enough"'),
    EvaluationCancelled(evaluation="e1", reason='"enough"'),
]


class CancelConformance(Driven):
    """An evaluation that somebody asked to stop ends as soon as nobody works on it, exactly once."""

    def test_where_nobody_works_it_ends_at_once(self, d: Driver, clock: FakeClock) -> None:
        d.accept("e1")
        d.accept("e2")
        assert cancel(d) == ["e1~outcome", "e2"]
        assert d.events()[3:] == CANCELLED
        assert [record.actor for record in d.ledger.read(TENANT, "s1", after=3)] == ["ann", "ann"]
        record = d.ledger.evaluation(TENANT, "e1")
        assert record is not None
        assert (record.status, record.cancelled, record.started_at, record.ended_at) == (
            "REVOKED",
            True,
            0,
            clock.now(),
        )
        assert d.ask("e1") == NotClaimed(reason="gone")
        outcome = d.claim("e1~outcome")
        assert (outcome.cancelled, outcome.started_at, d.status("e1")) == (False, 0, "REVOKED")
        assert list(d.mailbox.extend([outcome.receipt])) == ["held"], "the outcome is not to stop"

    def test_the_wish_is_recorded_once(self, d: Driver) -> None:
        d.accept("e1")
        claimed = d.claim("e1")
        assert (cancel(d), cancel(d)) == ([], [])
        assert d.events()[2:] == CANCELLED[:1]
        d.settle(claimed)
        assert cancel(d) == []
        assert d.events()[2:] == CANCELLED

    def test_an_ended_evaluation_is_left_alone(self, d: Driver) -> None:
        d.accept("e1")
        d.settle(d.claim("e1"), end=succeeded("e1"))
        assert cancel(d) == []
        assert (d.names(), d.status("e1")) == (["EvaluationAccepted", "EvaluationSucceeded"], "SUCCESS")

    def test_only_its_own_tenant_finds_it(self, d: Driver) -> None:
        d.accept("e1")
        for tenant, evaluation in (("globex", "e1"), (TENANT, "e2")):
            with pytest.raises(UnknownRunError, match=evaluation):
                d.mailbox.cancel(tenant, evaluation, by="ann", reason="")
        assert d.look("e1").state == "ready"

    def test_a_reserved_id_that_was_never_accepted_is_unknown(self, d: Driver) -> None:
        d.accept("e1")
        with pytest.raises(Exception, match="'e1'"):
            d.accept("e2", busy="reject")
        with pytest.raises(UnknownRunError, match="e2"):
            cancel(d, "e2")

    def test_the_step_under_way_still_counts_and_ends_it(self, d: Driver) -> None:
        d.accept("e1")
        claimed = d.claim("e1")
        cancel(d)
        assert list(d.mailbox.extend([claimed.receipt])) == ["cancelled"]
        settled = d.settle(claimed, responded("e1"), messages=[d.turn("e1", 2)], serves=["turns"])
        assert (settled.first, settled.ended, settled.doorbells) == (4, True, ())
        assert settled.claimed is not None
        assert settled.claimed.receipt.address.message == "e1~outcome"
        assert d.events()[2:] == [CANCELLED[0], responded("e1"), CANCELLED[1]]
        assert d.ledger.message(TENANT, "s1", "e1~turn2") is None, "nothing follows"

    def test_an_end_that_was_reached_stands(self, d: Driver) -> None:
        d.accept("e1")
        claimed = d.claim("e1")
        cancel(d)
        assert d.settle(claimed, end=succeeded("e1")).ended
        assert (d.status("e1"), d.events()[-1]) == ("SUCCESS", succeeded("e1"))

    def test_the_last_of_several_steps_ends_it(self, d: Driver) -> None:
        first, second = d.fan_out("e1", 2)
        assert cancel(d) == []
        assert d.look("e1~turn2").state == "done"
        settled = d.settle(first, returned("e1", 0))
        assert (settled.ended, settled.doorbells) == (False, ())
        assert rung(d.mailbox.nack(second.receipt, delay=5, counts=False, error="stopped")) == ["e1~outcome"]
        assert d.events()[3:] == [CANCELLED[0], returned("e1", 0), CANCELLED[1]]
        assert d.look("e1~turn1.call1").state == "done"

    def test_a_dead_step_ends_it_too(self, d: Driver) -> None:
        d.accept("e1")
        claimed = d.claim("e1")
        cancel(d)
        assert rung(d.mailbox.bury(claimed.receipt, reason="r", error="")) == ["e1~outcome"]
        assert d.names()[1:] == ["CancelRequested", "StepDied", "EvaluationCancelled"]
        assert d.status("e1") == "REVOKED"

    def test_the_reaper_ends_it_where_its_worker_is_gone(self, d: Driver, clock: FakeClock) -> None:
        d.accept("e1")
        d.accept("e2")
        claimed = d.claim("e1")
        cancel(d)
        clock.advance(10)
        assert sorted(rung(d.mailbox.reap())) == ["e1~outcome", "e2"]
        assert d.events()[3:] == CANCELLED
        assert d.ledger.read(TENANT, "s1")[-1].actor == "reaper"
        with pytest.raises(LeaseLostError):
            d.settle(claimed, responded("e1"))
        assert d.claim("e2").message.id == "e2"

    def test_who_claims_a_step_of_it_is_told(self, d: Driver, clock: FakeClock) -> None:
        d.accept("e1")
        d.claim("e1")
        cancel(d)
        clock.advance(10)
        assert d.claim("e1", owner="w2").cancelled

    def test_one_that_waits_for_its_session_leaves_the_line(self, d: Driver) -> None:
        d.accept("e1")
        d.accept("e2")
        d.accept("e3")
        assert cancel(d, "e2") == ["e2~outcome"]
        session = d.ledger.session(TENANT, "s1")
        assert session is not None
        assert (session.current, session.waiting, d.status("e2")) == ("e1", ("e3",), "REVOKED")

    @pytest.mark.parametrize("order", [("e1", "e2"), ("e2", "e1")])
    def test_two_ends_in_a_session_in_one_round_of_the_reaper(
        self, d: Driver, clock: FakeClock, order: tuple[str, str]
    ) -> None:
        d.accept("e1")
        d.accept("e2", limit_at=clock.now() + 1)
        d.accept("e3", limit_at=clock.now() + 11.5)
        clock.advance(1)
        for evaluation in order:
            d.claim(evaluation)
            cancel(d, evaluation)
            clock.advance(0.25)
        clock.advance(10)
        assert sorted(rung(d.mailbox.reap())) == ["e1~outcome", "e2~outcome", "e3"]
        session = d.ledger.session(TENANT, "s1")
        assert session is not None
        assert (session.current, session.waiting) == ("e3", ())
        clock.advance(4)
        assert d.mailbox.reap() == (), "each was rung a moment ago"
        clock.advance(1)
        assert sorted(rung(d.mailbox.reap())) == ["e1~outcome", "e2~outcome", "e3"]
