"""A turn: fold the ledger, ask the model, and say what follows."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import CancelledError as FutureCancelledError
from itertools import count
from traceback import format_exception

from msgspec import structs

from wink_tasks.core.codec import LARGEST_EVENT, clean, encode
from wink_tasks.core.delivery import Message
from wink_tasks.core.errors import (
    BreakerOpenError,
    CancelledError,
    ConfigurationError,
    LeaseLostError,
    ParametersInvalidError,
    PromptFailedError,
    ReducerFailedError,
    RequestRejectedError,
    ThrottledError,
)
from wink_tasks.core.evaluation import CallModel, CallTools, EvaluationState, Fail, Finish, Reject, decide
from wink_tasks.core.events import (
    AnyEvent,
    Call,
    EvaluationCancelled,
    EvaluationFailed,
    EvaluationStarted,
    EvaluationSucceeded,
    ModelResponded,
    OutputRejected,
    Recorded,
    Terminal,
    ToolFailed,
)
from wink_tasks.core.ids import TURN, call_id, turn_id
from wink_tasks.core.prompt import PromptDefinition, Rendered
from wink_tasks.core.redaction import redact
from wink_tasks.core.retry import backoff
from wink_tasks.core.session import SessionState, fold
from wink_tasks.core.slices import ReducerContext
from wink_tasks.ports.mailbox import Claimed
from wink_tasks.ports.provider import Request, Response
from wink_tasks.runtime.asking import request_of
from wink_tasks.runtime.parts import Parts
from wink_tasks.runtime.providers import split_model
from wink_tasks.runtime.session import FoldedSession
from wink_tasks.runtime.stop import Stop
from wink_tasks.runtime.versions import PARAMS_CHANGED, UNKNOWN_HERE, change, halted
from wink_tasks.runtime.work import Buried, Postponed, Result, Worked


def caught_up(parts: Parts, claimed: Claimed) -> SessionState:
    """The session at the claim's head."""
    tenant, session = claimed.receipt.address.tenant, claimed.receipt.address.session
    state = parts.cache.caught_up(claimed)
    if state is None:
        state = fold(SessionState(reducers=parts.registry.reducers), parts.ledger.read(tenant, session))
    parts.cache.keep(state)
    return state


SHORTEST_PAUSE = 1.0
"""Seconds that are waited also where a provider says 0."""

MOST_CALLS = 256
"""How many calls of one answer are run."""


def over(state: SessionState, evaluation: EvaluationState, message: Message, now: float) -> Terminal | None:
    """How an evaluation ends that may not begin any more, or whose calls are open at its limit.

    A turn that still waits for something was brought by its limit alone: then the store's clock counts, not this one.
    """
    terms = evaluation.terms
    waits = evaluation.phase == "calling" or evaluation.id != next(iter(state.open))
    if waits and message.limit_at is not None:
        now = max(now, message.limit_at)
    if evaluation.phase == "accepted" and terms.expires_at is not None and now >= terms.expires_at:
        return EvaluationCancelled(evaluation=evaluation.id, reason="expired before it started")
    deadline = evaluation.deadline_at if evaluation.phase != "accepted" else terms.deadline_at
    if deadline is not None and not evaluation.paused and now >= deadline:
        passed = f"the deadline passed after {evaluation.turns} turns"
        return EvaluationFailed(evaluation=evaluation.id, code="DeadlineExceededError", message=passed)
    return None


def work_turn(parts: Parts, claimed: Claimed, stop: Stop) -> Result:
    """One turn of an evaluation. Does no more I/O than one model call."""
    return turn_from(parts, claimed, caught_up(parts, claimed), stop)


def turn_from(parts: Parts, claimed: Claimed, state: SessionState, stop: Stop) -> Result:
    """One turn of an evaluation of a session that stands so."""
    evaluation = state.open[claimed.message.evaluation]
    if (end := over(state, evaluation, claimed.message, parts.clock.now())) is not None:
        return Worked(end=end)
    prompt = parts.registry.prompts.get(evaluation.prompt)
    if prompt is None:
        return Postponed(UNKNOWN_HERE, f"prompt {evaluation.prompt!r} is unknown to worker {parts.actor}", counts=False)
    turn = _Turn(parts, claimed, prompt, state, stop)
    changed = change(prompt, evaluation.id, evaluation.digest, evaluation.version)
    if changed is not None:
        if (instead := halted(prompt, changed, actor=parts.actor, left=turn.left())) is not None:
            return instead
        turn.add(changed)
    return turn.work()


