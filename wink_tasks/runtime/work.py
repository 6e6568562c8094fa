"""What comes of a step: events and messages to settle, or the wish to be tried again later."""

from __future__ import annotations

from dataclasses import dataclass

from wink_tasks.core.delivery import Message
from wink_tasks.core.events import AnyEvent, Terminal
from wink_tasks.runtime.tool_transaction import Transaction


@dataclass(frozen=True)
class Postponed:
    """Hand the message back for `delay` seconds; `counts` False pardons the delivery.

    `paused` says why an operator holds it back.
    """

    delay: float
    error: str
    counts: bool
    traceback: str = ""
    paused: str = ""


@dataclass(frozen=True)
class Buried:
    """Make the message a dead letter now. `code` is an error class for the end of an evaluation by that."""

    reason: str
    error: str
    code: str = ""


@dataclass(frozen=True)
class Worked:
    """The step is over. `error` is what the step's Celery task fails with; the evaluation goes on all the same.

    `cut`: it was ended before its own end, because its evaluation was cancelled. `transaction` is told whether this
    was recorded.
    """

    events: tuple[AnyEvent, ...] = ()
    messages: tuple[Message, ...] = ()
    end: Terminal | None = None
    error: Exception | None = None
    cut: bool = False
    transaction: Transaction | None = None


Result = Postponed | Buried | Worked
