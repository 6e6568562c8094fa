"""Where an application declares its prompts, tools, resources and providers."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from importlib import import_module
from importlib.metadata import version
from typing import Any, Literal, ParamSpec, TypeVar, overload
from weakref import WeakKeyDictionary

from celery import Celery

from wink_tasks.adapters.celery.handles import PromptHandle, ToolHandle
from wink_tasks.adapters.celery.run import Desk, Run
from wink_tasks.adapters.celery.task_events import TaskEvents
from wink_tasks.adapters.celery.tasks import declare_prompt, declare_tool
from wink_tasks.adapters.celery.worker import attach
from wink_tasks.core.errors import ConfigurationError, DeclarationError, UnknownPromptError, UnsupportedError
from wink_tasks.core.events import Json
from wink_tasks.core.ids import checked_name, checked_tenant, evaluation_of
from wink_tasks.core.limits import Budget
from wink_tasks.core.options import CallOptions
from wink_tasks.core.prompt import PromptDefinition
from wink_tasks.core.tool import ToolDefinition
from wink_tasks.ports.fleet import Worker
from wink_tasks.ports.mailbox import Address, Claimed
from wink_tasks.ports.provider import Provider
from wink_tasks.ports.telemetry import MetricsCollector, NullMetrics, Tracer
from wink_tasks.runtime.context import ToolContext
from wink_tasks.runtime.parts import AgreedBudget, BudgetEstimator, ListedOrder, ModelRouter
from wink_tasks.runtime.providers import Factory, split_model
from wink_tasks.runtime.registry import Registry
from wink_tasks.runtime.session import Session
from wink_tasks.runtime.standing import explain
from wink_tasks.runtime.step import Steps
from wink_tasks.runtime.turn import UNKNOWN_HERE
from wink_tasks.settings import load_settings
from wink_tasks.wiring import Choices, House, celery_house, chosen_tracer, memory_house, router_queue, shipped_providers

P = ParamSpec("P")
T = TypeVar("T")
R = TypeVar("R")

CELERYS_OWN = frozenset(
    {
        "producer",
        "connection",
        "retry",
        "retry_policy",
        "add_to_parent",
        "group_id",
        "group_index",
        "root_id",
        "parent_id",
        "ignore_result",
        "reply_to",
        "shadow",
    }
)
"""Options of Celery's that say how a message is published; a doorbell is published our way."""

_declared: WeakKeyDictionary[Celery, Wink] = WeakKeyDictionary()


