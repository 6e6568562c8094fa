"""What `@wink.prompt` and `@wink.tool` give: typed fronts of the Celery tasks."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from copy import copy
from datetime import datetime
from functools import update_wrapper
from typing import Any, Generic, Literal, NoReturn, ParamSpec, Self, TypeVar, cast

from msgspec.structs import asdict

from wink_tasks.adapters.celery.django import on_commit
from wink_tasks.adapters.celery.run import Run
from wink_tasks.adapters.celery.tasks import Application, refuse_call
from wink_tasks.core.events import Json
from wink_tasks.core.limits import Budget
from wink_tasks.core.options import CallOptions
from wink_tasks.core.prompt import PromptDefinition
from wink_tasks.core.tool import ToolDefinition

P = ParamSpec("P")
T = TypeVar("T")
R = TypeVar("R")


class Front(Generic[P, T]):
    """What starts runs: the front of the Celery task `app.tasks[handle.task_name]`."""

    definition: Any

    def __init__(self, wink: Application, definition: Any, task_name: str, options: CallOptions | None = None) -> None:
        self._wink = wink
        self._options = options or CallOptions()
        self.definition = definition
        self.task_name = task_name

    @property
    def task(self) -> Any:
        """The Celery task."""
        return self._wink.app.tasks[self.task_name]

    def delay(self, *args: P.args, **kwargs: P.kwargs) -> Run[T]:
        """Accept a run.

        Raises ParametersInvalidError, PayloadTooLargeError, DuplicateError, SessionBusyError before anything is
        written, LedgerUnavailableError within seconds where Redis is away.
        """
        return self.apply_async(args, kwargs)

    def apply_async(
        self, args: Sequence[Any] | None = None, kwargs: Mapping[str, Any] | None = None, **options: Any
    ) -> Run[T]:
        """Accept a run with options: those of `with_options`, `task_id`, and what Celery's signatures attach.

        Celery's `retry`, `retry_policy`, `producer` and `connection` are about publishing, and change nothing: the run
        is accepted before its doorbell is published, and one that is lost rings again. Raises as `delay`, and
        ConflictError for an `idempotency_key` that was given with other arguments.
        """
        return self.task.apply_async(args, kwargs, **{**self._options.given(), **options})  # type: ignore[no-any-return]

    def apply(
        self, args: Sequence[Any] | None = None, kwargs: Mapping[str, Any] | None = None, **options: Any
    ) -> Run[T]:
        """Run to the end in this process, without Redis or worker."""
        return self.task.apply(args, kwargs, **{**self._options.given(), **options})  # type: ignore[no-any-return]

    def delay_on_commit(self, *args: P.args, **kwargs: P.kwargs) -> None:
        """Accept a run once Django's transaction is committed; where it is rolled back, never.

        Raises UnsupportedError where the app is no Django project's. What `delay` raises comes out of the commit.
        """
        on_commit(self._wink.app, "delay_on_commit")(self, *args, **kwargs)

    def apply_async_on_commit(
        self, args: Sequence[Any] | None = None, kwargs: Mapping[str, Any] | None = None, **options: Any
    ) -> None:
        """As `delay_on_commit`, with the options of `apply_async`; by `task_id` the run is known before."""
        on_commit(self._wink.app, "apply_async_on_commit")(self, args, kwargs, **options)

    async def adelay(self, *args: P.args, **kwargs: P.kwargs) -> Run[T]:
        """As `delay`. Cancelling the wait does not tell whether the run was accepted."""
        return await self._wink.aside(self.delay, *args, **kwargs)

    async def aapply_async(
        self, args: Sequence[Any] | None = None, kwargs: Mapping[str, Any] | None = None, **options: Any
    ) -> Run[T]:
        """As `apply_async`. Cancelling the wait does not tell whether the run was accepted; `task_id` does."""
        return await self._wink.aside(self.apply_async, args, kwargs, **options)

    async def aapply(
        self, args: Sequence[Any] | None = None, kwargs: Mapping[str, Any] | None = None, **options: Any
    ) -> Run[T]:
        """As `apply`, for tests and scripts: it holds a thread until the run has ended."""
        return await self._wink.aside(self.apply, args, kwargs, **options)

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
        headers: Mapping[str, Json] | None = None,
        idempotency_key: str | None = None,
    ) -> Self:
        """The same with other terms for the runs that are started through what is returned.

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
            headers=headers,
            idempotency_key=idempotency_key,
        ).given()
        changed = copy(self)
        changed._options = CallOptions(**{**self._options.given(), **given})  # noqa: SLF001 - its own class
        return changed

    def s(self, *args: Any, **kwargs: Any) -> Any:
        """A Celery signature with these arguments and this handle's options.

        In a chain, the result of what came before goes before `args`.
        """
        options = self._options.given()
        if isinstance(budget := options.get("budget"), Budget):
            options["budget"] = asdict(budget)  # a signature travels as JSON
        return self.task.s(*args, **kwargs).set(**options)

    def si(self, *args: Any, **kwargs: Any) -> Any:
        """As `s`, but immutable: it takes nothing from what came before."""
        return self.s(*args, **kwargs).set(immutable=True)


class PromptHandle(Front[P, T]):
    """A declared prompt. It is the Celery task of its name: `app.tasks[handle.name]`."""

    definition: PromptDefinition

    def __init__(self, wink: Application, definition: PromptDefinition) -> None:
        super().__init__(wink, definition, definition.name)
        self.name = definition.name

    def __call__(self, *_: P.args, **__: P.kwargs) -> NoReturn:
        """Refused: it would run outside of every guarantee."""
        refuse_call(self.name)

    def map(self, *_: Any) -> NoReturn:
        """Refused: Celery would run it inside of one worker."""
        refuse_call(f"{self.name} (by map, starmap or chunks)")

    starmap = chunks = map  # noqa: A003 - the method above

    def __repr__(self) -> str:
        return f"<prompt {self.name}>"


class ToolHandle(Front[..., Any], Generic[P, R]):
    """A declared tool: still the plain function. `delay` runs it alone, as a durable task in a session of its own.

    The context is not the caller's to give, so `delay` and the like take the function's other parameters.
    """

    definition: ToolDefinition

    def __init__(self, wink: Application, definition: ToolDefinition, task_name: str, function: Callable[P, R]) -> None:
        super().__init__(wink, definition, task_name)
        self._function = function
        self.name = definition.name
        update_wrapper(cast("Callable[..., Any]", self), function)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """The function itself."""
        return self._function(*args, **kwargs)

    def __repr__(self) -> str:
        return f"<tool {self.task_name}>"
