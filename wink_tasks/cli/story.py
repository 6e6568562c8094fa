"""A run in words: what happened, where it stands, and what is left of its limits. Pure functions of events."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

import msgspec

from wink_tasks.cli.printing import moment
from wink_tasks.core.codec import encode
from wink_tasks.core.evaluation import EvaluationState, accepted, advance
from wink_tasks.core.events import (
    AnyEvent,
    CancelRequested,
    Dispatched,
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
    SessionForked,
    SessionOpened,
    SliceSeeded,
    StepDied,
    StepRevived,
    ToolFailed,
    ToolReturned,
)
from wink_tasks.runtime.turn import shown

LONGEST_LINE: Final = 400
_LIMITS: Final[Mapping[str, str]] = {
    "total_tokens": "tokens",
    "input_tokens": "input tokens",
    "output_tokens": "output tokens",
    "cost_usd": "USD",
}
_STOPS: Final[Mapping[str, str]] = {
    "end": "answers",
    "tools": "asks for nothing",
    "length": "is cut off at its length limit",
    "refusal": "refuses",
}

LONGEST_DATA: Final = 100
"""Characters that are shown of an event of the application's."""


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """An event in one line. `state` is its evaluation after it, None for an event of the session's own."""

    record: Recorded
    text: str
    state: EvaluationState | None


def tell(records: Iterable[Recorded]) -> Iterator[Told]:
    """The events in words, as they come. Of each evaluation they begin with its first."""
    states: dict[str, EvaluationState] = {}
    for record in records:
        event, run = record.event, record.evaluation
        before = states.get(run)
        if isinstance(event, EvaluationAccepted):
            states[run] = accepted(event)
        elif before is not None and not isinstance(event, Dispatched | SliceSeeded):
            states[run] = advance(before, event)
        yield Told(record=record, text=one_line(_words(event, before)), state=states.get(run))


def told_events(records: Iterable[Recorded]) -> Iterator[str]:
    """Each event as a line with its number and its time."""
    return map(told_line, tell(records))


def told_line(told: Told) -> str:
    """An event as a line with its number and its time."""
    return f"{told.record.seq:6}  {moment(told.record.at)}  {told.text}"


def standing(state: EvaluationState, *, seconds: float, now: float) -> str:
    """How far an evaluation is: turns, tokens, time, and what is left. `now` is epoch seconds."""
    if not state.terms.models:  # a durable task has one step, and asks no model
        return f"{seconds:.1f} s"
    parts = [
        f"{state.turns} turn{'' if state.turns == 1 else 's'}",
        f"{state.usage.total_tokens:,} tokens",
        f"{seconds:.1f} s",
        f"left: {left(state, now)}",
    ]
    return " · ".join(parts)


def waited_for(state: EvaluationState) -> str:
    """The tool calls that are open, as a tail of `standing`."""
    calls = _counted(Counter(call.tool for call in state.pending))
    return f" · waits for {calls}" if calls else ""


def left(state: EvaluationState, now: float) -> str:
    """What is left of the budget and the deadline."""
    parts = []
    for field, unit in _LIMITS.items():
        limit, used = getattr(state.budget, field), getattr(state.usage, field)
        if limit is not None and used is not None:
            parts.append(f"{max(0, limit - used):,} {unit}")
    if state.deadline_at is not None:
        parts.append(f"{max(0.0, state.deadline_at - now):.0f} s")
    return ", ".join(parts) or "no limit"


def _words(event: AnyEvent, before: EvaluationState | None) -> str:
    match event:
        case SessionOpened():
            return f"session {event.session!r} of tenant {event.tenant!r} began"
        case EvaluationAccepted():
            version = f" version {event.version}" if event.version else ""
            return f"accepted: {event.prompt}({shown(event.params)}){version}"
        case EvaluationStarted():
            return f"started with {event.model}: {event.content}"
        case ModelResponded():
            tokens = f"{event.usage.total_tokens:,} tokens"
            return f"turn {event.turn}: {event.model} {_answer(event)} ({tokens}, {event.seconds:.1f} s)"
        case OutputRejected():
            return f"turn {event.turn}: the answer does not fit, and is asked for again: {event.reason}"
        case ToolReturned():
            size = f"{len(encode(event.value)):,} bytes"
            return f"{_call(event.tool, event.call, before)} returned {size} in {event.seconds:.1f} s"
        case ToolFailed():
            return f"{_call(event.tool, event.call, before)} failed ({event.kind}): {event.error or event.message}"
        case _:
            return _ending(event)


def _ending(event: AnyEvent) -> str:
    match event:
        case PromptChanged():
            old, new = (f"{version or 'no version'}, {digest[:12]}" for version, digest in _definitions(event))
            return f"goes on with another definition: {new} (before: {old})"
        case StepDied():
            return f"step {event.message} died: {event.reason}{event.error and f' ({event.error})'}"
        case StepRevived():
            return f"step {event.message} was revived by {event.by}"
        case EvaluationPaused():
            return f"is held back, its clock stands still: {event.reason}"
        case EvaluationResumed():
            others = "" if event.changed is None else f", with {shown(msgspec.to_builtins(event.changed))}"
            return f"goes on{others}; its clock stood still for {event.seconds:.1f} s"
        case CancelRequested():
            return f"cancel was requested by {event.by}: {event.reason}"
        case EvaluationFailed():
            return f"failed: {event.code}: {event.message}"
        case EvaluationCancelled():
            return f"was cancelled: {event.reason}"
        case EvaluationSucceeded():
            return "succeeded"
        case _:
            return _written(event)


def _definitions(event: PromptChanged) -> tuple[tuple[str, str], tuple[str, str]]:
    return (event.version_before, event.before), (event.version, event.digest)


def _written(event: AnyEvent) -> str:
    match event:
        case Dispatched():
            data = encode(event.data).decode()
            shortened = data if len(data) <= LONGEST_DATA else f"{data[: LONGEST_DATA - 1]}…"
            return f"{event.name.rpartition('.')[2]} was dispatched: {shortened}"
        case SessionForked():
            return f"session {event.session!r} was forked from {event.parent!r} at event {event.seq}"
        case SliceSeeded():
            return f"slice {event.slice.rpartition('.')[2]} was given {len(event.values)} values"
        case _:  # pragma: no cover - every other event has its words above
            raise AssertionError(event)


def _answer(event: ModelResponded) -> str:
    return f"asks for {_counted(Counter(call.tool for call in event.calls))}" if event.calls else _STOPS[event.stop]


def _call(tool: str, call: str, before: EvaluationState | None) -> str:
    pending = before.pending if before is not None else ()
    return f"{tool}({next((shown(one.arguments) for one in pending if one.id == call), '...')})"


def _counted(names: Counter[str]) -> str:
    return ", ".join(name if count == 1 else f"{count} x {name}" for name, count in names.items())


def one_line(text: str) -> str:
    """Text as one line, cut where it is long."""
    line = " ".join(text.split())
    return line if len(line) <= LONGEST_LINE else f"{line[: LONGEST_LINE - 1]}…"
