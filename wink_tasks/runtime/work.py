"""What comes of a step: events and messages to settle, or the wish to be tried again later."""

from __future__ import annotations

from dataclasses import dataclass

from wink_tasks.core.delivery import Message
from wink_tasks.core.events import AnyEvent, Terminal


@dataclass(frozen=True)
class Postponed:
    """Hand the message back for `delay` seconds; `counts` False pardons the delivery."""

    delay: float
    error: str
    counts: bool


@dataclass(frozen=True)
class Worked:
    """The step is over. `error` is what the step's Celery task fails with; the evaluation goes on all the same."""

    events: tuple[AnyEvent, ...] = ()
    messages: tuple[Message, ...] = ()
    end: Terminal | None = None
    error: Exception | None = None


Result = Postponed | Worked
