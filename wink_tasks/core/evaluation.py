"""The evaluation machine: what happened (`advance`) and what to do next (`decide`).

                 started            responded, with calls
    accepted ------------> asking ------------------------> calling
                            ^  ^ |                             |
                   rejected |  +-+-------- last answer --------+
                            |    |
                            |    +- responded, no calls -> answered -- succeeded --> ended
                            +-------------------------------- |
    any phase but ended: failed or cancelled --> ended
    accepted, of a durable task: succeeded --> ended
    ended, as failed: resumed --> where it stood

While an operator holds a step back, the evaluation is paused in its phase, until it is resumed there. What stood still,
a deadline in seconds does not count.

A step folds the ledger to a state, asks `decide` for the next move, does it, and settles the event that came of it.
`TABLE` is all there is: an event that it does not list is refused, and nothing changes. Tool calls never end an
evaluation; what ended badly is judged by the next turn. The limits are checked before each model call.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, Literal

import msgspec

from wink_tasks.core.errors import IllegalTransitionError
from wink_tasks.core.events import (
    AnyEvent,
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
    Event,
    Json,
    ModelResponded,
    OutputRejected,
    PromptChanged,
    StepDied,
    StepRevived,
    Stop,
    Terminal,
    Terms,
    ToolFailed,
    ToolReturned,
)
from wink_tasks.core.limits import Budget, Usage

MAX_REPAIRS: Final = 2
MAX_TOOL_FAILURES: Final = 3

Phase = Literal["accepted", "asking", "calling", "answered", "ended"]

DEATHS: Final = frozenset({"DeadLetteredError", "ParamsChangedError"})
"""How an evaluation fails that ends by the death of a step."""

FOR_GOOD: Final = frozenset(("OutcomeUnknownError", "ModelRefusedError"))
"""How it fails where it cannot be resumed: a function may have done its work; the model has given its answer."""


def _anywhere(phase: Phase) -> Mapping[type[Event], frozenset[Phase]]:
    """What may happen in each phase but the last one: it stays, or it is the end."""
    stays = (PromptChanged, CancelRequested, StepDied, StepRevived, EvaluationPaused, EvaluationResumed)
    ends = (EvaluationFailed, EvaluationCancelled)
    return {**dict.fromkeys(stays, frozenset({phase})), **dict.fromkeys(ends, frozenset({"ended"}))}


TABLE: Final[Mapping[Phase, Mapping[type[Event], frozenset[Phase]]]] = {
    "accepted": {
        **_anywhere("accepted"),
        EvaluationStarted: frozenset({"asking"}),
        EvaluationSucceeded: frozenset({"ended"}),
    },
    "asking": {**_anywhere("asking"), ModelResponded: frozenset({"calling", "answered"})},
    "calling": {
        **_anywhere("calling"),
        ToolReturned: frozenset({"calling", "asking"}),
        ToolFailed: frozenset({"calling", "asking"}),
        StepDied: frozenset({"calling", "asking"}),
    },
    "answered": {
        **_anywhere("answered"),
        OutputRejected: frozenset({"asking"}),
        EvaluationSucceeded: frozenset({"ended"}),
    },
    "ended": {
        StepRevived: frozenset({"ended"}),
        EvaluationResumed: frozenset({"accepted", "asking", "answered"}),
    },
}


class EvaluationState(msgspec.Struct, frozen=True, kw_only=True):
    """One evaluation as the fold of its events. `pending` are the calls that have no answer yet.

    `stood` is the phase from which it would be resumed after its end: its open calls do not count then.
    """

    id: str
    prompt: str
    digest: str
    version: str = ""
    params: dict[str, Json]
    terms: Terms
    phase: Phase = "accepted"
    content: str = ""
    model: str = ""
    budget: Budget = Budget()
    deadline_at: float | None = None
    turns: int = 0
    text: str = ""
    stop: Stop = "end"
    pending: tuple[Call, ...] = ()
    usage: Usage = Usage()
    repairs: int = 0
    tool_failures: int = 0
    last_tool_error: str = ""
    cancel_requested: bool = False
    paused: bool = False
    stood: Phase = "accepted"
    end: Terminal | None = None


def accepted(event: EvaluationAccepted) -> EvaluationState:
    """The state that an accepted evaluation begins with."""
    return EvaluationState(
        id=event.evaluation,
        prompt=event.prompt,
        digest=event.digest,
        version=event.version,
        params=event.params,
        terms=event.terms,
    )


def advance(state: EvaluationState, event: AnyEvent) -> EvaluationState:
    """The state after `event`.

    Raises IllegalTransitionError where the table has no such step, or the event answers a call that is not open.
    """
    if type(event) not in TABLE[state.phase]:
        message = f"evaluation {state.id} is {state.phase}: {type(event).__name__} cannot follow"
        raise IllegalTransitionError(message)
    replace = msgspec.structs.replace
    match event:
        case EvaluationStarted():
            return replace(
                state,
                phase="asking",
                content=event.content,
                model=event.model,
                budget=event.budget,
                deadline_at=event.deadline_at,
            )
        case ModelResponded():
            return replace(
                state,
                phase="calling" if event.calls else "answered",
                turns=event.turn,
                text=event.text,
                stop=event.stop,
                pending=event.calls,
                usage=state.usage + event.usage,
            )
        case OutputRejected():
            return replace(state, phase="asking", repairs=state.repairs + 1)
        case ToolReturned():
            return replace(_answered(state, event.call), tool_failures=0)
        case ToolFailed():
            broken = event.kind in ("exception", "timeout")
            return _answered(state, event.call) if not broken else _broken(state, event.call, event.message)
        case StepDied():
            return state if event.call is None else _died(state, event.call, event)
        case _:
            return _handled(state, event)


def _handled(state: EvaluationState, event: AnyEvent) -> EvaluationState:
    """What is no step of its own: another definition, an operator's hand, and the end."""
    replace = msgspec.structs.replace
    match event:
        case PromptChanged():
            return replace(state, digest=event.digest, version=event.version)
        case CancelRequested():
            return replace(state, cancel_requested=True)
        case StepRevived():
            return state
        case EvaluationPaused():
            return replace(state, paused=True)
        case EvaluationResumed():
            return _resumed(state, event)
        case EvaluationSucceeded() | EvaluationFailed() | EvaluationCancelled():
            stood: Phase = "asking" if state.phase == "calling" else state.phase
            return replace(state, phase="ended", stood=stood, end=event)
        case _:  # pragma: no cover - the table above has let nothing else through
            raise AssertionError(event)


