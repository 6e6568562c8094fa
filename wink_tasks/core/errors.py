"""The one tree of errors: what went wrong, whose fault it is, and whether trying again may help."""

from __future__ import annotations

from typing import ClassVar, Literal

Fault = Literal["caller", "model", "provider", "infrastructure", "us"]
Refusal = Literal["malformed", "outside", "missing", "folder", "special", "exists", "denied"]


class WinkError(Exception):
    """Base of every error that wink-tasks raises."""

    fault: ClassVar[Fault] = "us"
    retryable: ClassVar[bool] = False


class ConfigurationError(WinkError):
    """A setting, an installation or an environment cannot work as it is."""

    fault = "caller"


class DeclarationError(ConfigurationError):
    """A prompt, a section or a tool is declared in a way that can never run."""


class UnresolvedAnnotationError(DeclarationError):
    """An annotation names something that does not exist (yet)."""


class ContractViolationError(WinkError):
    """A `require`, `ensure` or `invariant` of our own does not hold."""


class IllegalTransitionError(WinkError):
    """A machine was asked for a step that its table does not have; nothing has changed."""


class LedgerFormatError(WinkError):
    """A ledger holds an event that this version cannot read; upgrade this process."""

    fault = "infrastructure"


class ArchiveInvalidError(WinkError, ValueError):
    """A session's file cannot be restored: it is cut off, was changed, or is none. `line` counts from 1."""

    fault = "caller"

    def __init__(self, message: str, line: int = 0) -> None:
        super().__init__(message)
        self.line = line


class ArchiveFailedError(WinkError):
    """A session's file cannot be written; the session stays where it is."""

    fault = "infrastructure"
    retryable = True


class ValueInvalidError(WinkError, ValueError):
    """A value does not fit the type that was declared for it: `what` is the value, `problems` tells each field."""

    fault = "caller"

    def __init__(self, what: str, problems: str) -> None:
        super().__init__(f"{what}: {problems}")
        self.what = what
        self.problems = problems

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self.what, self.problems)


class ParametersInvalidError(WinkError, ValueError):
    """The arguments do not fit the prompt's or the tool's parameters."""

    fault = "caller"


class NotCallableError(WinkError, TypeError):
    """A prompt was called like a function, which would run it outside of every guarantee."""

    fault = "caller"


class UnsupportedError(WinkError):
    """The call asks for something that this version does not do."""

    fault = "caller"


class UnknownPromptError(WinkError, LookupError):
    """No prompt of that name is declared in this process."""

    fault = "caller"


class UnknownToolError(WinkError, LookupError):
    """No tool of that name is declared in this process."""

    fault = "caller"


class UnknownRunError(WinkError, LookupError):
    """No evaluation has that id in this tenant."""

    fault = "caller"


class UnknownSessionError(WinkError, LookupError):
    """No session has that name in this tenant."""

    fault = "caller"


class SessionExpiredError(UnknownSessionError):
    """The session was dropped when its retention ended."""


class UnknownEventError(WinkError, LookupError):
    """The session has no event of that number, or none yet."""

    fault = "caller"


class UnknownMailboxError(WinkError, LookupError):
    """No mailbox of that name is declared, served, or holds dead letters."""

    fault = "caller"


class NotDeadError(WinkError, LookupError):
    """The message is no dead letter, so it cannot be revived."""

    fault = "caller"


class UnknownSliceError(WinkError, LookupError):
    """Nothing in this process declares that slice, and the session has none of its name."""

    fault = "caller"


class ReducerFailedError(WinkError):
    """A reducer raised, or gave no operation. A dispatch that it would refuse is not written."""

    fault = "caller"


class ReducerImpureError(WinkError, AssertionError):
    """A reducer changed what it was given, read the clock or drew randomness: another fold gives another state."""

    fault = "caller"


class RecordingError(WinkError):
    """A recording is missing or cannot be read, or a session cannot become one."""

    fault = "caller"


class DuplicateError(WinkError):
    """The id is taken by another session, tenant or task."""

    fault = "caller"


