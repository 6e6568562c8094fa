"""Testing an application: its prompts run in this process, without Redis or worker, on answers that the test wrote."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Protocol

from pydantic import TypeAdapter

from wink_tasks.core.codec import encode
from wink_tasks.core.errors import RequestRejectedError
from wink_tasks.core.events import Call, Json
from wink_tasks.core.limits import Usage
from wink_tasks.ports.provider import Provider, Request, Response
from wink_tasks.testing.clock import FakeClock

Move = Response | Exception
Script = Sequence[Move] | Callable[[Request], Move]


class Named(Protocol):
    """A prompt's or a tool's handle."""

    @property
    def name(self) -> str:
        """How it is called."""
        ...


class Application(Protocol):
    """What the kit needs of a Wink."""

    def in_memory(self, **choices: Any) -> AbstractContextManager[Any]:
        """Run what is sent meanwhile in memory."""
        ...


class ScriptEndedError(RequestRejectedError):
    """A prompt asked its model more often than its script has moves."""


class ScriptedProvider:
    """Every model of every provider: it answers a prompt's requests by the prompt's script, and keeps them."""

    def __init__(self, scripts: Mapping[str, Script]) -> None:
        self._scripts = dict(scripts)
        self._made: dict[str, int] = {}
        self.requests: list[Request] = []

    async def complete(self, request: Request) -> Response:
        """The next move. Raises ScriptEndedError where there is none, or the move itself where it is an error."""
        self.requests.append(request)
        move = self._move(request)
        if isinstance(move, Exception):
            raise move.with_traceback(None)  # one that several moves share would grow by each
        return move

    async def close(self) -> None:
        """See `ports.provider`."""

    def play(self, prompt: str, script: Script) -> None:
        """Answer a prompt by `script` from now on, from its beginning."""
        self._scripts[prompt] = script
        self._made.pop(prompt, None)

    def _move(self, request: Request) -> Move:
        script = self._scripts.get(request.prompt)
        if callable(script):
            return script(request)
        made = self._made.get(request.prompt, 0)
        if script is None or made >= len(script):
            message = f"the script of {request.prompt!r} has {len(script or ())} moves, and this is request {made + 1}"
            raise ScriptEndedError(message)
        self._made[request.prompt] = made + 1
        return script[made]


class Everywhere(Mapping[str, Callable[[], Provider]]):
    """One provider under every name."""

    def __init__(self, provider: Provider) -> None:
        self._provider = provider

    def __getitem__(self, name: str) -> Callable[[], Provider]:
        return lambda: self._provider

    def __iter__(self) -> Iterator[str]:
        return iter(())

    def __len__(self) -> int:
        return 0

    def __contains__(self, name: object) -> bool:
        return True


class Scripted:
    """What a test sees: the requests that were made, and a clock to move."""

    def __init__(self, provider: ScriptedProvider, clock: FakeClock) -> None:
        self._provider = provider
        self.clock = clock

    @property
    def requests(self) -> tuple[Request, ...]:
        """Every request to a model, in order."""
        return tuple(self._provider.requests)

    def script(self, prompt: Named, script: Script) -> None:
        """Give a prompt its script, or another one."""
        self._provider.play(prompt.name, script)


@contextmanager
def scripted(
    wink: Application, scripts: Mapping[Named, Script], *, resources: Mapping[type, Any] | None = None
) -> Iterator[Scripted]:
    """Within it, `.delay()` of the application's prompts runs at once, in memory.

    A script is a list of moves (`call`, `answer`, `calls`, an error to raise) or a function of the request. `resources`
    replace the application's of the same types. Time stands still but for `clock.advance`, and where a run waits for it
    in `get()`.
    """
    clock = FakeClock()
    provider = ScriptedProvider({prompt.name: script for prompt, script in scripts.items()})
    choices: dict[str, Any] = {} if resources is None else {"resources": resources}
    with wink.in_memory(
        providers=Everywhere(provider), clock=clock, draw=lambda: 0.5, pass_time=clock.advance, **choices
    ):
        yield Scripted(provider, clock)


def call(tool: Named | str, **arguments: Json) -> Response:
    """The model asks for one tool call."""
    return calls((tool, arguments))


def calls(*wanted: tuple[Named | str, Mapping[str, Json]], text: str = "") -> Response:
    """The model asks for several tool calls at once."""
    asked = tuple(
        Call(id=f"call_{place}", tool=tool if isinstance(tool, str) else tool.name, arguments=dict(arguments))
        for place, (tool, arguments) in enumerate(wanted)
    )
    return Response(text=text, model="scripted", calls=asked, usage=Usage(requests=1, input_tokens=10, output_tokens=5))


def answer(output: Any) -> Response:
    """The model gives its final answer: text, or a value of the prompt's output type."""
    typed: TypeAdapter[Any] = TypeAdapter(type(output))
    text = output if isinstance(output, str) else encode(typed.dump_python(output, mode="json")).decode()
    return Response(text=text, model="scripted", usage=Usage(requests=1, input_tokens=10, output_tokens=5))
