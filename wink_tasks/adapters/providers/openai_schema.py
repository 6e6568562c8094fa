"""JSON schemas in the form that OpenAI's strict mode takes, in which the model cannot answer anything else."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from wink_tasks.core.events import Json

_KEYWORDS: Final = frozenset(
    [
        "$defs",
        "additionalProperties",
        "anyOf",
        "const",
        "description",
        "enum",
        "exclusiveMaximum",
        "exclusiveMinimum",
        "format",
        "items",
        "maxItems",
        "maximum",
        "minItems",
        "minimum",
        "multipleOf",
        "pattern",
        "properties",
        "required",
        "title",
        "type",
    ]
)
_FORMATS: Final = frozenset(["date", "date-time", "duration", "email", "hostname", "ipv4", "ipv6", "time", "uuid"])
_NULL: Final = {"type": "null"}


def strict_form(schema: Mapping[str, Json]) -> dict[str, Json] | None:
    """`schema` for strict mode; None where that would change what it says.

    Two things are said otherwise, at no loss: objects take no unknown keys, and a key that may be left out to mean null
    has to be there.
    """
    closed: dict[str, Json] = _closed(schema)
    return closed if _is_strict(closed) else None


def _closed(schema: Json) -> Json:
    if not isinstance(schema, Mapping):
        return schema
    closed = dict(schema)
    for key in ("$defs", "properties"):
        if key in closed:
            closed[key] = {name: _closed(child) for name, child in closed[key].items()}
    if "items" in closed:
        closed["items"] = _closed(closed["items"])
    if "anyOf" in closed:
        closed["anyOf"] = [_closed(option) for option in closed["anyOf"]]
    if "properties" in closed:
        fields = closed["properties"]
        nullable = [name for name, field in fields.items() if _is_null_by_default(field)]
        for name in nullable:
            fields[name] = {key: value for key, value in fields[name].items() if key != "default"}
        closed["required"] = list(dict.fromkeys([*closed.get("required", ()), *nullable]))
        closed.setdefault("additionalProperties", False)
    return closed


def _is_null_by_default(field: Json) -> bool:
    return (
        isinstance(field, Mapping)
        and "default" in field
        and field["default"] is None
        and _NULL in field.get("anyOf", ())
    )


def _is_strict(schema: Json) -> bool:
    if not isinstance(schema, Mapping):
        return False
    if "$ref" in schema:
        return len(schema) == 1
    fits = (
        schema.keys() <= _KEYWORDS
        and bool(schema.keys() & {"type", "anyOf"})
        and schema.get("format", "date") in _FORMATS
        and (schema.get("type") != "object" or _is_closed(schema))
        and (schema.get("type") != "array" or "items" in schema)
    )
    return fits and all(_is_strict(child) for child in _children(schema))


def _is_closed(schema: Mapping[str, Json]) -> bool:
    properties, required = schema.get("properties", {}), schema.get("required", ())
    return schema.get("additionalProperties") is False and properties.keys() == set(required)


def _children(schema: Mapping[str, Json]) -> Iterator[Json]:
    yield from schema.get("$defs", {}).values()
    yield from schema.get("properties", {}).values()
    yield from schema.get("anyOf", ())
    if "items" in schema:
        yield schema["items"]
