from __future__ import annotations

import pickle
from collections.abc import Iterator

import pytest

from wink_tasks.core import errors
from wink_tasks.core.errors import (
    BreakerOpenError,
    BudgetExceededError,
    EvaluationFailedError,
    ThrottledError,
    ValueInvalidError,
    WinkError,
    rebuild_failure,
)


def tree(cls: type[WinkError] = WinkError) -> Iterator[type[WinkError]]:
    yield cls
    for child in cls.__subclasses__():
        yield from tree(child)


def test_every_error_is_in_the_tree_says_whose_fault_it_is_and_has_a_name_of_its_own() -> None:
    declared = {cls for cls in vars(errors).values() if isinstance(cls, type) and issubclass(cls, Exception)}
    assert declared == {cls for cls in tree() if cls.__module__ == errors.__name__}
    for cls in declared:
        assert cls.__name__.endswith("Error")
        assert cls.__doc__
        assert cls.fault in ("caller", "model", "provider", "infrastructure", "us")


def test_a_failure_crosses_processes_whole() -> None:
    failure = BudgetExceededError("used up", run_id="r", session_id="s")
    copy = pickle.loads(pickle.dumps(failure))  # noqa: S301 - our own bytes
    assert type(copy) is BudgetExceededError
    assert (copy.code, copy.message, copy.run_id, copy.session_id) == ("BudgetExceededError", "used up", "r", "s")
    assert str(copy) == "used up"


def test_a_failure_of_a_later_version_keeps_its_code() -> None:
    failure = rebuild_failure("FromTheFutureError", "new", "r")
    assert type(failure) is EvaluationFailedError
    assert failure.code == "FromTheFutureError"
    assert failure.run_id == "r"


def test_an_application_cannot_take_over_a_code() -> None:
    impostor = type("BudgetExceededError", (EvaluationFailedError,), {})
    assert impostor is not BudgetExceededError
    assert type(rebuild_failure("BudgetExceededError", "x")) is BudgetExceededError


def test_waits_are_known_where_the_provider_said_so() -> None:
    assert ThrottledError("slow down").retry_after is None
    assert ThrottledError("slow down", 3.0).retry_after == 3.0
    assert BreakerOpenError("open", 60.0).retry_after == 60.0


def test_an_invalid_value_crosses_processes() -> None:
    copy = pickle.loads(pickle.dumps(ValueInvalidError("the span", "days: too many")))  # noqa: S301 - our own bytes
    assert (copy.what, copy.problems, str(copy)) == ("the span", "days: too many", "the span: days: too many")


@pytest.mark.parametrize("cls", sorted(EvaluationFailedError.by_code.values(), key=lambda cls: cls.__name__))
def test_each_leaf_is_rebuilt_by_its_name(cls: type[EvaluationFailedError]) -> None:
    assert type(rebuild_failure(cls.__name__, "why")) is cls
