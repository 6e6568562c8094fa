"""Leases, retries, dead letters and the reaper."""
# ruff: noqa: D102, PLR2004 - tests

from __future__ import annotations

import pytest
from msgspec import structs

from wink_tasks.core.delivery import LONGEST_ERROR
from wink_tasks.core.errors import LeaseLostError
from wink_tasks.core.events import EvaluationFailed, StepDied
from wink_tasks.ports.mailbox import Address, Claimed, NotClaimed
from wink_tasks.testing.clock import FakeClock
from wink_tasks.testing.conformance.driver import TENANT, Driven, Driver, responded, returned, rung, succeeded

ONCE = "it was begun, did not end, and runs at most once (max_retries 0)"


class DeliveryConformance(Driven):
    """What happens to a message whose worker is slow, fails or dies."""

    # leases

    def test_an_expired_lease_can_be_claimed_and_the_newest_receipt_counts(self, d: Driver, clock: FakeClock) -> None:
        d.accept("e1")
        old = d.claim("e1")
        clock.advance(9.999)
        assert d.ask("e1", owner="w2") == NotClaimed(reason="busy")
        clock.advance(0.001)
        new = d.claim("e1", owner="w2")
        assert (new.receipt.epoch, new.deliveries, d.look("e1").owner) == (2, 2, "w2")
        assert_stale(d, old)
        assert d.names() == ["EvaluationAccepted"]
        assert d.settle(new, responded("e1")).first == 3

    def test_a_receipt_is_its_epoch_and_its_nonce(self, d: Driver) -> None:
        d.accept("e1")
        claimed = d.claim("e1")
        for forged in ({"epoch": 0}, {"epoch": 2}, {"nonce": "0"}):
            assert_stale(d, structs.replace(claimed, receipt=structs.replace(claimed.receipt, **forged)))

    def test_the_message_says_for_how_long_it_is_hidden(self, d: Driver, clock: FakeClock) -> None:
        d.accept("e1", visibility_timeout=0.5)
        claimed = d.claim("e1")
        assert d.look("e1").due == clock.now() + 0.5
        clock.advance(0.4)
        d.mailbox.extend([claimed.receipt])
        assert d.look("e1").due == clock.now() + 0.5

    def test_extending_holds_the_lease(self, d: Driver, clock: FakeClock) -> None:
        d.accept("e1", "s1")
        d.accept("e2", "s2")
        first, second = d.claim("e1"), d.claim("e2", "s2")
        clock.advance(8)
        assert list(d.mailbox.extend([first.receipt, second.receipt])) == ["held", "held"]
        clock.advance(8)
        assert d.ask("e1", owner="w2") == NotClaimed(reason="busy")
        d.settle(first)
        assert list(d.mailbox.extend([second.receipt, first.receipt])) == ["held", "stale"]
        assert list(d.mailbox.extend([])) == []

    def test_expiry_does_not_void_the_newest_receipt(self, d: Driver, clock: FakeClock) -> None:
        d.accept("e1")
        claimed = d.claim("e1")
        clock.advance(11)
        assert rung(d.mailbox.reap()) == ["e1"]
        assert (d.look("e1").state, d.mailbox.depth(["turns"])["turns"].ready) == ("ready", 1)
        assert list(d.mailbox.extend([claimed.receipt])) == ["held"]
        assert (d.look("e1").state, d.look("e1").due) == ("leased", clock.now() + 10)
        assert d.mailbox.depth(["turns"])["turns"].leased == 1
        clock.advance(11)
        d.mailbox.reap()
        assert d.settle(claimed, responded("e1"), messages=[d.turn("e1", 2)]).first == 3
        assert d.ask("e1") == NotClaimed(reason="gone")

    # nack

    def test_what_is_given_back_comes_back_after_its_delay(self, d: Driver, clock: FakeClock) -> None:
        d.accept("e1")
        claimed = d.claim("e1")
        assert d.mailbox.nack(claimed.receipt, delay=3, counts=True, error="timeout") == ()
        look = d.look("e1")
        assert (look.state, look.due, look.pardoned, look.error, look.owner) == (
            "delayed",
            clock.now() + 3,
            0,
            "timeout",
            "",
        )
        assert d.status("e1") == "STARTED"
        assert d.ask("e1") == NotClaimed(reason="busy")
        assert_stale(d, claimed)
        clock.advance(3)
        assert rung(d.mailbox.reap()) == ["e1"]
        assert d.claim("e1").deliveries == 2

    def test_given_back_without_an_error_it_keeps_its_last(self, d: Driver) -> None:
        d.accept("e1")
        d.mailbox.nack(d.claim("e1").receipt, delay=0, counts=True, error="boom")
        d.mailbox.nack(d.claim("e1").receipt, delay=0, counts=False, error="")
        assert d.look("e1").error == "boom"

    def test_without_delay_it_is_ready_at_once(self, d: Driver) -> None:
        d.accept("e1")
        claimed = d.claim("e1")
        assert rung(d.mailbox.nack(claimed.receipt, delay=0, counts=False, error="x" * 5000)) == ["e1"]
        look = d.look("e1")
        assert (look.state, look.pardoned, look.error) == ("ready", 1, "x" * LONGEST_ERROR)
        assert_stale(d, claimed)

    def test_a_pardoned_delivery_does_not_count(self, d: Driver) -> None:
        d.accept("e1", retries=0)
        for delivery in range(1, 5):
            claimed = d.claim("e1")
            assert claimed.deliveries == delivery
            d.mailbox.nack(claimed.receipt, delay=0, counts=False, error="postponed")
        d.mailbox.nack(d.claim("e1").receipt, delay=0, counts=True, error="boom")
        assert (d.look("e1").state, d.look("e1").pardoned) == ("dead", 4)

    def test_the_last_delivery_that_fails_buries(self, d: Driver) -> None:
        d.accept("e1", retries=1)
        d.mailbox.nack(d.claim("e1").receipt, delay=0, counts=True, error="first")
        bells = d.mailbox.nack(d.claim("e1").receipt, delay=60, counts=True, error="second")
        assert rung(bells) == ["e1~outcome"]
        reason = "2 deliveries did not end it (max_retries 1)"
        assert d.events()[2:] == [
            StepDied(evaluation="e1", message="e1", reason=reason, error="second"),
            EvaluationFailed(
                evaluation="e1",
                code="DeadLetteredError",
                message=f"e1 is a dead letter: {reason}; last error: second",
            ),
        ]
        assert d.look("e1").error == "second"

    # dead letters

    def test_who_kills_its_worker_dies_after_its_retries(self, d: Driver, clock: FakeClock) -> None:
        d.accept("e1", retries=2)
        d.accept("e2")
        lost = []
        for _ in range(3):
            lost.append(d.claim("e1"))
            clock.advance(10)
        answer = d.ask("e1", owner="w9")
        assert isinstance(answer, NotClaimed)
        assert (answer.reason, rung(answer.doorbells)) == ("dead", ["e1~outcome", "e2"])
        died, failed = d.events()[3:]
        reason = "3 deliveries did not end it (max_retries 2)"
        assert died == StepDied(evaluation="e1", message="e1", reason=reason)
        assert failed == EvaluationFailed(
            evaluation="e1", code="DeadLetteredError", message=f"e1 is a dead letter: {reason}"
        )
        assert [record.actor for record in d.ledger.read(TENANT, "s1", after=3)] == ["w9", "w9"]
        look = d.look("e1")
        assert (look.state, look.deliveries, look.due) == ("dead", 4, 0)
        assert (d.status("e1"), d.status("e2")) == ("FAILURE", "PENDING")
        assert d.mailbox.depth(["turns"])["turns"].dead == 1
        assert d.ask("e1") == NotClaimed(reason="gone")
        assert_stale(d, lost[-1])
        assert d.claim("e1~outcome").read[1].event == failed

    def test_one_on_its_last_delivery_that_lost_others_is_put_off(self, d: Driver, clock: FakeClock) -> None:
        """Whose process has such a one in hand neither claims nor buries another, and it costs that one nothing."""
        d.accept("e1", retries=1)
        assert isinstance(d.ask("e1", put_off=2.0), Claimed), "nothing is lost yet"
        clock.advance(10)
        d.mailbox.reap()
        for pardoned in (1, 2):
            assert d.ask("e1", put_off=2.0) == NotClaimed(reason="busy")
            look = d.look("e1")
            assert (look.state, look.owner, look.deliveries - look.pardoned) == ("delayed", "", 1)
            assert look.pardoned == pardoned
            assert d.ask("e1") == NotClaimed(reason="busy"), "it is delayed"
            assert d.mailbox.reap() == ()
            clock.advance(2)
            assert rung(d.mailbox.reap()) == ["e1"]
        assert d.claim("e1").last
        clock.advance(10)
        answer = d.ask("e1", put_off=2.0)
        assert isinstance(answer, NotClaimed)
        assert answer.reason == "dead"

    def test_a_dead_call_counts_as_answered(self, d: Driver) -> None:
        first, second = d.fan_out("e1", 2)
        assert d.mailbox.bury(first.receipt, reason="not retryable", error='IndexError: "0"\n/tmp/ä') == ()
        assert d.events()[3] == StepDied(
            evaluation="e1",
            message="e1~turn1.call0",
            reason="not retryable",
            error='IndexError: "0"\n/tmp/ä',
            call="c0",
        )
        assert_stale(d, first)
        assert rung(d.settle(second, returned("e1", 1)).doorbells) == ["e1~turn2"]
        record = d.ledger.evaluation(TENANT, "e1")
        assert record is not None
        assert (record.status, record.open_messages) == ("STARTED", ("e1~turn2",))

    def test_the_last_call_wakes_the_turn_also_by_its_death(self, d: Driver, clock: FakeClock) -> None:
        (call,) = d.fan_out("e1", 1, max_retries=0)
        clock.advance(10)
        answer = d.ask("e1~turn1.call0")
        assert isinstance(answer, NotClaimed)
        assert (answer.reason, rung(answer.doorbells)) == ("dead", ["e1~turn2"])
        assert_stale(d, call)

    def test_a_dead_outcome_changes_nothing_but_itself(self, d: Driver) -> None:
        d.accept("e1", retries=0)
        d.settle(d.claim("e1"), end=succeeded("e1"))
        assert d.mailbox.nack(d.claim("e1~outcome").receipt, delay=1, counts=True, error="no broker") == ()
        assert d.names() == ["EvaluationAccepted", "EvaluationSucceeded"]
        record = d.ledger.evaluation(TENANT, "e1")
        assert record is not None
        assert (record.status, record.open_messages, d.look("e1~outcome").state) == ("SUCCESS", (), "dead")

    def test_burying_caps_what_it_keeps(self, d: Driver) -> None:
        d.accept("e1")
        d.mailbox.bury(d.claim("e1").receipt, reason="r" * 5000, error="e" * 5000)
        died = d.events()[2]
        assert isinstance(died, StepDied)
        assert (len(died.reason), len(died.error)) == (LONGEST_ERROR, LONGEST_ERROR)

    # at most once

    def test_a_call_that_runs_at_most_once_ends_unknown_where_its_worker_is_lost(
        self, d: Driver, clock: FakeClock
    ) -> None:
        (call,) = d.fan_out("e1", 1, max_retries=0)
        clock.advance(10)
        answer = d.ask("e1~turn1.call0")
        assert isinstance(answer, NotClaimed)
        assert (answer.reason, rung(answer.doorbells)) == ("dead", ["e1~turn2"])
        assert d.events()[-1] == StepDied(
            evaluation="e1", message="e1~turn1.call0", reason=ONCE, call="c0", code="OutcomeUnknownError"
        )
        assert_stale(d, call)

    def test_a_task_that_runs_at_most_once_ends_unknown_where_its_worker_is_lost(
        self, d: Driver, clock: FakeClock
    ) -> None:
        d.accept("e1", kind="task", retries=0)
        assert rung(d.mailbox.nack(d.claim("e1", task="proj.sync").receipt, delay=0, counts=False, error="")) == ["e1"]
        again = d.claim("e1", task="proj.sync")
        assert (again.deliveries, again.pardoned, again.tries) == (2, 1, 1)
        clock.advance(10)
        answer = d.ask("e1", task="proj.sync")
        assert isinstance(answer, NotClaimed)
        assert (answer.reason, rung(answer.doorbells)) == ("dead", ["e1~outcome"])
        assert d.events()[2:] == [
            StepDied(evaluation="e1", message="e1", reason=ONCE, code="OutcomeUnknownError"),
            EvaluationFailed(evaluation="e1", code="OutcomeUnknownError", message=f"e1 is a dead letter: {ONCE}"),
        ]
        d.settle(d.claim("e1~outcome"))
        revived = d.mailbox.revive(Address(TENANT, "s1", "e1"), by="ann")
        assert (revived.effect, rung(revived.doorbells)) == ("ended", [])

    def test_what_runs_at_most_once_and_failed_is_not_unknown(self, d: Driver) -> None:
        d.accept("e1", kind="task", retries=0)
        d.mailbox.nack(d.claim("e1", task="proj.sync").receipt, delay=1, counts=True, error="boom")
        failed = d.events()[-1]
        assert isinstance(failed, EvaluationFailed)
        assert failed.code == "DeadLetteredError"

    @pytest.mark.parametrize("counts", [True, False])
    def test_what_runs_at_most_once_and_was_begun_is_not_handed_to_another(self, d: Driver, counts: bool) -> None:
        d.accept("e1", kind="task", retries=0)
        receipt = d.claim("e1", task="proj.sync").receipt
        bells = d.mailbox.nack(receipt, delay=0, counts=counts, error="its process died", begun=True)
        assert rung(bells) == ["e1~outcome"]
        failed = d.events()[-1]
        assert isinstance(failed, EvaluationFailed)
        assert (failed.code, "its process died" in failed.message) == ("OutcomeUnknownError", True)
        d.accept("e2", "s2", kind="task", retries=1)
        receipt = d.claim("e2", "s2", task="proj.sync").receipt
        assert rung(d.mailbox.nack(receipt, delay=0, counts=False, error="", begun=True)) == ["e2"]

    # checkpoints

    def test_a_checkpoint_is_brought_by_the_next_claim(self, d: Driver, clock: FakeClock) -> None:
        d.accept("e1", kind="task", retries=1)
        claimed = d.claim("e1", task="proj.sync")
        assert claimed.checkpoint is None
        for value in ({"row": 1}, {"row": 2, "ä": [None, 1.5, "x"]}):
            d.mailbox.checkpoint(claimed.receipt, value)
        clock.advance(9)
        d.mailbox.checkpoint(claimed.receipt, {"row": 3})
        assert d.look("e1").due == clock.now() + 1, "it renews nothing"
        clock.advance(1)
        assert rung(d.mailbox.reap()) == ["e1"]
        d.mailbox.checkpoint(claimed.receipt, {"row": 4})
        assert d.look("e1").state == "ready"
        again = d.claim("e1", task="proj.sync", owner="w2")
        assert again.checkpoint == {"row": 4}
        with pytest.raises(LeaseLostError, match="checkpoint message 'e1'"):
            d.mailbox.checkpoint(claimed.receipt, {"row": 5})
        d.mailbox.nack(again.receipt, delay=0, counts=False, error="")
        last = d.claim("e1", task="proj.sync")
        assert (last.checkpoint, last.read[0].event) == ({"row": 4}, d.acceptance("e1").event)
        assert len(last.read) == 1

    def test_a_checkpoint_is_gone_when_its_message_is_done(self, d: Driver) -> None:
        (call,) = d.fan_out("e1", 1)
        d.mailbox.checkpoint(call.receipt, 1)
        turn = d.settle(call, returned("e1"), serves=["turns"]).claimed
        assert turn is not None
        assert turn.checkpoint is None
        with pytest.raises(LeaseLostError):
            d.mailbox.checkpoint(call.receipt, 2)

    # reaper

    def test_the_reaper_brings_back_expired_leases(self, d: Driver, clock: FakeClock) -> None:
        d.accept("e1")
        d.claim("e1")
        clock.advance(9)
        assert d.mailbox.reap() == ()
        clock.advance(1)
        assert rung(d.mailbox.reap()) == ["e1"]
        assert (d.look("e1").state, d.look("e1").deliveries) == ("ready", 1)
        assert d.claim("e1", owner="w2").receipt.epoch == 2

    def test_a_doorbell_that_nobody_answers_rings_again_ever_more_rarely(self, d: Driver, clock: FakeClock) -> None:
        d.accept("e1")
        for pause in (5, 5, 10, 20, 40, 60, 60):
            clock.advance(pause - 0.01)
            assert d.mailbox.reap() == ()
            clock.advance(0.01)
            assert rung(d.mailbox.reap()) == ["e1"]
        assert d.mailbox.depth(["turns"])["turns"].age == pytest.approx(200)

    def test_the_reaper_takes_the_longest_due_first_and_no_more_than_asked(self, d: Driver, clock: FakeClock) -> None:
        for name in ("e1", "e2", "e3"):
            d.accept(name, "s1" if name == "e1" else name)
            clock.advance(0.5)
        (*calls,) = d.fan_out("e4", 3, "s4")
        for call in reversed(calls):
            d.mailbox.extend([call.receipt])
            clock.advance(0.5)
        clock.advance(60)
        names = [call.receipt.address.message for call in reversed(calls)]
        assert [name for name in rung(d.mailbox.reap(limit=2)) if "call" in name] == names[:2]
        assert [name for name in rung(d.mailbox.reap(limit=2)) if "call" in name] == names[2:]

    def test_a_closed_message_is_nobodys_business(self, d: Driver, clock: FakeClock) -> None:
        d.accept("e1")
        d.settle(d.claim("e1"), end=succeeded("e1"))
        d.settle(d.claim("e1~outcome"))
        clock.advance(1000)
        assert d.mailbox.reap() == ()


def assert_stale(d: Driver, claimed: Claimed) -> None:
    """Nothing that this receipt asks for is done."""
    before = d.ledger.message(TENANT, "s1", claimed.receipt.address.message)
    events = d.events()
    assert list(d.mailbox.extend([claimed.receipt])) == ["stale"]
    with pytest.raises(LeaseLostError, match="settle"):
        d.settle(claimed, responded("e1"), end=succeeded("e1"))
    with pytest.raises(LeaseLostError, match="nack"):
        d.mailbox.nack(claimed.receipt, delay=0, counts=False, error="")
    with pytest.raises(LeaseLostError, match="bury"):
        d.mailbox.bury(claimed.receipt, reason="", error="")
    with pytest.raises(LeaseLostError, match="checkpoint"):
        d.mailbox.checkpoint(claimed.receipt, 1)
    assert d.ledger.message(TENANT, "s1", claimed.receipt.address.message) == before
    assert d.events() == events
