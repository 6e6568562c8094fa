"""OpenAI's models, and those of servers that speak the same wire format."""

from __future__ import annotations

import asyncio
import os
import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, Literal
from urllib.parse import urlsplit

import msgspec

from wink_tasks.adapters.providers import openai_chat, openai_responses
from wink_tasks.adapters.providers.openai_errors import status_failure, words
from wink_tasks.core.errors import ConfigurationError, ProviderError, ProviderUnavailableError
from wink_tasks.core.events import Json
from wink_tasks.ports.provider import Request, Response

if TYPE_CHECKING:
    from openai import AsyncOpenAI

CONNECT_TIMEOUT: Final = 10.0
"""Seconds. It is the only limit here: the whole call is bounded around the adapter."""

_OPENAI: Final = "OpenAI"
_OPENAI_URL: Final = "https://api.openai.com/v1"
_KEYLESS: Final = "none"
_HEADER_VALUE: Final = re.compile(r"[!-~]+")


class OpenAIProvider:
    """The provider of `openai:...`; named by `Wink(providers=...)`, also that of other servers.

    `api` is "responses", or "chat" for Chat Completions, which vLLM, Ollama, llama.cpp and the LiteLLM proxy speak.
    `base_url` is the server's address, up to and with its /v1; None is OPENAI_BASE_URL, or OpenAI itself. `api_key`
    None is OPENAI_API_KEY, which is never sent to a `base_url` that is given here; a server of one's own may need no
    key. `client_options` go to the SDK's client as they are: `organization`, `project`, `default_headers`,
    `http_client`.

    A prompt's `model_settings` are sent as parameters of the request. What the budget leaves for output is sent as
    `max_output_tokens` to the Responses API, as `max_completion_tokens` to Chat Completions, and there as `max_tokens`
    where the server is not OpenAI's. Schemas that OpenAI's strict mode takes are sent strict, others as a hint.

    What a reasoning model thought is not shown to it again in the next turn: the transcript has no place for it, and
    nothing is stored at OpenAI. It reasons anew from what was said, called and answered.
    """

    remote: Final = True

    def __init__(
        self,
        *,
        api: Literal["responses", "chat"] = "responses",
        base_url: str | None = None,
        api_key: str | None = None,
        **client_options: Any,
    ) -> None:
        if api not in ("responses", "chat"):
            raise ConfigurationError(f'api={api!r} does not fit: it takes "responses" or "chat"')
        self._api = api
        self._base_url = base_url
        self._api_key = api_key
        self._client_options = client_options
        self._clients: dict[asyncio.AbstractEventLoop, AsyncOpenAI] = {}

    async def complete(self, request: Request) -> Response:
        """See `ports.provider`. Raises ConfigurationError where there is no SDK, no key, or no such address."""
        server, key = self._server(), self._key()
        client = await self._client(server, key)
        body = self._body(request, compatible=server is not None)
        try:
            data = await self._send(client, body)
        except Exception as error:
            raise _failure(error, server or _OPENAI, key) from error
        try:
            if self._api == "chat":
                return openai_chat.read(data, request)
            return openai_responses.read(data, request)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            beginning = data.decode(errors="replace")
            message = f"{server or _OPENAI} gives an answer that is none ({error}); it begins: {beginning}"
            raise ProviderUnavailableError(words(message, key)) from error

    async def close(self) -> None:
        """Let go of the connections that were made on this event loop."""
        client = self._clients.pop(asyncio.get_running_loop(), None)
        if client is not None:
            await client.close()

    def _body(self, request: Request, *, compatible: bool) -> dict[str, Json]:
        if self._api == "chat":
            return openai_chat.body(request, compatible=compatible)
        return openai_responses.body(request)

    async def _send(self, client: AsyncOpenAI, body: dict[str, Json]) -> bytes:
        """`extra_body` is sent as it is: the SDK would walk through all of a long transcript."""
        if self._api == "chat":
            chat = client.chat.completions.with_raw_response
            return (await chat.create(model=body["model"], messages=[], extra_body=body)).content
        return (await client.responses.with_raw_response.create(extra_body=body)).content

    async def _client(self, server: str | None, key: str | None) -> AsyncOpenAI:
        """A client belongs to the event loop that it first ran on."""
        loop = asyncio.get_running_loop()
        if loop not in self._clients:
            # The import takes up to two seconds, for which the loop's other calls cannot wait.
            await asyncio.to_thread(_import)
        if loop not in self._clients:
            alive = {known: client for known, client in self._clients.items() if not known.is_closed()}
            self._clients = {**alive, loop: _made(server, key, self._client_options)}
        return self._clients[loop]

    def _server(self) -> str | None:
        """The address, None for OpenAI itself."""
        address = self._base_url or os.environ.get("OPENAI_BASE_URL")
        if not address:
            return None
        if not _is_address(address):
            message = f"base_url (or OPENAI_BASE_URL) is {address!r}: it takes an address like http://localhost:8000/v1"
            raise ConfigurationError(words(message, self._api_key))
        return address

    def _key(self) -> str | None:
        key = self._api_key or (None if self._base_url else os.environ.get("OPENAI_API_KEY"))
        if not key and self._server() is None:
            raise ConfigurationError(
                "OpenAI takes no call without a key: set OPENAI_API_KEY, or give OpenAIProvider(api_key=...); for a"
                " server of your own set OPENAI_BASE_URL, or give base_url="
            )
        if key and _HEADER_VALUE.fullmatch(key) is None:
            raise ConfigurationError(
                "the OpenAI key (OPENAI_API_KEY or api_key=) has a space, a line break or another character that no key"
                " has: set it again, without"
            )
        return key or None


def _is_address(address: str) -> bool:
    try:
        parts = urlsplit(address)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def _import() -> None:
    try:
        import openai.resources.chat
        import openai.resources.responses  # noqa: F401 - the SDK imports both at their first use only
    except ImportError as error:
        message = 'the OpenAI SDK cannot be imported: pip install "wink-tasks[openai]"'
        raise ConfigurationError(message) from error


def _made(server: str | None, key: str | None, options: dict[str, Any]) -> AsyncOpenAI:
    from openai import AsyncOpenAI, Timeout

    # Said always: the SDK would take an OPENAI_BASE_URL that is set and empty for an address.
    address = {"base_url": server or _OPENAI_URL}
    bounds = {"timeout": Timeout(None, connect=CONNECT_TIMEOUT), "max_retries": 0}
    return AsyncOpenAI(**{"api_key": key or _KEYLESS, **address, **bounds, **options})


def _failure(error: Exception, server: str, key: str | None) -> ProviderError:
    """Whatever the SDK, or the transport below it, raises."""
    from openai import APIStatusError

    if isinstance(error, APIStatusError):
        response, body = error.response, error.body
        now = datetime.now(UTC)
        return status_failure(response.status_code, response.headers, body, server=server, secret=key, now=now)
    cause = error.__cause__ or error
    return ProviderUnavailableError(
        words(f"{server} cannot be reached: {error} ({type(cause).__name__}: {cause})", key)
    )
