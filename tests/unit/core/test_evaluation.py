from __future__ import annotations

from typing import Any

import msgspec
import pytest

from wink_tasks.core.errors import EvaluationFailedError, IllegalTransitionError
from wink_tasks.core.evaluation import (
    DEATHS,
    CallModel,
    CallTools,
    EvaluationState,
    Fail,
    Finish,
    Reject,
    accepted,
    advance,
    decide,
)
from wink_tasks.core.events import (
    Call,
    CancelRequested,
    Changed,
    EvaluationAccepted,
    EvaluationCancelled,
    EvaluationFailed,
    EvaluationPaused,
    EvaluationResumed,
    EvaluationStarted,
    EvaluationSucceeded,
    ModelResponded,
    OutputRejected,
    PromptChanged,
    SessionOpened,
    StepDied,
    StepRevived,
    Terms,
    ToolFailed,
    ToolReturned,
)
from wink_tasks.core.limits import Budget, Usage

ACCEPTED = accepted(
    EvaluationAccepted(
        evaluation="run", prompt="p", digest="d", params={"a": 1}, terms=Terms(models=("m",), max_turns=3)
    )
)
ASKING = advance(
    ACCEPTED,
    EvaluationStarted(
        evaluation="run", content="go", model="m", budget=Budget(total_tokens=100, cost_usd=1.0), deadline_at=50.0
    ),
)
ONE, TWO = Call(id="1", tool="t", arguments={}), Call(id="2", tool="t", arguments={})


def responded(*calls: Call, text: str = "", stop: Any = "end", usage: Usage = Usage(requests=1)) -> ModelResponded:  # noqa: B008 - frozen
    return ModelResponded(
        evaluation="run", turn=1, model="m", text=text, usage=usage, stop=stop, request="r", seconds=0.1, calls=calls
    )


def returned(call: str) -> ToolReturned:
    return ToolReturned(evaluation="run", turn=1, call=call, tool="t", value=1, seconds=0.1)


def failed(call: str, kind: Any = "exception") -> ToolFailed:
    return ToolFailed(evaluation="run", turn=1, call=call, tool="t", kind=kind, message="boom")


CALLING = advance(ASKING, responded(ONE, TWO))


def answered(text: str, **options: Any) -> EvaluationState:
    return msgspec.structs.replace(advance(ASKING, responded(text=text)), **options)


def judge(text: str) -> Finish | Reject:
    return Finish(text, "S") if text == "good" else Reject("Not good.")


def decided(state: EvaluationState, now: float = 0.0) -> Any:
    return decide(state, now=now, judge=judge)


def test_what_was_agreed_is_kept() -> None:
    assert (ACCEPTED.id, ACCEPTED.prompt, ACCEPTED.digest, ACCEPTED.params) == ("run", "p", "d", {"a": 1})
    assert ACCEPTED.phase == "accepted"
    assert (ASKING.phase, ASKING.content, ASKING.model, ASKING.deadline_at) == ("asking", "go", "m", 50.0)
    assert ASKING.budget.total_tokens == 100


def test_an_answer_with_calls_waits_for_each_of_them() -> None:
    assert decided(ASKING) == CallModel(1)
    assert decided(CALLING) == CallTools((ONE, TWO))
    half = advance(CALLING, returned("2"))
    assert half.phase == "calling"
    assert decided(half) == CallTools((ONE,))
    assert decided(advance(half, failed("1"))) == CallModel(2)


def test_usage_and_turns_add_up() -> None:
    first = advance(ASKING, responded(ONE, usage=Usage(input_tokens=3, requests=1)))
    second = advance(advance(first, returned("1")), responded(text="good", usage=Usage(output_tokens=4, requests=1)))
    assert second.usage == Usage(input_tokens=3, output_tokens=4, requests=2)


def test_the_judge_decides_about_an_answer() -> None:
    assert decided(answered("good")) == Finish("good", "S")
    assert decided(answered("bad")) == Reject("Not good.")
    assert decided(answered("  ")) == Reject("Your answer was empty.")
    cut_off = "Not good. It was cut off at the output limit: be shorter."
    assert decided(answered("bad", stop="length")) == Reject(cut_off)
    assert decided(answered("good", stop="length")) == Finish("good", "S")
    again = advance(answered("bad"), OutputRejected(evaluation="run", turn=1, reason="Not good."))
    assert (again.phase, again.repairs) == ("asking", 1)