def _resumed(state: EvaluationState, event: EvaluationResumed) -> EvaluationState:
    """Where it stood. What failed before its end is counted anew, what it used is not."""
    failed = isinstance(state.end, EvaluationFailed) and state.end.code not in FOR_GOOD
    if state.end is not None and not failed:
        message = f"evaluation {state.id} ended for good ({type(state.end).__name__}): it cannot be resumed"
        raise IllegalTransitionError(message)
    deadline = state.deadline_at
    if deadline is not None and state.terms.deadline is not None:
        limits = (deadline + event.seconds, state.terms.deadline_at)
        deadline = min(limit for limit in limits if limit is not None)
    goes_on = _on_terms(msgspec.structs.replace(state, paused=False, deadline_at=deadline), event.changed or Changed())
    if state.end is None:
        return goes_on
    return msgspec.structs.replace(goes_on, phase=state.stood, pending=(), end=None, repairs=0, tool_failures=0)


def _on_terms(state: EvaluationState, changed: Changed) -> EvaluationState:
    replace, terms = msgspec.structs.replace, state.terms
    if changed.budget is not None:
        terms, state = replace(terms, budget=changed.budget), replace(state, budget=changed.budget)
    if changed.max_turns is not None:
        terms = replace(terms, max_turns=changed.max_turns)
    if changed.models:
        terms, state = replace(terms, models=changed.models), replace(state, model=changed.models[0])
    if changed.deadline_at is not None:
        at = changed.deadline_at
        terms = replace(terms, deadline=changed.deadline, deadline_at=at if changed.deadline is None else None)
        state = replace(state, deadline_at=at)
    return replace(state, terms=terms)


