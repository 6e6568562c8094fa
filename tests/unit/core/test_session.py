from __future__ import annotations

from typing import Any

import pytest

from wink_tasks.core.errors import IllegalTransitionError, LedgerFormatError
from wink_tasks.core.events import (
    AnyEvent,
    Call,
    EvaluationAccepted,
    EvaluationCancelled,
    EvaluationFailed,
    EvaluationResumed,
    EvaluationStarted,
    EvaluationSucceeded,
    ModelResponded,
    OutputRejected,
    Recorded,
    SessionOpened,
    StepDied,
    StepRevived,
    Terms,
    ToolFailed,
    ToolReturned,
)
from wink_tasks.core.limits import Budget, Usage
from wink_tasks.core.session import NEVER_RAN, SessionState, fold
from wink_tasks.core.transcript import ModelSaid, ToolAnswered, UserSaid

CALLS = tuple(Call(id=id_, tool="read", arguments={}) for id_ in ("1", "2", "3", "4"))


def accepted(run: str = "run") -> EvaluationAccepted:
    return EvaluationAccepted(evaluation=run, prompt="p", digest="d", params={}, terms=Terms(models=("m",)))


def responded(text: str, *calls: Call) -> ModelResponded:
    return ModelResponded(
        evaluation="run", turn=1, model="m", text=text, usage=Usage(), stop="end", request="r", seconds=0.1, calls=calls
    )


def recorded(*events: AnyEvent, after: int = 0) -> list[Recorded]:
    return [Recorded(seq, 0.0, "w", event) for seq, event in enumerate(events, after + 1)]


ASKED = (
    SessionOpened(tenant="t", session="s"),
    accepted(),
    EvaluationStarted(evaluation="run", content="Go.", model="m", budget=Budget()),
    responded("Reading.", *CALLS),
)


def returned(call: str, value: Any, slice_: str | None = None) -> ToolReturned:
    return ToolReturned(evaluation="run", turn=1, call=call, tool="read", value=value, seconds=0.1, slice=slice_)


def test_a_session_tells_who_said_what() -> None:
    state = fold(
        SessionState(),
        recorded(
            *ASKED,
            returned("1", {"a": 1}),
            ToolFailed(evaluation="run", turn=1, call="2", tool="read", kind="tool_error", message="No file."),
            StepDied(evaluation="run", message="m", reason="crash", call="3"),
            returned("4", "text"),
            responded("bad"),
            OutputRejected(evaluation="run", turn=1, reason="Mend it."),
            responded("good"),
            EvaluationSucceeded(evaluation="run", output="good"),
        ),
    )
    assert tuple(state.transcript.items) == (
        UserSaid("Go."),
        ModelSaid("Reading.", CALLS),
        ToolAnswered("1", "read", {"a": 1}),
        ToolAnswered("2", "read", "No file.", failed=True),
        ToolAnswered("3", "read", "The tool died.", failed=True),
        ToolAnswered("4", "read", "text"),
        ModelSaid("bad"),
        UserSaid("Mend it."),
        ModelSaid("good"),
    )
    assert (state.tenant, state.session, state.seq) == ("t", "s", 12)
    assert state.open == {}
    assert [run.phase for run in state.ended] == ["ended"]
    assert state.slices == {}


def test_an_evaluation_that_ends_early_answers_its_open_calls() -> None:
    state = fold(
        SessionState(),
        recorded(*ASKED, returned("2", "text"), EvaluationCancelled(evaluation="run", reason="no need")),
    )
    assert tuple(state.transcript.items.since(2)) == (
        ToolAnswered("2", "read", "text"),
        *(ToolAnswered(call, "read", NEVER_RAN, failed=True) for call in ("1", "3", "4")),
    )


def test_values_with_a_type_go_to_its_slice() -> None:
    state = fold(
        SessionState(),
        recorded(
            *ASKED,
            returned("1", {"n": 1}, "m.Finding"),
            returned("2", {"n": 2}, "m.Finding"),
            returned("3", "text"),
            returned("4", {"n": 3}, "m.Other"),
            responded("good"),
            EvaluationSucceeded(evaluation="run", output={"n": 4}, slice="m.Finding"),
        ),
    )
    assert {name: list(values) for name, values in state.slices.items()} == {
        "m.Finding": [{"n": 1}, {"n": 2}, {"n": 4}],
        "m.Other": [{"n": 3}],
    }


def test_several_evaluations_may_be_under_way() -> None:
    state = fold(
        SessionState(),
        recorded(*ASKED, accepted("next"), EvaluationCancelled(evaluation="run", reason="no need")),
    )
    assert list(state.open) == ["next"]
    assert [run.id for run in state.ended] == ["run"]


def test_a_hole_is_refused() -> None:
    state = fold(SessionState(), recorded(*ASKED))
    with pytest.raises(LedgerFormatError, match="session 's' has a hole: event 6 follows 4"):
        fold(state, recorded(returned("1", 1), after=5))


@pytest.mark.parametrize("run", ["other", "run"])
def test_an_event_of_an_evaluation_that_is_not_under_way_is_refused(run: str) -> None:
    state = fold(SessionState(), recorded(*ASKED, EvaluationCancelled(evaluation="run", reason="no need")))
    with pytest.raises(LedgerFormatError, match=f"event 6 of session 's' names '{run}', which is not under way"):
        fold(state, recorded(EvaluationCancelled(evaluation=run, reason="again"), after=5))


def test_an_event_that_cannot_follow_is_refused_and_nothing_changes() -> None:
    state = fold(SessionState(), recorded(*ASKED))
    before = repr(state)
    with pytest.raises(IllegalTransitionError):
        fold(state, recorded(responded("again"), after=4))
    assert repr(state) == before


def test_a_record_names_its_evaluation() -> None:
    opened, record = recorded(*ASKED)[:2]
    assert record.evaluation == "run"
    assert opened.evaluation == ""


def test_a_resumed_evaluation_is_open_again_and_has_two_ends() -> None:
    dead = EvaluationFailed(evaluation="run", code="DeadLetteredError", message="m")
    revived = StepRevived(evaluation="run", message="run~turn2", by="ann")
    resumed = EvaluationResumed(evaluation="run", seconds=5.0)
    ended = fold(SessionState(), recorded(*ASKED, dead, revived))
    assert (list(ended.open), [one.id for one in ended.ended], ended.seq) == ([], ["run"], 6)
    again = fold(ended, recorded(resumed, after=6))
    assert (again.open["run"].phase, again.open["run"].pending) == ("asking", ())
    assert again.transcript == ended.transcript, "the calls that were open are answered there already"
    over = fold(again, recorded(EvaluationCancelled(evaluation="run", reason="no"), after=7))
    assert [type(one.end) for one in over.ended] == [EvaluationFailed, EvaluationCancelled]
    with pytest.raises(LedgerFormatError, match="'other'"):
        fold(ended, recorded(EvaluationResumed(evaluation="other", seconds=0.0), after=6))
