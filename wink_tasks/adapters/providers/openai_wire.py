"""What OpenAI's two APIs have in common on the wire."""

from __future__ import annotations

from typing import Final

import msgspec

from wink_tasks.core.codec import encode
from wink_tasks.core.events import Json
from wink_tasks.ports.provider import Request

ANSWER: Final = "answer"
"""How the output schema is called."""
_INVALID: Final = "invalid_json"


def arguments_sent(arguments: Json) -> str:
    """A call's arguments as the model is shown them: an object, since the chat templates of servers take no other."""
    return encode(arguments if isinstance(arguments, dict) else {_INVALID: arguments}).decode()


def arguments_read(arguments: Json) -> Json:
    """What the model gave: an object, or its words as they came, where they are none. Nothing means no arguments."""
    if not isinstance(arguments, str):
        return arguments or {}
    try:
        read = msgspec.json.decode(arguments.strip() or "{}")
    except (msgspec.DecodeError, RecursionError):
        return arguments
    return read if isinstance(read, dict) else arguments


def output_limit(request: Request, key: str, least: int = 1) -> dict[str, Json]:
    """The parameter `key` where the budget asks for it; a lower limit in the settings stays."""
    own, left = request.settings.get(key), request.max_output_tokens
    if left is None or (isinstance(own, int) and own < left):
        return {}
    return {key: max(left, least)}
