"""Running recorded evaluations again: the turns of today's code, on the session as it was, with recorded answers.

Each turn that the ledger shows is worked on by what works on turns in a worker, from the fold of the events before it.
The model's answer is the recorded one, tools are not run, and nothing is written. So what follows from a drift is not
judged: the first one of an evaluation is where it ends.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from itertools import takewhile
from textwrap import indent
from typing import Any, Final, Protocol, cast

import msgspec

from wink_tasks.core.codec import encode
from wink_tasks.core.delivery import Message
from wink_tasks.core.drift import Drift, begins_turn, compared_events, written_by_turn
from wink_tasks.core.errors import RequestRejectedError, UnknownRunError, ValueInvalidError
from wink_tasks.core.events import (
    AnyEvent,
    CancelRequested,
    EvaluationAccepted,
    EvaluationCancelled,
    EvaluationFailed,
    EvaluationStarted,
    ModelResponded,
    PromptChanged,
    Recorded,
    StepDied,
    ToolReturned,
)
from wink_tasks.core.json_differences import differences
from wink_tasks.core.redaction import redact
from wink_tasks.core.session import SessionState, fold
from wink_tasks.ports.mailbox import Address, Claimed, Receipt
from wink_tasks.ports.provider import Request, Response
from wink_tasks.ports.telemetry import NullMetrics, NullTracer
from wink_tasks.runtime.parts import Parts
from wink_tasks.runtime.stop import Stop
from wink_tasks.runtime.turn import turn_from
from wink_tasks.runtime.work import Worked
from wink_tasks.testing.scripted import Everywhere

LONGEST_PART: Final = 2_000
"""Characters that are told of a part of today's request."""


class Rerun(msgspec.Struct, frozen=True, kw_only=True):
    """What came of running an evaluation again. `turns` is how many of its turns were run, up to the drift if any.

    `digest_changed`: the prompt's definition is not the one that the run was accepted with. `skipped` is why it was not
    run.
    """

    run: str
    prompt: str
    turns: int = 0
    digest_changed: bool = False
    drift: Drift | None = None
    skipped: str = ""


class Application(Protocol):
    """What is needed of a Wink."""

    def in_memory(self, **choices: Any) -> AbstractContextManager[Any]:
        """Run what is sent meanwhile in memory."""
        ...


def rerun(wink: Application, records: Sequence[Recorded], runs: Collection[str] = ()) -> list[Rerun]:
    """Run the evaluations of a session (`records` are all its events) again, or only those that are named.

    Raises UnknownRunError for a run that the session does not have, and what a fold raises.
    """
    return again(wink, records, runs)[0]


def again(
    wink: Application, records: Sequence[Recorded], runs: Collection[str] = ()
) -> tuple[list[Rerun], dict[int, Request]]:
    """As `rerun`, with the requests that today's code makes, by the sequence numbers of their answers."""
    accepted = {one.evaluation: one.event for one in records if isinstance(one.event, EvaluationAccepted)}
    if missing := sorted(set(runs) - accepted.keys()):
        raise UnknownRunError(f"the session has no run {missing[0]!r}; it has: {', '.join(accepted) or 'none'}")
    answering, clock, requests = _Answering(), _Standing(), dict[int, Request]()
    choices: dict[str, Any] = {"providers": Everywhere(answering), "clock": clock}
    with wink.in_memory(metrics=NullMetrics(), tracer=NullTracer(), **choices) as house:
        wanted = [event for run, event in accepted.items() if not runs or run in runs]
        found = {event.evaluation: _Evaluation(house.parts, event, requests) for event in wanted}
        state = SessionState(reducers=house.parts.registry.reducers)
        for place, record in enumerate(records):
            evaluation = found.get(record.evaluation)
            if evaluation is not None and evaluation.goes_on:
                clock.at = records[place - 1].at  # what the run ended by its limits for is not judged by today's clock
                evaluation.see(state, records[place:], answering)
            if not any(one.goes_on for one in found.values()):
                break
            state = fold(state, [record])
    return [one.report for one in found.values()], requests


