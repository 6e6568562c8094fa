"""A model vendor's server on this machine: it speaks the wire format, and answers by a script."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Final, Self

import msgspec

from wink_tasks.core.codec import encode
from wink_tasks.core.events import Json
from wink_tasks.ports.provider import Response
from wink_tasks.testing.mock_http import Handler, Server
from wink_tasks.testing.mock_wire import chat_json, responses_json

_APIS: Final = {"/v1/responses": responses_json, "/v1/chat/completions": chat_json}


@dataclass(frozen=True)
class Asked:
    """A request as it came. Header names are in small letters."""

    path: str
    headers: Mapping[str, str]
    body: Json


@dataclass(frozen=True)
class Reply:
    """An answer given literally: `body` as JSON, bytes as they are."""

    status: int
    body: Json
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def data(self) -> bytes:
        """The body on the wire."""
        return self.body if isinstance(self.body, bytes) else encode(self.body)


@dataclass(frozen=True)
class Stall:
    """No answer, for as long as the client waits."""


@dataclass(frozen=True)
class Cut:
    """The connection breaks: after `body`, which is the beginning of a longer answer; without it, before any."""

    body: bytes = b""


Move = Response | Reply | Stall | Cut
Script = Sequence[Move] | Callable[[Asked], Move]


def refused(status: int, message: str = "", *, code: str | None = None, **headers: str) -> Reply:
    """An error as OpenAI words it; `retry_after_ms="250"` is the header Retry-After-Ms."""
    error = {"message": message, "type": "mock_error", "param": None, "code": code}
    return Reply(status, {"error": error}, {name.replace("_", "-"): value for name, value in headers.items()})


class MockProviderServer:
    """Speaks OpenAI's /v1/responses and /v1/chat/completions, without streaming.

    A script is a list of moves, one a request in the order in which they come, or a function of the request. A move is
    a `Response` (`call`, `calls` and `answer` of the test kit make them), or `refused`, `Reply`, `Stall`, `Cut`. What a
    script cannot answer is refused with status 400 and the reason.
    """

    def __init__(self, script: Script) -> None:
        self.url = ""
        """The base URL, once it is started."""
        self._script = script
        self._requests: list[Asked] = []
        self._stalled = 0
        self._hung_up = 0
        self._changed = threading.Condition()
        self._running: tuple[Server, threading.Thread] | None = None

    def start(self) -> None:
        """Listen on a free port of 127.0.0.1."""
        if self._running is None:
            server = Server(self._serve)
            thread = threading.Thread(target=server.serve_forever, args=(0.02,), name="mock-provider")
            thread.start()
            self._running = server, thread
            self.url = f"http://127.0.0.1:{server.server_address[1]}/v1"

    def stop(self) -> None:
        """Cut all connections, and end."""
        if self._running is not None:
            (server, thread), self._running = self._running, None
            server.shutdown()
            server.cut_all()
            server.server_close()
            thread.join()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def requests(self) -> tuple[Asked, ...]:
        """Every request, in order."""
        return tuple(self._requests)

    @property
    def stalled(self) -> int:
        """How many requests were left without an answer."""
        return self._stalled

    @property
    def hung_up(self) -> int:
        """How many of those have lost their connection since."""
        return self._hung_up

    def wait_until(self, condition: Callable[[], bool], seconds: float = 10.0) -> bool:
        """Wait until it holds of `requests`, `stalled` and `hung_up`; whether it does."""
        with self._changed:
            return self._changed.wait_for(condition, seconds)

    def _serve(self, handler: Handler) -> None:
        data = handler.rfile.read(int(handler.headers["content-length"]))
        move, number = self._move(handler, data)
        match move:
            case Response():
                handler.reply(200, encode(_APIS[handler.path](move, number)), {})
            case Reply():
                handler.reply(move.status, move.data, move.headers)
            case Stall():
                self._note(stalled=1)
                handler.stall()
                self._note(hung_up=1)
            case Cut():
                handler.cut(move.body)
            case _:
                unknown = refused(400, f"the script gave {move!r}, which is no move")
                handler.reply(unknown.status, unknown.data, unknown.headers)

    def _move(self, handler: Handler, data: bytes) -> tuple[object, int]:
        """What to do, which only a script that a type checker has seen keeps to, and the number of the request."""
        headers = {name.lower(): value for name, value in handler.headers.items()}
        with self._changed:
            number = len(self._requests)
            try:
                asked = Asked(handler.path, headers, msgspec.json.decode(data))
            except msgspec.DecodeError as error:
                return refused(400, f"the request is not JSON: {error}"), number
            self._requests.append(asked)
            self._changed.notify_all()
        if handler.path not in _APIS:
            return refused(404, f"there is no {handler.path}; there are: {', '.join(_APIS)}"), number
        if callable(self._script):
            try:
                return self._script(asked), number
            except Exception as error:  # noqa: BLE001 - the test sees it where it waits for an answer
                return refused(400, f"the script raised {type(error).__name__}: {error}"), number
        if number >= len(self._script):
            return refused(400, f"the script has {len(self._script)} moves, and this is request {number + 1}"), number
        return self._script[number], number

    def _note(self, *, stalled: int = 0, hung_up: int = 0) -> None:
        with self._changed:
            self._stalled += stalled
            self._hung_up += hung_up
            self._changed.notify_all()
