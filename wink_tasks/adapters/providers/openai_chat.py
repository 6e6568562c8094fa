"""OpenAI's Chat Completions API, which many servers speak: requests as its JSON, and its JSON as responses."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import msgspec

from wink_tasks.adapters.providers.openai_schema import strict_form
from wink_tasks.adapters.providers.openai_wire import ANSWER, arguments_read, arguments_sent, output_limit
from wink_tasks.core.codec import encode
from wink_tasks.core.events import Call, Json, Stop
from wink_tasks.core.limits import Usage
from wink_tasks.core.transcript import Item, ModelSaid, ToolAnswered, UserSaid
from wink_tasks.ports.provider import Request, Response, ToolSpec


class _Usage(msgspec.Struct):
    prompt_tokens: int = 0
    completion_tokens: int = 0


class _Function(msgspec.Struct):
    name: str
    arguments: Json = None


class _ToolCall(msgspec.Struct):
    function: _Function
    id: str | None = None


class _Message(msgspec.Struct):
    content: str | None = None
    refusal: str | None = None
    tool_calls: list[_ToolCall] | None = None


class _Choice(msgspec.Struct):
    message: _Message
    finish_reason: str | None = None


class _Completion(msgspec.Struct):
    choices: list[_Choice]
    model: str | None = None
    usage: _Usage | None = None


def body(request: Request, *, compatible: bool) -> dict[str, Json]:
    """The JSON of a request. `compatible` says that it goes to a server that is not OpenAI's.

    Such servers know the output limit by its old name. They also constrain everything that the model writes to the
    output schema, so that it could call no tool: beside tools, the schema is put in words.
    """
    output = request.output
    told = output is not None and compatible and bool(request.tools)
    instructions = "\n\n".join([request.instructions] * bool(request.instructions) + [_in_words(output)] * told)
    sent: dict[str, Json] = {
        **request.settings,
        **output_limit(request, _limit_name(request.settings, compatible=compatible)),
        "model": request.model,
        "messages": [*_system(instructions), *(_message(item) for item in request.items if item != ModelSaid(""))],
        "stream": False,
    }
    if request.tools:
        sent["tools"] = [_tool(tool) for tool in request.tools]
    if output is not None and not told:
        strict = strict_form(output)
        schema = {"name": ANSWER, "schema": strict or output, "strict": strict is not None}
        sent["response_format"] = {"type": "json_schema", "json_schema": schema}
    return sent


def read(data: bytes, request: Request) -> Response:
    """The response in `data`. Raises msgspec.MsgspecError where it is none."""
    completion = msgspec.json.decode(data, type=_Completion)
    if not completion.choices:
        raise msgspec.ValidationError("`choices` is empty")
    choice = completion.choices[0]
    message = choice.message
    used = completion.usage or _Usage()
    calls = tuple(
        Call(id=each.id or "", tool=each.function.name, arguments=arguments_read(each.function.arguments))
        for each in message.tool_calls or ()
    )
    return Response(
        text=message.refusal or message.content or "",
        model=completion.model or request.model,
        calls=calls,
        usage=Usage(
            requests=1, input_tokens=used.prompt_tokens, output_tokens=used.completion_tokens, cost_micros=None
        ),
        stop=_stop(choice),
    )


def _in_words(output: Mapping[str, Json] | None) -> str:
    return f"Your final answer is JSON, and nothing else, that fits this schema: {encode(output).decode()}"


def _limit_name(settings: Mapping[str, Json], *, compatible: bool) -> str:
    names = ["max_tokens", "max_completion_tokens"]
    return next((name for name in names if name in settings), names[not compatible])


def _system(instructions: str) -> Iterator[dict[str, Json]]:
    if instructions:
        yield {"role": "system", "content": instructions}


def _message(item: Item) -> dict[str, Json]:
    match item:
        case UserSaid():
            return {"role": "user", "content": item.content}
        case ToolAnswered():
            return {"role": "tool", "tool_call_id": item.call, "content": item.text}
        case ModelSaid(calls=()):
            return {"role": "assistant", "content": item.text}
        case _:
            return {"role": "assistant", "content": item.text or None, "tool_calls": [_asked(c) for c in item.calls]}


def _asked(call: Call) -> dict[str, Json]:
    function = {"name": call.tool, "arguments": arguments_sent(call.arguments)}
    return {"type": "function", "id": call.id, "function": function}


def _tool(tool: ToolSpec) -> dict[str, Json]:
    strict = strict_form(tool.parameters)
    function = {"name": tool.name, "description": tool.description, "parameters": tool.parameters}
    return {
        "type": "function",
        "function": function if strict is None else {**function, "parameters": strict, "strict": True},
    }


def _stop(choice: _Choice) -> Stop:
    if choice.message.refusal or choice.finish_reason == "content_filter":
        return "refusal"
    if choice.finish_reason == "length":
        return "length"
    return "tools" if choice.message.tool_calls else "end"
