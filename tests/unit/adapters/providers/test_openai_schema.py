"""Which JSON schemas OpenAI's strict mode takes, and in which form."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, ConfigDict, Field

from wink_tasks.adapters.providers.openai_schema import strict_form
from wink_tasks.core.output import Output

CLOSED = {"type": "object", "properties": {}, "required": [], "additionalProperties": False}


class Colour(StrEnum):
    RED = "red"


class Part(BaseModel):
    name: str = Field(pattern="^[a-z]+$")
    note: str | None = None


class Plain(BaseModel):
    parts: list[Part] = Field(min_length=1)
    colour: Colour
    severity: Literal["high", "low"]
    at: datetime
    first: Part | None
    line: Annotated[int, Field(ge=1)]


class Tree(BaseModel):
    children: list[Tree]


class Defaulted(BaseModel):
    count: int = 3


class NullInstead(BaseModel):
    count: int = None  # type: ignore[assignment]


class Noted(BaseModel):
    part: Part = Field(description="next to a reference")


class Anything(BaseModel):
    value: Any


class OpenDict(BaseModel):
    counts: dict[str, int]


class Extra(BaseModel):
    model_config = ConfigDict(extra="allow")
    name: str


class Pair(BaseModel):
    pair: tuple[int, str]


class Bounded(BaseModel):
    name: str = Field(max_length=3)


class Link(BaseModel):
    link: str = Field(json_schema_extra={"format": "uri"})


class Cat(BaseModel):
    kind: Literal["cat"]


class Dog(BaseModel):
    kind: Literal["dog"]


class Pet(BaseModel):
    pet: Cat | Dog = Field(discriminator="kind")


def schema(type_):
    return Output(type_, "test").schema()


def test_what_nothing_is_lost_of_is_strict():
    strict = strict_form(schema(Plain))
    assert strict is not None
    assert strict["additionalProperties"] is False
    assert strict["required"] == ["parts", "colour", "severity", "at", "first", "line"]
    assert strict["$defs"]["Part"] == {
        "title": "Part",
        "type": "object",
        "additionalProperties": False,
        "required": ["name", "note"],
        "properties": {
            "name": {"type": "string", "pattern": "^[a-z]+$"},
            "note": {"anyOf": [{"type": "string"}, {"type": "null"}]},
        },
    }


def test_the_schema_itself_stays_as_it_was():
    given = schema(Part)
    strict_form(given)
    assert given == schema(Part)


@pytest.mark.parametrize("type_", [Tree, list[Part], int])
def test_recursion_and_wrapped_roots_are_strict(type_):
    assert strict_form(schema(type_)) is not None


def test_a_tool_without_parameters_is_strict():
    assert strict_form({"type": "object", "properties": {}}) == CLOSED


@pytest.mark.parametrize("type_", [Defaulted, NullInstead, Noted, Anything, OpenDict, Extra, Pair, Bounded, Link, Pet])
def test_what_strict_mode_would_refuse_or_change_is_not(type_):
    assert strict_form(schema(type_)) is None


@pytest.mark.parametrize("child", [True, {}, {"type": "array"}, {"type": "object"}, {"enum": ["a", 1]}])
def test_what_says_too_little_is_not(child):
    assert strict_form({"type": "object", "properties": {"child": child}, "required": ["child"]}) is None
