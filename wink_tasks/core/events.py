"""The facts that a ledger holds. Each is immutable, past tense, and names its evaluation.

Where the fact came from (sequence number, time, actor) is added by the ledger: see `Recorded`.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from wink_tasks.core.limits import Budget, Usage

Json = Any
Stop = Literal["end", "tools", "length", "refusal"]
ToolFailure = Literal["unknown_tool", "invalid_arguments", "tool_error", "exception", "timeout", "unknown_outcome"]


class Call(msgspec.Struct, frozen=True, kw_only=True):
    """A tool call that a model asked for; `id` is the provider's, `arguments` is its JSON object as it came."""

    id: str
    tool: str
    arguments: Json


class Terms(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What was agreed when an evaluation was accepted.

    `deadline` is seconds from the first claim, `deadline_at` and `expires_at` are epoch seconds. `history` is
    "session", "none", or how many earlier exchanges the model is shown. `models` are tried in order.
    """

    models: tuple[str, ...]
    deadline: float | None = None
    deadline_at: float | None = None
    expires_at: float | None = None
    budget: Budget = Budget()
    max_turns: int = 25
    history: str | int = "session"
    model_settings: dict[str, Json] = {}
    labels: dict[str, str] = {}


class Changed(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The terms that are others from a resumption on. `deadline` is seconds from then, `deadline_at` epoch seconds."""

    budget: Budget | None = None
    deadline: float | None = None
    deadline_at: float | None = None
    models: tuple[str, ...] = ()
    max_turns: int | None = None


class Event(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="type"):
    """Base of all events."""


class SessionOpened(Event, frozen=True, kw_only=True):
    """The ledger began."""

    tenant: str
    session: str


class SessionForked(Event, frozen=True, kw_only=True):
    """The ledger goes on from the first `seq` events of session `parent`, which are not copied but read from there."""

    tenant: str
    session: str
    parent: str
    seq: int


class EvaluationAccepted(Event, frozen=True, kw_only=True):
    """A run was asked for; from now on it ends with exactly one terminal event, and another where it is resumed.

    `digest` and `version` are those of the definition that it was asked for with. `canvas` is what a Celery signature
    attached to it, to be honoured at its first end.
    """

    evaluation: str
    prompt: str
    digest: str
    params: dict[str, Json]
    terms: Terms
    canvas: dict[str, Json] = {}
    version: str = ""


class PromptChanged(Event, frozen=True, kw_only=True):
    """A worker goes on with another definition: with this `digest` and `version` instead of those `before`."""

    evaluation: str
    before: str
    digest: str
    version_before: str = ""
    version: str = ""


class EvaluationStarted(Event, frozen=True, kw_only=True):
    """The first turn has prepared itself: what the user says, which model, which limits."""

    evaluation: str
    content: str
    model: str
    budget: Budget
    deadline_at: float | None = None


class ModelResponded(Event, frozen=True, kw_only=True):
    """A model answered. `seconds` is how long the call took.

    `request` is the digest of what it was asked, `parts` a short one of each part, to tell later which of them differs.
    """

    evaluation: str
    turn: int
    model: str
    text: str
    usage: Usage
    stop: Stop
    request: str
    seconds: float
    calls: tuple[Call, ...] = ()
    parts: dict[str, str] = {}


class OutputRejected(Event, frozen=True, kw_only=True):
    """The answer does not fit the output type; the model is told `reason` and asked again."""

    evaluation: str
    turn: int
    reason: str


class ToolReturned(Event, frozen=True, kw_only=True):
    """A tool call succeeded. `slice` names the type of `value` where it is a dataclass or a model."""

    evaluation: str
    turn: int
    call: str
    tool: str
    value: Json
    seconds: float
    slice: str | None = None


class ToolFailed(Event, frozen=True, kw_only=True):
    """A tool call failed; `message` is what the model is told, `error` and `traceback` are for people."""

    evaluation: str
    turn: int
    call: str
    tool: str
    kind: ToolFailure
    message: str
    seconds: float = 0.0
    error: str | None = None
    traceback: str | None = None


class StepDied(Event, frozen=True, kw_only=True):
    """A step was tried as often as it may be. `call` is set when it was a tool call.

    `code` is the name of an error class where there is a better one than DeadLetteredError.
    """

    evaluation: str
    message: str
    reason: str
    error: str = ""
    call: str | None = None
    code: str = ""


class StepRevived(Event, frozen=True, kw_only=True):
    """Somebody had a dead letter tried again; its deliveries so far are pardoned."""

    evaluation: str
    message: str
    by: str


class EvaluationPaused(Event, frozen=True, kw_only=True):
    """A step is held back by an operator's hand: the clock of a deadline in seconds stands still."""

    evaluation: str
    reason: str


class EvaluationResumed(Event, frozen=True, kw_only=True):
    """It goes on after a pause, or after it had failed; its clock stood still for `seconds`."""

    evaluation: str
    seconds: float
    changed: Changed | None = None


class CancelRequested(Event, frozen=True, kw_only=True):
    """Somebody asked to cancel; what is leased at this time still ends its step."""

    evaluation: str
    by: str
    reason: str


class Dispatched(Event, frozen=True, kw_only=True):
    """An event of the application's own: `data` is the JSON of a `name` in its `version`.

    `evaluation` is set where a tool dispatched it. `failed` tells that the tool failed, so only slices of policy LOG
    take notice.
    """

    name: str
    data: Json
    version: int = 1
    evaluation: str = ""
    failed: bool = False


class SliceSeeded(Event, frozen=True, kw_only=True):
    """A slice was given these values instead of all that it had."""

    slice: str
    values: tuple[Json, ...]
    evaluation: str = ""


class EvaluationSucceeded(Event, frozen=True, kw_only=True):
    """Terminal. `slice` names the type of `output` where it is a dataclass or a model."""

    evaluation: str
    output: Json
    slice: str | None = None


class EvaluationFailed(Event, frozen=True, kw_only=True):
    """Terminal. `code` is the name of the error class; `traceback` is that of a durable task's function."""

    evaluation: str
    code: str
    message: str
    traceback: str | None = None


class EvaluationCancelled(Event, frozen=True, kw_only=True):
    """Terminal."""

    evaluation: str
    reason: str


AnyEvent = (
    SessionOpened
    | SessionForked
    | EvaluationAccepted
    | PromptChanged
    | EvaluationStarted
    | ModelResponded
    | OutputRejected
    | ToolReturned
    | ToolFailed
    | StepDied
    | StepRevived
    | EvaluationPaused
    | EvaluationResumed
    | CancelRequested
    | Dispatched
    | SliceSeeded
    | EvaluationSucceeded
    | EvaluationFailed
    | EvaluationCancelled
)
Terminal = EvaluationSucceeded | EvaluationFailed | EvaluationCancelled
TERMINAL = (EvaluationSucceeded, EvaluationFailed, EvaluationCancelled)


class Recorded(msgspec.Struct, frozen=True):
    """An event in its ledger: `seq` counts from 1 without holes, `at` is epoch seconds, `actor` is who wrote it."""

    seq: int
    at: float
    actor: str
    event: AnyEvent

    @property
    def evaluation(self) -> str:
        """The evaluation that the event is about; empty for the session's own."""
        return getattr(self.event, "evaluation", "")
