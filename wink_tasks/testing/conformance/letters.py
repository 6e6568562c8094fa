"""Dead letters that are looked at, tried again and forgotten; messages that are held back, and woken."""
# ruff: noqa: D102, PLR2004 - tests

from __future__ import annotations

import pytest
from msgspec import structs

from wink_tasks.core.delivery import LONGEST_ERROR, LONGEST_TRACEBACK
from wink_tasks.core.errors import ContractViolationError, LeaseLostError, NotDeadError
from wink_tasks.core.events import (
    EvaluationFailed,
    EvaluationPaused,
    EvaluationResumed,
    EvaluationSucceeded,
    StepDied,
    StepRevived,
)
from wink_tasks.ports.mailbox import Address, Claimed, Listed, NotClaimed, Peeked, Revived
from wink_tasks.testing.clock import FakeClock
from wink_tasks.testing.conformance.driver import TENANT, Driven, Driver, responded, returned, rung, succeeded


def bury(d: Driver, message: str, session: str = "s1") -> Claimed:
    """Claim a message and make a dead letter of it; the receipt that was void then."""
    claimed = d.claim(message, session)
    d.mailbox.bury(claimed.receipt, reason="poison", error="ValueError: no", traceback="here")
    return claimed


def die(d: Driver, evaluation: str, turn: str = "") -> Claimed:
    """Have a turn end its evaluation by its death, and tell of it; the receipt that was void then."""
    claimed = bury(d, turn or evaluation)
    d.settle(d.claim(f"{evaluation}~outcome"))
    return claimed


def revive(d: Driver, message: str, session: str = "s1") -> Revived:
    """Revive a dead letter."""
    return d.mailbox.revive(Address(TENANT, session, message), by="ann")


def effect(d: Driver, message: str) -> tuple[str, list[str]]:
    """What became of a dead letter that was revived, and who rings."""
    revived = revive(d, message)
    return revived.effect, rung(revived.doorbells)


def peek(d: Driver, state: Listed = "dead", mailbox: str = "turns") -> list[Peeked]:
    """All messages of a mailbox in a state."""
    return list(d.mailbox.peek(mailbox, state=state))


