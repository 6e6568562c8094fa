"""Random walks through the evaluation machine, folded into a session as a ledger's reader does it."""

from __future__ import annotations

from typing import Any

from hypothesis import given, strategies as st

from tests.property.strategies import budgets, event_of, event_types, json_values, texts, usages
from wink_tasks.core.codec import encode
from wink_tasks.core.errors import IllegalTransitionError
from wink_tasks.core.evaluation import (
    DEATHS,
    MAX_REPAIRS,
    TABLE,
    CallModel,
    CallTools,
    EvaluationState,
    Fail,
    Finish,
    Move,
    Reject,
    accepted,
    advance,
    decide,
)
from wink_tasks.core.events import (
    TERMINAL,
    AnyEvent,
    Call,
    CancelRequested,
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
    Recorded,
    SessionOpened,
    StepDied,
    StepRevived,
    Terms,
    ToolFailed,
    ToolReturned,
)
from wink_tasks.core.session import SessionState, fold
from wink_tasks.core.transcript import ModelSaid, ToolAnswered, Transcript

MEDDLING = [
    CancelRequested,
    StepDied,
    EvaluationCancelled,
    EvaluationFailed,
    EvaluationPaused,
    EvaluationResumed,
    PromptChanged,
]
MOST_TURNS = 4
MOST_CALLS = 3


def model_answers(run: str, turn: int) -> st.SearchStrategy[AnyEvent]:
    """The ids of calls repeat from turn to turn, as some providers' do."""
    asked = st.integers(0, MOST_CALLS).map(
        lambda count: tuple(Call(id=f"call{n}", tool="t", arguments={}) for n in range(count))
    )
    return st.builds(
        ModelResponded,
        evaluation=st.just(run),
        turn=st.just(turn),
        model=st.just("m"),
        text=st.sampled_from(["", "good", "bad"]),
        usage=usages,
        stop=st.sampled_from(["end", "tools", "length", "refusal"]),
        request=st.just("r"),
        seconds=st.just(0.1),
        calls=asked,
    )


def tool_answers(run: str, turn: int, call: Call) -> st.SearchStrategy[AnyEvent]:
    about = {"evaluation": st.just(run), "turn": st.just(turn), "call": st.just(call.id), "tool": st.just(call.tool)}
    kinds = ["unknown_tool", "invalid_arguments", "tool_error", "exception", "timeout", "unknown_outcome"]
    return (
        st.builds(ToolReturned, **about, value=json_values, seconds=st.just(0.1), slice=st.none() | st.just("S"))
        | st.builds(ToolFailed, **about, kind=st.sampled_from(kinds), message=texts)
        | st.builds(
            StepDied, evaluation=st.just(run), message=st.just("m"), reason=st.just("crash"), call=st.just(call.id)
        )
    )


OTHERS = (
    CancelRequested | StepDied | StepRevived | EvaluationFailed | EvaluationPaused | EvaluationResumed | PromptChanged
)


def judge(text: str) -> Finish | Reject:
    return Finish(text, "S") if text == "good" else Reject("not good")


def meddled(data: st.DataObject, run: str, meddle: type[AnyEvent]) -> AnyEvent:
    """What an operator or a crash writes."""
    about: dict[type[AnyEvent], dict[str, Any]] = {
        CancelRequested: {"by": "operator", "reason": "no need"},
        StepDied: {"message": "m", "reason": "crash"},
        EvaluationCancelled: {"reason": "no need"},
        EvaluationFailed: {"code": data.draw(st.sampled_from(sorted(DEATHS))), "message": "a dead letter"},
        EvaluationPaused: {"reason": "too hot"},
        PromptChanged: {"before": "d", "digest": "e"},
        EvaluationResumed: {"seconds": data.draw(st.floats(0, 50))},
    }
    return meddle(evaluation=run, **about[meddle])


def following(data: st.DataObject, state: EvaluationState, now: float) -> AnyEvent:
    """What a worker, an operator or a crash may write next."""
    run = state.id
    meddle = data.draw(st.sampled_from([None] * 30 + MEDDLING))
    if meddle is not None:
        return meddled(data, run, meddle)
    if state.phase == "accepted":
        return data.draw(
            st.builds(
                EvaluationStarted,
                evaluation=st.just(run),
                content=texts,
                model=st.just("m"),
                budget=budgets,
                deadline_at=st.none() | st.floats(0, 50),
            )
        )
    move: Move = decide(state, now=now, judge=judge)
    match move:
        case CallModel(turn):
            return data.draw(model_answers(run, turn))
        case CallTools(calls):
            return data.draw(tool_answers(run, state.turns, data.draw(st.sampled_from(calls))))
        case Reject(reason):
            return OutputRejected(evaluation=run, turn=state.turns, reason=reason)
        case Finish(output, slice_):
            return EvaluationSucceeded(evaluation=run, output=output, slice=slice_)
        case Fail(code, message):
            return EvaluationFailed(evaluation=run, code=code, message=message)


