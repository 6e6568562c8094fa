from __future__ import annotations

import pytest

from wink_tasks.core.contracts import ensure, require
from wink_tasks.core.errors import ContractViolationError


@require(lambda divisor: divisor != 0, "a divisor that is not zero")
@ensure(lambda dividend, result: result <= dividend, "a quotient that does not grow")
def divided(dividend: int, divisor: int = 1) -> int:
    """Only for positive numbers."""
    return dividend // divisor


def test_what_holds_passes_through_with_its_name_and_docstring() -> None:
    assert divided(6, divisor=3) == 2
    assert divided(6) == 6
    assert divided.__name__ == "divided"
    assert divided.__doc__ == "Only for positive numbers."


def test_a_broken_requirement_names_function_condition_and_values_before_anything_runs() -> None:
    with pytest.raises(ContractViolationError, match=r"divided requires a divisor that is not zero; got divisor=0$"):
        divided(6, 0)


def test_a_broken_promise_names_the_result() -> None:
    with pytest.raises(ContractViolationError, match=r"ensures a quotient .* got dividend=-4, result=-2$"):
        divided(-4, 2)
