"""What an evaluation did, and what today's code does in its place: the first place where they part."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final, Literal

import msgspec

from wink_tasks.core.events import (
    AnyEvent,
    EvaluationFailed,
    EvaluationStarted,
    EvaluationSucceeded,
    Json,
    ModelResponded,
    OutputRejected,
    Recorded,
    ToolFailed,
)
from wink_tasks.core.json_differences import Difference, differences, told

What = Literal["prompt", "start", "request", "tool call", "tool result", "output", "end"]

REFUSALS: Final = ("unknown_tool", "invalid_arguments")
"""The kinds of ToolFailed that a turn writes itself."""

DECIDED: Final = frozenset(
    {
        *("BudgetExceededError", "ModelRefusedError", "OutputInvalidError", "ParamsChangedError", "PriceUnknownError"),
        *("PromptFailedError", "ToolFailedError", "TurnLimitError"),
    }
)
"""How an evaluation fails by what is in its ledger; other failures came from outside: time, providers, operators."""

_CIRCUMSTANCES: Final = ("evaluation", "deadline_at", "seconds", "traceback", "request", "parts", "type")
_NAMES: Final[Mapping[type, What]] = {
    EvaluationStarted: "start",
    ModelResponded: "request",
    ToolFailed: "tool call",
    OutputRejected: "output",
    EvaluationSucceeded: "output",
}


class Drift(msgspec.Struct, frozen=True, kw_only=True):
    """The first place where today's code does something else. `seq` is the recorded event's, `turn` the model call's.

    `places` are what differs in data of which both sides are known, `notes` what is known of the others.
    """

    what: What
    seq: int
    turn: int
    message: str
    places: tuple[Difference, ...] = ()
    notes: tuple[str, ...] = ()

    def lines(self) -> Iterator[str]:
        """It in words."""
        yield f"turn {self.turn}, event {self.seq}: {self.message}"
        for place in self.places:
            yield from (f"  {line}" for line in told(place))
        for note in self.notes:
            yield from (f"  {line}" for line in note.splitlines())


def written_by_turn(records: Sequence[Recorded]) -> tuple[Recorded, ...]:
    """Those of the events, which follow each other, that one turn settled together; the first begins it."""
    block = [records[0]]
    for record in records[1:]:
        if not _continues(block[-1].event, record.event):
            break
        block.append(record)
    return tuple(block)


def begins_turn(event: AnyEvent) -> bool:
    """Whether a turn's settlement may begin with it."""
    return isinstance(event, EvaluationStarted | ModelResponded) or _is_decided(event)


def compared_events(block: Sequence[Recorded], now: Sequence[AnyEvent], *, cut: bool) -> Drift | None:
    """The first of a turn's events that today's code does not give, but for what a request says by its digest.

    `cut` tells that something from outside came right after the block, so that what else it would have brought is not
    known.
    """
    turn = next((one.event.turn for one in block if isinstance(one.event, ModelResponded)), 0)
    for place in range(max(len(block), len(now))):
        if place >= len(block):
            return None if cut else _more(block[-1], turn, now[place])
        record = block[place]
        if place >= len(now):
            message = f"the run recorded {_named(record.event)}, today's code gives nothing"
            return Drift(what=_what(record.event), seq=record.seq, turn=turn, message=message)
        if drift := _compared(record, turn, now[place]):
            return drift
    return None


def _compared(record: Recorded, turn: int, now: AnyEvent) -> Drift | None:
    event = record.event
    what = _what(event)
    if type(event) is not type(now):
        message = f"the run recorded {_named(event)}, today's code gives {_named(now)}"
        return Drift(what=what, seq=record.seq, turn=turn, message=message)
    places = tuple(differences(_data(event), _data(now)))
    if not places:
        return None
    return Drift(what=what, seq=record.seq, turn=turn, message=_SAID.get(what, "it ends otherwise"), places=places)


_SAID: Final[Mapping[str, str]] = {
    "start": "it would begin otherwise",
    "request": "another model would be asked",
    "tool call": "a call would be refused for another reason",
    "output": "the answer is read otherwise",
}


def _more(last: Recorded, turn: int, now: AnyEvent) -> Drift:
    message = f"the run recorded nothing more here, today's code gives {_named(now)}"
    return Drift(what=_what(now), seq=last.seq, turn=turn, message=message)


def _continues(before: AnyEvent, event: AnyEvent) -> bool:
    match event:
        case ModelResponded():
            return isinstance(before, EvaluationStarted)
        case ToolFailed(kind=kind):
            return kind in REFUSALS and isinstance(before, ModelResponded | ToolFailed)
        case OutputRejected() | EvaluationSucceeded():
            return isinstance(before, ModelResponded)
        case _:
            return _is_decided(event) and isinstance(before, EvaluationStarted | ModelResponded)


def _is_decided(event: AnyEvent) -> bool:
    return isinstance(event, EvaluationFailed) and event.code in DECIDED


def _what(event: AnyEvent) -> What:
    return _NAMES.get(type(event), "end")


def _named(event: AnyEvent) -> str:
    """An event as people read it."""
    match event:
        case EvaluationFailed():
            return f"{event.code}: {event.message}"
        case ToolFailed():
            return f"a refused call of {event.tool} ({event.message})"
        case OutputRejected():
            return f"a rejected answer ({event.reason})"
        case EvaluationSucceeded():
            return "a result"
        case _:
            return type(event).__name__


def _data(event: AnyEvent) -> Json:
    fields = msgspec.to_builtins(event)
    return {name: value for name, value in fields.items() if name not in _CIRCUMSTANCES}