class ConflictError(WinkError):
    """Somebody else was first.

    The idempotency key was given before, with other arguments; or what a dispatch was to follow is not the newest event
    of its session any more.
    """

    fault = "caller"


class SessionBusyError(WinkError):
    """The session runs another evaluation, and `busy="reject"` asked not to wait."""

    fault = "caller"
    retryable = True


class SessionForkedError(WinkError):
    """The session has forks, which read its first events: it cannot be dropped before them."""

    fault = "caller"


class NotResumableError(WinkError):
    """The evaluation cannot go on from where it ended; the message tells why, and what to do instead."""

    fault = "caller"


class BlockingInTaskError(WinkError, RuntimeError):
    """A task waited for another one, which would hold a worker for nothing."""

    fault = "caller"


class RunTimeoutError(WinkError, TimeoutError):
    """The evaluation did not end within the time that the caller was willing to wait."""

    fault = "caller"
    retryable = True


class WaitTimeoutError(WinkError, TimeoutError):
    """What was waited for did not come in time."""

    fault = "caller"
    retryable = True


class LedgerUnavailableError(WinkError, ConnectionError):
    """The Redis that holds the ledgers cannot be reached or refuses to write."""

    fault = "infrastructure"
    retryable = True


class StoreRefusedError(WinkError):
    """The Redis that holds the ledgers answers a command of ours with an error; asking again would not help."""


class LeaseLostError(WinkError):
    """Another worker has claimed the message since; what this one does no longer counts."""

    fault = "infrastructure"


class ContextClosedError(WinkError):
    """A context was used after its call had ended: what it was asked for cannot be recorded or closed any more."""

    fault = "caller"


class ResourceError(WinkError):
    """A resource cannot be handed out here, or its process or call has closed it already."""

    fault = "caller"


class ResourceCloseError(WinkError):
    """Resources of a call or of a process could not be closed; `errors` tells why, in the order of closing."""

    fault = "caller"

    def __init__(self, message: str, errors: tuple[Exception, ...] = ()) -> None:
        super().__init__(message)
        self.errors = errors


class ToolError(WinkError):
    """Raise it in a tool to tell the model what was wrong with its call."""

    fault = "model"


class WorkspaceError(ToolError):
    """A workspace does not have what a path names, or does not touch it: `reason` says why, in a word.

    A tool need not catch it: the model is told.
    """

    def __init__(self, message: str, reason: Refusal) -> None:
        super().__init__(message)
        self.reason: Refusal = reason

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (str(self), self.reason)


class RetryLaterError(WinkError):
    """A function asks for another delivery, `delay` seconds from now (None: as its backoff says).

    `max_retries` is how often at most this time; it can lower the declared number, not raise it.
    """

    retryable = True

    def __init__(self, message: str, *, delay: float | None = None, max_retries: int | None = None) -> None:
        super().__init__(message)
        self.delay = delay
        self.max_retries = max_retries


class RejectedError(WinkError):
    """A function refuses its message for good: it is a dead letter."""

    fault = "caller"


class IgnoredError(WinkError):
    """A function asks that its call ends with None."""

    fault = "caller"


class ProviderError(WinkError):
    """A model provider did not answer a request."""

    fault = "provider"


