"""What operators hold back, and what goes on from the death of a step, in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from tests.unit.runtime.conftest import Review, Shop
from wink_tasks import DeadLetteredError, DeadlineExceededError, ProviderUnavailableError
from wink_tasks.core.errors import LedgerUnavailableError
from wink_tasks.core.events import EvaluationFailed, EvaluationPaused, EvaluationResumed, StepDied
from wink_tasks.ports.mailbox import Address
from wink_tasks.ports.pauses import Pause, Subject
from wink_tasks.runtime.pausing import LOOK_EVERY, Holds
from wink_tasks.testing import FakeClock, answer, call, calls, scripted
from wink_tasks.testing.memory import MemoryStore
from wink_tasks.testing.scripted import Scripted

GOOD = Review(summary="fine", score=7)


@pytest.fixture
def kit(shop: Shop) -> Iterator[Scripted]:
    with scripted(shop.wink, {}) as kit:
        yield kit


def hold(shop: Shop, kit: Scripted, subject: Subject, name: str) -> Callable[[], None]:
    """Hold back, and have this process know; what is returned lets go on."""
    pauses = shop.wink.house().store.pauses
    pauses.pause(Pause(subject=subject, name=name, by="ann", at=kit.clock.now()))
    kit.clock.advance(LOOK_EVERY)
    return lambda: pauses.resume(subject, name)


def reap(shop: Shop, kit: Scripted, seconds: float) -> None:
    """Let time pass, and do what is due."""
    house = shop.wink.house()
    for _ in range(int(seconds)):
        kit.clock.advance(1)
        house.ringer.ring(house.store.mailbox.reap())


def kinds(run: Any) -> list[type]:
    return [type(record.event) for record in run.session.refresh().events() if record.evaluation == run.id]


@pytest.mark.parametrize(
    ("subject", "name"),
    [("prompt", "shop.review"), ("mailbox", "celery"), ("tenant", "default"), ("model", "house:large")],
)
def test_a_paused_run_waits_and_its_clock_stands_still(shop: Shop, kit: Scripted, subject: Subject, name: str):
    kit.script(shop.review, [answer(GOOD)])
    let_go = hold(shop, kit, subject, name)
    run = shop.review.with_options(model=["house:large"]).delay("src")
    reap(shop, kit, 300)
    assert (kit.requests, run.status) == ((), "STARTED")
    assert kinds(run)[1:] == [EvaluationPaused], "recorded once"
    assert "is paused by ann" in run.explain()
    let_go()
    assert run.get() == GOOD, "its deadline of 100 s did not pass"
    [resumed] = [record.event for record in run.events() if isinstance(record.event, EvaluationResumed)]
    assert resumed.seconds >= 300
    assert shop.wink.house().store.mailbox.depth(["celery"])["celery"].dead == 0, "nothing was counted"


def test_a_pause_of_others_is_none_of_its_business(shop: Shop, kit: Scripted):
    kit.script(shop.chat, [answer("ok")])
    for subject, name in (("prompt", "shop.review"), ("mailbox", "x"), ("tenant", "x"), ("model", "house:large")):
        hold(shop, kit, subject, name)
    assert shop.chat.delay("x").get() == "ok"


def test_another_model_that_is_listed_is_asked_where_the_first_is_held_back(shop: Shop, kit: Scripted):
    kit.script(shop.review, [answer(GOOD)])
    hold(shop, kit, "model", "house:small")
    run = shop.review.delay("src")
    assert run.get() == GOOD
    assert [request.model for request in kit.requests] == ["large"]


def test_a_held_back_call_lets_the_clock_stand_still_for_the_turn_behind_it(shop: Shop, kit: Scripted):
    kit.script(shop.review, [calls((shop.look, {"where": "a"}), (shop.look, {"where": "b"})), answer(GOOD)])
    run = shop.review.with_options(countdown=5).delay("src")
    let_go = hold(shop, kit, "mailbox", "looks")
    shop.wink.registry.tools["shop.look"] = shop.look.definition
    object.__setattr__(shop.look.definition, "queue", "looks")
    reap(shop, kit, 160)
    assert shop.done == []
    assert (run.status, kinds(run)[-1]) == ("STARTED", EvaluationPaused), "the deadline of 100 s has not passed"
    let_go()
    assert run.get() == GOOD
    assert sorted(done[:6] for done in shop.done) == ["look a", "look b"]
    assert kinds(run).count(EvaluationPaused) == kinds(run).count(EvaluationResumed) == 1


def test_a_prompt_that_is_unknown_here_has_no_model(shop: Shop, kit: Scripted):
    hold(shop, kit, "model", "house:small")
    run = shop.chat.with_options(countdown=5).delay("x")
    known = dict(shop.wink.registry.prompts)
    del shop.wink.registry.prompts["shop.chat"]
    reap(shop, kit, 6)
    assert "is unknown to worker" in run.explain()
    shop.wink.registry.prompts.update(known)


def test_what_is_known_of_pauses_is_kept_while_the_store_is_away():
    clock = FakeClock()
    pauses = MemoryStore(clock).pauses
    holds = Holds(pauses, clock)
    assert holds.now() == []
    pause = pauses.pause(Pause(subject="tenant", name="acme", by="ann", at=1.0))
    assert holds.now() == [], "not asked again so soon"
    clock.advance(LOOK_EVERY)
    assert holds.now() == [pause]

    class Away:
        """The store does not answer."""

        def paused(self):
            raise LedgerUnavailableError("away")

    holds._pauses = Away()  # type: ignore[assignment]
    clock.advance(LOOK_EVERY)
    assert holds.now() == [pause]


# death, and what comes after


def revive(shop: Shop, run: Any, message: str = "") -> str:
    """Revive a step of a run."""
    house = shop.wink.house()
    address = Address(run.tenant, run.session.id, message or run.id)
    revived = house.store.mailbox.revive(address, by="ann")
    house.ringer.ring(revived.doorbells)
    return revived.effect


def test_a_dead_turn_is_told_at_once_and_goes_on_where_it_stood(shop: Shop, kit: Scripted):
    kit.script(shop.review, [call(shop.note, text="a"), *[ProviderUnavailableError("down")] * 4, answer(GOOD)])
    session = shop.review.with_options(session="s")
    run, behind = session.delay("src"), session.delay("other")
    with pytest.raises(DeadLetteredError, match="down"):
        run.get()
    assert behind.get() == GOOD, "who waited behind it goes on"
    kit.clock.advance(500)
    kit.script(shop.review, [answer(GOOD)])
    assert revive(shop, run, f"{run.id}~turn2") == "ready"
    assert run.get() == GOOD, "its deadline of 100 s did not pass meanwhile"
    assert shop.done == ["note a"], "what was done is not done again"
    assert len(kit.requests) == 7
    assert run.evaluation().usage.requests == 2
    ends = [kind for kind in kinds(run) if kind.__name__.startswith("Evaluation")]
    assert [kind.__name__ for kind in ends[-3:]] == ["EvaluationFailed", "EvaluationResumed", "EvaluationSucceeded"]
    outcomes = shop.wink.house().parts.outcomes.delivered
    assert [(one.accepted.evaluation, one.resumed) for one in outcomes] == [
        (run.id, False),
        (behind.id, False),
        (run.id, True),
    ]


def test_an_absolute_deadline_passes_also_for_the_dead(shop: Shop, kit: Scripted):
    kit.script(shop.chat, [ProviderUnavailableError("down")] * 4)
    until = kit.clock.now() + 60
    chat = shop.chat.with_options(deadline=datetime.fromtimestamp(until, UTC))
    run = chat.delay("x")
    with pytest.raises(DeadLetteredError):
        run.get()
    kit.clock.advance(60)
    revive(shop, run)
    with pytest.raises(DeadlineExceededError):
        run.get()
    assert isinstance(list(run.events())[-1].event, EvaluationFailed)


def test_parallel_calls_go_on_when_one_of_them_is_dead(shop: Shop, kit: Scripted):
    kit.script(shop.review, [calls((shop.look, {"where": "away"}), (shop.look, {"where": "b"})), answer(GOOD)])
    run = shop.review.delay("src")
    assert run.get() == GOOD
    [died] = [record.event for record in run.events() if isinstance(record.event, StepDied)]
    assert died.error == "ConnectionError: nobody there"
    house = shop.wink.house()
    [letter] = house.store.mailbox.peek("celery")
    assert (letter.sent.call, letter.deliveries) == (died.call, 2)
    assert 'raise ConnectionError("nobody there")' in letter.traceback
    assert revive(shop, run, letter.sent.id) == "answered"
    assert run.get() == GOOD
