"""Values of an application's own types as JSON, and back: models, dataclasses, TypedDicts, annotated types."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from dataclasses import is_dataclass
from functools import cached_property, lru_cache
from reprlib import repr as short
from typing import Annotated, Any, Final, Generic, TypeVar, cast, get_args, get_origin, get_type_hints

from pydantic import (
    BaseModel,
    PydanticSchemaGenerationError,
    PydanticUndefinedAnnotation,
    PydanticUserError,
    TypeAdapter,
    ValidationError,
)
from pydantic.json_schema import GenerateJsonSchema
from typing_extensions import is_typeddict

from wink_tasks.core.codec import encode
from wink_tasks.core.errors import DeclarationError, UnresolvedAnnotationError, ValueInvalidError
from wink_tasks.core.events import Json

T = TypeVar("T")

MOST_PROBLEMS: Final = 8
_UNRESOLVED: Final = ("class-not-fully-defined", "undefined-annotation")
_UNPLACED: Final = ("missing", "missing_argument", "unexpected_keyword_argument", "extra_forbidden")


class TypedJson(Generic[T]):
    """One type on its way to JSON and back. `what` is how errors name it.

    Everything is built at first use, when the names in annotations exist; until then, each method raises
    UnresolvedAnnotationError. A type that JSON cannot hold is a DeclarationError.
    """

    def __init__(self, type_: Any, what: str = "") -> None:
        self._type = type_
        self._what = what or f"type {getattr(type_, '__qualname__', type_)}"

    @cached_property
    def _built(self) -> tuple[TypeAdapter[T], dict[str, Json]]:
        try:
            adapter: TypeAdapter[T] = TypeAdapter(self._type)
            schema = adapter.json_schema(schema_generator=_Untitled)
        except PydanticSchemaGenerationError as error:
            raise DeclarationError(self._not_json(error)) from error
        except (PydanticUserError, PydanticUndefinedAnnotation) as error:
            if error.code in _UNRESOLVED:
                raise UnresolvedAnnotationError(f"{self._what}: {_first_line(error)}") from error
            raise DeclarationError(self._not_json(error)) from error
        for place in _secrets(schema, schema):
            message = (
                f"{self._what}: {place or 'it'} is a secret, and values are recorded in the ledger as they are. "
                f"Pass the name of a resource or an environment variable, and read the secret where it is used"
            )
            raise DeclarationError(message)
        return adapter, schema

    def _not_json(self, error: Exception) -> str:
        culprit = _culprit(self._type)
        where = f"{self._what}: field {culprit!r}" if culprit else self._what
        return (
            f"{where} cannot be JSON: {_first_line(error)} "
            f"Use a pydantic model, a dataclass, a TypedDict or types that JSON has"
        )

    def finalize(self) -> None:
        """Build it now, so that what is wrong with the type is known now."""
        _ = self._built

    def schema(self) -> dict[str, Json]:
        """The JSON schema of what `load` takes."""
        return self._built[1]

    def load(self, data: Json) -> T:
        """The value that `data`, which is JSON, stands for. Raises ValueInvalidError."""
        try:
            return cast("T", self._built[0].validator.validate_json(encode(data)))
        except ValidationError as error:
            raise ValueInvalidError(self._what, problems(error)) from error

    def check(self, value: object) -> T:
        """`value`, a Python object, as the type has it. Raises ValueInvalidError."""
        try:
            return self._built[0].validate_python(value)
        except ValidationError as error:
            raise ValueInvalidError(self._what, problems(error)) from error

    def dump(self, value: object) -> Json:
        """`value` as JSON that `load` can read again. Raises ValueInvalidError where it does not fit the type."""
        checked = self.check(value)
        try:
            data = self._built[0].dump_python(checked, mode="json", by_alias=True, round_trip=True, warnings="error")
        except ValueError as error:  # also of bytes that are no text, and of nesting too deep
            raise ValueInvalidError(self._what, f"{' '.join(str(error).split())} (got {short(value)})") from error
        try:
            self.load(data)
        except ValueInvalidError as error:
            message = f"{short(value)} becomes JSON that cannot be read again: {error.problems}"
            raise ValueInvalidError(self._what, message) from error
        return data

    @property
    def slice_name(self) -> str | None:
        """See the function of the same name."""
        return slice_name(self._type)


_kept: Final = lru_cache(maxsize=512)(TypedJson[Any])


def typed_json(type_: Any) -> TypedJson[Any]:
    """That of a type which nothing declares, kept for whoever asks next: building one takes longer than its use."""
    return _kept(type_)


def slice_name(type_: Any) -> str | None:
    """The slice that values of `type_` go to: "module.QualName" of a dataclass or a model, None for other types."""
    while get_origin(type_) is Annotated:
        type_ = get_args(type_)[0]
    if has_fields(type_) and not is_typeddict(type_):
        return f"{type_.__module__}.{type_.__qualname__}"
    return None


def object_schema(schema: Mapping[str, Json]) -> dict[str, Json] | None:
    """`schema` with its own properties at the root, if all that fits it are JSON objects; None if not."""
    if "$ref" in schema:
        schema = {**_at(schema, schema["$ref"]), "$defs": schema["$defs"]}
    return dict(schema) if schema.get("type") == "object" else None


def problems(error: ValidationError) -> str:
    """What does not fit, field by field, short enough for a model."""
    found = [_problem(cast("Mapping[str, Any]", problem)) for problem in error.errors(include_url=False)]
    more = len(found) - MOST_PROBLEMS
    return "; ".join([*found[:MOST_PROBLEMS], *([f"and {more} more"] if more > 0 else [])])


def _problem(problem: Mapping[str, Any]) -> str:
    place = ".".join(str(part) for part in problem["loc"])
    got = "" if problem["type"] in _UNPLACED else f" (got {short(problem['input'])})"
    return f"{place}: {problem['msg']}{got}" if place else f"{problem['msg']}{got}"


class _Untitled(GenerateJsonSchema):
    """Without a title for each field, which only repeats its name in every request."""

    def field_title_should_be_set(self, schema: Any) -> bool:  # noqa: ARG002 - pydantic's signature
        return False


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]


def has_fields(type_: Any) -> bool:
    """Whether it is a dataclass, a pydantic model or a TypedDict."""
    return inspect.isclass(type_) and (is_dataclass(type_) or is_typeddict(type_) or issubclass(type_, BaseModel))


def _culprit(type_: Any) -> str | None:
    """The first field of a class that has no JSON schema."""
    if not has_fields(type_):
        return None
    if issubclass(type_, BaseModel):
        hints = {name: field.annotation for name, field in type_.model_fields.items()}
    else:
        hints = get_type_hints(type_, include_extras=True)
    return next((name for name, hint in hints.items() if not has_schema(hint)), None)


def has_schema(hint: Any) -> bool:
    """Whether JSON can hold values of a type."""
    try:
        TypeAdapter(hint).json_schema()
    except (PydanticSchemaGenerationError, PydanticUserError):
        return False
    return True


def _at(root: Mapping[str, Json], reference: str) -> Mapping[str, Json]:
    return cast("Mapping[str, Json]", root["$defs"][reference.rpartition("/")[2]])


def _secrets(root: Mapping[str, Json], node: Json, path: str = "", seen: tuple[str, ...] = ()) -> Iterator[str]:
    """Where a SecretStr or SecretBytes stands: pydantic marks it in the schema, however deep."""
    if isinstance(node, list):
        for item in node:
            yield from _secrets(root, item, path, seen)
    if not isinstance(node, dict):
        return
    if node.get("writeOnly") is True and node.get("format") == "password":
        yield path
    reference = node.get("$ref")
    if isinstance(reference, str) and reference not in seen:
        yield from _secrets(root, _at(root, reference), path, (*seen, reference))
    for key, child in node.items():
        if key == "properties":
            for name, field in child.items():
                yield from _secrets(root, field, f"{path}.{name}" if path else name, seen)
        elif key not in ("$defs", "default", "examples", "enum", "const"):
            yield from _secrets(root, child, path, seen)
