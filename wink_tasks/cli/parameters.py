"""What runs by its name, and its parameters from the command line."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

import msgspec

from wink_tasks.app import Wink
from wink_tasks.core.errors import ParametersInvalidError, UnknownPromptError
from wink_tasks.core.events import Json
from wink_tasks.core.prompt import PromptDefinition
from wink_tasks.core.task import TaskDefinition

D = TypeVar("D")


def find_prompt(wink: Wink, name: str) -> PromptDefinition:
    """The prompt `ns.key`, or the one whose key is `name`. Raises UnknownPromptError."""
    return _found("prompt", name, wink.registry.prompts)


def find_runnable(wink: Wink, name: str) -> PromptDefinition | TaskDefinition:
    """The prompt, durable task or tool `ns.key`, or the one whose key is `name`. Raises UnknownPromptError."""
    runnable: dict[str, PromptDefinition | TaskDefinition] = {**wink.registry.prompts, **wink.registry.tasks}
    return _found("prompt, task or tool", name, runnable)


def _found(kind: str, name: str, declared: Mapping[str, D]) -> D:
    names = [name] if name in declared else [one for one in declared if one.rpartition(".")[2] == name]
    if len(names) != 1:
        message = f"no {kind} is called {name!r}; there are: {', '.join(sorted(declared)) or 'none'}"
        raise UnknownPromptError(message)
    return declared[names[0]]


def given_parameters(prompt: PromptDefinition | TaskDefinition, pairs: Iterable[str]) -> dict[str, Json]:
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
