"""A recorded session as a test: models and tools answer as they did, and what today's code asks otherwise is told."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any, Final

from msgspec import to_builtins

from wink_tasks.core.drift import REFUSALS
from wink_tasks.core.errors import RecordingDriftedError, RecordingError, ToolError
from wink_tasks.core.events import (
    Dispatched,
    EvaluationAccepted,
    EvaluationCancelled,
    EvaluationFailed,
    EvaluationSucceeded,
    Json,
    ModelResponded,
    Recorded,
    SliceSeeded,
    StepDied,
    Terminal,
    ToolFailed,
    ToolReturned,
)
from wink_tasks.core.json_differences import differences, told
from wink_tasks.core.recording import (
    AnyLine,
    Asked,
    EndLine,
    ModelLine,
    ToolLine,
    in_one_order,
    lines_of,
    new_items,
    read_lines,
)
from wink_tasks.core.redaction import redact
from wink_tasks.core.tool import ToolDefinition
from wink_tasks.ports.provider import Request, Response
from wink_tasks.runtime.context import ToolContext
from wink_tasks.runtime.registry import Registry
from wink_tasks.testing.clock import FakeClock
from wink_tasks.testing.rerun import Application, again
from wink_tasks.testing.scripted import Everywhere

MOST_TOLD: Final = 12
"""How many places of a request that differ are told."""
_CONTEXT: Final = "wink_tool_context"


class RecordedProvider:
    """Every model: it gives the recorded answers in their order, to the requests that they were given to.

    Raises RecordingDriftedError, which tells what differs, for another request, and beyond the last answer.
    """

    def __init__(self, name: str, recording: Sequence[AnyLine]) -> None:
        self._name = name
        self._answers = [line for line in recording if isinstance(line, ModelLine)]
        self._shown: tuple[Json, ...] = ()
        self.given = 0
        self.drift = ""

    @property
    def left(self) -> int:
        """How many answers nobody has asked for yet."""
        return len(self._answers) - self.given

    def drifted(self, what: str) -> RecordingDriftedError:
        """The error for what the recording does not have. The first is kept: what follows it says nothing."""
        error = RecordingDriftedError(f"{self._name}{what}")
        self.drift = self.drift or str(error)
        return error

    async def complete(self, request: Request) -> Response:
        """The next answer."""
        if not self.left:
            raise self.drifted(f" has {self.given} answers, and {request.prompt!r} asks once more")
        line = self._answers[self.given]
        self._shown = (*self._shown[: line.same], *line.items)
        recorded = {"prompt": line.prompt, **to_builtins(line.asked), "transcript": in_one_order(self._shown)}
        now = {"prompt": request.prompt, **_asked(request), "transcript": in_one_order(_items(request))}
        places = [text for place in islice(differences(recorded, now), MOST_TOLD) for text in told(place)]
        if places:
            what = "\n".join(places)
            raise self.drifted(f": request {self.given + 1} is another one than recorded:\n{what}")
        self.given += 1
        return Response(text=line.text, model=line.asked.model, calls=line.calls, usage=line.usage, stop=line.stop)

    async def close(self) -> None:
        """See `ports.provider`."""


class Recording:
    """What a test sees of its recording, or of what it is recording now."""

    def __init__(self, registry: Registry, lines: Callable[[], Sequence[AnyLine]]) -> None:
        self._registry = registry
        self._lines = lines

    @property
    def outputs(self) -> tuple[Any, ...]:
        """What the runs that succeeded gave, in the order in which they ended."""
        ends = [line for line in self._lines() if isinstance(line, EndLine) and not line.code]
        return tuple(self._registry.prompts[line.prompt].load_output(line.output) for line in ends)

    @property
    def output(self) -> Any:
        """The last of them."""
        return self.outputs[-1]


@contextmanager
def recorded(wink: Application, path: Path, *, record: bool = False) -> Iterator[Recording]:
    """Within it, `.delay()` of the application's prompts runs at once, in memory, on the answers in the file.

    Tools are not run: they answer as recorded, too. Runs are started one after the other, as they were. With `record`
    real models are asked and tools are run, and the file is written at the end.

    Raises RecordingError for a file that is missing or cannot be read, RecordingDriftedError where the code asked for
    something else than was recorded, whatever came of that, or where answers are left.
    """
    if record:
        with wink.in_memory() as house:
            yield Recording(house.parts.registry, lambda: _recorded_in(wink, house))
            write(path, _recorded_in(wink, house))
        return
    recording = read(path)
    provider, clock = RecordedProvider(path.name, recording), FakeClock()
    choices: dict[str, Any] = {"providers": Everywhere(provider), "clock": clock, "pass_time": clock.advance}
    with wink.in_memory(draw=lambda: 0.5, **choices) as house:
        registry: Registry = house.parts.registry
        with _answering(registry, provider, _tool_lines(recording)):
            try:
                yield Recording(registry, lambda: recording)
            except Exception as error:
                if provider.drift:
                    raise RecordingDriftedError(provider.drift) from error
                raise
    if provider.drift:  # its run failed, and the test expected a failure
        raise RecordingDriftedError(provider.drift)
    if provider.left:
        raise RecordingDriftedError(f"{path.name} has {provider.left} more answers than the test asks for")


def read(path: Path) -> tuple[AnyLine, ...]:
    """A recording. Raises RecordingError."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        message = (
            f"{path} cannot be read: {error}. Make it by `pytest --wink-record`, or of a session by "
            f"`wink record SESSION -o {path.name}`"
        )
        raise RecordingError(message) from error
    return read_lines(path.name, text)


