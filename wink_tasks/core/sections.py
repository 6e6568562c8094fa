"""Sections: the parts of a prompt's instructions, each with its tools, and their templates."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from string import Template
from typing import Any, Protocol

from wink_tasks.core.codec import encode
from wink_tasks.core.errors import DeclarationError
from wink_tasks.core.events import Json
from wink_tasks.core.tool import ToolDefinition


class DeclaredTool(Protocol):
    """A tool as an application holds it."""

    definition: ToolDefinition


@dataclass(frozen=True, eq=False)
class Section:
    """`template` follows `string.Template`, its names are the prompt's parameters.

    `enabled(params, session)` must be pure; where it is false, the section disappears with its tools and children.
    """

    key: str
    template: str
    tools: Sequence[DeclaredTool | ToolDefinition] = ()
    enabled: Callable[[Any, Any], bool] | None = None
    children: Sequence[Section] = ()

    def __post_init__(self) -> None:
        tools: object = self.tools
        if not isinstance(tools, Iterable):
            raise DeclarationError(f"section {self.key!r}: tools={tools!r} is no list of tools: tools=[read_file]")
        # Its own: who gave the list may go on to change it.
        object.__setattr__(self, "tools", tuple(tools))

    @property
    def definitions(self) -> tuple[ToolDefinition, ...]:
        """Its own tools. Raises DeclarationError for what is no tool."""
        return tuple(_definition(self.key, tool) for tool in self.tools)

    @property
    def title(self) -> str:
        """The key as a heading."""
        words = self.key.replace("_", " ").replace("-", " ")
        return words[:1].upper() + words[1:]


def walk(
    sections: Iterable[Section], wanted: Callable[[Section], bool], depth: int = 0
) -> Iterator[tuple[int, Section]]:
    """The sections that are `wanted` and stand in none that is not, with their depth, parents before children."""
    for section in sections:
        if wanted(section):
            yield depth, section
            yield from walk(section.children, wanted, depth + 1)


def check_template(where: str, template: str, names: Iterable[str]) -> None:
    """Raise DeclarationError for a placeholder that is malformed, or not one of `names`."""
    for found in Template.pattern.finditer(template):
        if found["invalid"] is not None:
            bad = template[found.start() : found.start() + 20]
            message = (
                f"{where}: the template has no placeholder at {bad!r}: write `${{name}}`, or `$$` for a dollar sign"
            )
            raise DeclarationError(message)
    known = set(names)
    if unknown := [name for name in Template(template).get_identifiers() if name not in known]:
        message = f"{where}: the template names {', '.join(unknown)}; the parameters are {', '.join(sorted(known))}"
        raise DeclarationError(message)


def fill(template: str, params: Mapping[str, Json]) -> str:
    """The template with the parameters in it: text as it is, anything else as JSON. Raises KeyError."""
    texts = {name: value if isinstance(value, str) else encode(value).decode() for name, value in params.items()}
    return Template(inspect.cleandoc(template)).substitute(texts)


def _definition(key: str, tool: object) -> ToolDefinition:
    found = getattr(tool, "definition", tool)
    if not isinstance(found, ToolDefinition):
        raise DeclarationError(f"section {key!r}: {tool!r} is no tool: decorate the function with `@wink.tool`")
    return found
