"""What `@wink.prompt` and `@wink.tool` give: typed fronts of the Celery tasks."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from functools import update_wrapper
from typing import Any, Generic, Literal, NoReturn, ParamSpec, TypeVar, cast

from wink_tasks.adapters.celery.run import Run
from wink_tasks.adapters.celery.tasks import Application, refuse_alone, refuse_call
from wink_tasks.core.events import Json
from wink_tasks.core.limits import Budget
from wink_tasks.core.options import CallOptions
from wink_tasks.core.prompt import PromptDefinition
from wink_tasks.core.tool import ToolDefinition

P = ParamSpec("P")
T = TypeVar("T")
R = TypeVar("R")


class PromptHandle(Generic[P, T]):
    """A declared prompt. It is the Celery task of its name: `app.tasks[handle.name]`."""

    def __init__(self, wink: Application, definition: PromptDefinition, options: CallOptions | None = None) -> None:
        self._wink = wink
        self._options = options or CallOptions()
        self.definition = definition
        self.name = definition.name

    @property
    def task(self) -> Any:
        """The Celery task."""
        return self._wink.app.tasks[self.name]

    def delay(self, *args: P.args, **kwargs: P.kwargs) -> Run[T]:
        """Accept a run.

        Raises ParametersInvalidError, PayloadTooLargeError, DuplicateError, SessionBusyError before anything is
        written, LedgerUnavailableError within seconds where Redis is away.
        """
        return self.apply_async(args, kwargs)

    def apply_async(
        self, args: Sequence[Any] | None = None, kwargs: Mapping[str, Any] | None = None, **options: Any
    ) -> Run[T]:
        """Accept a run with options: those of `with_options`, and `task_id`. Raises as `delay`."""
        return self.task.apply_async(args, kwargs, **{**self._options.given(), **options})  # type: ignore[no-any-return]

    def apply(
        self, args: Sequence[Any] | None = None, kwargs: Mapping[str, Any] | None = None, **options: Any
    ) -> Run[T]:
        """Run to the end in this process, without Redis or worker."""
        return self.task.apply(args, kwargs, **{**self._options.given(), **options})  # type: ignore[no-any-return]

    def with_options(
        self,
        *,
        session: str | None = None,
        busy: Literal["wait", "reject"] | None = None,
        tenant: str | None = None,
        deadline: float | datetime | None = None,
        budget: Budget | None = None,
        model: str | Sequence[str] | None = None,
        model_settings: Mapping[str, Json] | None = None,
        labels: Mapping[str, str] | None = None,
        queue: str | None = None,
        countdown: float | None = None,
        eta: datetime | None = None,
        expires: float | datetime | None = None,
        priority: int | None = None,
    ) -> PromptHandle[P, T]:
        """The same prompt with other terms for the runs that are started through what is returned.

        See `CallOptions` for what each option means.
        """
        given = CallOptions(
            session=session,
            busy=busy,
            tenant=tenant,
            deadline=deadline,
            budget=budget,
            model=model,
            model_settings=model_settings,
            labels=labels,
            queue=queue,
            countdown=countdown,
            eta=eta,
            expires=expires,
            priority=priority,
        ).given()
        return PromptHandle(self._wink, self.definition, CallOptions(**{**self._options.given(), **given}))

    def s(self, *args: P.args, **kwargs: P.kwargs) -> Any:
        """A Celery signature with these arguments and this handle's options."""
        return self.task.s(*args, **kwargs).set(**self._options.given())

    def __call__(self, *_: P.args, **__: P.kwargs) -> NoReturn:
        """Refused: it would run outside of every guarantee."""
        refuse_call(self.name)

    def map(self, *_: Any) -> NoReturn:
        """Refused: Celery would run it inside of one worker."""
        refuse_call(f"{self.name}.map")

    starmap = chunks = map  # noqa: A003 - the method above

    def __repr__(self) -> str:
        return f"<prompt {self.name}>"


class ToolHandle(Generic[P, R]):
    """A declared tool: still the plain function, and the Celery task `app.tasks[handle.task_name]`."""

    def __init__(self, wink: Application, definition: ToolDefinition, task_name: str, function: Callable[P, R]) -> None:
        self._wink = wink
        self._function = function
        self.definition = definition
        self.name = definition.name
        self.task_name = task_name
        update_wrapper(cast("Callable[..., Any]", self), function)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """The function itself."""
        return self._function(*args, **kwargs)

    @property
    def task(self) -> Any:
        """The Celery task."""
        return self._wink.app.tasks[self.task_name]

    def delay(self, *_: Any, **__: Any) -> NoReturn:
        """Refused in this version: a tool runs inside of an evaluation."""
        refuse_alone(self.task_name)

    apply_async = delay

    def __repr__(self) -> str:
        return f"<tool {self.task_name}>"
