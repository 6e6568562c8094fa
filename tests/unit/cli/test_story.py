from __future__ import annotations

import pytest

from wink_tasks import Budget, Usage
from wink_tasks.cli.story import LONGEST_LINE, left, standing, tell, told_events, waited_for
from wink_tasks.core.events import (
    AnyEvent,
    Call,
    CancelRequested,
    Dispatched,
    EvaluationAccepted,
    EvaluationCancelled,
    EvaluationFailed,
    EvaluationStarted,
    EvaluationSucceeded,
    ModelResponded,
    OutputRejected,
    Recorded,
    SessionOpened,
    SliceSeeded,
    StepDied,
    Terms,
    ToolFailed,
    ToolReturned,
)

OPENED = SessionOpened(tenant="acme", session="s1")
ACCEPTED = EvaluationAccepted(
    evaluation="r1", prompt="desk.total", digest="d", params={"text": "x"}, terms=Terms(models=("offline:m",))
)
STARTED = EvaluationStarted(
    evaluation="r1", content="Add\n up x.", model="offline:m", budget=Budget(total_tokens=5_000), deadline_at=160.0
)
CALLS = (Call(id="c1", tool="add", arguments={"a": 1}), Call(id="c2", tool="add", arguments={"a": 2}))


def responded(turn: int = 1, *, calls: tuple[Call, ...] = (), stop: str = "end") -> ModelResponded:
    return ModelResponded(
        evaluation="r1",
        turn=turn,
        model="offline:m",
        text="t",
        usage=Usage(input_tokens=1_200, output_tokens=34, requests=1),
        stop=stop,
        request="q",
        seconds=0.25,
        calls=calls,
    )


def recorded(*events: AnyEvent) -> list[Recorded]:
    return [Recorded(seq, 100.0 + seq, "w1", event) for seq, event in enumerate(events, 1)]


def texts(*events: AnyEvent) -> list[str]:
    return [told.text for told in tell(recorded(*events))]


def test_a_durable_task_has_no_turns_to_count():
    sync = EvaluationAccepted(evaluation="r1", prompt="desk.sync", digest="d", params={"n": 1}, terms=Terms(models=()))
    [told, *_, last] = list(tell(recorded(sync, EvaluationSucceeded(evaluation="r1", output=2))))
    assert (told.text, last.text) == ("accepted: desk.sync(n=1)", "succeeded")
    assert standing(told.state, seconds=1.25, now=0) == "1.2 s"


def test_a_run_from_its_session_to_its_success():
    returned = ToolReturned(evaluation="r1", turn=1, call="c1", tool="add", value={"sum": 3}, seconds=0.5)
    failed = ToolFailed(evaluation="r1", turn=1, call="c2", tool="add", kind="tool_error", message="no", seconds=0.1)
    asked = responded(calls=CALLS, stop="tools")
    assert texts(OPENED, ACCEPTED, STARTED, asked, returned, failed, responded(2)) == [
        "session 's1' of tenant 'acme' began",
        "accepted: desk.total(text='x')",
        "started with offline:m: Add up x.",
        "turn 1: offline:m asks for 2 x add (1,234 tokens, 0.2 s)",
        "add(a=1) returned 9 bytes in 0.5 s",
        "add(a=2) failed (tool_error): no",
        "turn 2: offline:m answers (1,234 tokens, 0.2 s)",
    ]
    rejected = OutputRejected(evaluation="r1", turn=1, reason="total: missing")
    assert texts(ACCEPTED, STARTED, responded(), rejected)[-1] == (
        "turn 1: the answer does not fit, and is asked for again: total: missing"
    )
    assert texts(ACCEPTED, STARTED, responded(), EvaluationSucceeded(evaluation="r1", output=3))[-1] == "succeeded"


@pytest.mark.parametrize(
    ("event", "text"),
    [
        (
            EvaluationFailed(evaluation="r1", code="TurnLimitError", message="25 turns"),
            "failed: TurnLimitError: 25 turns",
        ),
        (EvaluationCancelled(evaluation="r1", reason="enough"), "was cancelled: enough"),
        (CancelRequested(evaluation="r1", by="ann", reason="enough"), "cancel was requested by ann: enough"),
        (StepDied(evaluation="r1", message="r1~turn2", reason="out of retries"), "step r1~turn2 died: out of retries"),
        (
            StepDied(evaluation="r1", message="r1~turn2", reason="out of retries", error="OSError: x"),
            "step r1~turn2 died: out of retries (OSError: x)",
        ),
        (Dispatched(name="proj.plans.Step", data={"name": "a"}), 'Step was dispatched: {"name":"a"}'),
        (SliceSeeded(slice="proj.plans.Plan", values=(1, 2)), "slice Plan was given 2 values"),
    ],
)
def test_what_ends_or_disturbs_a_run(event: AnyEvent, text: str):
    assert texts(ACCEPTED, STARTED, event)[-1] == text


def test_an_event_of_a_tool_changes_nothing_of_its_run_and_is_shortened():
    dispatched = Dispatched(name="proj.plans.Step", data={"name": "a" * 200}, evaluation="r1")
    seeded = SliceSeeded(slice="proj.plans.Plan", values=(), evaluation="r1")
    *_, before, told, last = tell(recorded(ACCEPTED, STARTED, dispatched, seeded))
    assert before.state == told.state == last.state
    assert told.text == f'Step was dispatched: {{"name":"{"a" * 90}…'


@pytest.mark.parametrize(
    ("stop", "word"),
    [("length", "is cut off at its length limit"), ("refusal", "refuses"), ("tools", "asks for nothing")],
)
def test_how_a_model_stops(stop: str, word: str):
    assert word in texts(ACCEPTED, STARTED, responded(stop=stop))[-1]


def test_what_people_are_told_of_a_failure_is_the_error_and_not_what_the_model_is_told():
    failed = ToolFailed(
        evaluation="r1", turn=1, call="c1", tool="add", kind="exception", message="KeyError", error="KeyError: 'x'"
    )
    assert texts(failed) == ["add(...) failed (exception): KeyError: 'x'"]


def test_events_of_which_the_beginning_is_not_shown_have_no_state():
    [told] = tell(recorded(STARTED))
    assert told.state is None
    assert told.text.startswith("started")


def test_an_event_is_one_line_however_long_it_is():
    [told] = tell(recorded(EvaluationFailed(evaluation="r1", code="X", message="a\nb " * 400)))
    assert "\n" not in told.text
    assert len(told.text) == LONGEST_LINE
    assert told.text.endswith("…")


def test_where_a_run_stands():
    *_, told = tell(recorded(ACCEPTED, STARTED, responded(calls=CALLS, stop="tools")))
    state = told.state
    assert standing(state, seconds=3.0, now=130.0) == "1 turn · 1,234 tokens · 3.0 s · left: 3,766 tokens, 30 s"
    assert waited_for(state) == " · waits for 2 x add"
    assert left(state, 200.0) == "3,766 tokens, 0 s"
    *_, before = tell(recorded(ACCEPTED))
    assert standing(before.state, seconds=0.0, now=130.0) == "0 turns · 0 tokens · 0.0 s · left: no limit"
    assert waited_for(before.state) == ""


def test_numbers_and_times_stand_before_each_event():
    [line] = told_events(recorded(OPENED))
    assert line.startswith("     1  1970-01-01 ")
    assert line.endswith("began")