@pytest.mark.parametrize(
    ("state", "now", "code", "message"),
    [
        (ASKING, 50.0, "DeadlineExceededError", "the deadline passed after 0 turns"),
        (CALLING, 51.0, "DeadlineExceededError", "the deadline passed after 1 turns"),
        (
            msgspec.structs.replace(ASKING, tool_failures=3, last_tool_error="boom"),
            0.0,
            "ToolFailedError",
            "3 tool calls in a row failed, the last one with: boom",
        ),
        (
            msgspec.structs.replace(ASKING, usage=Usage(cost_micros=None)),
            0.0,
            "PriceUnknownError",
            "the budget limits cost_usd, but nothing tells what m costs",
        ),
        (
            msgspec.structs.replace(ASKING, usage=Usage(input_tokens=100)),
            0.0,
            "BudgetExceededError",
            "the budget is used up: total_tokens 100 of 100",
        ),
        (msgspec.structs.replace(ASKING, turns=3), 0.0, "TurnLimitError", "no result after 3 turns (max_turns)"),
        (answered("no", stop="refusal"), 0.0, "ModelRefusedError", "the model refused: no"),
        (answered("", stop="refusal"), 0.0, "ModelRefusedError", "the model refused: it gave no reason"),
        (answered("bad", repairs=2), 0.0, "OutputInvalidError", "after 2 repair rounds: Not good."),
        (answered("", repairs=2), 0.0, "OutputInvalidError", "after 2 repair rounds: Your answer was empty."),
    ],
)
def test_what_ends_an_evaluation_without_a_result(state: EvaluationState, now: float, code: str, message: str) -> None:
    assert decided(state, now) == Fail(code, message)
    assert code in EvaluationFailedError.by_code


def test_before_a_limit_there_is_none() -> None:
    assert decided(ASKING, 49.9) == CallModel(1)
    assert decided(CALLING, 49.9) == CallTools((ONE, TWO))
    assert decided(msgspec.structs.replace(ASKING, deadline_at=None), 10.0**9) == CallModel(1)
    assert decided(msgspec.structs.replace(ASKING, tool_failures=2, turns=2)) == CallModel(3)
    unpriced = msgspec.structs.replace(ASKING, budget=Budget(), usage=Usage(cost_micros=None))
    assert decided(unpriced) == CallModel(1)


def test_an_answer_is_judged_also_when_it_came_late() -> None:
    assert decided(answered("good"), 99.0) == Finish("good", "S")


@pytest.mark.parametrize("kind", ["exception", "timeout"])
def test_failures_in_a_row_are_counted_until_a_call_succeeds(kind: Any) -> None:
    once = advance(CALLING, failed("1", kind))
    assert (once.tool_failures, once.last_tool_error) == (1, "boom")
    assert advance(once, failed("2", kind)).tool_failures == 2
    assert advance(once, returned("2")).tool_failures == 0


@pytest.mark.parametrize("kind", ["unknown_tool", "invalid_arguments", "tool_error", "unknown_outcome"])
def test_what_the_model_did_wrong_is_no_failure_of_the_tool(kind: Any) -> None:
    assert advance(CALLING, failed("1", kind)).tool_failures == 0


def test_a_call_that_died_is_answered_and_counts_as_a_failure() -> None:
    died = advance(CALLING, StepDied(evaluation="run", message="m", reason="killed its worker", call="1"))
    assert (died.pending, died.tool_failures, died.last_tool_error) == ((TWO,), 1, "killed its worker")


@pytest.mark.parametrize("state", [ACCEPTED, ASKING, CALLING, answered("bad")])
def test_in_every_phase_it_can_be_cancelled_fail_or_lose_a_step(state: EvaluationState) -> None:
    cancelling = advance(state, CancelRequested(evaluation="run", by="me", reason="no need"))
    assert cancelling == msgspec.structs.replace(state, cancel_requested=True)
    assert advance(state, StepDied(evaluation="run", message="m", reason="crash")) == state
    for end in (
        EvaluationCancelled(evaluation="run", reason="no need"),
        EvaluationFailed(evaluation="run", code="X", message="why"),
    ):
        stood = "asking" if state.phase == "calling" else state.phase
        assert advance(state, end) == msgspec.structs.replace(state, phase="ended", stood=stood, end=end)


@pytest.mark.parametrize(
    ("state", "event"),
    [
        (ACCEPTED, responded(text="good")),
        (ASKING, returned("1")),
        (ASKING, EvaluationSucceeded(evaluation="run", output=1)),
        (CALLING, responded(text="good")),
        (CALLING, EvaluationSucceeded(evaluation="run", output=1)),
        (answered("good"), responded(text="good")),
        (msgspec.structs.replace(ACCEPTED, phase="ended"), EvaluationCancelled(evaluation="run", reason="again")),
        (ACCEPTED, SessionOpened(tenant="t", session="s")),
    ],
)
def test_an_event_that_is_not_listed_is_refused(state: EvaluationState, event: Any) -> None:
    told = f"evaluation run is {state.phase}: {type(event).__name__} cannot follow"
    with pytest.raises(IllegalTransitionError, match=told):
        advance(state, event)


@pytest.mark.parametrize(
    "event", [returned("9"), failed("9"), StepDied(evaluation="run", message="m", reason="r", call="9")]
)
def test_an_answer_to_a_call_that_is_not_open_is_refused(event: Any) -> None:
    with pytest.raises(IllegalTransitionError, match="waits for no answer to call '9'"):
        advance(CALLING, event)


