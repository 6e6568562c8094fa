"""A tool call: run the function, and record what it returned or why it failed."""

from __future__ import annotations

from dataclasses import replace

from wink_tasks.core.codec import clean
from wink_tasks.core.delivery import LONGEST_TRACEBACK
from wink_tasks.core.errors import LedgerFormatError, ParametersInvalidError, PayloadTooLargeError
from wink_tasks.core.events import (
    AnyEvent,
    Call,
    EvaluationAccepted,
    Json,
    ModelResponded,
    ToolFailed,
    ToolFailure,
    ToolReturned,
)
from wink_tasks.ports.mailbox import Claimed
from wink_tasks.runtime.invocation import (
    Invocation,
    Raised,
    Returned,
    Unrestored,
    context_of,
    count_call,
    described,
    session_of,
    traced,
    transaction_of,
    unrestored,
)
from wink_tasks.runtime.parts import Parts
from wink_tasks.runtime.stop import Stop
from wink_tasks.runtime.versions import UNKNOWN_HERE, change, halted
from wink_tasks.runtime.work import Postponed, Result, Worked


def work_call(parts: Parts, claimed: Claimed, stop: Stop) -> Result:
    """Run one call. `Worked.error` is set where the tool raised what was not meant for the model."""
    message = claimed.message
    tool = parts.registry.tools.get(message.task)
    if tool is None:
        return Postponed(UNKNOWN_HERE, f"tool {message.task!r} is unknown to worker {parts.actor}", counts=False)
    accepted, call = _asked(claimed)
    session = session_of(parts, claimed)
    context = context_of(parts, claimed, accepted, stop, session, params=accepted.params, timeout=tool.timeout)
    if context.deadline is not None and parts.clock.now() >= context.deadline:
        return _failed(parts, claimed, call, kind="timeout", message="Not run: the deadline passed.", seconds=0.0)
    if (parked := _parked(parts, accepted)) is not None:
        return parked
    try:
        arguments = tool.bind(call.arguments)
    except ParametersInvalidError as error:  # the tool has changed since the model asked for it
        return _failed(parts, claimed, call, kind="invalid_arguments", message=str(error), seconds=0.0)

    def returned(value: Json, seconds: float) -> ToolReturned:
        event = ToolReturned(
            evaluation=message.evaluation,
            turn=message.turn,
            call=call.id,
            tool=call.tool,
            value=value,
            slice=tool.slice_name,
            seconds=seconds,
        )
        session.admit(event)
        return event

    transaction = transaction_of(parts, claimed, context, session)
    result = Invocation(parts, claimed, tool, context, transaction=transaction, stop=stop).run(arguments, returned)
    match result:
        case Returned():
            count_call(parts, call.tool, "ok", result.seconds)
            return Worked(events=(*session.written(), result.event), transaction=result.transaction)
        case Unrestored(error=failure):
            failed = _failed(
                parts,
                claimed,
                call,
                kind="exception",
                message=_for_model(failure),
                seconds=result.seconds,
                error=failure,
                kept=session.kept(),
            )
            return replace(failed, end=unrestored(claimed, failure))
        case Raised(kind="tool_error"):
            told, kept = str(result.error), session.kept()
            return _failed(parts, claimed, call, kind="tool_error", message=told, seconds=result.seconds, kept=kept)
        case Raised():
            return _failed(
                parts,
                claimed,
                call,
                kind=result.kind,
                message=_for_model(result.error),
                seconds=result.seconds,
                error=result.error,
                kept=session.kept(),
            )
        case _:
            return result


def _asked(claimed: Claimed) -> tuple[EvaluationAccepted, Call]:
    """The accepted event and the call, which the claim brings."""
    match [record.event for record in claimed.read]:
        case [EvaluationAccepted() as accepted, ModelResponded() as response]:
            return accepted, response.calls[claimed.message.index]
        case found:
            reason = f"message {claimed.message.id!r} reads {[type(event).__name__ for event in found]}, not its call"
            raise LedgerFormatError(reason)


def _parked(parts: Parts, accepted: EvaluationAccepted) -> Result | None:
    """A call too is left to a worker with the old definition; to fail its evaluation is for the next turn."""
    prompt = parts.registry.prompts.get(accepted.prompt)
    if prompt is None or prompt.on_change != "park":
        return None
    changed = change(prompt, accepted.evaluation, accepted.digest, accepted.version)
    return None if changed is None else halted(prompt, changed, actor=parts.actor, left=None)


def _for_model(error: BaseException) -> str:
    """Only the class: what an exception says may hold what the model must not see."""
    if isinstance(error, PayloadTooLargeError):
        return str(error)
    return f"The tool failed with {type(error).__name__}."


def _failed(
    parts: Parts,
    claimed: Claimed,
    call: Call,
    *,
    kind: ToolFailure,
    message: str,
    seconds: float,
    error: Exception | SystemExit | None = None,
    kept: tuple[AnyEvent, ...] = (),
) -> Worked:
    event = ToolFailed(
        evaluation=claimed.message.evaluation,
        turn=claimed.message.turn,
        call=call.id,
        tool=call.tool,
        kind=kind,
        message=clean(message[:LONGEST_TRACEBACK]),
        seconds=round(seconds, 6),
        error=None if error is None else described(error),
        traceback=None if error is None else traced(error),
    )
    count_call(parts, call.tool, kind, seconds)
    # These would end more than the task: Celery lets a MemoryError end the worker's main process.
    failure = RuntimeError(f"{call.tool} raised {error!r}") if isinstance(error, SystemExit | MemoryError) else error
    return Worked(events=(*kept, event), error=failure)
