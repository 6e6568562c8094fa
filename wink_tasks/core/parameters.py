"""The parameters of a prompt or a tool as one class: bound from a call, checked, recorded as JSON, read back."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, fields, is_dataclass
from functools import cached_property
from typing import Any

from pydantic import BaseModel
from typing_extensions import Format, get_annotations, is_typeddict

from wink_tasks.core.codec import encode
from wink_tasks.core.errors import (
    DeclarationError,
    ParametersInvalidError,
    UnresolvedAnnotationError,
    ValueInvalidError,
)
from wink_tasks.core.events import Json
from wink_tasks.core.typed import TypedJson, has_fields, object_schema


@dataclass(frozen=True, kw_only=True, eq=False)
class Parameters:
    """`what` is how errors name their owner; `names` are in order; `resolve` gives the class once its names exist.

    Raises DeclarationError for what JSON cannot hold, at first use where an annotation does not resolve yet.
    """

    what: str
    names: tuple[str, ...]
    resolve: Callable[[], type]

    def __post_init__(self) -> None:
        with suppress(UnresolvedAnnotationError):
            self.typed.finalize()

    @classmethod
    def of_type(cls, type_: Any, what: str) -> Parameters:
        """Those that a dataclass, a pydantic model or a TypedDict lists."""
        if not has_fields(type_):
            message = f"{what}: params={type_!r} has no fields: give a dataclass, a pydantic model or a TypedDict"
            raise DeclarationError(message)
        return cls(what=what, names=_field_names(type_), resolve=lambda: type_)

    @cached_property
    def type_(self) -> type:
        """The class. Raises UnresolvedAnnotationError."""
        return self.resolve()

    @cached_property
    def typed(self) -> TypedJson[Any]:
        """The class on its way to JSON and back. Raises UnresolvedAnnotationError."""
        return TypedJson(self.type_, self.what)

    def schema(self) -> dict[str, Json]:
        """The JSON schema of an object with all of them."""
        schema = object_schema(self.typed.schema()) or {}
        return {key: value for key, value in schema.items() if key != "title"}

    def bind(self, *args: Any, **kwargs: Any) -> dict[str, Json]:
        """A call's arguments as JSON, defaults filled in. A single instance of the class is taken whole.

        Raises ParametersInvalidError, which names what does not fit and lists the parameters.
        """
        whole = len(args) == 1 and not kwargs and not is_typeddict(self.type_) and isinstance(args[0], self.type_)
        return self.dump(args[0] if whole else self._named(args, kwargs))

    def dump(self, value: object) -> dict[str, Json]:
        """An instance, or a mapping with the fields, as a JSON object. Raises ParametersInvalidError."""
        try:
            data: dict[str, Json] = self.typed.dump(value)
        except ValueInvalidError as error:
            raise self._invalid(error.problems) from error
        return data

    def load(self, data: Json) -> Any:
        """The instance that a JSON object stands for. Raises ParametersInvalidError."""
        try:
            return self.typed.load(data)
        except ValueInvalidError as error:
            raise self._invalid(error.problems) from error

    def _named(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, Any]:
        if len(args) > len(self.names):
            raise self._invalid(f"{len(args)} positional arguments, but {len(self.names)} parameters")
        named = dict(zip(self.names, args, strict=False))
        if twice := sorted(named.keys() & kwargs.keys()):
            raise self._invalid(f"given by position and by name: {', '.join(twice)}")
        return {**named, **kwargs}

    def _invalid(self, problems: str) -> ParametersInvalidError:
        schema = self.schema()
        listed = [self._shown(name, schema) for name in self.names]
        return ParametersInvalidError(f"{self.what}: {problems}. Its parameters: {', '.join(listed) or 'none'}")

    @staticmethod
    def _shown(name: str, schema: Mapping[str, Json]) -> str:
        if name in schema.get("required", ()):
            return name
        field = schema["properties"][name]
        return f"{name}={encode(field['default']).decode() if 'default' in field else '...'}"


def _field_names(type_: Any) -> tuple[str, ...]:
    if is_dataclass(type_):
        return tuple(field.name for field in fields(type_) if field.init)
    if issubclass(type_, BaseModel):
        return tuple(field.alias or name for name, field in type_.model_fields.items())
    return tuple(get_annotations(type_, format=Format.FORWARDREF))
