from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import pytest
from pydantic import Field

from wink_tasks.core.errors import (
    DeclarationError,
    ParametersInvalidError,
    UnresolvedAnnotationError,
    ValueInvalidError,
)
from wink_tasks.core.tool import ToolDefinition

if TYPE_CHECKING:
    Later = int  # the tests define it when they want it to exist


class ToolContext:
    pass


@dataclass
class FileText:
    path: str
    text: str


def read_file(
    ctx: ToolContext, path: Annotated[str, Field(description="Relative to the workspace.")], start: int = 1
) -> FileText:
    """Read part of a file in the workspace."""
    return FileText(path, f"{ctx} {start}")


async def count(path: str) -> list[FileText]:
    """Count."""
    return [FileText(path, "")]


def lazy(path: str) -> Later:
    """Doc."""


def silent_about_result(path: str):  # type: ignore[no-untyped-def]
    """Doc."""


def of(function: Any = read_file, **options: Any) -> ToolDefinition:
    return ToolDefinition.of(function, **{"name": function.__name__, "context_type": ToolContext, **options})


def test_the_model_is_told_docstring_and_schema_without_the_context() -> None:
    tool = of()
    assert tool.description == "Read part of a file in the workspace."
    assert tool.parameters == {
        "type": "object",
        "properties": {
            "path": {"type": "string", "description": "Relative to the workspace."},
            "start": {"type": "integer", "default": 1},
        },
        "required": ["path"],
        "additionalProperties": False,
    }
    assert tool.context_parameter == "ctx"


def test_arguments_are_coerced_to_keywords_of_the_function() -> None:
    tool = of()
    arguments = tool.bind({"path": "a.py", "start": "3"})
    assert arguments == {"path": "a.py", "start": 3}
    assert tool.function(ctx="c", **arguments) == FileText("a.py", "c 3")


def test_arguments_that_do_not_fit_are_told_one_by_one() -> None:
    with pytest.raises(ParametersInvalidError) as caught:
        of().bind({"start": "x", "lines": 3})
    assert str(caught.value) == (
        "tool 'read_file': path: Field required; "
        "start: Input should be a valid integer, unable to parse string as an integer (got 'x'); "
        "lines: Unexpected keyword argument. Its parameters: path, start=1"
    )
    with pytest.raises(ParametersInvalidError, match=r"Input should be an object \(got '\{broken'\)"):
        of().bind("{broken")


def test_a_result_becomes_json_in_the_slice_of_its_type() -> None:
    assert of().dump(FileText("a", "b")) == {"path": "a", "text": "b"}
    assert of().slice_name == f"{__name__}.FileText"
    assert of(count).slice_name is None
    with pytest.raises(ValueInvalidError, match=r"^tool 'read_file', result: .*got None"):
        of().dump(None)


def test_async_functions_are_marked() -> None:
    assert of(count).is_async
    assert not of().is_async


@pytest.mark.parametrize(
    ("function", "options", "told"),
    [
        (read_file, {"name": "read file"}, "'read file': providers take 1 to 64"),
        (read_file, {"name": "proj.read_file"}, "providers take"),
        (read_file, {"name": 5}, "tool 5: name=5 does not fit: it takes text, not int"),
        (read_file, {"queue": 5}, "queue=5 does not fit: it takes the name of a queue, not int"),
        (read_file, {"timeout": 0}, "timeout=0 does not fit: it takes seconds, greater than zero"),
        (read_file, {"timeout": "3"}, "timeout='3' does not fit"),
        (read_file, {"max_retries": -1}, "max_retries=-1 is less than zero"),
        (silent_about_result, {}, "does not say what it returns"),
    ],
)
def test_what_can_never_run_is_refused(function: Any, options: dict[str, Any], told: str) -> None:
    with pytest.raises(DeclarationError, match=told):
        of(function, **options)


def lazy_in_its_parameter(path: Later) -> str:
    """Doc."""
    return str(path)


def test_finalize_resolves_what_declaration_could_not(monkeypatch: pytest.MonkeyPatch) -> None:
    tools = [of(lazy), of(lazy_in_its_parameter)]
    for tool in tools:
        with pytest.raises(UnresolvedAnnotationError, match="'Later'"):
            tool.finalize()
    monkeypatch.setitem(globals(), "Later", int)
    for tool in tools:
        tool.finalize()
    assert tools[0].dump(3) == 3
    assert tools[1].bind({"path": 3}) == {"path": 3}
