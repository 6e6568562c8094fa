"""Evaluations that failed and go on."""
# ruff: noqa: D102 - tests

from __future__ import annotations

from typing import Any

from wink_tasks.core.events import Changed, EvaluationFailed, EvaluationResumed
from wink_tasks.core.ids import outcome_id, resumed_turn_id
from wink_tasks.core.limits import Budget
from wink_tasks.ports.mailbox import Address, Reopened, Reopening
from wink_tasks.testing.clock import FakeClock
from wink_tasks.testing.conformance.driver import TENANT, Driven, Driver, responded, rung, succeeded
from wink_tasks.testing.conformance.ledger import noted

AGAIN = resumed_turn_id("e1", 2, 1)


def failed(d: Driver, evaluation: str = "e1", *, told: bool = True) -> None:
    """An evaluation that failed in its first turn."""
    d.accept(evaluation)
    end = EvaluationFailed(evaluation=evaluation, code="BudgetExceededError", message="m")
    d.settle(d.claim(evaluation), responded(evaluation), end=end)
    if told:
        d.settle(d.claim(f"{evaluation}~outcome"))


def reopen(d: Driver, head: int, changed: Changed | None = None, turn: str = AGAIN, **options: Any) -> Reopened:
    """Let `e1` go on."""
    message, outcome = d.message("turn", turn, turn=2, **options), d.message("outcome", outcome_id("e1"))
    return d.mailbox.reopen(Reopening(message=message, outcome=outcome, head=head, changed=changed, by="ann"))


class ReopeningConformance(Driven):
    """A failed evaluation goes on in its session, and ends once more."""

    def test_it_goes_on_and_ends_once_more(self, d: Driver, clock: FakeClock) -> None:
        failed(d)
        began = d.ledger.evaluation(TENANT, "e1")
        assert began is not None
        clock.advance(7.5)
        changed = Changed(budget=Budget(total_tokens=9), models=("offline:ä",), deadline=30.0, deadline_at=99.0)
        answer = reopen(d, 4, changed)
        assert (answer.effect, rung(answer.doorbells)) == ("reopened", [AGAIN])
        [record] = d.ledger.read(TENANT, "s1", after=4)
        assert record.event == EvaluationResumed(evaluation="e1", seconds=7.5, changed=changed)
        assert record.actor == "ann"
        found = d.ledger.evaluation(TENANT, "e1")
        assert found is not None
        assert (found.status, found.ended_seq, found.ended_at, found.open_messages) == ("STARTED", 0, 0, (AGAIN,))
        assert found.started_at == began.started_at + 7.5
        claimed = d.claim(AGAIN, after=4)
        assert ([one.seq for one in claimed.tail], claimed.started_at) == ([5], found.started_at)
        settled = d.settle(claimed, end=succeeded("e1"), serves=("turns",))
        assert settled.claimed is not None
        assert settled.claimed.message.id == outcome_id("e1", 1)
        assert settled.claimed.read[1].event == succeeded("e1")
        assert d.status("e1") == "SUCCESS"
        d.settle(settled.claimed)
        assert d.ledger.delete(TENANT, "s1") is True

    def test_it_runs_in_its_session_and_others_wait(self, d: Driver) -> None:
        failed(d)
        reopen(d, 4)
        found = d.ledger.session(TENANT, "s1")
        assert found is not None
        assert found.current == "e1"
        assert rung(d.accept("e2").doorbells) == []
        assert d.ledger.active_sessions() == 1
        settled = d.settle(d.claim(AGAIN), end=succeeded("e1"))
        assert rung(settled.doorbells) == [outcome_id("e1", 1), "e2"]

    def test_it_goes_on_once(self, d: Driver) -> None:
        failed(d)
        assert reopen(d, 4).effect == "reopened"
        assert reopen(d, 4).effect == "moved"
        assert reopen(d, 5).effect == "moved"
        assert d.names().count("EvaluationResumed") == 1

    def test_what_the_caller_does_not_know_stops_it(self, d: Driver) -> None:
        failed(d)
        d.append(noted(1), expected=4)
        assert (reopen(d, 4).effect, d.names()[-1]) == ("moved", "Dispatched")
        d.accept("e2")
        assert reopen(d, 6).effect == "moved", "another one runs"
        assert d.status("e1") == "FAILURE"
        d.mailbox.cancel(TENANT, "e2", by="ann", reason="r")
        assert reopen(d, 8).effect == "reopened"

    def test_its_end_is_told_first(self, d: Driver) -> None:
        failed(d, told=False)
        assert (reopen(d, 4).effect, d.names()[-1]) == ("early", "EvaluationFailed")
        d.settle(d.claim("e1~outcome"))
        assert reopen(d, 4).effect == "reopened"

    def test_one_that_died_leaves_its_letter_behind(self, d: Driver) -> None:
        d.accept("e1")
        d.mailbox.bury(d.claim("e1").receipt, reason="poison", error="")
        d.settle(d.claim("e1~outcome"))
        assert d.mailbox.dead() == {"turns": 1}
        assert reopen(d, 4).effect == "reopened"
        assert (d.mailbox.dead(), d.look("e1").state) == ({}, "done")
        d.mailbox.bury(d.claim(AGAIN).receipt, reason="poison", error="")
        d.settle(d.claim(outcome_id("e1", 1)))
        assert d.mailbox.revive(Address(TENANT, "s1", AGAIN), by="ann").effect == "ready", "it died anew"
        d.settle(d.claim(AGAIN), end=succeeded("e1"))
        assert d.claim(outcome_id("e1", 2)).read[1].event == succeeded("e1")

    def test_one_whose_letter_was_purged(self, d: Driver) -> None:
        d.accept("e1")
        d.mailbox.bury(d.claim("e1").receipt, reason="poison", error="")
        d.settle(d.claim("e1~outcome"))
        d.mailbox.purge([Address(TENANT, "s1", "e1")])
        assert reopen(d, 4).effect == "reopened"
        assert d.claim(AGAIN).deliveries == 1

    def test_its_limit_passes_also_where_nobody_works(self, d: Driver, clock: FakeClock) -> None:
        failed(d)
        reopen(d, 4, limit_at=clock.now() + 5, not_before=clock.now() + 60)
        assert d.look(AGAIN).state == "delayed"
        clock.advance(5)
        assert rung(d.mailbox.reap()) == [AGAIN]
