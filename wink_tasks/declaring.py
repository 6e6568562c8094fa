"""How an application declares prompts, tools and durable tasks: the part of Wink that is about them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Container, Coroutine, Mapping, Sequence
from types import UnionType
from typing import Any, Concatenate, Final, Literal, ParamSpec, Protocol, TypeVar, overload

from celery import Celery

from wink_tasks.adapters.celery.handles import PromptHandle, ToolHandle
from wink_tasks.adapters.celery.task_handles import TaskHandle
from wink_tasks.adapters.celery.tasks import Application, declare_prompt, declare_task, declare_tool
from wink_tasks.core.bindings import Scope, made_by
from wink_tasks.core.errors import DeclarationError
from wink_tasks.core.events import Json
from wink_tasks.core.function import Backoff, listed_exceptions
from wink_tasks.core.kinds import check_kind, models_in
from wink_tasks.core.limits import Budget
from wink_tasks.core.prompt import OnChange, PromptDefinition
from wink_tasks.core.task import TaskDefinition
from wink_tasks.core.tool import ToolDefinition
from wink_tasks.runtime.context import ToolContext
from wink_tasks.runtime.providers import Factory, split_model
from wink_tasks.runtime.registry import Registry

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., Any])

TOOL_OPTIONS: Final = frozenset({"name", "queue", "inline", "parallel", "timeout", "max_retries", "retry_on"})


class TaskDecorator(Protocol):
    """What `@wink.task(...)` gives: it makes the handle, whose arguments are the function's without the context."""

    @overload
    def __call__(
        self, function: Callable[Concatenate[ToolContext, P], Coroutine[Any, Any, R]], /
    ) -> TaskHandle[P, R]: ...
    @overload
    def __call__(self, function: Callable[Concatenate[ToolContext, P], R], /) -> TaskHandle[P, R]: ...
    @overload
    def __call__(self, function: Callable[P, Coroutine[Any, Any, R]], /) -> TaskHandle[P, R]: ...
    @overload
    def __call__(self, function: Callable[P, R], /) -> TaskHandle[P, R]: ...


