"""The offline reviewer against requests made by hand. Whole reviews: tests/unit/examples."""

from __future__ import annotations

import asyncio
import json

import msgspec
import pytest

from wink_tasks.adapters.providers.offline import OfflineReviewer
from wink_tasks.core.errors import RequestRejectedError
from wink_tasks.core.events import Call
from wink_tasks.core.log import Log
from wink_tasks.core.transcript import ModelSaid, ToolAnswered, UserSaid
from wink_tasks.ports.provider import Request, ToolSpec

OUTPUT = {"type": "object", "properties": {"summary": {}, "findings": {}, "files_read": {}}}


def request(*items, tools=("list_files", "read_file", "lint"), output=OUTPUT, model="reviewer"):
    transcript = Log()
    for item in items:
        transcript = transcript.added(item)
    return Request(
        prompt="app.review",
        model=model,
        instructions="Review.",
        transcript=transcript,
        start=0,
        tools=tuple(ToolSpec(name=name, description="", parameters={}) for name in tools),
        output=output,
        settings={},
        max_output_tokens=None,
        digest="",
    )


def complete(*items, **kwargs):
    return asyncio.run(OfflineReviewer().complete(request(*items, **kwargs)))


def answered(response, *values):
    """What follows in a transcript when each call of `response` gets its value; an error is a failure."""
    said = ModelSaid(response.text, response.calls)
    return [
        said,
        *[
            ToolAnswered(call.id, call.tool, str(value), failed=True)
            if isinstance(value, Exception)
            else ToolAnswered(call.id, call.tool, value)
            for call, value in zip(response.calls, values, strict=True)
        ],
    ]


@pytest.mark.parametrize(
    ("content", "path"),
    [
        ("Review the code in src/app.", "src/app"),
        ("Review the code in my folder/v1.2. Look for security holes.", "my folder/v1.2"),
        ("Review the code in ..", "."),
        ("Review the code in src", "src"),
        ("Review.", "."),
    ],
)
def test_it_lists_the_folder_that_the_user_names(content, path):
    response = complete(UserSaid(content))
    assert [(call.tool, call.arguments) for call in response.calls] == [("list_files", {"path": path})]
    assert (response.model, response.stop) == ("reviewer", "tools")


def test_it_refuses_without_its_tools():
    response = complete(UserSaid("Review."), tools=("list_files",))
    assert (response.stop, response.calls) == ("refusal", ())
    assert response.text == "The offline reviewer works with tools, and was not offered read_file, lint."


@pytest.mark.parametrize("output", [None, {"type": "object", "properties": {"answer": {}}}, {"type": "string"}])
def test_it_refuses_what_it_cannot_answer(output):
    response = complete(UserSaid("Review."), output=output)
    assert response.stop == "refusal"
    assert "the prompt's output type has no `findings`" in response.text


def test_it_has_one_model():
    with pytest.raises(RequestRejectedError, match="no model 'gpt': name offline:reviewer"):
        complete(UserSaid("Review."), model="gpt")


def test_the_answer_has_only_the_fields_of_the_output_type():
    user = UserSaid("Review.")
    listed = answered(complete(user), {"files": []})
    assert set(json.loads(complete(user, *listed).text)) == {"summary", "findings", "files_read"}
    narrow = complete(user, *listed, output={"properties": {"findings": {}}})
    assert json.loads(narrow.text) == {"findings": []}


def test_plain_text_of_another_applications_tool_is_read_as_well():
    user = UserSaid("Review.")
    items = [user, *answered(complete(user), {"files": ["a.py", "a.md"]})]
    response = complete(*items)
    assert [call.arguments["path"] for call in response.calls] == ["a.py", "a.py"]
    text = {"total_lines": 4, "text": "try:\n    f()\nexcept:\n    pass\n"}
    diagnostic = {"line": 2, "code": "F821", "message": "Undefined name `f`"}
    review = json.loads(complete(*items, *answered(response, text, {"diagnostics": [diagnostic]})).text)
    assert [(each["line"], each["rule"], each["severity"]) for each in review["findings"]] == [
        (2, "F821", "high"),
        (3, "E722", "medium"),
    ]


def test_answers_of_another_form_are_named_and_skipped():
    user = UserSaid("Review.")
    nothing = json.loads(complete(user, *answered(complete(user), ["a.py"])).text)
    assert "list_files answered in a form that the rules cannot read" in nothing["summary"]
    items = [user, *answered(complete(user), {"files": ["a.py"]})]
    review = json.loads(complete(*items, *answered(complete(*items), "x = 1", {"diagnostics": []})).text)
    assert review["files_read"] == []
    assert "a.py was skipped: read_file answered in a form" in review["summary"]


def test_without_the_linter_the_syntax_tree_is_left():
    user = UserSaid("Review.")
    items = [user, *answered(complete(user), {"files": ["a.py"], "more": True})]
    text = {"total_lines": 1, "text": "1\teval(x)"}
    review = json.loads(complete(*items, *answered(complete(*items), text, OSError("no ruff here"))).text)
    assert [each["rule"] for each in review["findings"]] == ["S307"]
    assert "a.py was not linted: no ruff here." in review["summary"]
    assert "Other files were not looked at" in review["summary"]


def test_an_earlier_answer_that_is_no_review_is_passed_over():
    earlier = [UserSaid("Hello"), ModelSaid('{"findings": [{}, {}]}'), UserSaid("Hello?"), ModelSaid("Hello!")]
    items = [*earlier, UserSaid("Review.")]
    review = json.loads(complete(*items, *answered(complete(*items), {"files": []})).text)
    assert review["summary"].startswith("Findings of the earlier review: 2. Nothing was reviewed")


def test_what_another_model_began_is_begun_again():
    call = Call(id="call_1", tool="list_files", arguments={"pattern": "*"})
    begun = [UserSaid("Review."), ModelSaid("", (call,)), ToolAnswered("call_1", "list_files", {"files": ["a.py"]})]
    assert [(each.tool, each.arguments) for each in complete(*begun).calls] == [("list_files", {"path": "."})]


def test_it_is_a_function_of_the_request():
    same = request(UserSaid("Review the code in src."))
    reviewer = OfflineReviewer()
    first, second = (asyncio.run(reviewer.complete(same)) for _ in range(2))
    assert msgspec.json.encode(first) == msgspec.json.encode(second)
    asyncio.run(reviewer.close())
