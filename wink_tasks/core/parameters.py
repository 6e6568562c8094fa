"""The parameters of a prompt or a tool: taken from a function's signature or from a class, bound, checked, recorded."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import dataclass, field, fields, is_dataclass, make_dataclass
from functools import cached_property, partial
from types import FunctionType
from typing import Any, Final, get_type_hints

from pydantic import BaseModel, ConfigDict
from typing_extensions import Format, get_annotations

from wink_tasks.core.codec import encode
from wink_tasks.core.errors import (
    DeclarationError,
    ParametersInvalidError,
    UnresolvedAnnotationError,
    ValueInvalidError,
)
from wink_tasks.core.events import Json
from wink_tasks.core.typed import TypedJson, has_fields

RETURN: Final = "return"


@dataclass(frozen=True, kw_only=True, eq=False)
class Parameters:
    """`what` is how errors name their owner; `names` are in order; `resolve` gives the type when its names exist."""

    what: str
    names: tuple[str, ...]
    resolve: Callable[[], Any]

    def __post_init__(self) -> None:
        settle(self.typed)

    def typed(self) -> TypedJson[Any]:
        """Their type. Raises UnresolvedAnnotationError, DeclarationError."""
        return self._typed

    @cached_property
    def _typed(self) -> TypedJson[Any]:
        typed: TypedJson[Any] = TypedJson(self.resolve(), f"{self.what}, parameters")
        typed.finalize()
        return typed

    def schema(self) -> dict[str, Json]:
        """The JSON schema of an object with all of them."""
        return {key: value for key, value in self.typed().schema().items() if key != "title"}

    def bind(self, *args: Any, **kwargs: Any) -> dict[str, Json]:
        """A call's arguments as JSON, defaults filled in. A single instance of the parameters' class is taken whole.

        Raises ParametersInvalidError, which names the fields.
        """
        typed = self.typed()
        try:
            given = args[0] if self._is_whole(args, kwargs) else self._named(args, kwargs)
            data: dict[str, Json] = typed.dump(given)
        except ValueInvalidError as error:
            raise self._invalid(error) from error
        return data

    def load(self, data: Json) -> Any:
        """The parameters that JSON stands for, as their class has them. Raises ParametersInvalidError."""
        if not isinstance(data, Mapping):
            raise self._invalid(f"they are one JSON object, got {data!r}")
        try:
            return self.typed().load(data)
        except ValueInvalidError as error:
            raise self._invalid(error) from error

    def _is_whole(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> bool:
        type_ = self.resolve()
        return len(args) == 1 and not kwargs and not is_typeddict(type_) and isinstance(args[0], type_)

    def _named(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, Any]:
        if len(args) > len(self.names):
            raise ValueInvalidError(f"{len(args)} positional arguments for {len(self.names)} parameters")
        named = dict(zip(self.names, args, strict=False))
        if twice := sorted(named.keys() & kwargs.keys()):
            raise ValueInvalidError(f"given twice: {', '.join(twice)}")
        return {**named, **kwargs}

    def _invalid(self, reason: object) -> ParametersInvalidError:
        return ParametersInvalidError(f"{self.what}: {reason}. Parameters: {self._listed()}")

    def _listed(self) -> str:
        schema = self.typed().schema()
        ...
