"""Answers of a mock provider in the JSON of OpenAI's APIs."""

from __future__ import annotations

from wink_tasks.core.codec import encode
from wink_tasks.core.events import Call, Json
from wink_tasks.ports.provider import Response


def responses_json(response: Response, number: int) -> dict[str, Json]:
    """As the Responses API answers; `number` tells one answer from another."""
    cut = response.stop == "length"
    status = "incomplete" if cut else "completed"
    refusal = {"type": "refusal", "refusal": response.text}
    text = {"type": "output_text", "text": response.text, "annotations": []}
    content = [refusal if response.stop == "refusal" else text]
    message = {"id": f"msg_{number}", "type": "message", "role": "assistant", "status": status, "content": content}
    calls = [
        {
            "id": f"fc_{number}_{place}",
            "type": "function_call",
            "status": status,
            "call_id": call.id,
            "name": call.tool,
            "arguments": _arguments(call),
        }
        for place, call in enumerate(response.calls)
    ]
    usage = response.usage
    return {
        "id": f"resp_{number}",
        "object": "response",
        "created_at": 0,
        "status": status,
        "error": None,
        "incomplete_details": {"reason": "max_output_tokens"} if cut else None,
        "model": response.model,
        "output": [*([message] if response.text else []), *calls],
        "usage": {
            "input_tokens": usage.input_tokens,
            "input_tokens_details": {"cached_tokens": 0},
            "output_tokens": usage.output_tokens,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": usage.total_tokens,
        },
    }


def chat_json(response: Response, number: int) -> dict[str, Json]:
    """As Chat Completions answers."""
    refused = response.stop == "refusal"
    message: dict[str, Json] = {
        "role": "assistant",
        "content": None if refused else response.text or None,
        "refusal": response.text if refused else None,
    }
    if response.calls:
        message["tool_calls"] = [
            {"id": call.id, "type": "function", "function": {"name": call.tool, "arguments": _arguments(call)}}
            for call in response.calls
        ]
    finish = "length" if response.stop == "length" else "tool_calls" if response.calls else "stop"
    return {
        "id": f"chatcmpl-{number}",
        "object": "chat.completion",
        "created": 0,
        "model": response.model,
        "choices": [{"index": 0, "message": message, "finish_reason": finish, "logprobs": None}],
        "usage": {
            "prompt_tokens": response.usage.input_tokens,
            "completion_tokens": response.usage.output_tokens,
            "total_tokens": response.usage.total_tokens,
        },
    }


def _arguments(call: Call) -> str:
    """Words that are no JSON object go out as they are: models write such."""
    return call.arguments if isinstance(call.arguments, str) else encode(call.arguments).decode()