class Declares(Application):
    """`tool`, `resource`, `prompt` and `task` for a Wink. Declaring does no I/O."""

    app: Celery
    registry: Registry
    _providers: Mapping[str, Factory]

    @overload
    def tool(self, function: Callable[P, R], /) -> ToolHandle[P, R]: ...
    @overload
    def tool(
        self,
        /,
        *,
        name: str | None = None,
        queue: str | None = None,
        inline: bool = False,
        parallel: bool = False,
        timeout: float | None = None,
        max_retries: int = 3,
        retry_on: Sequence[type[Exception]] = (),
    ) -> Callable[[Callable[P, R]], ToolHandle[P, R]]: ...
    def tool(self, function: Callable[..., Any] | None = None, /, **options: Any) -> Any:
        """Declare a tool: its description is the docstring, its parameters are the signature's.

        `queue` is where its calls go; an `inline` one runs where its prompt does. Calls that a model asks for together
        run side by side only where each is `parallel`. `timeout` is seconds. A call that dies is delivered again
        `max_retries` times, and also when it raises one of `retry_on`; 0 is at most once.
        Raises DeclarationError.
        """

        def declare(function: Callable[P, R]) -> ToolHandle[P, R]:
            _check_function("tool", function)
            chosen = {**options, "name": options.get("name") or function.__name__}
            what = f"tool {chosen['name']!r}"
            _refuse(what, options.keys() - TOOL_OPTIONS, TOOL_OPTIONS, "timeout=")
            chosen["retry_on"] = listed_exceptions(what, "retry_on", options.get("retry_on", ()))
            definition = ToolDefinition.of(
                function, context_type=ToolContext, bound=self.registry.resources.bound, **chosen
            )
            self.registry.add_tool(definition)
            task = self.registry.tool_task(definition.name)
            declare_tool(self, task, definition.description, timeout=definition.timeout)
            return ToolHandle(self, definition, task, function)

        return declare if function is None else declare(function)

    @overload
    def resource(self, factory: F, /) -> F: ...
    @overload
    def resource(self, /, *, scope: Scope) -> Callable[[F], F]: ...
    def resource(self, factory: Any = None, /, *, scope: Scope = Scope.SINGLETON) -> Any:
        """Bind a factory to what it says that it returns or yields, or a class to itself; see `resources.bind`.

        Raises DeclarationError, UnresolvedAnnotationError.
        """

        def declare(factory: F) -> F:
            self.registry.resources.bind(made_by(factory), factory, scope)
            return factory

        return declare if factory is None else declare(factory)

    def prompt(
        self,
        *,
        output: type[T],
        model: str | Sequence[str],
        tools: Sequence[ToolHandle[..., Any]] = (),
        model_settings: Mapping[str, Json] | None = None,
        deadline: float | None = 600.0,
        budget: Budget | None = None,
        max_turns: int = 25,
        history: Literal["session", "none"] | int = "session",
        queue: str | None = None,
        name: str | None = None,
        version: str = "",
        on_change: OnChange = "continue",
    ) -> Callable[[Callable[P, str]], PromptHandle[P, T]]:
        """Declare a prompt: the docstring is the instructions, the body gives what the user says.

        `model` is "provider:model", or several of which the next one is taken when one fails. `deadline` is seconds
        from the first claim. `history` is "session", "none", or how many earlier exchanges the model is shown.
        A worker that knows another `version`, or digest, of the prompt than a run goes by does by `on_change`:
        "continue" with its own, "park" the run for a worker with the old one, or "fail" it.
        Raises DeclarationError.
        """

        def declare(function: Callable[P, str]) -> PromptHandle[P, T]:
            definition = PromptDefinition.from_function(
                function,
                ns=self.app.main or "wink",
                key=name or function.__name__,
                output=output,
                tools=tools,
                models=models_in(model),
                model_settings={} if model_settings is None else model_settings,
                deadline=deadline,
                budget=Budget() if budget is None else budget,
                max_turns=max_turns,
                history=history,
                queue=queue,
                version=version,
                on_change=on_change,
            )
            self._declare(definition)
            return PromptHandle(self, definition)

        return declare

    def register(self, prompt: PromptDefinition) -> PromptHandle[..., Any]:
        """Declare a prompt in its long form. Raises DeclarationError."""
        self._declare(prompt)
        return PromptHandle(self, prompt)

    def _declare(self, definition: PromptDefinition) -> None:
        self._check_models(definition.name, definition.models)
        self.registry.add_prompt(definition)
        declare_prompt(self, definition.name, f"A run of prompt {definition.name}.")

    def _check_models(self, prompt: str, models: Sequence[str]) -> None:
        for model in models:
            provider, _ = split_model(model)
            if provider not in self._providers:
                known = ", ".join(sorted(self._providers))
                message = f"prompt {prompt!r}: no provider is called {provider!r}; there are: {known}"
                raise DeclarationError(message)

    @overload
    def task(self, function: Callable[Concatenate[ToolContext, P], Coroutine[Any, Any, R]], /) -> TaskHandle[P, R]: ...
    @overload
    def task(self, function: Callable[Concatenate[ToolContext, P], R], /) -> TaskHandle[P, R]: ...
    @overload
    def task(self, function: Callable[P, Coroutine[Any, Any, R]], /) -> TaskHandle[P, R]: ...
    @overload
    def task(self, function: Callable[P, R], /) -> TaskHandle[P, R]: ...
    @overload
    def task(
        self,
        /,
        *,
        name: str | None = None,
        queue: str | None = None,
        max_retries: int = 3,
        retry_on: Sequence[type[Exception]] = (),
        autoretry_for: Sequence[type[Exception]] = (),
        retry_backoff: bool | float = False,
        retry_backoff_max: float = 600.0,
        retry_jitter: bool = True,
        visibility_timeout: float | None = None,
        deadline: float | None = None,
        version: str = "",
        on_change: OnChange = "continue",
    ) -> TaskDecorator: ...
    def task(self, function: Callable[..., Any] | None = None, /, **options: Any) -> Any:
        """Declare a durable task: any function whose runs survive what kills their worker.

        A run is delivered again `max_retries` times at most, where its worker is lost or it raises one of `retry_on`;
        0 is at most once. `deadline` is seconds from the first claim, `visibility_timeout` the seconds after which a
        silent worker counts as lost. `autoretry_for`, `retry_backoff`, `retry_backoff_max` and `retry_jitter` are
        Celery's words; `version` and `on_change` are as a prompt's. A parameter annotated ToolContext is not the
        caller's to give. Raises DeclarationError.
        """

        def declare(function: Callable[..., Any]) -> TaskHandle[..., Any]:
            _check_function("task", function)
            bound = self.registry.resources.bound
            definition = defined(function, self.app.main or "wink", bound, **options)
            self.registry.add_task(definition)
            declare_task(self, definition.name, definition.work.description)
            return TaskHandle(self, definition, function)

        return declare if function is None else declare(function)


