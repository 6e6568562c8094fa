"""Promises that types cannot express, checked when the code runs, where contracts are on.

They are on in tests, and where WINK_CONTRACTS=1 is set before wink_tasks is imported; where they are off, each
decorator gives back what it decorates. A condition takes those of the function's parameters that it names; `ensure`'s
also takes `result`, and `old` with the arguments as they were before the call.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from copy import deepcopy
from functools import wraps
from inspect import Signature, signature
from types import FunctionType, SimpleNamespace
from typing import Any, ParamSpec, TypeVar

from wink_tasks.core.errors import ContractViolationError

P = ParamSpec("P")
R = TypeVar("R")
C = TypeVar("C", bound=type)


class Switch:
    """Whether what is decorated from now on is checked."""

    on = True

    def __call__(self, *, on: bool) -> None:
        """Turn it."""
        self.on = on

    @contextmanager
    def turned(self, *, on: bool) -> Iterator[None]:
        """Turn it for as long as the block lasts."""
        before, self.on = self.on, on
        try:
            yield
        finally:
            self.on = before


switch = Switch()


def require(condition: Callable[..., bool], message: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Refuse a call whose arguments do not meet `condition`, with ContractViolationError, before anything runs."""

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        if not switch.on:
            return function
        shape = signature(function)

        @wraps(function)
        def checked(*args: P.args, **kwargs: P.kwargs) -> R:
            _hold("requires", condition, message, function, _arguments(shape, args, kwargs))
            return function(*args, **kwargs)

        return checked

    return decorate


def ensure(condition: Callable[..., bool], message: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Refuse a result that does not meet `condition`, with ContractViolationError."""

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        if not switch.on:
            return function
        shape, remembers = signature(function), "old" in signature(condition).parameters

        @wraps(function)
        def checked(*args: P.args, **kwargs: P.kwargs) -> R:
            values = _arguments(shape, args, kwargs)
            old = {"old": SimpleNamespace(**deepcopy(values))} if remembers else {}
            result = function(*args, **kwargs)
            _hold("ensures", condition, message, function, {**values, **old, "result": result})
            return result

        return checked

    return decorate


def invariant(condition: Callable[[Any], bool], message: str) -> Callable[[C], C]:
    """Have `condition` hold of each object of a class: when it is made, and after each of its public methods."""

    def decorate(class_: C) -> C:
        if not switch.on:
            return class_

        def guarded(function: FunctionType) -> Callable[..., Any]:
            @wraps(function)
            def checked(self: Any, *args: Any, **kwargs: Any) -> Any:
                result = function(self, *args, **kwargs)
                if not condition(self):
                    where = f"{class_.__module__}.{class_.__qualname__}"
                    raise ContractViolationError(f"{where} keeps {message}; after {function.__name__}: {self!r}")
                return result

            return checked

        for name, member in list(vars(class_).items()):
            if isinstance(member, FunctionType) and (name == "__init__" or not name.startswith("_")):
                setattr(class_, name, guarded(member))
        return class_

    return decorate


def pure(function: Callable[P, R]) -> Callable[P, R]:
    """Refuse a function that changes one of its arguments, with ContractViolationError."""
    if not switch.on:
        return function
    shape = signature(function)

    @wraps(function)
    def checked(*args: P.args, **kwargs: P.kwargs) -> R:
        values = _arguments(shape, args, kwargs)
        before = deepcopy(values)
        result = function(*args, **kwargs)
        for name, value in values.items():
            if value != before[name]:
                raise ContractViolationError(
                    f"{function.__module__}.{function.__qualname__} is pure, but changes {name} "
                    f"from {before[name]!r} to {value!r}"
                )
        return result

    return checked


def _arguments(shape: Signature, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, Any]:
    bound = shape.bind(*args, **kwargs)
    bound.apply_defaults()
    return dict(bound.arguments)


def _hold(
    kind: str, condition: Callable[..., bool], message: str, function: Callable[..., Any], values: Mapping[str, Any]
) -> None:
    named = {name: values[name] for name in signature(condition).parameters}
    if not condition(**named):
        shown = ", ".join(f"{name}={value!r}" for name, value in named.items())
        raise ContractViolationError(f"{function.__module__}.{function.__qualname__} {kind} {message}; got {shown}")
