from __future__ import annotations

from enum import Enum
from typing import Any

import pytest
from celery import Celery

from wink_tasks import ParametersInvalidError, UnknownPromptError, Wink
from wink_tasks.cli.parameters import find_prompt, given_parameters
from wink_tasks.core.prompt import PromptDefinition


class Colour(Enum):
    RED = "red"


def painted(text: str, note: str | None, times: int, tags: list[str], colour: Colour) -> str:
    """You paint."""
    return text


@pytest.fixture
def prompt() -> PromptDefinition:
    return PromptDefinition.from_function(painted, ns="desk", key="painted", models=("offline:m",))


def test_text_stays_text_and_the_rest_is_json_where_it_can_be(prompt: PromptDefinition):
    pairs = ["text=3", "note=null", "times=3", 'tags=["a", "b"]', "colour=red", "other=a=b"]
    given: dict[str, Any] = given_parameters(prompt, pairs)
    assert given == {"text": "3", "note": "null", "times": 3, "tags": ["a", "b"], "colour": "red", "other": "a=b"}


@pytest.mark.parametrize(
    ("pairs", "why"), [(["text"], "no name=value"), (["=x"], "no name=value"), (["a=1", "a=2"], "twice")]
)
def test_what_is_no_parameter_is_refused(prompt: PromptDefinition, pairs: list[str], why: str):
    with pytest.raises(ParametersInvalidError, match=why):
        given_parameters(prompt, pairs)


def test_a_prompt_is_found_by_its_name_or_by_its_key():
    wink = Wink(Celery("desk", set_as_current=False))
    with pytest.raises(UnknownPromptError, match="there are: none"):
        find_prompt(wink, "painted")
    wink.prompt(output=str, model="offline:m")(painted)
    assert find_prompt(wink, "desk.painted") is find_prompt(wink, "painted")
    with pytest.raises(UnknownPromptError, match=r"'drawn'; there are: desk\.painted"):
        find_prompt(wink, "drawn")