class _Answering:
    """Every model: it gives the recorded answer, and keeps what it was asked."""

    def __init__(self) -> None:
        self._answer: Response | None = None
        self.asked: Request | None = None

    def expect(self, recorded: Recorded | None) -> None:
        """Give this ModelResponded as the next answer."""
        self.asked = None
        self._answer = None if recorded is None else _answer(cast("ModelResponded", recorded.event))

    async def complete(self, request: Request) -> Response:
        self.asked = request
        if self._answer is None:
            raise RequestRejectedError("the run recorded no answer here")
        return self._answer

    async def close(self) -> None:
        """There is nothing to let go of."""


class _Standing:
    """A clock that stands where it is put."""

    at = 0.0

    def now(self) -> float:
        return self.at

    def monotonic(self) -> float:
        return self.at


class _Evaluation:
    """One evaluation as it is run again."""

    def __init__(self, parts: Parts, event: EvaluationAccepted, requests: dict[int, Request]) -> None:
        self._requests = requests
        self._parts = parts
        self._accepted = event
        prompt = parts.registry.prompts.get(event.prompt)
        self._told = 0
        self.report = Rerun(run=event.evaluation, prompt=event.prompt)
        if not event.terms.models:
            self._note(skipped="it is a durable task, which asks no model")
        elif prompt is None:
            known = ", ".join(sorted(parts.registry.prompts)) or "none"
            self._note(skipped=f"no prompt is called {event.prompt!r} any more; there are: {known}")
        else:
            self._note(digest_changed=prompt.digest != event.digest)

    @property
    def goes_on(self) -> bool:
        """Whether there is anything left to look at."""
        return not self.report.skipped and self.report.drift is None

    def see(self, before: SessionState, records: Sequence[Recorded], answering: _Answering) -> None:
        """The next of its events, with all that follow it. `before` is the session before it."""
        first = records[0]
        if isinstance(first.event, ToolReturned):
            self._note(drift=self._result_drift(first.seq, first.event))
        elif first.seq > self._told and begins_turn(first.event):
            block = written_by_turn(tuple(takewhile(lambda one: one.evaluation == first.evaluation, records)))
            self._told = block[-1].seq
            self._note(drift=self._turn(before, block, records[len(block) :], answering))
            self._note(turns=self.report.turns + 1)

    def _note(self, **facts: Any) -> None:
        self.report = msgspec.structs.replace(self.report, **facts)

    def _turn(
        self, before: SessionState, block: Sequence[Recorded], after: Sequence[Recorded], answering: _Answering
    ) -> Drift | None:
        response = next((one for one in block if isinstance(one.event, ModelResponded)), None)
        answering.expect(response)
        turn = before.open[self._accepted.evaluation].turns + 1
        result = turn_from(self._parts, self._claimed(before, block), before, Stop())
        if not isinstance(result, Worked):
            message = f"today's code does not finish this turn: {getattr(result, 'error', result)}"
            return Drift(what="request", seq=block[0].seq, turn=turn, message=message)
        end = block[-1].event
        if response is None and answering.asked is not None and isinstance(end, EvaluationFailed):
            message = f"the run ended with {end.code} ({end.message}), today's code asks the model"
            return Drift(what="end", seq=block[-1].seq, turn=turn, message=message)
        events = (one for one in result.events if not isinstance(one, PromptChanged))  # which the report says itself
        now = (*events, *(() if result.end is None else (result.end,)))
        drift = compared_events(block, now, cut=self._is_cut(after))
        if response is not None and (drift is None or drift.seq >= response.seq) and answering.asked is not None:
            self._requests[response.seq] = answering.asked
            return self._request_drift(response, answering.asked, now) or drift
        return drift

    def _is_cut(self, after: Sequence[Recorded]) -> bool:
        """Whether something from outside came next, so that what this turn would have brought was not recorded."""
        mine = next((one.event for one in after if one.evaluation == self._accepted.evaluation), None)
        outside = (CancelRequested, EvaluationCancelled, StepDied)
        return (
            mine is None or isinstance(mine, outside) or (isinstance(mine, EvaluationFailed) and not begins_turn(mine))
        )

    def _request_drift(self, record: Recorded, asked: Request, now: Sequence[AnyEvent]) -> Drift | None:
        event = cast("ModelResponded", record.event)
        if asked.digest == event.request:
            return None
        model = next((one.model for one in now if isinstance(one, ModelResponded)), event.model)
        places = tuple(differences(event.model, model, "model"))
        known = [name for name, digest in asked.parts.items() if event.parts.get(name, digest) != digest]
        notes = [_TOLD[name](asked, self._accepted) for name in known]
        if not event.parts:
            notes.append("which part it is was not recorded")
        if self.report.digest_changed:
            notes.append("the prompt is declared otherwise than when the run was accepted")
        parts = ", ".join([*(["model"] if places else []), *known])
        return Drift(
            what="request",
            seq=record.seq,
            turn=event.turn,
            message=f"another request would be sent{parts and f'; what differs: {parts}'}",
            places=places,
            notes=tuple(notes),
        )

    def _result_drift(self, seq: int, event: ToolReturned) -> Drift | None:
        """Where the recorded result of a tool is none of today's tool."""
        registry = self._parts.registry
        tool = registry.tools.get(registry.tool_task(event.tool))
        if tool is None:
            problem = "there is no such tool any more"
        elif tool.slice_name != event.slice:
            problem = f"it goes to slice {tool.slice_name} now, not to {event.slice}"
        else:
            try:
                tool.result.load(event.value)
            except ValueInvalidError as error:
                problem = error.problems
            else:
                return None
        message = f"what {event.tool} returned is no result of today's tool: {problem}"
        return Drift(what="tool result", seq=seq, turn=event.turn, message=message)

    def _claimed(self, before: SessionState, block: Sequence[Recorded]) -> Claimed:
        """The turn in the hands of this process, on the delivery that chooses the recorded model, if one does."""
        terms, run = self._accepted.terms, self._accepted.evaluation
        recorded = {one.event.model for one in block if isinstance(one.event, EvaluationStarted | ModelResponded)}
        prompt = self._parts.registry.prompts[self._accepted.prompt]
        tries = range(1, len(terms.models) + 1)
        select = self._parts.router.select_model
        attempt = next((one for one in tries if select(prompt, terms, attempt=one) in recorded), 1)
        message = Message(
            id=run,
            kind="turn",
            mailbox="",
            task=prompt.name,
            tenant=before.tenant,
            session=before.session,
            evaluation=run,
        )
        return Claimed(
            receipt=Receipt(Address(before.tenant, before.session, run), 1, ""),
            message=message,
            deliveries=attempt,
            started_at=self._parts.clock.now(),
            cancelled=False,
            head=before.seq,
            opened_at=before.opened_at,
        )