class LetterConformance(Driven):
    """What an operator does with messages."""

    def test_an_end_by_death_may_bear_another_name_and_is_resumed_all_the_same(self, d: Driver) -> None:
        d.accept("e1")
        said = {"reason": "they do not fit", "error": "x: Field required", "code": "ParamsChangedError"}
        d.mailbox.bury(d.claim("e1").receipt, **said)
        why = "e1 is a dead letter: they do not fit; last error: x: Field required"
        assert d.events()[-2:] == [
            StepDied(evaluation="e1", message="e1", **said),
            EvaluationFailed(evaluation="e1", code="ParamsChangedError", message=why),
        ]
        d.settle(d.claim("e1~outcome"))
        assert effect(d, "e1") == ("ready", ["e1"])
        d.settle(d.claim("e1"), end=succeeded("e1"))
        assert d.status("e1") == "SUCCESS"

    # peek, dead, purge

    def test_a_dead_letter_tells_what_happened(self, d: Driver, clock: FakeClock) -> None:
        d.accept("e1", retries=1)
        began = clock.now()
        d.mailbox.nack(d.claim("e1").receipt, delay=0, counts=False, error="KeyError: 1", traceback="T1")
        (waiting,) = peek(d, "ready")
        assert (waiting.error, waiting.traceback, waiting.reason, waiting.state) == ("KeyError: 1", "T1", "", "ready")
        clock.advance(3)
        d.mailbox.nack(d.claim("e1", owner="w2").receipt, delay=0, counts=True, error="")
        assert peek(d, "ready")[0].traceback == "", "the last failure's, which had none"
        clock.advance(3)
        d.mailbox.nack(d.claim("e1", owner="w3").receipt, delay=0, counts=True, error="E: 2", traceback="x" * 9000)
        (letter,) = peek(d)
        assert letter == Peeked(
            sent=structs.replace(d.acceptance("e1", retries=1).message, reads=(2,)),
            state="dead",
            since=clock.now(),
            deliveries=3,
            pardoned=1,
            epoch=3,
            claimed_at=began,
            reason="2 deliveries did not end it (max_retries 1)",
            error="E: 2",
            traceback="x" * LONGEST_TRACEBACK,
        )
        assert letter.address == Address(TENANT, "s1", "e1")
        assert d.mailbox.dead() == {"turns": 1}

    def test_a_mailbox_is_looked_through_oldest_first_and_without_a_claim(self, d: Driver, clock: FakeClock) -> None:
        names = [f"e{number:03}" for number in range(230)]
        for name in reversed(names):
            d.accept(name, name)
            clock.advance(0.001 if name > "e100" else 0)
        assert [one.sent.id for one in peek(d, "ready")] == [*reversed(names[101:]), *names[:101]]
        d.claim("e007", "e007")
        assert [(one.sent.id, one.owner) for one in peek(d, "leased")] == [("e007", "w1")]
        assert len(peek(d, "ready")) == 229
        assert d.look("e008", "e008").deliveries == 0
        assert (peek(d), peek(d, mailbox="nobody"), d.mailbox.dead()) == ([], [], {})

    def test_purged_letters_are_forgotten_and_their_ledgers_are_not(self, d: Driver) -> None:
        for name in ("e1", "e2", "e3"):
            d.accept(name, name)
        bury(d, "e1", "e1")
        bury(d, "e2", "e2")
        letters = [Address(TENANT, name, name) for name in ("e1", "e1", "e3", "e9")]
        foreign = [Address("globex", "e2", "e2"), Address(TENANT, "e1", "e2")]
        assert d.mailbox.purge([*letters, *foreign]) == 1
        assert d.ledger.message(TENANT, "e1", "e1") is None
        assert (d.status("e1"), d.names("e1")[-1]) == ("FAILURE", "EvaluationFailed")
        assert ([one.sent.id for one in peek(d)], d.mailbox.dead()) == (["e2"], {"turns": 1})
        assert d.look("e3", "e3").state == "ready"
        assert d.mailbox.purge([]) == 0
        d.settle(d.claim("e1~outcome", "e1"))
        assert d.ledger.delete(TENANT, "e1") is True

    def test_many_letters_are_purged_at_once(self, d: Driver) -> None:
        calls = d.fan_out("e1", 1_050)
        for call in calls:
            d.mailbox.bury(call.receipt, reason="r", error="")
        assert d.mailbox.dead() == {"tools": 1_050}
        assert d.mailbox.purge([call.receipt.address for call in calls]) == 1_050
        assert d.mailbox.dead() == {}

    # revive

    def test_a_revived_turn_resumes_its_evaluation_which_ends_once_more(self, d: Driver, clock: FakeClock) -> None:
        d.accept("e1", retries=0)
        started = clock.now()
        clock.advance(2)
        old = bury(d, "e1")
        assert d.status("e1") == "FAILURE"
        before = d.events()
        assert (effect(d, "e1"), d.look("e1").state, d.events()) == (("early", []), "dead", before)
        d.settle(d.claim("e1~outcome"))
        clock.advance(7.5)
        assert effect(d, "e1") == ("ready", ["e1"])
        assert d.events()[4:] == [
            StepRevived(evaluation="e1", message="e1", by="ann"),
            EvaluationResumed(evaluation="e1", seconds=7.5),
        ]
        assert [record.actor for record in d.ledger.read(TENANT, "s1", after=4)] == ["ann", "ann"]
        record = d.ledger.evaluation(TENANT, "e1")
        assert record is not None
        assert (record.status, record.ended_seq, record.ended_at) == ("STARTED", 0, 0)
        assert record.open_messages == ("e1",)
        look = d.look("e1")
        assert (look.state, look.deliveries, look.pardoned, look.epoch, look.owner) == ("ready", 1, 1, 1, "")
        with pytest.raises(LeaseLostError):
            d.settle(old, responded("e1"))
        assert list(d.mailbox.extend([old.receipt])) == ["stale"], "it is the newest, and void all the same"
        new = d.claim("e1", owner="w2")
        assert (new.receipt.epoch, new.deliveries, new.started_at) == (2, 2, started + 2 + 7.5)
        settled = d.settle(new, responded("e1"), end=succeeded("e1"))
        assert (settled.ended, rung(settled.doorbells)) == (True, ["e1~outcome2"])
        assert (d.status("e1"), d.events()[-1]) == ("SUCCESS", succeeded("e1"))
        outcome = d.claim("e1~outcome2")
        assert isinstance(outcome.read[1].event, EvaluationSucceeded)
        d.settle(outcome)
        assert d.ledger.delete(TENANT, "s1") is True

    def test_an_evaluation_may_die_and_be_resumed_again(self, d: Driver, clock: FakeClock) -> None:
        d.accept("e1", retries=1)
        for number in range(3):
            d.mailbox.nack(d.claim("e1").receipt, delay=0, counts=True, error="boom")
            d.mailbox.nack(d.claim("e1").receipt, delay=0, counts=True, error="boom")
            assert d.look("e1").state == "dead", "all its retries were given to it anew"
            d.settle(d.claim(f"e1~outcome{number + 1 if number else ''}"))
            clock.advance(1)
            assert revive(d, "e1").effect == "ready"
        assert d.look("e1").pardoned == 6
        assert d.settle(d.claim("e1"), end=succeeded("e1")).ended
        assert d.look("e1~outcome4").state == "ready"

    def test_a_resumed_evaluation_queues_in_its_session(self, d: Driver, clock: FakeClock) -> None:
        d.accept("e1", limit_at=clock.now() + 60)
        d.accept("e2")
        d.accept("e3")
        die(d, "e1")
        running = d.claim("e2")
        clock.advance(10)
        assert effect(d, "e1") == ("waiting", [])
        session = d.ledger.session(TENANT, "s1")
        assert session is not None
        assert (session.current, session.waiting) == ("e2", ("e3", "e1"))
        look = d.look("e1")
        assert (d.status("e1"), look.state, look.needs, look.due) == ("WAITING", "delayed", 1, clock.now() + 60)
        assert d.ask("e1") == NotClaimed(reason="busy")
        d.settle(running, end=succeeded("e2"))
        assert rung(d.settle(d.claim("e3"), end=succeeded("e3")).doorbells) == ["e3~outcome", "e1"]
        assert d.status("e1") == "PENDING"
        assert d.claim("e1").started_at == clock.now(), "when it first started, moved by the ten seconds"
        assert d.status("e1") == "STARTED"
        d.accept("e4")
        assert d.status("e4") == "WAITING"

    def test_a_resumed_evaluation_without_a_limit_waits_without_one(self, d: Driver) -> None:
        d.accept("e1")
        d.accept("e2")
        die(d, "e1")
        assert effect(d, "e1") == ("waiting", [])
        assert d.look("e1").due == 0

    def test_a_later_turn_is_resumed_too(self, d: Driver) -> None:
        (call,) = d.fan_out("e1", 1)
        d.settle(call, returned("e1"))
        die(d, "e1", "e1~turn2")
        assert effect(d, "e1~turn2") == ("ready", ["e1~turn2"])
        claimed = d.claim("e1~turn2")
        d.settle(claimed, responded("e1", turn=2), messages=[d.turn("e1", 3)])
        d.settle(d.claim("e1~turn3"), end=succeeded("e1"))
        assert d.status("e1") == "SUCCESS"

    def test_a_revived_call_is_done_for_its_evaluation_went_on(self, d: Driver) -> None:
        first, second = d.fan_out("e1", 2)
        d.mailbox.bury(first.receipt, reason="r", error="")
        before = d.events()
        assert effect(d, "e1~turn1.call0") == ("answered", [])
        assert (d.events(), d.look("e1~turn1.call0").state) == (before, "done")
        assert (d.status("e1"), d.mailbox.dead()) == ("STARTED", {})
        assert rung(d.settle(second, returned("e1", 1)).doorbells) == ["e1~turn2"]
        d.settle(d.claim("e1~turn2"), end=succeeded("e1"))
        d.settle(d.claim("e1~outcome"))
        assert d.ledger.delete(TENANT, "s1") is True

    def test_a_dead_turn_whose_evaluation_ended_otherwise_is_done(self, d: Driver) -> None:
        d.accept("e1")
        claimed = d.claim("e1")
        d.mailbox.cancel(TENANT, "e1", by="bob", reason="no")
        d.mailbox.bury(claimed.receipt, reason="r", error="")
        before = d.events()
        assert effect(d, "e1") == ("ended", [])
        assert (d.events(), d.look("e1").state, d.status("e1")) == (before, "done", "REVOKED")

    def test_a_dead_outcome_is_delivered_again(self, d: Driver) -> None:
        d.accept("e1", retries=0)
        d.settle(d.claim("e1"), end=succeeded("e1"))
        d.mailbox.nack(d.claim("e1~outcome").receipt, delay=0, counts=True, error="no broker")
        assert effect(d, "e1~outcome") == ("ready", ["e1~outcome"])
        assert d.names()[-1] == "StepRevived"
        claimed = d.claim("e1~outcome")
        assert (claimed.deliveries, claimed.read[1].event) == (2, succeeded("e1"))
        d.settle(claimed)
        record = d.ledger.evaluation(TENANT, "e1")
        assert record is not None
        assert (record.status, record.open_messages) == ("SUCCESS", ())

    def test_an_outcome_that_was_overtaken_is_not_delivered_any_more(self, d: Driver) -> None:
        d.accept("e1", retries=0)
        d.mailbox.nack(d.claim("e1").receipt, delay=0, counts=True, error="boom")
        d.mailbox.nack(d.claim("e1~outcome").receipt, delay=0, counts=True, error="no broker")
        assert effect(d, "e1") == ("ready", ["e1"])
        assert effect(d, "e1~outcome") == ("ended", []), "its evaluation runs again"
        d.mailbox.nack(d.claim("e1").receipt, delay=0, counts=True, error="boom")
        d.mailbox.nack(d.claim("e1~outcome2").receipt, delay=0, counts=True, error="no broker")
        revive(d, "e1")
        assert d.settle(d.claim("e1"), end=succeeded("e1")).ended
        assert effect(d, "e1~outcome2") == ("ended", []), "there is a later one"

    def test_only_a_dead_letter_is_revived(self, d: Driver) -> None:
        d.accept("e1")
        with pytest.raises(NotDeadError, match="'e1' of tenant 'acme' is ready"):
            revive(d, "e1")
        claimed = d.claim("e1")
        with pytest.raises(NotDeadError, match="is leased"):
            revive(d, "e1")
        d.settle(claimed, end=succeeded("e1"))
        with pytest.raises(NotDeadError, match="is done"):
            revive(d, "e1")
        with pytest.raises(NotDeadError, match="'e9' of tenant 'acme' is not there"):
            revive(d, "e9")
        d.accept("e2", "s2")
        bury(d, "e2", "s2")
        for address in (Address("globex", "s2", "e2"), Address(TENANT, "s1", "e2")):
            with pytest.raises(NotDeadError):
                d.mailbox.revive(address, by="ann")
        assert d.look("e2", "s2").state == "dead"

    def test_a_resumed_evaluation_can_be_cancelled(self, d: Driver) -> None:
        d.accept("e1")
        die(d, "e1")
        revive(d, "e1")
        assert rung(d.mailbox.cancel(TENANT, "e1", by="bob", reason="no")) == ["e1~outcome2"]
        assert (d.status("e1"), d.names()[-2:]) == ("REVOKED", ["CancelRequested", "EvaluationCancelled"])

    # WINK's words

    def test_an_acknowledged_message_is_done(self, d: Driver) -> None:
        d.accept("e1")
        d.settle(d.claim("e1"), end=succeeded("e1"))
        outcome = d.claim("e1~outcome")
        assert d.mailbox.ack(outcome.receipt, actor="w1") == ()
        assert d.look("e1~outcome").state == "done"
        with pytest.raises(LeaseLostError):
            d.mailbox.ack(outcome.receipt, actor="w1")

    def test_what_is_out_of_retries_goes_to_the_dead_letters(self, d: Driver) -> None:
        d.accept("e1")
        claimed = d.claim("e1")
        assert (claimed.delivery_count, d.mailbox.send_to_dlq(claimed, "no use", max_retries=1)) == (1, False)
        with pytest.raises(ContractViolationError, match="max_retries"):
            d.mailbox.send_to_dlq(claimed, "no use", max_retries=-1)
        d.mailbox.nack(claimed.receipt, delay=0, counts=True, error="E: x")
        assert d.mailbox.send_to_dlq(d.claim("e1"), "no use", max_retries=1) is True
        assert peek(d)[0].reason == "no use"

    # wake

    def test_a_delayed_message_is_woken_and_one_that_waits_for_others_is_not(self, d: Driver, clock: FakeClock) -> None:
        d.accept("e1", not_before=clock.now() + 60)
        d.accept("e2")
        here = Address(TENANT, "s1", "e1")
        for other in (Address(TENANT, "s1", "e2"), Address(TENANT, "s1", "e9"), Address("globex", "s1", "e1")):
            assert d.mailbox.wake(other) == ()
        assert rung(d.mailbox.wake(here)) == ["e1"]
        assert d.mailbox.wake(here) == (), "it is ready"
        assert (d.claim("e1").deliveries, d.look("e2").state) == (1, "delayed")

    # hold back

    def test_what_is_held_back_stands_still_and_is_resumed_once(self, d: Driver, clock: FakeClock) -> None:
        first, second = d.fan_out("e1", 2)
        started = clock.now()
        clock.advance(2)
        for claimed in (first, second):
            bells = d.mailbox.nack(claimed.receipt, delay=5, counts=False, error="", paused="p" * 5000)
            assert bells == ()
        clock.advance(5)
        again = d.claim("e1~turn1.call0")
        assert (again.paused, again.started_at) == (True, started + 5), "its clock stands still"
        d.mailbox.nack(again.receipt, delay=5, counts=False, error="", paused="still")
        other = d.claim("e1~turn1.call1")
        assert other.paused is False, "it was not by its postponement that the clock stands still"
        assert d.mailbox.resume(other.receipt, after=None) == other
        clock.advance(5)
        held = d.claim("e1~turn1.call0")
        resumed = d.mailbox.resume(held.receipt, after=4)
        assert (resumed.paused, resumed.started_at, resumed.receipt) == (False, started + 10, held.receipt)
        assert [record.event for record in resumed.tail] == [EvaluationResumed(evaluation="e1", seconds=10)]
        assert d.events()[3:] == [
            EvaluationPaused(evaluation="e1", reason="p" * LONGEST_ERROR),
            EvaluationResumed(evaluation="e1", seconds=10),
        ]
        with pytest.raises(LeaseLostError, match="resume"):
            d.mailbox.resume(structs.replace(held.receipt, epoch=1), after=None)
        d.settle(held, returned("e1", 0))
        assert d.look("e1~turn1.call0").pardoned == 2

    def test_a_cancelled_or_ended_evaluation_is_not_held_back(self, d: Driver) -> None:
        d.accept("e1")
        claimed = d.claim("e1")
        d.mailbox.cancel(TENANT, "e1", by="bob", reason="no")
        d.mailbox.nack(claimed.receipt, delay=5, counts=False, error="", paused="held")
        assert d.names()[1:] == ["CancelRequested", "EvaluationCancelled"]
        d.mailbox.nack(d.claim("e1~outcome").receipt, delay=0, counts=False, error="", paused="held")
        assert d.names()[-1] == "EvaluationCancelled"

    def test_a_resumed_evaluation_is_no_longer_held_back(self, d: Driver, clock: FakeClock) -> None:
        d.accept("e1")
        d.mailbox.nack(d.claim("e1").receipt, delay=0, counts=False, error="", paused="held")
        die(d, "e1")
        clock.advance(3)
        revive(d, "e1")
        assert d.claim("e1").paused is False
