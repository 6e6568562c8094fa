"""A prompt's output: the schema that a provider is given, and the judgement of a model's answer."""

from __future__ import annotations

import re
from typing import Any, Final

import msgspec

from wink_tasks.core.errors import ValueInvalidError
from wink_tasks.core.evaluation import Finish, Reject
from wink_tasks.core.events import Json
from wink_tasks.core.typed import TypedJson, object_schema

WRAPPED: Final = "value"
"""Providers want a JSON object: any other root goes under this key."""

# A JSON string holds no raw line break, so no fence at the beginning of a line is inside of the JSON.
_FENCED: Final = re.compile(r"^[ \t]*```\w*[ \t]*\n(.*?)^[ \t]*```[ \t]*$", re.MULTILINE | re.DOTALL)


class Output:
    """The output type of a prompt; `str` is the text as the model wrote it."""

    def __init__(self, type_: Any, what: str) -> None:
        self._is_text = type_ is str
        self.typed: TypedJson[Any] = TypedJson(type_, f"{what}, output")

    def schema(self) -> dict[str, Json] | None:
        """The JSON schema of an answer, an object; None for text."""
        if self._is_text:
            return None
        schema = self.typed.schema()
        if plain := object_schema(schema):
            return plain
        inner = {key: value for key, value in schema.items() if key != "$defs"}
        root = {"type": "object", "properties": {WRAPPED: inner}, "required": [WRAPPED], "additionalProperties": False}
        return {**root, "$defs": schema["$defs"]} if "$defs" in schema else root

    def judge(self, text: str) -> Finish | Reject:
        """Read an answer: `Reject` tells the model what is wrong with it."""
        if self._is_text:
            return Finish(text, None)
        try:
            data = _json_in(text)
        except msgspec.DecodeError as error:
            return Reject(
                f"Your answer is not JSON ({error}). Answer with JSON that fits the schema, and nothing else."
            )
        if object_schema(self.typed.schema()) is None and isinstance(data, dict) and data.keys() == {WRAPPED}:
            data = data[WRAPPED]
        try:
            return Finish(self.typed.dump(self.typed.load(data)), self.typed.slice_name)
        except ValueInvalidError as error:
            return Reject(f"Your answer does not fit the schema: {error.problems}.")


def _json_in(text: str) -> Json:
    """The JSON that `text` is, or else the last fenced block in it that is JSON."""
    try:
        return msgspec.json.decode(text)
    except msgspec.DecodeError:
        blocks = _FENCED.findall(text)
        if not blocks:
            raise
    for block in reversed(blocks[1:]):
        try:
            return msgspec.json.decode(block)
        except msgspec.DecodeError:
            continue
    return msgspec.json.decode(blocks[0])
