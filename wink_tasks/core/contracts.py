"""Promises that types cannot express, checked when the function runs.

A condition takes those of the function's parameters that it names; `ensure`'s also takes `result`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import wraps
from inspect import signature
from typing import Any, ParamSpec, TypeVar

from wink_tasks.core.errors import ContractViolationError

P = ParamSpec("P")
R = TypeVar("R")


def require(condition: Callable[..., bool], message: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Refuse a call whose arguments do not meet `condition`, with ContractViolationError, before anything runs."""

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        shape = signature(function)

        @wraps(function)
        def checked(*args: P.args, **kwargs: P.kwargs) -> R:
            bound = shape.bind(*args, **kwargs)
            bound.apply_defaults()
            _hold("require", condition, message, function, bound.arguments)
            return function(*args, **kwargs)

        return checked

    return decorate


def ensure(condition: Callable[..., bool], message: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Refuse a result that does not meet `condition`, with ContractViolationError."""

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        shape = signature(function)

        @wraps(function)
        def checked(*args: P.args, **kwargs: P.kwargs) -> R:
            result = function(*args, **kwargs)
            bound = shape.bind(*args, **kwargs)
            bound.apply_defaults()
            _hold("ensure", condition, message, function, {**bound.arguments, "result": result})
            return result

        return checked

    return decorate


def _hold(
    kind: str, condition: Callable[..., bool], message: str, function: Callable[..., Any], values: Mapping[str, Any]
) -> None:
    named = {name: values[name] for name in signature(condition).parameters}
    if not condition(**named):
        shown = ", ".join(f"{name}={value!r}" for name, value in named.items())
        raise ContractViolationError(f"{function.__module__}.{function.__qualname__} {kind}s {message}; got {shown}")
