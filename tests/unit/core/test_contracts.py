from __future__ import annotations

import os
import subprocess
import sys

import pytest

from wink_tasks.core.contracts import ensure, invariant, pure, require, switch
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


@ensure(lambda items, old, result: len(items) == len(old.items) + 1 and result is None, "one item more")
def appended(items: list[int], item: int) -> None:
    if item:
        items.append(item)


def test_a_promise_may_compare_with_what_was() -> None:
    items = [1]
    appended(items, 2)
    assert items == [1, 2]
    with pytest.raises(ContractViolationError, match=r"ensures one item more; got items=\[1, 2\], old=namespace"):
        appended(items, 0)


@invariant(lambda self: self.balance >= 0, "a balance that is not negative")
class Account:
    limit = 10

    def __init__(self, balance: int) -> None:
        self.balance = balance

    def pay(self, amount: int) -> int:
        self._take(amount)
        return self.balance

    def _take(self, amount: int) -> None:
        self.balance -= amount

    def __repr__(self) -> str:
        return f"Account({self.balance})"


def test_an_invariant_holds_after_making_and_after_each_public_method() -> None:
    account = Account(5)
    assert account.pay(3) == 2
    with pytest.raises(ContractViolationError, match=r"Account keeps a balance .*; after pay: Account\(-1\)"):
        account.pay(3)
    with pytest.raises(ContractViolationError, match="after __init__"):
        Account(-1)
    Account(1)._take(5)


@pure
def largest(items: list[int], *, sort: bool = False) -> int:
    if sort:
        items.sort()
    return max(items)


def test_what_is_pure_leaves_its_arguments_alone() -> None:
    assert largest([1, 2]) == 2
    assert largest([1, 2], sort=True) == 2
    with pytest.raises(ContractViolationError, match=r"largest is pure, but changes items from \[2, 1\] to \[1, 2\]"):
        largest([2, 1], sort=True)


def test_where_contracts_are_off_a_decorator_gives_back_what_it_decorates() -> None:
    def function(value: int) -> int:
        return value

    with switch.turned(on=False):
        assert require(lambda value: value > 0, "more")(function) is function
        assert ensure(lambda result: result > 0, "more")(function) is function
        assert pure(function) is function
        assert invariant(lambda self: False, "nothing")(Account) is Account
    assert require(lambda value: value > 0, "more")(function) is not function


@pytest.mark.parametrize(("variable", "on"), [({"WINK_CONTRACTS": "1"}, True), ({}, False)])
def test_a_variable_turns_them(variable: dict[str, str], on: bool) -> None:
    kept = {name: value for name, value in os.environ.items() if name not in ("WINK_CONTRACTS", "PYTEST_VERSION")}
    code = "from wink_tasks.core.retry import backoff; print(hasattr(backoff, '__wrapped__'))"
    done = subprocess.run([sys.executable, "-c", code], env={**kept, **variable}, capture_output=True, check=True)
    assert done.stdout.decode().strip() == str(on)