class ThrottledError(ProviderError):
    """The provider asks for a pause; `retry_after` is its length in seconds, if it said so."""

    retryable = True

    def __init__(self, message: str, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class ProviderUnavailableError(ProviderError):
    """The provider cannot be reached, answers with an internal error, or breaks off."""

    retryable = True


class BreakerOpenError(ProviderUnavailableError):
    """Too many calls failed lately: none is made until `retry_after` seconds from now."""

    def __init__(self, message: str, retry_after: float) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class RequestRejectedError(ProviderError):
    """The provider refuses this request, and will refuse it again."""


class RecordingDriftedError(RequestRejectedError):
    """A test asks its model for something else than its recording has: record it again where that is meant."""


class ContextTooLongError(RequestRejectedError):
    """The request is longer than the model can read."""


class EvaluationFailedError(WinkError):
    """An evaluation ended without a result. `code` is the name of the leaf class."""

    by_code: ClassVar[dict[str, type[EvaluationFailedError]]] = {}

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        EvaluationFailedError.by_code.setdefault(cls.__name__, cls)

    def __init__(self, message: str, *, run_id: str = "", session_id: str = "", code: str = "") -> None:
        super().__init__(message)
        self.code = code or type(self).__name__
        self.message = message
        self.run_id = run_id
        self.session_id = session_id

    def __reduce__(self) -> tuple[object, ...]:
        return rebuild_failure, (self.code, self.message, self.run_id, self.session_id)


class DeadlineExceededError(EvaluationFailedError):
    """The evaluation's deadline passed."""

    fault = "caller"


class BudgetExceededError(EvaluationFailedError):
    """The evaluation used up its token or money budget."""

    fault = "caller"


class TurnLimitError(EvaluationFailedError):
    """The evaluation made `max_turns` model calls without a result."""

    fault = "model"


class ToolFailedError(EvaluationFailedError):
    """Tools failed too often in a row."""


class OutputInvalidError(EvaluationFailedError):
    """The model's answer did not fit the output type, also after the repair rounds."""

    fault = "model"


class ModelRefusedError(EvaluationFailedError):
    """The model refused to answer."""

    fault = "model"


class PromptFailedError(EvaluationFailedError):
    """The prompt's own code (body, section predicate) raised."""

    fault = "caller"


class ParamsChangedError(EvaluationFailedError):
    """The recorded parameters no longer fit the prompt's signature."""

    fault = "caller"


class PromptChangedError(EvaluationFailedError):
    """A worker has another definition of the prompt or task than the run goes by, and `on_change` is "fail"."""

    fault = "caller"


class PriceUnknownError(EvaluationFailedError):
    """A money budget was set, but nothing tells what the model costs."""

    fault = "caller"


class ProviderRejectedError(EvaluationFailedError):
    """The provider refused the request for good."""

    fault = "provider"


class TaskFailedError(EvaluationFailedError):
    """The function of a durable task raised; the message has the class and the words of what it raised."""

    fault = "caller"


class RollbackFailedError(EvaluationFailedError):
    """What a call had changed could not be put back: files or rows may be half written, and a person has to look."""

    fault = "infrastructure"


class OutcomeUnknownError(EvaluationFailedError):
    """A function that runs at most once (`max_retries=0`) was begun, and nobody knows how it ended."""

    fault = "infrastructure"


class PayloadTooLargeError(EvaluationFailedError):
    """An event would be larger than the ledger takes (1 MB)."""

    fault = "caller"


class DeadLetteredError(EvaluationFailedError):
    """A step of the evaluation was tried as often as it may be, and is a dead letter now."""

    fault = "infrastructure"
    retryable = True


class CancelledError(EvaluationFailedError):
    """The evaluation was cancelled."""

    fault = "caller"


def rebuild_failure(code: str, message: str, run_id: str = "", session_id: str = "") -> EvaluationFailedError:
    """The error of class `code`; of the base class where this version does not know the code."""
    cls = EvaluationFailedError.by_code.get(code, EvaluationFailedError)
    return cls(message, run_id=run_id, session_id=session_id, code=code)


def dropped(what: str, where: str) -> SessionExpiredError:
    """The error for a session, or a run, that was dropped; `where` it is archived, empty where it is not."""
    if where:
        return SessionExpiredError(
            f"{what} was dropped, and is archived: `wink sessions import {where}` brings it back"
        )
    return SessionExpiredError(f"{what} was dropped when its session's retention ended (WINK_RETENTION)")


def taken(evaluation: str) -> DuplicateError:
    """The error for an evaluation id that is in use."""
    return DuplicateError(
        f"evaluation id {evaluation!r} belongs to another session, tenant or prompt already: choose another"
    )
