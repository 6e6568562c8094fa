"""What `@wink.task` gives: the typed front of a durable task."""

from __future__ import annotations

from collections.abc import Callable
from functools import update_wrapper
from typing import Any, ParamSpec, TypeVar, cast

from wink_tasks.adapters.celery.handles import Front
from wink_tasks.adapters.celery.tasks import Application
from wink_tasks.core.task import TaskDefinition

P = ParamSpec("P")
R = TypeVar("R")


class TaskHandle(Front[P, R]):
    """A declared durable task: still the plain function, and the Celery task of its name: `app.tasks[handle.name]`.

    `delay` takes what the function takes, without the context; `Run.get` gives what it returns.
    """

    definition: TaskDefinition

    def __init__(self, wink: Application, definition: TaskDefinition, function: Callable[..., Any]) -> None:
        super().__init__(wink, definition, definition.name)
        self._function = function
        self.name = definition.name
        update_wrapper(cast("Callable[..., Any]", self), function)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """The function itself, here and now, with what it is given: nothing is recorded."""
        return self._function(*args, **kwargs)

    def __repr__(self) -> str:
        return f"<task {self.name}>"
