from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import BaseModel, Field
from typing_extensions import TypedDict

from wink_tasks.core.errors import DeclarationError, ParametersInvalidError
from wink_tasks.core.parameters import Parameters

if TYPE_CHECKING:
    Later = int  # the tests define it when they want it to exist


@dataclass
class Where:
    path: str
    depth: int = 2
    tags: list[str] = field(default_factory=list)
    length: int = field(init=False, default=0)


class Question(BaseModel):
    text: str = Field(alias="question")
    urgent: bool = False


class Size(TypedDict):
    width: int
    height: Later


def of(type_: Any) -> Parameters:
    return Parameters.of_type(type_, "prompt 'p'")


def test_names_are_the_fields_in_order() -> None:
    assert of(Where).names == ("path", "depth", "tags")
    assert of(Question).names == ("question", "urgent")
    assert of(Size).names == ("width", "height")


@pytest.mark.parametrize("type_", [int, list[Where], Where("a"), None])
def test_a_type_without_fields_is_refused(type_: Any) -> None:
    with pytest.raises(DeclarationError, match=r"^prompt 'p': params=.* has no fields"):
        of(type_)


def test_arguments_bind_by_position_and_by_name_and_defaults_are_filled_in() -> None:
    parameters = of(Question)
    assert parameters.bind("why?") == {"question": "why?", "urgent": False}
    assert parameters.bind("why?", True) == {"question": "why?", "urgent": True}
    assert parameters.bind("why?", urgent="yes") == {"question": "why?", "urgent": True}
    assert parameters.bind(question="why?") == {"question": "why?", "urgent": False}


def test_a_single_instance_is_taken_whole() -> None:
    assert of(Question).bind(Question(question="why?")) == {"question": "why?", "urgent": False}
    assert of(Where).load(of(Where).bind(Where("a", 3))) == Where("a", 3)


def test_a_typed_dict_has_no_instances_to_be_taken_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(globals(), "Later", int)
    assert of(Size).bind(2, height=3) == {"width": 2, "height": 3}
    with pytest.raises(
        ParametersInvalidError, match=r"width: .*; height: Field required\. Its parameters: width, height"
    ):
        of(Size).bind({"width": 2, "height": 3})


@pytest.mark.parametrize(
    ("args", "kwargs", "told"),
    [
        ((), {}, "path: Field required"),
        (("a", 1, [], 4), {}, "4 positional arguments, but 3 parameters"),
        (("a",), {"path": "b", "depth": 3}, "given by position and by name: path"),
        ((), {"path": 3}, r"path: Input should be a valid string \(got 3\)"),
    ],
)
def test_what_does_not_bind_names_the_field_and_lists_the_parameters(
    args: tuple[Any, ...], kwargs: dict[str, Any], told: str
) -> None:
    with pytest.raises(ParametersInvalidError, match=f"^prompt 'p': {told}. Its parameters: path, depth=2, tags=...$"):
        of(Where).bind(*args, **kwargs)


def test_recorded_parameters_that_do_not_fit_any_more_are_refused() -> None:
    with pytest.raises(ParametersInvalidError, match="path: Field required"):
        of(Where).load({"folder": "src"})
    with pytest.raises(ParametersInvalidError, match=r"got \[1\]"):
        of(Where).load([1])


def test_without_parameters_the_list_says_none() -> None:
    @dataclass
    class Nothing:
        pass

    with pytest.raises(
        ParametersInvalidError, match=r"1 positional arguments, but 0 parameters. Its parameters: none$"
    ):
        of(Nothing).bind(3)