@pytest.mark.parametrize("state", [ACCEPTED, msgspec.structs.replace(ACCEPTED, phase="ended")])
def test_where_nothing_runs_there_is_nothing_to_decide(state: EvaluationState) -> None:
    with pytest.raises(IllegalTransitionError, match="there is nothing to decide"):
        decided(state)


def test_a_deadline_in_seconds_does_not_count_what_stood_still() -> None:
    terms = Terms(models=("m",), deadline=60.0)
    state = msgspec.structs.replace(ASKING, terms=terms, deadline_at=100.0)
    paused = advance(state, EvaluationPaused(evaluation="run", reason="too hot"))
    assert isinstance(decide(paused, now=200.0, judge=judge), CallModel), "while it stands still"
    resumed = advance(paused, EvaluationResumed(evaluation="run", seconds=150.0))
    assert (resumed.paused, resumed.deadline_at, resumed.phase) == (False, 250.0, "asking")
    assert isinstance(decide(resumed, now=249.0, judge=judge), CallModel)
    assert isinstance(decide(resumed, now=250.0, judge=judge), Fail)


@pytest.mark.parametrize(
    ("deadline", "deadline_at", "limit", "expected"),
    [(60.0, None, 100.0, 110.0), (None, 100.0, 100.0, 100.0), (60.0, 105.0, 100.0, 105.0), (None, None, None, None)],
)
def test_an_absolute_deadline_stands_for_nobody(deadline: Any, deadline_at: Any, limit: Any, expected: Any) -> None:
    terms = Terms(models=("m",), deadline=deadline, deadline_at=deadline_at)
    state = msgspec.structs.replace(ASKING, terms=terms, deadline_at=limit)
    assert advance(state, EvaluationResumed(evaluation="run", seconds=10.0)).deadline_at == expected


def test_another_definition_is_gone_by_from_then_on() -> None:
    changed = PromptChanged(evaluation="run", before="d", digest="e", version="2")
    for state in (ACCEPTED, ASKING, CALLING, answered("bad")):
        assert advance(state, changed) == msgspec.structs.replace(state, digest="e", version="2")


@pytest.mark.parametrize("code", sorted(DEATHS))
@pytest.mark.parametrize("state", [ACCEPTED, ASKING, CALLING, answered("bad")])
def test_it_goes_on_after_it_failed_and_from_no_other_end(state: EvaluationState, code: str) -> None:
    resumed = EvaluationResumed(evaluation="run", seconds=0.0)
    dead = advance(state, EvaluationFailed(evaluation="run", code=code, message="why"))
    assert advance(dead, StepRevived(evaluation="run", message="m", by="ann")) == dead
    again = advance(dead, resumed)
    phase = "asking" if state.phase == "calling" else state.phase
    assert again == msgspec.structs.replace(state, phase=phase, pending=(), stood=phase)
    for end in (
        EvaluationCancelled(evaluation="run", reason="no need"),
        EvaluationFailed(evaluation="run", code="ModelRefusedError", message="why"),
        EvaluationFailed(evaluation="run", code="OutcomeUnknownError", message="why"),
    ):
        with pytest.raises(IllegalTransitionError, match="cannot be resumed"):
            advance(advance(state, end), resumed)


def test_what_failed_before_is_counted_anew_and_what_was_used_is_not() -> None:
    tired = msgspec.structs.replace(ASKING, repairs=2, tool_failures=3, turns=4, usage=Usage(input_tokens=7))
    failed = advance(tired, EvaluationFailed(evaluation="run", code="ToolFailedError", message="why"))
    again = advance(failed, EvaluationResumed(evaluation="run", seconds=1.0))
    assert (again.phase, again.repairs, again.tool_failures) == ("asking", 0, 0)
    assert (again.turns, again.usage) == (4, Usage(input_tokens=7))


def test_it_goes_on_by_other_terms() -> None:
    terms = Terms(models=("m",), deadline=60.0, labels={"a": "b"})
    state = msgspec.structs.replace(ASKING, terms=terms, deadline_at=100.0, model="m")
    budget = Budget(total_tokens=9)
    failed = advance(state, EvaluationFailed(evaluation="run", code="BudgetExceededError", message="why"))

    def resumed(**changed: Any) -> EvaluationState:
        return advance(failed, EvaluationResumed(evaluation="run", seconds=5.0, changed=Changed(**changed)))

    assert resumed().terms == terms
    assert (resumed(budget=budget).budget, resumed(budget=budget).terms.budget) == (budget, budget)
    assert (resumed(models=("x", "y")).model, resumed(models=("x", "y")).terms.models) == ("x", ("x", "y"))
    assert resumed(max_turns=3).terms.max_turns == 3
    assert resumed(max_turns=3).deadline_at == 105.0
    seconds, moment = resumed(deadline=30.0, deadline_at=230.0), resumed(deadline_at=230.0)
    assert (seconds.deadline_at, seconds.terms.deadline, seconds.terms.deadline_at) == (230.0, 30.0, None)
    assert (moment.deadline_at, moment.terms.deadline, moment.terms.deadline_at) == (230.0, None, 230.0)
    assert seconds.terms.labels == {"a": "b"}
