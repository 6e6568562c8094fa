"""OpenAI's Responses API: requests as its JSON, and its JSON as responses."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import msgspec

from wink_tasks.adapters.providers.openai_errors import words
from wink_tasks.adapters.providers.openai_schema import strict_form
from wink_tasks.adapters.providers.openai_wire import ANSWER, arguments_read, arguments_sent, output_limit
from wink_tasks.core.errors import ProviderError, ProviderUnavailableError, RequestRejectedError, ThrottledError
from wink_tasks.core.events import Call, Json, Stop
from wink_tasks.core.limits import Usage
from wink_tasks.core.transcript import Item, ModelSaid, UserSaid
from wink_tasks.ports.provider import Request, Response, ToolSpec

LEAST_OUTPUT: Final = 16
"""Tokens; a lower limit is refused."""
_COMMENTARY: Final = "commentary"


class _Reason(msgspec.Struct):
    reason: str | None = None


class _Failure(msgspec.Struct):
    code: str = ""
    message: str = ""


class _Usage(msgspec.Struct):
    input_tokens: int = 0
    output_tokens: int = 0


class _Part(msgspec.Struct):
    text: str = ""
    refusal: str = ""


class _Message(msgspec.Struct):
    content: list[_Part]
    phase: str | None = None

    @property
    def text(self) -> str:
        return "".join(part.text for part in self.content)

    @property
    def refusal(self) -> str:
        return "".join(part.refusal for part in self.content)


class _FunctionCall(msgspec.Struct):
    name: str
    call_id: str = ""
    arguments: Json = None


class _Answer(msgspec.Struct):
    output: list[dict[str, Json]]
    model: str = ""
    status: str = "completed"
    incomplete_details: _Reason | None = None
    error: _Failure | None = None
    usage: _Usage | None = None


def body(request: Request) -> dict[str, Json]:
    """The JSON of a request. Nothing of it is kept at OpenAI, unless the settings say otherwise."""
    sent: dict[str, Json] = {
        "store": False,
        **request.settings,
        **output_limit(request, "max_output_tokens", LEAST_OUTPUT),
        "model": request.model,
        "input": [part for item in request.items for part in _items(item)],
        "stream": False,
    }
    if request.instructions:
        sent["instructions"] = request.instructions
    if request.tools:
        sent["tools"] = [_tool(tool) for tool in request.tools]
    if request.output is not None:
        strict = strict_form(request.output)
        schema = {"name": ANSWER, "schema": strict or request.output, "strict": strict is not None}
        sent["text"] = {**request.settings.get("text", {}), "format": {"type": "json_schema", **schema}}
    return sent


def read(data: bytes, request: Request) -> Response:
    """The response in `data`.

    Raises msgspec.MsgspecError where it is none; ThrottledError, ProviderUnavailableError or RequestRejectedError where
    it tells of a failure.
    """
    answer = msgspec.json.decode(data, type=_Answer)
    if answer.status not in ("completed", "incomplete"):
        raise _failure(answer)
    messages = [msgspec.convert(item, _Message) for item in answer.output if item.get("type") == "message"]
    final = [message for message in messages if message.phase != _COMMENTARY] or messages
    asked = [msgspec.convert(item, _FunctionCall) for item in answer.output if item.get("type") == "function_call"]
    refusal = "".join(message.refusal for message in final)
    used = answer.usage or _Usage()
    return Response(
        text=refusal or "".join(message.text for message in final),
        model=answer.model or request.model,
        calls=tuple(Call(id=c.call_id, tool=c.name, arguments=arguments_read(c.arguments)) for c in asked),
        usage=Usage(requests=1, input_tokens=used.input_tokens, output_tokens=used.output_tokens, cost_micros=None),
        stop=_stop(answer, refused=bool(refusal), calls=bool(asked)),
    )


def _items(item: Item) -> Iterator[dict[str, Json]]:
    match item:
        case UserSaid():
            yield {"role": "user", "content": item.content}
        case ModelSaid():
            if item.text:
                yield {"role": "assistant", "content": item.text}
            for call in item.calls:
                arguments = arguments_sent(call.arguments)
                yield {"type": "function_call", "call_id": call.id, "name": call.tool, "arguments": arguments}
        case _:
            yield {"type": "function_call_output", "call_id": item.call, "output": item.text}


def _tool(tool: ToolSpec) -> dict[str, Json]:
    strict = strict_form(tool.parameters)
    parameters = tool.parameters if strict is None else strict
    function = {"name": tool.name, "description": tool.description, "parameters": parameters}
    return {"type": "function", **function, "strict": strict is not None}


def _stop(answer: _Answer, *, refused: bool, calls: bool) -> Stop:
    filtered = answer.incomplete_details is not None and answer.incomplete_details.reason == "content_filter"
    if refused or filtered:
        return "refusal"
    if answer.status == "incomplete":
        return "length"
    return "tools" if calls else "end"


def _failure(answer: _Answer) -> ProviderError:
    code = (answer.error or _Failure()).code or answer.status
    message = words(f"OpenAI answers {code}: {(answer.error or _Failure()).message or 'nothing more'}", None)
    match code:
        case "rate_limit_exceeded":
            return ThrottledError(message)
        case "server_error":
            return ProviderUnavailableError(message)
        case _:
            return RequestRejectedError(message)
