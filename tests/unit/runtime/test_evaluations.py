"""Evaluations from accept to end, in memory, on scripted models."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest

from tests.unit.runtime.conftest import Note, Review, Shop
from wink_tasks import (
    Budget,
    BudgetExceededError,
    CancelledError,
    DeadLetteredError,
    DeadlineExceededError,
    ModelRefusedError,
    OutputInvalidError,
    ParametersInvalidError,
    PayloadTooLargeError,
    PriceUnknownError,
    PromptFailedError,
    ProviderRejectedError,
    ProviderUnavailableError,
    RequestRejectedError,
    SessionBusyError,
    ThrottledError,
    ToolFailedError,
    TurnLimitError,
    Usage,
)
from wink_tasks.core.events import ToolFailed
from wink_tasks.core.transcript import ModelSaid, ToolAnswered, UserSaid
from wink_tasks.ports.provider import Response
from wink_tasks.testing import answer, call, calls, scripted

GOOD = Review(summary="fine", score=7)


def names(run) -> list[str]:
    return [type(record.event).__name__ for record in run.events()]


def test_a_tool_is_called_and_a_typed_result_comes_back(shop: Shop):
    with scripted(shop.wink, {shop.review: [call(shop.note, text="hm"), answer(GOOD)]}) as kit:
        run = shop.review.delay("src", depth=2)

        assert run.get() == GOOD
        assert run.status == "SUCCESS"
        assert run.successful()
        assert run.result == GOOD
        assert shop.done == ["note hm"]
        assert [request.model for request in kit.requests] == ["small", "small"]
        first, second = kit.requests
        assert first.instructions == "You review."
        assert first.items == (UserSaid("Review src to depth 2."),)
        assert [tool.name for tool in first.tools] == ["note", "look"]
        assert second.items[1:] == (
            ModelSaid("", second.items[1].calls),
            ToolAnswered("call_0", "note", {"text": "hm"}),
        )
        assert first.digest != second.digest
        assert names(run) == [
            "EvaluationAccepted",
            "EvaluationStarted",
            "ModelResponded",
            "ToolReturned",
            "ModelResponded",
            "EvaluationSucceeded",
        ]
        assert run.usage() == Usage(input_tokens=20, output_tokens=10, requests=2)
        assert run.session[Note].latest() == Note("hm")
        assert run.session[Note].where(lambda note: note.text == "x") == ()
        assert run.session[Review].all() == (GOOD,)
        assert run.explain() == "succeeded"


def test_a_script_may_be_a_function_of_the_request(shop: Shop):
    with scripted(shop.wink, {shop.chat: lambda request: answer(request.items[-1].content.upper())}):
        assert shop.chat.delay("hello").get() == "HELLO"


def test_a_script_that_is_too_short_ends_the_evaluation(shop: Shop):
    with scripted(shop.wink, {shop.chat: [call(shop.note, text="a")]}):
        with pytest.raises(ProviderRejectedError, match="has 1 moves, and this is request 2"):
            shop.chat.delay("hello").get()
        with pytest.raises(ProviderRejectedError, match="has 0 moves"):
            shop.review.delay("src").get()


def test_what_the_model_asks_wrongly_is_answered(shop: Shop):
    moves = [
        calls(("nothing", {}), (shop.note, {"txt": 1}), (shop.note, {"text": "bad"}), (shop.note, {"text": "ok"})),
        answer(GOOD),
    ]
    with scripted(shop.wink, {shop.review: moves}) as kit:
        run = shop.review.delay("src")
        assert run.get() == GOOD
        answers = [item for item in kit.requests[-1].items if isinstance(item, ToolAnswered)]
        assert [item.failed for item in answers] == [True, True, True, False]
        assert answers[0].value == "There is no tool 'nothing'. The tools are: look, note."
        assert "txt" in answers[1].value
        assert answers[2].value == "that is not worth noting"
        kinds = [record.event.kind for record in run.events() if isinstance(record.event, ToolFailed)]
        assert kinds == ["unknown_tool", "invalid_arguments", "tool_error"]


def test_only_refused_calls_still_lead_to_the_next_turn(shop: Shop):
    with scripted(shop.wink, {shop.chat: [call("nothing"), answer("sorry")]}):
        assert shop.chat.delay("x").get() == "sorry"


def test_calls_run_in_order_unless_all_are_parallel(shop: Shop):
    ordered = calls((shop.look, {"where": "b"}), (shop.note, {"text": "c"}), (shop.look, {"where": "a"}))
    beside = calls((shop.look, {"where": "d"}), (shop.look, {"where": "e"}))
    with scripted(shop.wink, {shop.review: [ordered, beside, answer(GOOD)]}):
        shop.review.delay("src").get()
    assert shop.done[:3] == ["look b 1", "note c", "look a 1"]
    assert sorted(shop.done[3:]) == ["look d 1", "look e 1"]


def test_a_tool_that_raises_shows_the_model_its_class_only(shop: Shop):
    with scripted(shop.wink, {shop.review: [call(shop.note, text="worse"), answer(GOOD)]}) as kit:
        run = shop.review.delay("src")
        assert run.get() == GOOD
        assert kit.requests[-1].items[-1].value == "The tool failed with KeyError."
        [failed] = [record.event for record in run.events() if isinstance(record.event, ToolFailed)]
        assert failed.kind == "exception"
        assert "in note" in failed.traceback
        assert "hunter2" not in failed.traceback + failed.error


def test_three_failures_in_a_row_end_the_evaluation(shop: Shop):
    worse, fine = call(shop.note, text="worse"), call(shop.note, text="ok")
    with scripted(shop.wink, {shop.review: [worse, worse, fine, worse, worse, worse]}) as kit:
        with pytest.raises(ToolFailedError, match="3 tool calls in a row failed, the last one with: The tool failed"):
            shop.review.delay("src").get()
        assert len(kit.requests) == 6


def test_what_is_in_retry_on_is_delivered_again_and_then_dead(shop: Shop):
    with scripted(shop.wink, {shop.review: [call(shop.look, where="away"), answer(GOOD)]}) as kit:
        assert shop.review.delay("src").get() == GOOD
        assert shop.done == ["look away 1", "look away 2"]
        assert kit.requests[-1].items[-1].failed


def test_an_answer_that_does_not_fit_is_repaired(shop: Shop):
    bad = Response(text='{"summary": "x"}', model="m", stop="end")
    with scripted(shop.wink, {shop.review: [bad, answer(""), answer(GOOD)]}) as kit:
        assert shop.review.delay("src").get() == GOOD
        assert "score" in kit.requests[1].items[-1].content
        assert kit.requests[2].items[-1].content == "Your answer was empty."


def test_an_answer_that_never_fits_ends_the_evaluation(shop: Shop):
    cut = Response(text='{"summary": "x', model="m", stop="length")
    with scripted(shop.wink, {shop.review: [cut, cut, cut]}) as kit:
        with pytest.raises(OutputInvalidError, match="after 2 repair rounds"):
            shop.review.delay("src").get()
        assert "be shorter" in kit.requests[1].items[-1].content


def test_a_refusal_ends_the_evaluation(shop: Shop):
    refusal = Response(text="", model="m", stop="refusal")
    with (
        scripted(shop.wink, {shop.review: [refusal]}),
        pytest.raises(ModelRefusedError, match="it gave no reason"),
    ):
        shop.review.delay("src").get()


def test_turn_limit(shop: Shop):
    with scripted(shop.wink, {shop.chat: lambda _: call(shop.note, text="again")}) as kit:
        with pytest.raises(TurnLimitError, match="no result after 3 turns"):
            shop.chat.delay("x").get()
        assert len(kit.requests) == 3


def test_budget(shop: Shop):
    moves = [call(shop.note, text="a"), answer(GOOD)]
    with scripted(shop.wink, {shop.review: moves}) as kit:
        with pytest.raises(BudgetExceededError, match="output_tokens 5 of 5"):
            shop.review.with_options(budget=Budget(output_tokens=5)).delay("src").get()
        assert kit.requests[0].max_output_tokens == 5


def test_a_money_budget_needs_a_price(shop: Shop):
    unpriced = call(shop.note, text="a")
    unpriced = Response(text="", model="m", calls=unpriced.calls, usage=Usage(requests=1, cost_micros=None))
    priced = shop.review.with_options(budget=Budget(cost_usd=1))
    with (
        scripted(shop.wink, {shop.review: [unpriced]}),
        pytest.raises(PriceUnknownError, match="nothing tells what house:small costs"),
    ):
        priced.delay("src").get()


def test_the_deadline_is_checked_before_each_call(shop: Shop):
    with scripted(shop.wink, {}) as kit:

        def slow(request):
            kit.clock.advance(60)
            return call(shop.note, text="a")

        kit.script(shop.review, slow)
        with pytest.raises(DeadlineExceededError, match="after 2 turns"):
            shop.review.delay("src").get()
        assert shop.done == ["note a"]


def test_a_deadline_may_be_a_moment(shop: Shop):
    with scripted(shop.wink, {shop.chat: lambda _: call(shop.note, text="a")}) as kit:
        moment = datetime.fromtimestamp(kit.clock.now() + 5, UTC)
        run = shop.chat.with_options(deadline=moment, countdown=10).delay("x")
        with pytest.raises(DeadlineExceededError, match="after 0 turns"):
            run.get()


def test_throttled_waits_as_long_as_it_is_told_and_does_not_count(shop: Shop):
    moves = [*[ThrottledError("slow down", retry_after=9)] * 6, answer("hi")]
    with scripted(shop.wink, {shop.chat: moves}) as kit:
        began = kit.clock.now()
        assert shop.chat.delay("x").get() == "hi"
        assert kit.clock.now() - began == pytest.approx(54, abs=1)


def test_throttled_without_a_time_backs_off_but_not_beyond_the_deadline(shop: Shop):
    with scripted(shop.wink, {shop.review: lambda _: ThrottledError("slow down")}) as kit:
        began = kit.clock.now()
        with pytest.raises(DeadlineExceededError):
            shop.review.delay("x").get()
        assert kit.clock.now() - began == pytest.approx(100, abs=1)


def test_an_unavailable_provider_costs_deliveries_and_the_next_model_is_tried(shop: Shop):
    moves = [ProviderUnavailableError("down"), answer(GOOD)]
    with scripted(shop.wink, {shop.review: moves}) as kit:
        assert shop.review.delay("x").get() == GOOD
        assert [request.model for request in kit.requests] == ["small", "large"]


def test_a_turn_out_of_retries_is_a_dead_letter(shop: Shop):
    with scripted(shop.wink, {shop.chat: lambda _: RuntimeError("bug in the adapter")}) as kit:
        with pytest.raises(DeadLetteredError, match="bug in the adapter"):
            shop.chat.delay("x").get()
        assert len(kit.requests) == 4


def test_the_breaker_refuses_after_five_failures(shop: Shop):
    asked = []
    with scripted(shop.wink, {}) as kit:

        def down(request):
            asked.append(kit.clock.now())
            return ProviderUnavailableError("down")

        kit.script(shop.chat, down)
        for _ in range(2):
            with pytest.raises(DeadLetteredError):
                shop.chat.delay("x").get()
    pauses = [later - earlier for earlier, later in pairwise(asked)]
    assert len(asked) == 8
    assert max(pauses[:4]) < 10
    assert min(pauses[4:]) >= 60


def test_a_rejected_request_ends_the_evaluation(shop: Shop):
    with (
        scripted(shop.wink, {shop.chat: [RequestRejectedError("no such model")]}),
        pytest.raises(ProviderRejectedError, match="RequestRejectedError: no such model"),
    ):
        shop.chat.delay("x").get()


def test_a_body_that_raises_ends_the_evaluation(shop: Shop):
    with scripted(shop.wink, {}):
        with pytest.raises(PromptFailedError, match="ValueError: no such path") as caught:
            shop.review.delay("broken").get()
        assert caught.value.run_id
        assert caught.value.session_id


def test_what_is_too_large_for_a_ledger(shop: Shop):
    huge = "x" * 1_000_001
    with scripted(shop.wink, {shop.chat: [call(shop.note, text="y"), answer(huge)]}) as kit:
        with pytest.raises(PayloadTooLargeError, match=r"the parameters of 'shop\.chat'"):
            shop.chat.delay(huge)
        assert not kit.requests
        with pytest.raises(PayloadTooLargeError, match="the answer of house:small has"):
            shop.chat.delay("x").get()


def test_a_tool_that_returns_too_much_fails(shop: Shop):
    @shop.wink.tool
    def dump() -> str:
        """Everything."""
        return "x" * 1_000_001

    @shop.wink.prompt(output=str, tools=[dump], model="house:small")
    def reader() -> str:
        """You read."""
        return "go"

    with scripted(shop.wink, {reader: [call(dump), answer("ok")]}) as kit:
        assert reader.delay().get() == "ok"
        assert kit.requests[-1].items[-1].value.startswith("tool 'dump' returned 1000")


def test_countdown_eta_and_expires(shop: Shop):
    with scripted(shop.wink, {shop.chat: lambda _: answer("hi")}) as kit:
        began = kit.clock.now()
        assert shop.chat.with_options(countdown=30).delay("x").get() == "hi"
        assert kit.clock.now() == pytest.approx(began + 30, abs=1)
        moment = datetime.fromtimestamp(kit.clock.now() + 40, UTC)
        assert shop.chat.with_options(eta=moment).delay("x").get() == "hi"
        assert kit.clock.now() == pytest.approx(moment.timestamp(), abs=1)
        late = shop.chat.with_options(countdown=20, expires=10).delay("x")
        with pytest.raises(CancelledError, match="expired before it started"):
            late.get()
        by = datetime.fromtimestamp(kit.clock.now() + 10, UTC)
        assert shop.chat.with_options(expires=by).delay("x").get() == "hi"
        with pytest.raises(ParametersInvalidError, match="has no time zone"):
            shop.chat.with_options(eta=moment.replace(tzinfo=None)).delay("x")


def test_a_session_remembers(shop: Shop):
    def last(request):
        return answer(f"you said {len(request.items)}")

    with scripted(shop.wink, {shop.chat: last}) as kit:
        chat = shop.chat.with_options(session="ticket:42")
        assert chat.delay("one").get() == "you said 1"
        assert chat.delay("two").get() == "you said 3"
        assert [item.content for item in kit.requests[-1].items if isinstance(item, UserSaid)] == ["one", "two"]
        session = shop.wink.session("ticket:42")
        assert [type(item).__name__ for item in session.transcript] == ["UserSaid", "ModelSaid"] * 2
        assert session.seq == len(list(session.events())) == 9
        chat.delay("three").get()
        assert session.seq == 9
        assert session.refresh().seq == 13


def test_an_evaluation_waits_for_its_session_or_is_refused(shop: Shop):
    with scripted(shop.wink, {shop.chat: lambda _: answer("ok")}) as kit:
        chat = shop.chat.with_options(session="s")
        first = chat.with_options(countdown=50).delay("one")
        second = chat.delay("two")
        assert (first.status, second.status) == ("PENDING", "WAITING")
        assert second.explain() == f"waits in session 's' behind run {first.id}"
        with pytest.raises(SessionBusyError):
            chat.with_options(busy="reject").delay("three")
        assert second.get() == "ok"
        assert first.status == "SUCCESS"
        assert [request.items[-1].content for request in kit.requests] == ["one", "two"]


def test_cancelling_what_nobody_works_on_ends_it_at_once(shop: Shop):
    with scripted(shop.wink, {shop.chat: lambda _: answer("ok")}) as kit:
        run = shop.chat.with_options(session="s", countdown=50).delay("x")
        behind = shop.chat.with_options(session="s").delay("y")
        run.cancel("not needed")
        assert run.status == "REVOKED"
        with pytest.raises(CancelledError, match="not needed"):
            run.get()
        assert isinstance(run.get(propagate=False), CancelledError)
        assert run.explain() == "was cancelled: not needed"
        assert behind.get() == "ok"
        run.cancel()
        assert len(kit.requests) == 1


def test_cancelling_in_a_tool_keeps_what_was_done(shop: Shop):
    runs = []

    @shop.wink.tool
    def stop() -> str:
        """Cancel the run that this is part of."""
        runs[0].cancel("enough")
        return "done"

    @shop.wink.prompt(output=str, tools=[stop], model="house:small")
    def worker() -> str:
        """You work."""
        return "go"

    with scripted(shop.wink, {worker: [calls((stop, {}), (stop, {}))], shop.chat: lambda _: answer("ok")}) as kit:
        runs.append(worker.with_options(session="s", countdown=1).delay())
        with pytest.raises(CancelledError, match="enough"):
            runs[0].get()
        assert names(runs[0])[-4:] == ["ModelResponded", "CancelRequested", "ToolReturned", "EvaluationCancelled"]
        assert shop.chat.with_options(session="s").delay("and now?").get() == "ok"
        shown = kit.requests[-1].items
        assert [item.call for item in shown if isinstance(item, ToolAnswered)] == ["call_0", "call_1"]


def test_history(shop: Shop):
    prompts = {}
    for history in ("none", 1):

        @shop.wink.prompt(output=str, model="house:small", history=history, name=f"h{history}")
        def told(text: str) -> str:
            """You listen."""
            return text

        prompts[history] = told
    scripts = {prompt: lambda _: answer("ok") for prompt in [*prompts.values(), shop.chat]}
    with scripted(shop.wink, scripts) as kit:
        for text in ("a", "b"):
            shop.chat.with_options(session="s").delay(text).get()
        prompts["none"].with_options(session="s").delay("c").get()
        prompts[1].with_options(session="s").delay("d").get()
        contents = [[i.content for i in r.items if isinstance(i, UserSaid)] for r in kit.requests]
        assert contents == [["a"], ["a", "b"], ["c"], ["c", "d"]]


def test_a_run_is_found_by_any_of_its_ids(shop: Shop):
    with scripted(shop.wink, {shop.chat: lambda _: answer("ok")}):
        run = shop.chat.delay("x")
        assert shop.wink.run(f"{run.id}~turn2.call0").get() == "ok"
        assert shop.wink.run(run.id).state == "SUCCESS"


def test_timedelta_is_no_deadline_by_mistake(shop: Shop):
    with scripted(shop.wink, {}), pytest.raises(ParametersInvalidError, match="deadline="):
        shop.chat.with_options(deadline=timedelta(seconds=5)).delay("x")