def _answered(state: EvaluationState, call: str) -> EvaluationState:
    pending = tuple(open_call for open_call in state.pending if open_call.id != call)
    if len(pending) == len(state.pending):
        message = f"evaluation {state.id} waits for no answer to call {call!r}"
        raise IllegalTransitionError(message)
    return msgspec.structs.replace(state, pending=pending, phase="calling" if pending else "asking")


def _broken(state: EvaluationState, call: str, error: str) -> EvaluationState:
    failures = state.tool_failures + 1
    return msgspec.structs.replace(_answered(state, call), tool_failures=failures, last_tool_error=error)


def _died(state: EvaluationState, call: str, event: StepDied) -> EvaluationState:
    """A call whose outcome is unknown has not failed: it may have done its work."""
    return _answered(state, call) if event.code else _broken(state, call, event.reason)


class CallModel(msgspec.Struct, frozen=True):
    """Ask the model; `turn` is this call's number, from 1."""

    turn: int


class CallTools(msgspec.Struct, frozen=True):
    """Run these calls, then take the next turn."""

    calls: tuple[Call, ...]


class Reject(msgspec.Struct, frozen=True):
    """Tell the model why its answer does not do, and ask again."""

    reason: str


class Finish(msgspec.Struct, frozen=True):
    """The answer is the result. `slice` names its type where it is a dataclass or a model."""

    output: Json
    slice: str | None


class Fail(msgspec.Struct, frozen=True):
    """End without a result. `code` is the name of the error class."""

    code: str
    message: str


Move = CallModel | CallTools | Reject | Finish | Fail
Judge = Callable[[str], Finish | Reject]


def decide(state: EvaluationState, *, now: float, judge: Judge) -> Move:
    """The next move of an evaluation that is started and has not ended.

    `now` is epoch seconds; `judge` reads an answer as the prompt's output type, and must be pure.
    Raises IllegalTransitionError for an evaluation that has no next move.
    """
    match state.phase:
        case "asking":
            return limit_of(state, now) or CallModel(state.turns + 1)
        case "calling":
            return _late(state, now) or CallTools(state.pending)
        case "answered":
            return _verdict(state, judge)
        case _:
            message = f"evaluation {state.id} is {state.phase}: there is nothing to decide"
            raise IllegalTransitionError(message)


def _late(state: EvaluationState, now: float) -> Fail | None:
    if state.deadline_at is not None and not state.paused and now >= state.deadline_at:
        return Fail("DeadlineExceededError", f"the deadline passed after {state.turns} turns")
    return None


def limit_of(state: EvaluationState, now: float) -> Fail | None:
    """The limit that an evaluation has reached, which lets it ask no model again."""
    if late := _late(state, now):
        return late
    if state.tool_failures >= MAX_TOOL_FAILURES:
        reason = f"{state.tool_failures} tool calls in a row failed, the last one with: {state.last_tool_error}"
        return Fail("ToolFailedError", reason)
    if state.budget.cost_usd is not None and state.usage.cost_micros is None:
        return Fail("PriceUnknownError", f"the budget limits cost_usd, but nothing tells what {state.model} costs")
    if exceeded := state.budget.exceeded(state.usage):
        return Fail("BudgetExceededError", f"the budget is used up: {exceeded}")
    if state.turns >= state.terms.max_turns:
        return Fail("TurnLimitError", f"no result after {state.turns} turns (max_turns)")
    return None


def _verdict(state: EvaluationState, judge: Judge) -> Move:
    if state.stop == "refusal":
        return Fail("ModelRefusedError", f"the model refused: {state.text[:500] or 'it gave no reason'}")
    verdict = judge(state.text) if state.text.strip() else Reject("Your answer was empty.")
    if isinstance(verdict, Reject) and state.repairs >= MAX_REPAIRS:
        return Fail("OutputInvalidError", f"after {MAX_REPAIRS} repair rounds: {verdict.reason}")
    if isinstance(verdict, Reject) and state.stop == "length":
        return Reject(f"{verdict.reason} It was cut off at the output limit: be shorter.")
    return verdict
