from __future__ import annotations

from typing import Any

import pytest

from wink_tasks.core.errors import DeclarationError
from wink_tasks.core.limits import Budget, Usage


def test_usage_adds_up() -> None:
    total = Usage(input_tokens=1, output_tokens=2, requests=1, cost_micros=5) + Usage(
        input_tokens=10, output_tokens=20, requests=1, cost_micros=2_000_000
    )
    assert total == Usage(input_tokens=11, output_tokens=22, requests=2, cost_micros=2_000_005)
    assert total.total_tokens == 33
    assert total.cost_usd == 2.000005


@pytest.mark.parametrize("known", [Usage(cost_micros=None), Usage(cost_micros=3)])
def test_one_unknown_cost_makes_the_sum_unknown(known: Usage) -> None:
    assert (known + Usage(cost_micros=None)).cost_usd is None
    assert (Usage(cost_micros=None) + known).cost_micros is None


@pytest.mark.parametrize("field", ["input_tokens", "output_tokens", "total_tokens", "cost_usd"])
@pytest.mark.parametrize("limit", [0, -1, float("nan")])
def test_a_limit_is_greater_than_zero(field: str, limit: Any) -> None:
    with pytest.raises(DeclarationError, match=rf"Budget\({field}={limit}\)"):
        Budget(**{field: limit})


@pytest.mark.parametrize(
    ("limits", "told"),
    [
        ({"total_tokens": "many"}, r"Budget\(total_tokens='many'\): a limit is a whole number greater than zero"),
        ({"total_tokens": 1e5}, r"Budget\(total_tokens=100000\.0\): a limit is a whole number"),
        ({"output_tokens": True}, r"Budget\(output_tokens=True\): a limit is a whole number"),
        ({"cost_usd": "5"}, r"Budget\(cost_usd='5'\): a limit is a number greater than zero"),
    ],
)
def test_a_limit_is_what_a_ledger_can_read_again(limits: dict[str, Any], told: str) -> None:
    with pytest.raises(DeclarationError, match=told):
        Budget(**limits)


@pytest.mark.parametrize(
    ("budget", "usage", "reached"),
    [
        (Budget(), Usage(input_tokens=10**9), None),
        (Budget(input_tokens=10), Usage(input_tokens=9), None),
        (Budget(input_tokens=10), Usage(input_tokens=10), "input_tokens 10 of 10"),
        (Budget(output_tokens=10), Usage(output_tokens=11), "output_tokens 11 of 10"),
        (Budget(total_tokens=10), Usage(input_tokens=5, output_tokens=5), "total_tokens 10 of 10"),
        (Budget(cost_usd=0.5), Usage(cost_micros=500_000), "cost_usd 0.5 of 0.5"),
        (Budget(cost_usd=0.5), Usage(cost_micros=None), None),
    ],
)
def test_a_budget_tells_which_limit_is_reached(budget: Budget, usage: Usage, reached: str | None) -> None:
    assert budget.exceeded(usage) == reached


@pytest.mark.parametrize(
    ("budget", "left"),
    [
        (Budget(input_tokens=1), None),
        (Budget(output_tokens=10), 7),
        (Budget(total_tokens=10), 5),
        (Budget(output_tokens=10, total_tokens=10), 5),
        (Budget(output_tokens=2), 1),
    ],
)
def test_the_next_answer_has_what_is_left_and_never_nothing(budget: Budget, left: int | None) -> None:
    assert budget.output_left(Usage(input_tokens=2, output_tokens=3)) == left
