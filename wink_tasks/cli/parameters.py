"""A prompt by its name, and its parameters from the command line."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from wink_tasks.app import Wink
from wink_tasks.core.errors import ParametersInvalidError, UnknownPromptError
from wink_tasks.core.events import Json
from wink_tasks.core.prompt import PromptDefinition


def find_prompt(wink: Wink, name: str) -> PromptDefinition:
    """The prompt `ns.key`, or the one whose key is `name`. Raises UnknownPromptError."""
    prompts = wink.registry.prompts
    found = [prompts[name]] if name in prompts else [one for one in prompts.values() if one.key == name]
    if len(found) != 1:
        message = f"no prompt is called {name!r}; there are: {', '.join(sorted(prompts)) or 'none'}"
        raise UnknownPromptError(message)
    return found[0]


def given_parameters(prompt: PromptDefinition, pairs: Iterable[str]) -> dict[str, Json]:
    """`name=value` pairs as parameters: text where the parameter takes text, else JSON where it is that.

    Raises ParametersInvalidError for what is no pair, or a name that is given twice.
    """
    properties = prompt.parameters.schema().get("properties", {})
    given: dict[str, Json] = {}
    for pair in pairs:
        name, equals, text = pair.partition("=")
        if not (name and equals):
            raise ParametersInvalidError(f"--param {pair!r} is no name=value")
        if name in given:
            raise ParametersInvalidError(f"--param {name}=... is given twice")
        given[name] = text if _takes_text(properties.get(name, {})) else _value(text)
    return given


def _takes_text(schema: Mapping[str, Any]) -> bool:
    return any(one.get("type") == "string" for one in (schema, *schema.get("anyOf", ())))


def _value(text: str) -> Json:
    try:
        return msgspec.json.decode(text)
    except msgspec.DecodeError:
        return text
