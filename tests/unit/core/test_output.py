from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from wink_tasks.core.evaluation import Finish, Reject
from wink_tasks.core.output import Output


@dataclass
class Finding:
    line: int


@dataclass
class Tree:
    children: list[Tree]


def judge(type_: Any, text: str) -> Finish | Reject:
    return Output(type_, "prompt 'p'").judge(text)


def test_text_is_the_answer_as_it_stands() -> None:
    assert Output(str, "p").schema() is None
    assert judge(str, "  hello ") == Finish("  hello ", None)


def test_an_object_is_its_own_schema() -> None:
    schema = Output(Finding, "p").schema()
    assert schema is not None
    assert schema["properties"] == {"line": {"type": "integer"}}


def test_any_other_root_is_wrapped() -> None:
    assert Output(int, "p").schema() == {
        "type": "object",
        "properties": {"value": {"type": "integer"}},
        "required": ["value"],
        "additionalProperties": False,
    }
    schema = Output(list[Finding], "p").schema()
    assert schema is not None
    assert schema["properties"]["value"] == {"type": "array", "items": {"$ref": "#/$defs/Finding"}}
    assert "Finding" in schema["$defs"]


@pytest.mark.parametrize(
    ("type_", "text", "output"),
    [
        (Finding, '{"line": "3"}', {"line": 3}),
        (Finding, 'Here:\n```json\n{"line": 3}\n```\nDone.', {"line": 3}),
        (Finding, '```\n{"line": 3}\n```', {"line": 3}),
        (Finding, '```py\nx = 1\n```\nso\n```json\n{"line": 3}\n```', {"line": 3}),
        (Finding, '```json\n{"line": 3}\n```\nwith\n```py\nx = 1\n```', {"line": 3}),
        (Finding, '```\n{"line": 1}\n```\nno:\n```\n{"line": 2}\n```\nno:\n```\n{"line": 3}\n```', {"line": 3}),
        (list[str], '```json\n["a ```b``` c"]\n```', ["a ```b``` c"]),
        (list[int], '{"value": [1, 2]}', [1, 2]),
        (list[int], "[1, 2]", [1, 2]),
        (dict[str, int], '{"value": 1}', {"value": 1}),
        (Tree, '{"children": [{"children": []}]}', {"children": [{"children": []}]}),
    ],
)
def test_json_is_found_and_becomes_the_output(type_: Any, text: str, output: object) -> None:
    finish = judge(type_, text)
    assert isinstance(finish, Finish)
    assert finish.output == output


def test_the_output_goes_to_the_slice_of_its_type() -> None:
    assert judge(Finding, '{"line": 3}') == Finish({"line": 3}, f"{__name__}.Finding")
    assert judge(list[Finding], '[{"line": 3}]') == Finish([{"line": 3}], None)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("I am done.", "Your answer is not JSON (JSON is malformed: invalid character (byte 0))."),
        ("```json\n{]\n```", "Your answer is not JSON (JSON is malformed"),
        ("```json\n{]\n```\n```json\n{[\n```", "Your answer is not JSON (JSON is malformed"),
        ("[]", "Your answer does not fit the schema: Input should be an object (got [])."),
        ("{}", "Your answer does not fit the schema: line: Field required."),
    ],
)
def test_a_rejection_tells_the_model_what_to_mend(text: str, reason: str) -> None:
    rejected = judge(Finding, text)
    assert isinstance(rejected, Reject)
    assert rejected.reason.startswith(reason)