def defined(
    function: Callable[..., Any],
    namespace: str,
    bound: Container[type],
    /,
    *,
    name: str | None = None,
    queue: str | None = None,
    max_retries: int = 3,
    retry_on: Sequence[type[Exception]] = (),
    autoretry_for: Sequence[type[Exception]] = (),
    retry_backoff: bool | float = False,
    retry_backoff_max: float = 600.0,
    retry_jitter: bool = True,
    visibility_timeout: float | None = None,
    deadline: float | None = None,
    version: str = "",
    on_change: OnChange = "continue",
    **others: Any,
) -> TaskDefinition:
    """The definition of a task that is declared so. Raises DeclarationError."""
    short = name or function.__name__
    what = f"task {short!r}"
    _refuse(what, others, defined.__kwdefaults__ or (), "deadline=")
    kinds: tuple[tuple[str, object, type | UnionType, str], ...] = (
        ("name", short, str, "text"),
        ("retry_backoff", retry_backoff, int | float, "seconds, or True"),
        ("retry_backoff_max", retry_backoff_max, int | float, "seconds"),
        ("retry_jitter", retry_jitter, bool | int, "True or False"),
    )
    for option, given, kind, words in kinds:
        check_kind(f"{what}: {option}", given, kind, words, DeclarationError)
    if not (retry_backoff >= 0 and retry_backoff_max > 0):
        message = (
            f"{what}: retry_backoff={retry_backoff!r} and retry_backoff_max={retry_backoff_max!r} "
            f"are seconds, greater than zero"
        )
        raise DeclarationError(message)
    backoff = None
    if retry_backoff:
        backoff = Backoff(first=float(retry_backoff), longest=retry_backoff_max, jitter=float(retry_jitter))
    return TaskDefinition.of(
        function,
        name=f"{namespace}.{short}",
        context_type=ToolContext,
        queue=queue,
        max_retries=max_retries,
        retry_on=(
            *listed_exceptions(what, "retry_on", retry_on),
            *listed_exceptions(what, "autoretry_for", autoretry_for),
        ),
        backoff=backoff,
        deadline=deadline,
        visibility_timeout=visibility_timeout,
        bound=bound,
        version=version,
        on_change=on_change,
    )


def _check_function(decorator: str, given: object) -> None:
    if not callable(given):
        message = f"@wink.{decorator} takes a function, and its options by name: @wink.{decorator}(name={given!r})"
        raise DeclarationError(message)


def _refuse(what: str, others: Collection[str], known: Collection[str], limit: str) -> None:
    if others:
        message = (
            f"{what} does not take {', '.join(sorted(others))}: it takes {', '.join(sorted(known))}; where Celery has "
            f"bind and self take a ToolContext parameter, and {limit} for its time limits"
        )
        raise DeclarationError(message)
