"""Runs that failed and go on from their last good point."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from tests.unit.runtime.conftest import Review, Shop
from wink_tasks import (
    Budget,
    BudgetExceededError,
    DeadLetteredError,
    DeadlineExceededError,
    DeclarationError,
    ModelRefusedError,
    OutputInvalidError,
    ParametersInvalidError,
    PromptFailedError,
    ProviderRejectedError,
    Run,
    TaskFailedError,
    ToolFailedError,
    TurnLimitError,
    UnknownPromptError,
    UnknownRunError,
)
from wink_tasks.core.errors import NotDeadError, NotResumableError, RejectedError, RequestRejectedError
from wink_tasks.core.events import TERMINAL, EvaluationResumed
from wink_tasks.ports.mailbox import Address
from wink_tasks.ports.provider import Response
from wink_tasks.testing import answer, call, scripted
from wink_tasks.testing.scripted import Scripted

SMALL = Budget(total_tokens=20)
GOOD = Review(summary="ok", score=1)


@pytest.fixture
def scene(shop: Shop) -> Iterator[Scripted]:
    with scripted(shop.wink, {shop.review: [], shop.chat: []}) as scene:
        yield scene


@pytest.fixture
def spent(shop: Shop, scene: Scripted) -> Run[Review]:
    """A run that used up its budget after a tool call."""
    scene.script(shop.review, [call(shop.note, text="a"), call(shop.note, text="b"), answer(GOOD)])
    run = shop.review.with_options(session="s1", budget=SMALL).delay("p")
    with pytest.raises(BudgetExceededError):
        run.get()
    return run


def ends(run: Run[object]) -> list[str]:
    return [type(one.event).__name__ for one in run.session.events() if isinstance(one.event, TERMINAL)]


def test_it_goes_on_from_its_last_good_point(shop: Shop, spent: Run[Review], scene: Scripted):
    done, asked = list(shop.done), len(scene.requests)
    assert spent.resume(budget=Budget(total_tokens=100)) is spent
    assert spent.get() == GOOD
    assert shop.done == done, "no tool call that was answered is made again"
    assert len(scene.requests) == asked + 1, "no answer that was given is asked for again"
    assert len(scene.requests[-1].transcript) == 5
    assert ends(spent) == ["EvaluationFailed", "EvaluationSucceeded"]
    assert (spent.status, spent.evaluation().turns, spent.usage().requests) == ("SUCCESS", 3, 3)
    [resumed] = [one for one in spent.session.events() if isinstance(one.event, EvaluationResumed)]
    assert resumed.actor == "application"
    assert resumed.event.changed is not None
    assert resumed.event.changed.budget == Budget(total_tokens=100)


def test_it_may_fail_and_be_resumed_again(spent: Run[Review]):
    with pytest.raises(
        NotResumableError, match="it would end at once again: the budget is used up: total_tokens 30 of 20"
    ):
        spent.resume()
    with pytest.raises(NotResumableError, match="total_tokens 30 of 25"):
        spent.resume(budget=Budget(total_tokens=25))
    spent.resume(budget=Budget(total_tokens=31), max_turns=5)
    assert spent.get() == GOOD
    with pytest.raises(NotResumableError, match="it succeeded"):
        spent.resume()
    assert ends(spent) == ["EvaluationFailed", "EvaluationSucceeded"]


def test_a_deadline_that_passed(shop: Shop, scene: Scripted):
    scene.script(shop.review, [call(shop.note, text="a"), answer(GOOD)])
    late = shop.review.with_options(deadline=0).delay("p")
    with pytest.raises(DeadlineExceededError):
        late.get()
    with pytest.raises(NotResumableError, match="the deadline passed"):
        late.resume()
    assert late.resume(deadline=60).get() == GOOD
    assert late.evaluation().deadline_at == pytest.approx(scene.clock.now() + 60, abs=1)


def test_a_deadline_that_is_a_date(shop: Shop, scene: Scripted):
    scene.script(shop.review, [answer(GOOD)])
    late = shop.review.with_options(deadline=0).delay("p")
    with pytest.raises(DeadlineExceededError):
        late.get()
    moment = datetime.fromtimestamp(scene.clock.now() + 60, UTC)
    assert late.resume(deadline=moment).get() == GOOD
    assert late.evaluation().terms.deadline_at == moment.timestamp()


def test_too_many_turns(shop: Shop, scene: Scripted):
    scene.script(shop.chat, [*[call(shop.note, text="a")] * 3, answer("well")])
    run = shop.chat.delay("x")
    with pytest.raises(TurnLimitError):
        run.get()
    with pytest.raises(NotResumableError, match=r"no result after 3 turns \(max_turns\)"):
        run.resume()
    assert run.resume(max_turns=4).get() == "well"


def test_tools_that_failed_in_a_row_may_fail_again(shop: Shop, scene: Scripted):
    scene.script(shop.review, [*[call(shop.note, text="worse")] * 3, call(shop.note, text="a"), answer(GOOD)])
    run = shop.review.delay("p")
    with pytest.raises(ToolFailedError):
        run.get()
    assert run.resume().get() == GOOD
    assert shop.done.count("note worse") == 3


def test_another_model_is_asked_where_one_refused_the_request(shop: Shop, scene: Scripted):
    scene.script(shop.review, [RequestRejectedError("no such model"), answer(GOOD)])
    run = shop.review.delay("p")
    with pytest.raises(ProviderRejectedError):
        run.get()
    with pytest.raises(DeclarationError, match="no provider is called 'nobody'"):
        run.resume(model="nobody:x")
    assert run.resume(model=["house:other", "house:large"]).get() == GOOD
    assert scene.requests[-1].model == "other"
    assert run.evaluation().terms.models == ("house:other", "house:large")


def test_a_prompt_that_was_mended(shop: Shop, scene: Scripted):
    scene.script(shop.review, [answer(GOOD)])
    run = shop.review.delay("broken")
    with pytest.raises(PromptFailedError):
        run.get()
    run.resume()
    with pytest.raises(PromptFailedError):
        run.get()
    assert ends(run) == ["EvaluationFailed", "EvaluationFailed"]


def test_an_output_that_did_not_fit_is_asked_for_again(shop: Shop, scene: Scripted):
    scene.script(shop.review, [*[answer("no review")] * 3, answer(GOOD)])
    run = shop.review.delay("p")
    with pytest.raises(OutputInvalidError):
        run.get()
    assert run.resume().get() == GOOD
    assert run.evaluation().turns == 4


def test_a_step_that_died_is_revived(shop: Shop, scene: Scripted):
    scene.script(shop.chat, [*[RuntimeError("down")] * 4, answer("well")])
    run = shop.chat.delay("x")
    with pytest.raises(DeadLetteredError):
        run.get()
    assert run.resume().get() == "well"
    kinds = [type(one.event).__name__ for one in run.session.events()]
    assert "StepRevived" in kinds, "its message keeps its id"


@pytest.mark.parametrize("purged", [True, False])
def test_a_step_that_died_goes_on_by_other_terms_or_without_its_letter(shop: Shop, scene: Scripted, *, purged: bool):
    scene.script(shop.chat, [*[RuntimeError("down")] * 4, answer("well")])
    run = shop.chat.delay("x")
    with pytest.raises(DeadLetteredError):
        run.get()
    mailbox = shop.wink.house().store.mailbox
    if purged:
        mailbox.purge([Address(run.tenant, run.session.id, run.id)])
        run.resume()
    else:
        run.resume(model="house:other")
    assert run.get() == "well"
    assert mailbox.dead() == {}


def test_a_session_that_went_on_is_forked_instead(shop: Shop, spent: Run[Review], scene: Scripted):
    scene.script(shop.chat, [answer("hello"), answer("again")])
    other = shop.chat.with_options(session="s1").delay("x")
    other.get()
    with pytest.raises(NotResumableError, match=rf"with run {other.id}: fork the session at event (\d+), before"):
        spent.resume(budget=Budget(total_tokens=100))
    [ended] = [
        one.seq for one in spent.session.events() if one.evaluation == spent.id and isinstance(one.event, TERMINAL)
    ]
    fork = spent.session.fork(at=ended - 1)
    assert shop.chat.with_options(session=fork.id).delay("go on").get() == "again"
    assert ends(spent) == ["EvaluationFailed", "EvaluationSucceeded"]


def test_one_behind_which_another_waits(shop: Shop, spent: Run[Review]):
    waiting = shop.chat.with_options(session="s1", countdown=60).delay("x")
    with pytest.raises(NotResumableError, match=f"with run {waiting.id}"):
        spent.resume(budget=Budget(total_tokens=100))


def test_what_applications_dispatch_does_not_stop_it(spent: Run[Review], shop: Shop):
    shop.wink.session("s1")[Review].append(GOOD)
    assert spent.resume(budget=Budget(total_tokens=100)).get() == GOOD


def test_what_comes_while_it_is_looked_at_is_looked_at_too(spent: Run[Review], shop: Shop):
    ledger = shop.wink.house().store.ledger
    read, reads = ledger.read, []

    def read_and_be_late(*args: Any, **options: Any) -> Any:
        records = read(*args, **options)
        reads.append(len(records))
        if len(reads) == 1:
            shop.wink.session("s1")[Review].append(GOOD)
        return records

    ledger.read = read_and_be_late
    try:
        assert spent.resume(budget=Budget(total_tokens=100)).get() == GOOD
    finally:
        del ledger.read
    assert reads[0] < max(reads)


def test_what_is_not_resumed(shop: Shop, scene: Scripted):
    scene.script(shop.chat, [Response(text="I will not.", model="m", stop="refusal")])
    refused = shop.chat.delay("x")
    with pytest.raises(ModelRefusedError):
        refused.get()
    with pytest.raises(NotResumableError, match="it ended for good, by ModelRefusedError"):
        refused.resume()
    pending = shop.chat.with_options(countdown=60).delay("x")
    with pytest.raises(NotResumableError, match=f"run {pending.id} has not ended"):
        pending.resume()
    pending.cancel()
    with pytest.raises(NotResumableError, match="it was cancelled"):
        pending.resume()
    with pytest.raises(UnknownRunError):
        shop.wink.run("nope").resume()


def test_a_durable_task_is_not_resumed_but_from_its_death(shop: Shop, scene: Scripted):
    tries: list[int] = []

    @shop.wink.task(max_retries=0, name="fails")
    def fails() -> None:
        raise ValueError("no")

    @shop.wink.task(name="dies")
    def dies() -> str:
        tries.append(1)
        if len(tries) == 1:
            raise RejectedError("not now")
        return "done"

    failed, dead = fails.delay(), dies.delay()
    with pytest.raises(TaskFailedError):
        failed.get()
    with pytest.raises(NotResumableError, match="a durable task has one step"):
        failed.resume()
    with pytest.raises(DeadLetteredError):
        dead.get()
    with pytest.raises(NotResumableError, match="a durable task has one step"):
        dead.resume(max_turns=3)
    assert dead.resume().get() == "done"


@pytest.mark.parametrize(
    "terms",
    [
        *({"max_turns": 0}, {"max_turns": 1.5}, {"max_turns": "3"}, {"budget": 5}, {"model": 5}, {"model": []}),
        *({"deadline": -1}, {"deadline": datetime(2030, 1, 1)}),  # noqa: DTZ001 - the clock has to be named
    ],
)
def test_terms_that_do_not_fit(spent: Run[Review], terms: dict[str, object]):
    with pytest.raises(ParametersInvalidError, match=next(iter(terms))):
        spent.resume(**terms)
    assert ends(spent) == ["EvaluationFailed"]


def test_a_prompt_that_is_not_declared_here(spent: Run[Review], shop: Shop):
    del shop.wink.registry.prompts[shop.review.name]
    with pytest.raises(UnknownPromptError, match=f"resume run {spent.id} where it is declared"):
        spent.resume(budget=Budget(total_tokens=100))


def test_coroutines_resume(spent: Run[Review]):
    asyncio.run(spent.aresume(budget=Budget(total_tokens=100)))
    assert spent.get() == GOOD


def test_a_task_whose_letter_was_purged_stays_as_it_ended(shop: Shop, scene: Scripted):
    @shop.wink.task(name="dies")
    def dies() -> None:
        raise RejectedError("not now")

    run = dies.delay()
    with pytest.raises(DeadLetteredError):
        run.get()
    shop.wink.house().store.mailbox.purge([Address(run.tenant, run.session.id, run.id)])
    with pytest.raises(NotDeadError):
        run.resume()


@pytest.mark.parametrize("seconds", [1.0, 60.0])
def test_an_end_that_is_not_told_yet_is_waited_for(
    shop: Shop, scene: Scripted, monkeypatch: pytest.MonkeyPatch, seconds: float
):
    waits = [seconds]
    outcomes = shop.wink.house().parts.outcomes
    monkeypatch.setattr(outcomes, "deliver", lambda _: waits.pop() if waits else None)
    scene.script(shop.chat, [*[call(shop.note, text="a")] * 3, answer("well")])
    run = shop.chat.delay("x")
    with pytest.raises(TurnLimitError):
        run.get()
    if seconds > 5:
        with pytest.raises(NotResumableError, match="was not told to Celery yet"):
            run.resume(max_turns=4)
        assert ends(run) == ["EvaluationFailed"]
    else:
        assert run.resume(max_turns=4).get() == "well"
