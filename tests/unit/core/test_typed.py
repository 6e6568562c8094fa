from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Annotated, Any

import pytest
from pydantic import BaseModel, ConfigDict, Field, SecretBytes, SecretStr, computed_field, field_serializer
from typing_extensions import TypedDict

from wink_tasks.core.errors import DeclarationError, UnresolvedAnnotationError, ValueInvalidError
from wink_tasks.core.typed import MOST_PROBLEMS, TypedJson, object_schema, slice_name

if TYPE_CHECKING:
    Later = int  # the tests define it when they want it to exist


class Finding(BaseModel):
    model_config = ConfigDict(extra="forbid")

    file_name: str = Field(alias="file")
    line: int

    @computed_field  # type: ignore[prop-decorator]
    @property
    def place(self) -> str:
        return f"{self.file_name}:{self.line}"


@dataclass
class Span:
    start: date
    days: int = 1


class Box(TypedDict):
    width: int


@dataclass
class Node:
    name: str
    child: Node | None = None


@dataclass
class Lazy:
    value: Later


class Plain:
    pass


class Strict(BaseModel):
    model_config = ConfigDict(strict=True)

    at: datetime
    pair: tuple[int, int]


@dataclass
class Credentials:
    user: str
    token: SecretStr | None = None


class Login(BaseModel):
    credentials: list[Credentials]


@dataclass
class Holder:
    label: str
    plain: Plain


class Hook(BaseModel):
    label: str
    then: Callable[[], int]


class Cipher(BaseModel):
    number: int

    @field_serializer("number")
    def hidden(self, number: int) -> str:
        return "*" * number


@pytest.mark.parametrize(
    ("type_", "value", "data"),
    [
        (str, "a", "a"),
        (type(None), None, None),
        (list[int], [1, 2], [1, 2]),
        (dict[str, date], {"d": date(2026, 11, 1)}, {"d": "2026-11-01"}),
        (Annotated[int, Field(gt=0)], 3, 3),
        (Finding, Finding(file="a.py", line=3), {"file": "a.py", "line": 3}),
        (Span, Span(date(2026, 1, 2)), {"start": "2026-01-02", "days": 1}),
        (Box, {"width": 2}, {"width": 2}),
        (Node, Node("a", Node("b")), {"name": "a", "child": {"name": "b", "child": None}}),
        (
            Strict,
            Strict(at=datetime(2026, 1, 1, tzinfo=UTC), pair=(1, 2)),
            {"at": "2026-01-01T00:00:00Z", "pair": [1, 2]},
        ),
    ],
)
def test_a_value_becomes_json_and_comes_back(type_: Any, value: object, data: object) -> None:
    typed: TypedJson[Any] = TypedJson(type_)
    assert typed.dump(value) == data
    assert typed.load(data) == value
    assert type(typed.load(data)) is type(value)


def test_dump_takes_what_fits_the_type_though_it_is_no_instance() -> None:
    assert TypedJson(Span).dump({"start": "2026-01-02"}) == {"start": "2026-01-02", "days": 1}


@pytest.mark.parametrize(
    ("type_", "value", "told"),
    [
        (Span, "x", r"^the span: Input should be a dictionary or an instance of Span \(got 'x'\)$"),
        (Span, Span("soon"), r"^the span: .*Expected `date`.*\(got Span\(start='soon', days=1\)\)$"),  # type: ignore[arg-type]
        (Cipher, Cipher(number=3), "becomes JSON that cannot be read again: number: .*got '[*]{3}'"),
    ],
)
def test_a_value_that_does_not_fit_is_refused(type_: Any, value: object, told: str) -> None:
    with pytest.raises(ValueInvalidError, match=told):
        TypedJson(type_, "the span").dump(value)


def test_what_does_not_load_is_told_field_by_field() -> None:
    with pytest.raises(ValueInvalidError) as caught:
        TypedJson(list[Finding]).load([{"file": "a", "line": "x"}, {"line": 1, "why": 2}])
    assert caught.value.problems == (
        "0.line: Input should be a valid integer, unable to parse string as an integer (got 'x'); "
        "1.file: Field required; 1.why: Extra inputs are not permitted"
    )
    assert caught.value.what == "type list"


@pytest.mark.parametrize(("wrong", "more"), [(MOST_PROBLEMS, ""), (MOST_PROBLEMS + 2, "; and 2 more")])
def test_only_the_first_problems_are_listed(wrong: int, more: str) -> None:
    with pytest.raises(ValueInvalidError) as caught:
        TypedJson(list[int]).load([None] * wrong)
    assert caught.value.problems.endswith(f"{MOST_PROBLEMS - 1}: Input should be a valid integer (got None){more}")


@pytest.mark.parametrize(
    ("type_", "told"),
    [
        (Plain, "^the value cannot be JSON: .*Plain"),
        (list[Plain], "^the value cannot be JSON: .*Plain"),
        (Holder, "^the value: field 'plain' cannot be JSON: .*Plain"),
        (Hook, "^the value: field 'then' cannot be JSON: .*Callable"),
        (Callable[[], int], "^the value cannot be JSON: .*Callable"),
        (SecretBytes, "^the value: it is a secret, .* environment variable"),
        (Login, r"^the value: credentials\.token is a secret"),
        (dict[str, Login], r"^the value: credentials\.token is a secret"),
    ],
)
def test_a_type_that_json_cannot_hold_is_refused(type_: Any, told: str) -> None:
    with pytest.raises(DeclarationError, match=told):
        TypedJson(type_, "the value").finalize()


def test_a_class_whose_annotations_do_not_resolve_is_built_when_they_do(monkeypatch: pytest.MonkeyPatch) -> None:
    typed: TypedJson[Lazy] = TypedJson(Lazy)
    with pytest.raises(UnresolvedAnnotationError, match=r"type Lazy: .*not fully defined"):
        typed.finalize()
    monkeypatch.setitem(globals(), "Later", int)
    assert typed.load({"value": 3}) == Lazy(3)


def test_the_schema_has_no_titles_for_fields() -> None:
    assert TypedJson(Span).schema() == {
        "title": "Span",
        "type": "object",
        "properties": {"start": {"type": "string", "format": "date"}, "days": {"type": "integer", "default": 1}},
        "required": ["start"],
    }


@pytest.mark.parametrize(
    ("type_", "name"),
    [
        (Finding, f"{__name__}.Finding"),
        (Span, f"{__name__}.Span"),
        (Annotated[Span, "a note"], f"{__name__}.Span"),
        (Box, None),
        (list[Finding], None),
        (str, None),
        (Span | None, None),
    ],
)
def test_models_and_dataclasses_have_a_slice(type_: Any, name: str | None) -> None:
    assert slice_name(type_) == name
    assert TypedJson(type_).slice_name == name


def test_a_schema_of_objects_has_its_properties_at_the_root() -> None:
    recursive = object_schema(TypedJson(Node).schema())
    assert recursive is not None
    assert recursive["properties"]["name"] == {"type": "string"}
    assert "Node" in recursive["$defs"]
    assert object_schema(TypedJson(list[Node]).schema()) is None
    assert object_schema(TypedJson(int).schema()) is None


def test_what_is_no_json_though_any_type_would_do() -> None:
    deep: list[Any] = []
    for _ in range(5_000):
        deep = [deep]
    typed = TypedJson[Any](Any, "the result of t")
    with pytest.raises(ValueInvalidError, match="can't decode byte 0xff"):
        typed.dump(b"\xff")
    with pytest.raises(ValueInvalidError, match="serialization depth exceeded"):
        typed.dump(deep)