def write(path: Path, recording: Sequence[AnyLine]) -> None:
    """Write a recording, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    whole = path.with_name(f"{path.name}.new")
    whole.write_text("".join(f"{line}\n" for line in lines_of(recording)), encoding="utf-8")
    whole.replace(path)


def recording_of(wink: Application, sessions: Sequence[Sequence[Recorded]]) -> tuple[AnyLine, ...]:
    """The recording of some sessions, each given by all its events.

    Raises RecordingError where today's code asks something else than was asked, a call was answered by its death, or a
    run was cancelled in the middle.
    """
    timed: list[tuple[float, int, Recorded, Request | None]] = []
    for place, records in enumerate(sessions):
        reruns, requests = again(wink, records)
        for one in reruns:
            if one.drift is not None:
                lines = "\n".join(one.drift.lines())
                raise RecordingError(f"run {one.run} of {one.prompt} drifts, and would as a recording:\n{lines}")
        timed += [(record.at, place, record, requests.get(record.seq)) for record in records]
    timed.sort(key=lambda one: (one[0], one[1], one[2].seq))
    return tuple(_lines([(record, request) for _, _, record, request in timed]))


def _lines(timed: Sequence[tuple[Recorded, Request | None]]) -> Iterator[AnyLine]:
    prompts: dict[str, str] = {}
    places: dict[tuple[str, str], int] = {}
    answered: set[str] = set()
    shown: Sequence[Json] = ()
    wrote: dict[str, list[Dispatched | SliceSeeded]] = {}
    for record, request in timed:
        match record.event:
            case EvaluationAccepted() as event if event.terms.models:
                prompts[event.evaluation] = event.prompt
            case ModelResponded() as event if request is not None:
                answered.add(event.evaluation)
                places |= {(event.evaluation, call.id): index for index, call in enumerate(event.calls)}
                items = _items(request)
                same, new = new_items(shown, items)
                shown = items
                yield ModelLine(
                    prompt=request.prompt,
                    asked=Asked(**_asked(request)),
                    same=same,
                    items=new,
                    text=event.text,
                    stop=event.stop,
                    usage=event.usage,
                    calls=event.calls,
                )
            case Dispatched() | SliceSeeded() as event if event.evaluation:
                wrote.setdefault(event.evaluation, []).append(event)
            case ToolFailed(kind=kind) if kind in REFUSALS:
                pass
            case ToolReturned() | ToolFailed() as event:
                index = places[event.evaluation, event.call]
                yield _tool_line(event, index, tuple(wrote.pop(event.evaluation, ())))
            case StepDied(call=str(call)) as event:
                raise RecordingError(f"call {call} of run {event.evaluation} died, which no tool can do again")
            case EvaluationCancelled(evaluation=run, reason=reason) if run in answered:
                raise RecordingError(
                    f"run {run} was cancelled when models had answered ({reason}), which no test can do again"
                )
            case EvaluationSucceeded() | EvaluationFailed() | EvaluationCancelled() as event if (
                event.evaluation in prompts
            ):
                yield _end_line(prompts[event.evaluation], event)
            case _:
                pass


def _end_line(prompt: str, event: Terminal) -> EndLine:
    match event:
        case EvaluationSucceeded():
            return EndLine(prompt=prompt, output=event.output)
        case EvaluationFailed():
            return EndLine(prompt=prompt, code=event.code, message=event.message)
        case _:
            return EndLine(prompt=prompt, code="CancelledError", message=event.reason)


def _tool_line(event: ToolReturned | ToolFailed, index: int, wrote: tuple[Dispatched | SliceSeeded, ...]) -> ToolLine:
    if isinstance(event, ToolReturned):
        return ToolLine(tool=event.tool, index=index, value=event.value, wrote=wrote)
    error = (event.error or "").partition(":")[0]
    return ToolLine(tool=event.tool, index=index, failed=True, told=event.message, error=error, wrote=wrote)


def _recorded_in(wink: Application, house: Any) -> tuple[AnyLine, ...]:
    ledger = house.store.ledger
    sessions = reversed(ledger.sessions(limit=1_000_000))
    return recording_of(wink, [ledger.read(one.tenant, one.session) for one in sessions])


def _asked(request: Request) -> dict[str, Json]:
    fields = {
        "model": request.model,
        "instructions": request.instructions,
        "tools": request.tools,
        "output": request.output,
        "settings": request.settings,
    }
    return redact(to_builtins(fields))


def _items(request: Request) -> tuple[Json, ...]:
    return tuple(redact(to_builtins(request.items)))


ToolLines = Mapping[tuple[int, int], ToolLine]


def _tool_lines(recording: Sequence[AnyLine]) -> ToolLines:
    """By how many answers of models came before, and the call's place in the last of them."""
    given, found = 0, {}
    for line in recording:
        if isinstance(line, ModelLine):
            given += 1
        elif isinstance(line, ToolLine):
            found[given, line.index] = line
    return found