class _Turn:
    """The events that a turn adds, folded as they come, so that each decision sees those before it."""

    def __init__(
        self, parts: Parts, claimed: Claimed, prompt: PromptDefinition, state: SessionState, stop: Stop
    ) -> None:
        self.parts = parts
        self.claimed = claimed
        self.prompt = prompt
        self.state = state
        self.stop = stop
        self.events: list[AnyEvent] = []

    @property
    def evaluation(self) -> EvaluationState:
        return self.state.open[self.claimed.message.evaluation]

    def add(self, event: AnyEvent) -> None:
        self.state = fold(self.state, [Recorded(self.state.seq + 1, 0.0, "", event)])
        self.events.append(event)

    def work(self) -> Result:
        try:
            rendered = self.prompt.render(self.evaluation.params, FoldedSession(self.state))
        except ParametersInvalidError as error:
            return Buried(PARAMS_CHANGED, str(error), code="ParamsChangedError")
        except PromptFailedError as error:
            return self.fail(Fail("PromptFailedError", str(error)))
        if self.evaluation.phase == "accepted":
            started = self.started(rendered)
            if (size := len(encode(started))) > LARGEST_EVENT:
                what = f"what the user says has {size} bytes; a ledger takes {LARGEST_EVENT}"
                return self.fail(Fail("PayloadTooLargeError", what))
            self.add(started)
        if self.evaluation.phase == "calling":
            return Postponed(UNKNOWN_HERE, "its calls are not answered yet", counts=False)
        move = decide(self.evaluation, now=self.parts.clock.now(), judge=self.prompt.judge)
        if isinstance(move, CallModel):
            if postponed_or_end := self.ask(rendered, move.turn):
                return postponed_or_end
            move = decide(self.evaluation, now=self.parts.clock.now(), judge=self.prompt.judge)
        return self.follow(move, rendered)

    def agreed_deadline(self) -> float | None:
        """The deadline of an evaluation that has not started."""
        terms = self.evaluation.terms
        relative = None if terms.deadline is None else self.claimed.started_at + terms.deadline
        return min((limit for limit in (relative, terms.deadline_at) if limit is not None), default=None)

    def left(self) -> float | None:
        """Seconds to the deadline, None without one."""
        started = self.evaluation.phase != "accepted"
        deadline = self.evaluation.deadline_at if started else self.agreed_deadline()
        return None if deadline is None else deadline - self.parts.clock.now()

    def started(self, rendered: Rendered) -> EvaluationStarted:
        terms = self.evaluation.terms
        return EvaluationStarted(
            evaluation=self.evaluation.id,
            content=clean(rendered.content),
            model=self.parts.router.select_model(self.prompt, terms, attempt=self.claimed.deliveries),
            budget=self.parts.estimator.estimate(self.prompt, context=self.evaluation.params, terms=terms),
            deadline_at=self.agreed_deadline(),
        )

    def ask(self, rendered: Rendered, turn: int) -> Result | None:
        """Call the model; None where its answer is among the events."""
        evaluation, clock = self.evaluation, self.parts.clock
        chosen = self.parts.router.select_model(self.prompt, evaluation.terms, attempt=self.claimed.deliveries)
        provider_name, model = split_model(chosen)
        try:
            provider = self.parts.providers[provider_name]
        except ConfigurationError as error:
            return self.fail(Fail("ProviderRejectedError", f"ConfigurationError: {error}"))
        request = request_of(self.prompt, evaluation, self.state.transcript, rendered, model)
        began = clock.monotonic()
        left = None if evaluation.deadline_at is None else max(0.0, evaluation.deadline_at - clock.now())
        if left is not None and left > threading.TIMEOUT_MAX:
            left = None
        future = self.parts.loop.submit(provider.complete(request))
        self.stop.then(future.cancel)
        try:
            with self.stop.interruptible():
                response = future.result(left)
        except TimeoutError:
            return self.fail(Fail("DeadlineExceededError", f"the deadline passed while {chosen} was answering"))
        except (FutureCancelledError, CancelledError, LeaseLostError) as error:
            if self.stop.cancelled:  # what was said stays; the settlement ends the evaluation
                return Worked(events=tuple(self.events), cut=True)
            return self.postponed(self.backoff(), error, counts=True)
        except (ThrottledError, BreakerOpenError) as error:
            wait = self.backoff() if error.retry_after is None else max(SHORTEST_PAUSE, error.retry_after)
            return self.postponed(wait, error, counts=False)
        except (RequestRejectedError, ConfigurationError) as error:
            return self.fail(Fail("ProviderRejectedError", f"{type(error).__name__}: {error}"))
        except Exception as error:  # noqa: BLE001 - whatever an adapter raises costs a delivery, not a worker
            return self.postponed(self.backoff(), error, counts=True)
        finally:
            future.cancel()  # an interrupt of this thread must not leave a call running
        return self.responded(response, request, turn, chosen, clock.monotonic() - began)

    def responded(self, response: Response, request: Request, turn: int, chosen: str, seconds: float) -> Result | None:
        event = ModelResponded(
            evaluation=self.evaluation.id,
            turn=turn,
            model=chosen,
            text=clean(response.text),
            calls=_distinct(response.calls),
            usage=response.usage,
            stop=response.stop,
            request=request.digest,
            parts=dict(request.parts),
            seconds=round(seconds, 6),
        )
        size = len(encode(event))
        if size > LARGEST_EVENT:
            reason = f"the answer of {chosen} has {size} bytes; a ledger takes {LARGEST_EVENT}"
            return self.fail(Fail("PayloadTooLargeError", reason))
        self.add(event)
        labels = {"prompt": self.prompt.name, "model": chosen}
        self.parts.metrics.counter("wink.prompt.tokens.input", response.usage.input_tokens, labels)
        self.parts.metrics.counter("wink.prompt.tokens.output", response.usage.output_tokens, labels)
        return None

    def follow(self, move: object, rendered: Rendered) -> Result:
        match move:
            case CallTools():
                return self.call_tools(move.calls, rendered)
            case Reject():
                self.add(OutputRejected(evaluation=self.evaluation.id, turn=self.evaluation.turns, reason=move.reason))
                return Worked(events=tuple(self.events), messages=(self.next_turn(needs=0),))
            case Finish():
                return self.finish(
                    EvaluationSucceeded(evaluation=self.evaluation.id, output=move.output, slice=move.slice)
                )
            case Fail():
                return self.fail(move)
            case _:  # pragma: no cover - after an answer, decide gives no other move
                raise AssertionError(move)

    def call_tools(self, calls: tuple[Call, ...], rendered: Rendered) -> Result:
        """Answer what cannot run at once; the rest are messages: side by side where all allow it, else in order."""
        offered = {tool.name: tool for tool in rendered.tools}
        asked = 1 - len(self.events)
        runnable = []
        for index, call in enumerate(calls):
            tool = offered.get(call.tool)
            if index >= MOST_CALLS:
                self.refuse(call, "invalid_arguments", f"Not run: an answer may ask for {MOST_CALLS} calls.")
                continue
            if tool is None:
                names = ", ".join(sorted(offered)) or "none"
                self.refuse(call, "unknown_tool", f"There is no tool {call.tool!r}. The tools are: {names}.")
                continue
            try:
                tool.bind(call.arguments)
            except ParametersInvalidError as error:
                self.refuse(call, "invalid_arguments", str(error))
                continue
            runnable.append((index, call, tool))
        parallel = all(tool.parallel for _, _, tool in runnable)
        turn = self.next_turn(needs=(len(runnable) if parallel else 1) if runnable else 0)
        messages = []
        for place, (index, call, tool) in enumerate(runnable):
            last = parallel or place == len(runnable) - 1
            following = "" if last else call_id(self.evaluation.id, self.evaluation.turns, runnable[place + 1][0])
            messages.append(
                self.message(
                    id=call_id(self.evaluation.id, self.evaluation.turns, index),
                    kind="call",
                    mailbox=self.parts.registry.tool_mailbox(tool, self.prompt),
                    task=self.parts.registry.tool_task(tool.name),
                    index=index,
                    call=call.id,
                    turn=self.evaluation.turns,
                    reads=(asked,),
                    needs=0 if parallel or place == 0 else 1,
                    wakes=following or turn.id,
                    max_retries=tool.max_retries,
                    shown=shown(call.arguments),
                )
            )
        return Worked(events=tuple(self.events), messages=(*messages, turn))

    def refuse(self, call: Call, kind: str, message: str) -> None:
        self.add(
            ToolFailed(
                evaluation=self.evaluation.id,
                turn=self.evaluation.turns,
                call=call.id,
                tool=call.tool,
                kind=kind,  # type: ignore[arg-type]  # one of ToolFailure's, by its two callers
                message=message,
            )
        )
        tool = "unknown" if kind == "unknown_tool" else call.tool  # a model may invent any number of names
        self.parts.metrics.counter("wink.tool.invocations", 1, {"tool": tool, "status": kind})

    def next_turn(self, *, needs: int) -> Message:
        turn = self.evaluation.turns + 1
        return self.message(
            id=turn_id(self.evaluation.id, turn),
            kind="turn",
            mailbox=self.claimed.message.mailbox,
            task=f"{self.prompt.name}{TURN}",
            turn=turn,
            needs=needs,
            limit_at=self.evaluation.deadline_at,
            priority=self.claimed.message.priority,
            shown=f"turn={turn}",
        )

    def message(self, **fields: object) -> Message:
        mine = self.claimed.message
        return Message(
            tenant=mine.tenant,
            session=mine.session,
            evaluation=mine.evaluation,
            visibility_timeout=mine.visibility_timeout,
            trace=mine.trace,
            **fields,  # type: ignore[arg-type]  # passed through to Message, which checks them
        )

    def backoff(self) -> float:
        return backoff(self.claimed.deliveries, self.parts.draw())

    def postponed(self, delay: float, error: Exception, *, counts: bool) -> Postponed:
        """Not beyond the deadline: then the turn has to say that it passed."""
        if self.evaluation.deadline_at is not None:
            delay = min(delay, max(0.0, self.evaluation.deadline_at - self.parts.clock.now()))
        self.parts.metrics.counter("wink.errors", 1, {"type": type(error).__name__})
        trace = "".join(format_exception(error))
        return Postponed(delay, f"{type(error).__name__}: {error}", counts=counts, traceback=trace)

    def fail(self, move: Fail) -> Result:
        return self.end(
            EvaluationFailed(evaluation=self.evaluation.id, code=move.code, message=clean(redact(move.message)))
        )

    def finish(self, end: EvaluationSucceeded) -> Result:
        """An output that a reducer refuses must not be recorded: nobody could fold the session any more."""
        context = ReducerContext(self.state.tenant, self.state.session, self.state.seq + 1, end.evaluation)
        try:
            self.state.reducers.folded(self.state.slices, end, context)
        except ReducerFailedError as error:
            return self.fail(Fail("PromptFailedError", str(error)))
        return self.end(end)

    def end(self, terminal: Terminal) -> Result:
        return Worked(events=tuple(self.events), end=terminal)


def _distinct(calls: tuple[Call, ...]) -> tuple[Call, ...]:
    """The calls with an id each: some models repeat one, and an answer names its call by it."""
    taken: set[str] = set()
    distinct = []
    for call in calls:
        name = next(name for name in _names(call.id) if name and name not in taken)
        taken.add(name)
        distinct.append(call if name == call.id else structs.replace(call, id=name))
    return tuple(distinct)


def _names(name: str) -> Iterator[str]:
    yield name
    yield from (f"{name}#{number}" for number in count(1))


def shown(arguments: object, longest: int = 200) -> str:
    """Arguments as an operator reads them in Flower and in progress lines: `path='a.py', start=1`."""
    if not isinstance(arguments, dict):
        return repr(arguments)[:longest]
    text = ", ".join(f"{name}={value!r}" for name, value in arguments.items())
    return text if len(text) <= longest else f"{text[: longest - 1]}…"
