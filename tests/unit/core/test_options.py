from __future__ import annotations

from typing import Any

import pytest

from wink_tasks.core.errors import ParametersInvalidError
from wink_tasks.core.options import CallOptions


def test_only_what_is_set_is_given() -> None:
    assert CallOptions().given() == {}
    assert CallOptions(session="s", countdown=0.0, priority=0).given() == {
        "session": "s",
        "countdown": 0.0,
        "priority": 0,
    }


@pytest.mark.parametrize(
    ("option", "told"),
    [
        ({"labels": {"a": 1}}, r"labels=\{'a': 1\} does not fit: it takes names with values that are text"),
        ({"labels": {1: "a"}}, "names with values that are text"),
        ({"labels": "a=b"}, "it takes names with values, not str"),
        ({"session": 5}, "session=5 does not fit: it takes text"),
        ({"tenant": b"t"}, "it takes text"),
        ({"queue": 5}, "it takes text"),
        ({"idempotency_key": 5}, "it takes text"),
        ({"task_id": 5}, "it takes text"),
        ({"priority": "high"}, "priority='high' does not fit: it takes a whole number"),
        ({"budget": 5}, "budget=5 does not fit: it takes a Budget, not int"),
        ({"model": 5}, 'model=5 does not fit: it takes "provider:model", or several in a list'),
        ({"model": [5]}, r"model=\[5\] does not fit"),
        ({"model": []}, r"model=\[\] does not fit"),
    ],
)
def test_what_no_ledger_could_read_again_is_refused(option: dict[str, Any], told: str) -> None:
    with pytest.raises(ParametersInvalidError, match=told):
        CallOptions(**option)