class Wink:
    """Prompts and tools of one Celery app. Declaring does no I/O.

    `providers` adds model providers by name (an instance, or a function that makes one); `resources` gives tools what
    they ask for by type. Any setting may be given by keyword, which goes before its `WINK_*` variable.
    Raises ConfigurationError for settings that do not fit, and for a second Wink on one app.
    """

    def __init__(
        self,
        app: Celery | None = None,
        *,
        providers: Mapping[str, Provider | Factory] | None = None,
        resources: Mapping[type, Any] | None = None,
        metrics: MetricsCollector | None = None,
        tracer: Tracer | None = None,
        router: ModelRouter | None = None,
        estimator: BudgetEstimator | None = None,
        **settings: Any,
    ) -> None:
        self.app = app or Celery("wink")
        if self.app in _declared:
            message = f"the Celery app {self.app.main!r} has a Wink already: import that one"
            raise ConfigurationError(message)
        self.settings = load_settings(**settings)
        self.events = TaskEvents(self.app)
        self.registry = Registry(self.app.main or "wink", self._route)
        self._providers: dict[str, Factory] = {**shipped_providers(), **_factories(providers or {})}
        self._resources = dict(resources or {})
        self._metrics = metrics or NullMetrics()
        self._tracer = tracer or chosen_tracer(self.settings)
        self._router = router or ListedOrder()
        self._estimator = estimator or AgreedBudget()
        self._houses: dict[int, House] = {}
        self._replacement: House | None = None
        attach(self, version("wink-tasks"), self._known)
        _declared[self.app] = self

    # Declaring

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
            chosen = {**options, "name": options.get("name") or function.__name__}
            chosen["retry_on"] = tuple(options.get("retry_on", ()))
            definition = ToolDefinition.of(function, context_type=ToolContext, **chosen)
            self.registry.add_tool(definition)
            task = self.registry.tool_task(definition.name)
            declare_tool(self, task, definition.description, timeout=definition.timeout)
            return ToolHandle(self, definition, task, function)

        return declare if function is None else declare(function)

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
    ) -> Callable[[Callable[P, str]], PromptHandle[P, T]]:
        """Declare a prompt: the docstring is the instructions, the body gives what the user says.

        `model` is "provider:model", or several of which the next one is taken when one fails. `deadline` is seconds
        from the first claim. `history` is "session", "none", or how many earlier exchanges the model is shown.
        Raises DeclarationError.
        """

        def declare(function: Callable[P, str]) -> PromptHandle[P, T]:
            definition = PromptDefinition.from_function(
                function,
                ns=self.app.main or "wink",
                key=name or function.__name__,
                output=output,
                tools=tuple(tool.definition for tool in tools),
                models=(model,) if isinstance(model, str) else tuple(model),
                model_settings=dict(model_settings or {}),
                deadline=deadline,
                budget=budget or Budget(),
                max_turns=max_turns,
                history=history,
                queue=queue,
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

    # Using

    def run(self, run_id: str, *, tenant: str | None = None) -> Run[Any]:
        """The handle of an evaluation, by its id or that of any of its steps. Does no I/O."""
        chosen = checked_tenant(tenant or self.settings.default_tenant)
        return Run(evaluation_of(run_id), desk=self.desk, tenant=chosen, app=self.app)

    def session(self, name: str, *, tenant: str | None = None) -> Session:
        """A session, read at first use."""
        chosen = checked_tenant(tenant or self.settings.default_tenant)
        return Session(self.house().store.ledger, chosen, checked_name("session", name))

    def send(self, prompt: str, args: Sequence[Any], kwargs: Mapping[str, Any], options: Mapping[str, Any]) -> Run[Any]:
        """Accept a run of the prompt of that name: what `PromptHandle.delay` does. Raises UnknownPromptError."""
        if self._replacement is None and self.app.conf.task_always_eager:
            return self.run_here(prompt, args, kwargs, options)
        return self._submit(self.house(), prompt, args, kwargs, options)

    def run_here(
        self, prompt: str, args: Sequence[Any], kwargs: Mapping[str, Any], options: Mapping[str, Any]
    ) -> Run[Any]:
        """Run a prompt to its end in this process, in memory: with its real provider, or as `in_memory` has it."""
        if self._replacement is not None:
            return self._submit(self._replacement, prompt, args, kwargs, options)
        house = memory_house(settings=self.settings, choices=self._choices(), registry=self.registry)
        try:
            run = self._submit(house, prompt, args, kwargs, options)
            for _ in run.events():
                pass
        finally:
            house.close()
        return run

    def _submit(
        self, house: House, prompt: str, args: Sequence[Any], kwargs: Mapping[str, Any], options: Mapping[str, Any]
    ) -> Run[Any]:
        if prompt not in self.registry.prompts:
            message = f"no prompt is called {prompt!r}; there are: {', '.join(sorted(self.registry.prompts))}"
            raise UnknownPromptError(message)
        chosen = call_options(options)
        if chosen.model is not None:
            self._check_models(prompt, [chosen.model] if isinstance(chosen.model, str) else chosen.model)
        house.agree()
        tenant, run = house.submitter.submit(self.registry.prompts[prompt], args, kwargs, chosen)
        return Run(run, desk=lambda: self._desk(house), tenant=tenant, app=self.app)

    def desk(self) -> Desk:
        """What handles of this process work with."""
        return self._desk(self.house())

    def _desk(self, house: House) -> Desk:
        return Desk(
            mailbox=house.store.mailbox,
            ledger=house.store.ledger,
            ringer=house.ringer,
            clock=house.clock,
            session=lambda tenant, name: Session(house.store.ledger, tenant, name),
            load_output=self._load_output,
            explain=lambda record: explain(
                record, ledger=house.store.ledger, fleet=house.store.fleet, clock=house.clock
            ),
            work=house.work,
            on_loop=house.parts.loop.is_current,
        )

    def _load_output(self, prompt: str, output: Json) -> Any:
        definition = self.registry.prompts.get(prompt)
        return output if definition is None else definition.load_output(output)

    def use_metrics(self, metrics: MetricsCollector) -> None:
        """Measure with `metrics` from now on. Raises ConfigurationError once this process has begun to work."""
        if os.getpid() in self._houses:
            message = "metrics are chosen before the first run is started or worked on in a process"
            raise ConfigurationError(message)
        self._metrics = metrics

    # Being a worker

    def house(self) -> House:
        """Everything of this process, joined at first use; a forked child makes its own."""
        if self._replacement is not None:
            return self._replacement
        pid = os.getpid()
        if pid not in self._houses:
            made = celery_house(
                app=self.app,
                events=self.events,
                settings=self.settings,
                choices=self._choices(),
                registry=self.registry,
            )
            self._houses.setdefault(
                pid, made
            )  # of threads that came at once, one house is used; none has opened anything
        return self._houses[pid]

    def steps(self) -> Steps:
        """What works on messages in this process."""
        return self.house().working()

    def check(self) -> None:
        """Look whether this process can work at all. Raises ConfigurationError."""
        self.house().agree()

    def join(self, describe: Callable[[], Worker]) -> None:
        """Begin to show signs of life and to reap."""
        self.house().join(describe)

    def postpone(self, address: Address, task: str, reason: str) -> None:
        """Give a message back that this process cannot work on, uncounted."""
        house = self.house()
        claimed = house.store.mailbox.claim(address, task=task, owner=house.parts.actor, after=None)
        if isinstance(claimed, Claimed):
            bells = house.store.mailbox.nack(claimed.receipt, delay=UNKNOWN_HERE, counts=False, error=reason)
            house.ringer.ring(bells)

    def closing(self) -> None:
        """Go on with nothing: each slot ends with the step in its hands."""
        if (house := self._houses.get(os.getpid())) is not None:
            house.closing()

    def leave(self) -> None:
        """End what this process started. May be called twice."""
        if (house := self._houses.pop(os.getpid(), None)) is not None:
            house.close()

    @contextmanager
    def in_memory(self, **choices: Any) -> Iterator[House]:
        """Everything that is sent meanwhile runs in this process, in memory; `choices` replace those of `Choices`."""
        house = memory_house(settings=self.settings, choices=self._choices(**choices), registry=self.registry)
        before, self._replacement = self._replacement, house
        try:
            yield house
        finally:
            self._replacement = before
            house.close()

    def _choices(self, **others: Any) -> Choices:
        mine: dict[str, Any] = {
            "providers": self._providers,
            "resources": self._resources,
            "metrics": self._metrics,
            "tracer": self._tracer,
            "router": self._router,
            "estimator": self._estimator,
        }
        return Choices(**{**mine, **others})

    def _known(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        return tuple(sorted(self.registry.prompts)), tuple(sorted(self.registry.tools))

    def _route(self, task: str, split: str) -> str:
        return split if self.settings.split_queues else router_queue(self.app, task)


def call_options(options: Mapping[str, Any]) -> CallOptions:
    """Celery's and our options of a call. Raises UnsupportedError for one that would be lost."""
    given = {name: value for name, value in options.items() if name not in CELERYS_OWN and value is not None}
    lost = sorted(name for name, value in given.items() if name not in CallOptions.__dataclass_fields__ and value)
    if lost:
        message = f"a prompt does not take {', '.join(lost)} in this version; it would be lost, so nothing was sent"
        raise UnsupportedError(message)
    given = {name: value for name, value in given.items() if name in CallOptions.__dataclass_fields__}
    if isinstance(given.get("budget"), Mapping):
        given["budget"] = Budget(**given["budget"])
    for name in ("eta", "expires"):
        if isinstance(given.get(name), str):
            given[name] = datetime.fromisoformat(given[name])
    return CallOptions(**given)


def find_wink(path: str | None) -> Wink:
    """The application at `package.module:name`. Raises ConfigurationError, which says what is wrong with the path."""
    module, colon, name = (path or "").partition(":")
    if not (module and colon and name):
        message = f"the application is named as package.module:wink (--app, or WINK_APP), not {path!r}"
        raise ConfigurationError(message)
    try:
        found = getattr(import_module(module), name)
    except (ImportError, AttributeError) as error:
        message = f"the application {path!r} cannot be imported: {error}"
        raise ConfigurationError(message) from error
    if not isinstance(found, Wink):
        message = f"{path!r} is a {type(found).__name__}, not a Wink"
        raise ConfigurationError(message)
    return found


def _factories(providers: Mapping[str, Provider | Factory]) -> dict[str, Factory]:
    def factory(given: Any) -> Factory:
        made = not isinstance(given, type) and hasattr(given, "complete")
        return (lambda: given) if made else given

    return {name: factory(given) for name, given in providers.items()}
