"""Making one resource, and closing it again: functions, generators, context managers, `close` and `aclose`."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Coroutine, Mapping
from contextlib import asynccontextmanager, contextmanager
from typing import Any

from wink_tasks.core.bindings import Binding, is_one

Await = Callable[[Coroutine[Any, Any, Any]], Any]
"""Runs a coroutine on the process's loop, and gives what it returns to this thread."""

Close = Callable[[BaseException | None, Await], object]
"""Ends a resource. It is told what the call raised, so that a generator or a context manager may roll back."""


def make(binding: Binding, needs: Mapping[str, Any], wait: Await) -> tuple[Any, Close | None]:
    """A new resource, and what closes it. Raises what the factory raises.

    What is no instance of the bound type, but a context manager, is entered, and the resource is what it gives.
    """
    factory = binding.factory
    if inspect.isgeneratorfunction(factory):
        factory = contextmanager(factory)
    elif inspect.isasyncgenfunction(factory):
        factory = asynccontextmanager(factory)
    made = factory(**needs)
    if inspect.iscoroutine(made):
        made = wait(made)
    mine = is_one(made, binding.wanted)
    is_async = hasattr(type(made), "__aenter__")
    if not (is_async or hasattr(type(made), "__enter__")):
        return made, _ending(made, binding)
    if mine and (close := _ending(made, binding)) is not None:
        return made, close
    if is_async:
        entered = wait(_awaited(made.__aenter__))
        return (made if mine else entered), lambda error, wait: wait(_awaited(lambda: made.__aexit__(*_told(error))))
    entered = made.__enter__()
    return (made if mine else entered), lambda error, _: made.__exit__(*_told(error))


def _ending(made: Any, binding: Binding) -> Close | None:
    """Its `aclose` or `close`; where its factory is async, on the loop."""
    last = getattr(made, "aclose", None)
    on_loop = callable(last) or binding.is_async
    if not callable(last):
        last = getattr(made, "close", None)
    if not callable(last):
        return None
    close = last

    def end(_: BaseException | None, wait: Await) -> None:
        if on_loop:
            wait(_awaited(close))
        elif inspect.isawaitable(rest := close()):
            wait(_awaited(lambda: rest))

    return end


async def _awaited(call: Callable[[], Any]) -> Any:
    answer = call()
    return await answer if inspect.isawaitable(answer) else answer


def _told(error: BaseException | None) -> tuple[Any, Any, Any]:
    return (None, None, None) if error is None else (type(error), error, error.__traceback__)