def died(event: AnyEvent) -> bool:
    """Whether an evaluation ended by the death of a step."""
    return isinstance(event, EvaluationFailed) and event.code in DEATHS


def walked(data: st.DataObject, runs: int) -> list[list[Recorded]]:
    """The ledger of a session in which these many evaluations ran one after the other, one list each."""
    state = fold(SessionState(), [Recorded(1, 0.0, "w", SessionOpened(tenant="t", session="s"))])
    parts = []
    for number in range(runs):
        records: list[Recorded] = []
        event: AnyEvent = EvaluationAccepted(
            evaluation=f"run{number}",
            prompt="p",
            digest="d",
            params={},
            terms=Terms(models=("m",), max_turns=data.draw(st.integers(1, MOST_TURNS))),
        )
        while True:
            record = Recorded(state.seq + 1, 0.0, "w", event)
            state = fold(state, [record])
            records.append(record)
            if not state.open and died(event) and data.draw(st.booleans()):
                event = StepRevived(evaluation=f"run{number}", message="m", by="operator")
                continue
            if isinstance(event, StepRevived):
                event = EvaluationResumed(evaluation=f"run{number}", seconds=data.draw(st.floats(0, 50)))
                continue
            if not state.open:
                break
            event = following(data, state.open[f"run{number}"], float(len(records)))
        parts.append(records)
    return parts


def ledger(parts: list[list[Recorded]]) -> list[Recorded]:
    opened = Recorded(1, 0.0, "w", SessionOpened(tenant="t", session="s"))
    return [opened, *(record for part in parts for record in part)]


def unanswered(transcript: Transcript) -> list[str]:
    """Calls that a provider would complain of: without an answer, or with something else said in between."""
    waiting: list[str] = []
    for item in transcript.items:
        if isinstance(item, ToolAnswered):
            waiting.remove(item.call)
        elif waiting:
            return waiting
        elif isinstance(item, ModelSaid):
            waiting = [call.id for call in item.calls]
    return waiting


@given(st.data())
def test_every_walk_ends_and_leaves_no_call_without_an_answer(data: st.DataObject) -> None:
    parts = walked(data, runs=2)
    state = fold(SessionState(), ledger(parts))
    assert state.open == {}
    ends = [record.event.evaluation for part in parts for record in part if isinstance(record.event, TERMINAL)]
    assert [ended.id for ended in state.ended] == ends
    assert list(dict.fromkeys(ends)) == ["run0", "run1"]
    assert unanswered(state.transcript) == []
    for ended in state.ended:
        assert ended.end is not None
        assert ended.turns <= ended.terms.max_turns
        assert ended.repairs <= MAX_REPAIRS
    for records in parts:
        steps = [record for record in records if not isinstance(record.event, OTHERS)]
        assert len(steps) <= 3 + MOST_TURNS * (1 + MOST_CALLS) + MAX_REPAIRS


@given(st.data())
def test_a_fold_goes_on_from_anywhere(data: st.DataObject) -> None:
    records = ledger(walked(data, runs=2))
    cut = data.draw(st.integers(0, len(records)))
    whole = fold(SessionState(), records)
    assert fold(fold(SessionState(), records[:cut]), records[cut:]) == whole
    assert encode([whole.transcript.digest, whole.seq]) == encode([whole.transcript.digest, len(records)])


@given(st.data())
def test_an_event_goes_where_the_table_says_or_is_refused_and_changes_nothing(data: st.DataObject) -> None:
    records = walked(data, runs=1)[0]
    state = accepted(records[0].event)  # type: ignore[arg-type]  # the first of an evaluation
    for record in records[1 : data.draw(st.integers(1, len(records)))]:
        state = advance(state, record.event)
    event = data.draw(event_of(data.draw(st.sampled_from(event_types))))
    before = repr(state)
    try:
        after = advance(state, event)
    except IllegalTransitionError:
        assert repr(state) == before
        listed = TABLE[state.phase].get(type(event))
        if state.phase == "ended" and isinstance(event, EvaluationResumed):
            return
        assert listed is None or getattr(event, "call", None) not in {call.id for call in state.pending}
    else:
        assert after.phase in TABLE[state.phase][type(event)]
        assert repr(state) == before


def test_the_table_is_closed() -> None:
    for moves in TABLE.values():
        assert set(moves) <= set(event_types)
        for phases in moves.values():
            assert phases
            assert phases <= set(TABLE)
    assert set(TABLE["ended"]) == {StepRevived, EvaluationResumed}
    reached = {"accepted"}
    for _ in TABLE:
        reached |= {phase for start in reached for phases in TABLE[start].values() for phase in phases}  # type: ignore[index]
    assert reached == set(TABLE)