def _answer(event: ModelResponded) -> Response:
    return Response(text=event.text, model=event.model, calls=event.calls, usage=event.usage, stop=event.stop)


def _instructions(asked: Request, _: EvaluationAccepted) -> str:
    return f"the instructions of today:\n{indent(asked.instructions[:LONGEST_PART], '  ')}"


def _tools(asked: Request, _: EvaluationAccepted) -> str:
    tools = "\n".join(f"  {tool.name}: {_json(tool.parameters)}" for tool in asked.tools)
    return f"the tools of today:\n{tools or '  none'}"


def _output(asked: Request, _: EvaluationAccepted) -> str:
    return f"the output's schema of today: {_json(asked.output)}"


def _settings(asked: Request, accepted: EvaluationAccepted) -> str:
    own = _json(accepted.terms.model_settings)
    return f"the model settings of today: {_json(asked.settings)}, of which the run's own: {own}"


def _transcript(_: Request, __: EvaluationAccepted) -> str:
    return "the transcript is another, of the same events: this version folds them otherwise"


_TOLD: Final[Mapping[str, Callable[[Request, EvaluationAccepted], str]]] = {
    "instructions": _instructions,
    "tools": _tools,
    "output": _output,
    "settings": _settings,
    "transcript": _transcript,
}


def _json(value: object) -> str:
    return encode(redact(value)).decode()[:LONGEST_PART]
