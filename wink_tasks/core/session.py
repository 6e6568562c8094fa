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
    AnyEvent,
    Dispatched,
    EvaluationAccepted,
    EvaluationResumed,
    EvaluationStarted,
    ModelResponded,
    OutputRejected,
    Recorded,
    SessionForked,
    SessionOpened,
    SliceSeeded,
    StepDied,
    StepRevived,
    ToolFailed,
    ToolReturned,
)
from wink_tasks.core.log import Log
from wink_tasks.core.reducers import NO_REDUCERS, Reducers, Slices
from wink_tasks.core.slices import ReducerContext
from wink_tasks.core.transcript import ModelSaid, ToolAnswered, Transcript, UserSaid

NEVER_RAN: Final = "This call was not answered: the evaluation ended before."
DIED: Final = "The tool died."
UNKNOWN: Final = "It is not known whether this call did its work: its worker was lost, and it is not run again."


class SessionState(msgspec.Struct, frozen=True, kw_only=True):
    """A session at `seq`. `slices` holds, by the name of their type, what `reducers` made of its events.

    `ended` has an entry for each end, so a second one for an evaluation that was resumed and ended again.
    """

    tenant: str = ""
    session: str = ""
    seq: int = 0
    opened_at: float = 0.0
    open: Mapping[str, EvaluationState] = MappingProxyType({})
    ended: Log[EvaluationState] = Log()
    transcript: Transcript = Transcript()
    slices: Slices = MappingProxyType({})
    reducers: Reducers = NO_REDUCERS


def fold(state: SessionState, records: Iterable[Recorded]) -> SessionState:
    """The state after `records`, which must follow it without a hole.

    Raises LedgerFormatError for a hole, IllegalTransitionError for an event that cannot follow, ReducerFailedError.
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
        case Dispatched() | SliceSeeded():
            return replace(state, seq=record.seq, slices=_sliced(state, record))
        case SessionOpened() | SessionForked():
            return replace(state, seq=record.seq, opened_at=record.at, tenant=event.tenant, session=event.session)
        case EvaluationAccepted():
            return replace(state, seq=record.seq, open={**state.open, event.evaluation: accepted(event)})
        case StepRevived():  # also of an outcome, whose evaluation has ended
            return replace(state, seq=record.seq)
    before = state.open.get(event.evaluation)
    if before is None and isinstance(event, EvaluationResumed):
        before = next((last for last in reversed(tuple(state.ended)) if last.id == event.evaluation), None)
    if before is None:
        message = f"event {record.seq} of session {state.session!r} names {event.evaluation!r}, which is not under way"
        raise LedgerFormatError(message)
    after = advance(before, event)
    transcript = _said(state.transcript, before, event)
    slices = _sliced(state, record)
    if not isinstance(event, TERMINAL):
        opened = {**state.open, after.id: after}
        return replace(state, seq=record.seq, open=opened, transcript=transcript, slices=slices)
    for call in before.pending:
        transcript = transcript.added(ToolAnswered(call.id, call.tool, NEVER_RAN, failed=True))
    opened = {key: value for key, value in state.open.items() if key != after.id}
    ended = state.ended.added(after)
    return replace(state, seq=record.seq, open=opened, ended=ended, transcript=transcript, slices=slices)


def _said(transcript: Transcript, before: EvaluationState, event: AnyEvent) -> Transcript:
    match event:
        case EvaluationStarted():
            return transcript.opened(event.content)
        case ModelResponded():
            return transcript.added(ModelSaid(event.text, event.calls))
        case OutputRejected():
            return transcript.added(UserSaid(event.reason))
        case ToolReturned():
            return transcript.added(ToolAnswered(event.call, event.tool, event.value))
        case ToolFailed():
            return transcript.added(ToolAnswered(event.call, event.tool, event.message, failed=True))
        case StepDied(call=str(died)):
            tool = next(call.tool for call in before.pending if call.id == died)
            return transcript.added(ToolAnswered(died, tool, UNKNOWN if event.code else DIED, failed=True))
        case _:
            return transcript


def _sliced(state: SessionState, record: Recorded) -> Slices:
    context = ReducerContext(state.tenant, state.session, record.seq, record.evaluation)
    return state.reducers.folded(state.slices, record.event, context)