@contextmanager
def _answering(registry: Registry, provider: RecordedProvider, lines: ToolLines) -> Iterator[None]:
    """Have every tool of the application answer from the recording."""
    before = dict(registry.tools)
    registry.tools.update({name: _from_recording(tool, provider, lines) for name, tool in before.items()})
    try:
        yield
    finally:
        registry.tools.update(before)


def _from_recording(tool: ToolDefinition, provider: RecordedProvider, lines: ToolLines) -> ToolDefinition:
    def answer(**given: Any) -> Any:
        context: ToolContext = given[_CONTEXT]
        line = lines.get((provider.given, int(context.idempotency_key.rpartition(".call")[2])))
        if line is None or line.tool != tool.name:
            raise provider.drifted(f" has no answer of {tool.name} after answer {provider.given} of the model")
        for event in line.wrote:
            context.session._written(event, None)  # noqa: SLF001 - an event as it was recorded
        if not line.failed:
            return tool.result.load(line.value)
        raise type(line.error, (Exception,), {})(line.told) if line.error else ToolError(line.told)

    # Its resources are not made, for it does not run.
    given = {name: parameter for name, parameter in tool.signature.declared.items() if name not in tool.resources}
    signature = replace(tool.signature, context=_CONTEXT, declared=given, bound=None)
    return replace(tool, function=answer, signature=signature, retry_on=(), timeout=None)
