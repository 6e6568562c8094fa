"""The session fold: ledger events to the transcript, the slices, and the evaluations that are under way."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Final

import msgspec

from wink_tasks.core.errors import LedgerFormatError
from wink_tasks.core.evaluation import EvaluationState, accepted, advance
from wink_tasks.core.events import (
    TERMINAL,
    EvaluationAccepted,
    EvaluationStarted,
    EvaluationSucceeded,
    Json,
    ModelResponded,
    OutputRejected,
    Recorded,
    SessionOpened,
    StepDied,
    ToolFailed,
    ToolReturned,
)
from wink_tasks.core.log import Log
from wink_tasks.core.transcript import ModelSaid, ToolAnswered, Transcript, UserSaid

NEVER_RAN: Final = "This call was not answered: the evaluation ended before."


class SessionState(msgspec.Struct, frozen=True, kw_only=True):
    """A session at `seq`. `slices` holds, by the name of their type, the values that tools and prompts returned."""

    tenant: str = ""
    session: str = ""
    seq: int = 0
    open: Mapping[str, EvaluationState] = MappingProxyType({})
    ended: Log[EvaluationState] = Log()
    transcript: Transcript = Transcript()
    slices: Mapping[str, Log[Json]] = MappingProxyType({})


def fold(state: SessionState, records: Iterable[Recorded]) -> SessionState:
    """The state after `records`, which must follow it without a hole.

    Raises LedgerFormatError for a hole, IllegalTransitionError for an event that cannot follow.
    """
    for record in records:
        state = _fold_one(state, record)
    return state


def _fold_one(state: SessionState, record: Recorded) -> SessionState:
    if record.seq != state.seq + 1:
        message = f"ledger of session {state.session!r} has a hole: event {record.seq} follows {state.seq}"
        raise LedgerFormatError(message)
    replace = msgspec.structs.replace
    event = record.event
    match event:
        case SessionOpened():
            return replace(state, seq=record.seq, tenant=event.tenant, session=event.session)
        case EvaluationAccepted():
            return replace(state, seq=record.seq, open={**state.open, event.evaluation: accepted(event)})
    if event.evaluation not in state.open:
        message = f"event {record.seq} of session {state.session!r} names {event.evaluation!r}, which is not under way"
        raise LedgerFormatError(message)
    before = state.open[event.evaluation]
    after = advance(before, event)
    transcript, slices = state.transcript, state.slices
    match event:
        case EvaluationStarted():
            transcript = transcript.opened(event.content)
        case ModelResponded():
            transcript = transcript.added(ModelSaid(event.text, event.calls))
        case OutputRejected():
            transcript = transcript.added(UserSaid(event.reason))
        case ToolReturned():
            transcript = transcript.added(ToolAnswered(event.call, event.tool, event.value))
            slices = _appended(slices, event.slice, event.value)
        case ToolFailed():
            transcript = transcript.added(ToolAnswered(event.call, event.tool, event.message, failed=True))
        case StepDied(call=str(died)):
            tool = next(call.tool for call in before.pending if call.id == died)
            transcript = transcript.added(ToolAnswered(died, tool, "The tool died.", failed=True))
        case EvaluationSucceeded():
            slices = _appended(slices, event.slice, event.output)
    if not isinstance(event, TERMINAL):
        opened = {**state.open, after.id: after}
        return replace(state, seq=record.seq, open=opened, transcript=transcript, slices=slices)
    for call in before.pending:
        transcript = transcript.added(ToolAnswered(call.id, call.tool, NEVER_RAN, failed=True))
    opened = {key: value for key, value in state.open.items() if key != after.id}
    ended = state.ended.added(after)
    return replace(state, seq=record.seq, open=opened, ended=ended, transcript=transcript, slices=slices)


def _appended(slices: Mapping[str, Log[Json]], name: str | None, value: Json) -> Mapping[str, Log[Json]]:
    return slices if name is None else {**slices, name: slices.get(name, Log()).added(value)}
