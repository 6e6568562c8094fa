"""Where an application declares its prompts, tools, resources and providers."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import import_module
from importlib.metadata import version
from threading import Lock
from typing import Any, ParamSpec, TypeVar
from weakref import WeakKeyDictionary

from celery import Celery

from wink_tasks.adapters.celery.children import PoolChildren, is_pool_child
from wink_tasks.adapters.celery.host import check_host, router_queue
from wink_tasks.adapters.celery.options import call_options
from wink_tasks.adapters.celery.outcomes import OutcomesHere
from wink_tasks.adapters.celery.run import Desk, Run
from wink_tasks.adapters.celery.task_events import TaskEvents
from wink_tasks.adapters.celery.worker import attach
from wink_tasks.adapters.providers.shipped import shipped_providers
from wink_tasks.core.errors import ConfigurationError, UnknownPromptError
from wink_tasks.core.events import Json
from wink_tasks.core.ids import checked_name, checked_tenant, evaluation_of
from wink_tasks.core.kinds import check_kind, models_in
from wink_tasks.declaring import Declares
from wink_tasks.ports.archive import Archive
from wink_tasks.ports.fleet import Worker
from wink_tasks.ports.line import LinesToChildren
from wink_tasks.ports.mailbox import Address, Claimed
from wink_tasks.ports.provider import Provider
from wink_tasks.ports.rejections import Rejected
from wink_tasks.ports.telemetry import MetricsCollector, NullMetrics, Tracer
from wink_tasks.ports.waiting import Aside
from wink_tasks.ports.work import Revoker
from wink_tasks.runtime.aside import aside
from wink_tasks.runtime.parts import AgreedBudget, BudgetEstimator, ListedOrder, ModelRouter
from wink_tasks.runtime.past import PastSession
from wink_tasks.runtime.providers import Factory, factories
from wink_tasks.runtime.registry import Registry
from wink_tasks.runtime.resumption import Resumption
from wink_tasks.runtime.session import Session
from wink_tasks.runtime.standing import explain
from wink_tasks.runtime.step import Steps
from wink_tasks.runtime.versions import UNKNOWN_HERE
from wink_tasks.settings import load_settings
from wink_tasks.testing.inline import KeptOutcomes
from wink_tasks.wiring import Choices, House, celery_house, chosen_tracer, memory_house

P = ParamSpec("P")
T = TypeVar("T")
R = TypeVar("R")

_declared: WeakKeyDictionary[Celery, Wink] = WeakKeyDictionary()


class Wink(Declares):
    """Prompts, tools and durable tasks of one Celery app. Declaring does no I/O.

    `providers` adds model providers by name (an instance, or a function that makes one); `resources` gives tools what
    they ask for by type, one a process (`wink.resources.bind` can do more). `archive` takes the sessions that retention
    drops, else the folder WINK_ARCHIVE_DIR does. Any setting may be given by keyword, which goes before its `WINK_*`
    variable.
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
        archive: Archive | None = None,
        **settings: Any,
    ) -> None:
        self.app = app or Celery("wink")
        if self.app in _declared:
            message = f"the Celery app {self.app.main!r} has a Wink already: import that one"
            raise ConfigurationError(message)
        self.settings = load_settings(**settings)
        self.children = PoolChildren()
        self.events = TaskEvents(self.app, self.children)
        self.aside: Aside = aside
        self.registry = Registry(self.app.main or "wink", self._route)
        self.slices = self.registry.slices
        self.resources = self.registry.resources
        self._providers: dict[str, Factory] = {**shipped_providers(), **factories(providers or {})}
        for wanted, bound in (resources or {}).items():
            self.resources.bind(wanted, bound)
        self._metrics = metrics or NullMetrics()
        self._tracer = tracer or chosen_tracer(self.settings)
        self._router = router or ListedOrder()
        self._estimator = estimator or AgreedBudget()
        self._archive = archive
        self._houses: dict[int, House] = {}
        self._leaving = Lock()
        self._replacement: House | None = None
        attach(self, version("wink-tasks"), self.registry.known, grace=self.settings.shutdown_grace)
        _declared[self.app] = self

    def run(self, run_id: str, *, tenant: str | None = None) -> Run[Any]:
        """The handle of an evaluation, by its id or that of any of its steps. Does no I/O."""
        check_kind("run_id", run_id, str, "text (of a Run: use run.id)")
        chosen = checked_tenant(tenant or self.settings.default_tenant)
        return Run(evaluation_of(run_id), desk=self.desk, tenant=chosen, app=self.app)

    def session(self, name: str, *, tenant: str | None = None, at: int | None = None) -> Session:
        """A session, read at first use; with `at`, as it was when its event of that number was the newest."""
        chosen = checked_tenant(tenant or self.settings.default_tenant)
        found = self.house().session(chosen, checked_name("session", name))
        return found if at is None else PastSession.of(found, at)

    def send(self, prompt: str, args: Sequence[Any], kwargs: Mapping[str, Any], options: Mapping[str, Any]) -> Run[Any]:
        """Accept a run of the prompt, task or tool of that name: what `delay` does. Raises UnknownPromptError."""
        if self._replacement is None and self.app.conf.task_always_eager:
            return self.run_here(prompt, args, kwargs, options)
        return self._submit(self.house(), prompt, args, kwargs, options)

    def run_here(
        self, prompt: str, args: Sequence[Any], kwargs: Mapping[str, Any], options: Mapping[str, Any]
    ) -> Run[Any]:
        """Run a prompt to its end in this process, in memory: with its real provider, or as `in_memory` has it."""
        if self._replacement is not None:
            return self._submit(self._replacement, prompt, args, kwargs, options)
        house = memory_house(
            settings=self.settings, choices=self._choices(), registry=self.registry, outcomes=OutcomesHere(self.app)
        )
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
        definition = self.registry.find(prompt)
        if definition is None:
            message = f"no prompt is called {prompt!r}; there are: {', '.join(sorted(self.registry.prompts))}"
            raise UnknownPromptError(message)
        chosen = call_options(self.app, options)
        if chosen.model is not None:
            self._check_models(prompt, models_in(chosen.model))
        house.agree()
        tenant, run = house.submitter.submit(definition, args, kwargs, chosen)
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
            session=house.session,
            load_output=self._load_output,
            explain=lambda record: explain(
                record, ledger=house.store.ledger, fleet=house.store.fleet, clock=house.clock
            ),
            work=house.work,
            tell_workers=house.tell_workers,
            on_loop=house.parts.loop.is_current,
            resume=Resumption(
                parts=house.parts,
                visibility_timeout=self.settings.visibility_timeout,
                work=house.work,
                check_models=self._check_models,
            ).resume,
            aside=self.aside,
            waiting=house.waiting,
        )

    def _load_output(self, prompt: str, output: Json) -> Any:
        definition = self.registry.find(prompt)
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
            check_host(self.app, self, self.registry.celery_tasks())
            settings, registry, choices = self.settings, self.registry, self._choices()
            made = celery_house(app=self.app, events=self.events, settings=settings, choices=choices, registry=registry)
            # Of threads that came at once, one house is used; none has opened anything.
            self._houses.setdefault(pid, made)
        return self._houses[pid]

    def steps(self) -> Steps:
        """What works on messages in this process."""
        house = self.house()
        if is_pool_child() and not house.parts.interrupts.listening:
            # That of Celery's soft time limits: a child keeps no other.
            house.parts.interrupts.listen(signal.SIGUSR1)
        return house.working()

    def limited_mailboxes(self) -> frozenset[str]:
        """Where calls of tools go that have a time limit of Celery's; an inline tool is asked to stop instead."""
        tasks = {name: self.app.tasks[name] for name in self.registry.tools}
        limited = [name for name, task in tasks.items() if task.time_limit or task.soft_time_limit]
        return self.registry.call_mailboxes(limited)

    def revoker(self) -> Revoker:
        """What ends evaluations from outside of their steps."""
        return self.house().revocation

    def check(self) -> None:
        """Look whether this process can work at all. Raises ConfigurationError."""
        self.house().agree()

    def join(self, describe: Callable[[], Worker]) -> None:
        """Begin to show signs of life and to reap."""
        self.house().join(describe)

    def postpone(self, address: Address, task: str, reason: str) -> None:
        """Give a message back that this process cannot work on, uncounted."""
        house = self.house()
        claimed = house.store.mailbox.claim(address, task=task, owner=house.parts.actor, after=None, patient=True)
        if isinstance(claimed, Claimed):
            bells = house.store.mailbox.nack(claimed.receipt, delay=UNKNOWN_HERE, counts=False, error=reason)
            house.ringer.ring(bells)

    def keep(self, rejected: Rejected) -> None:
        """Keep a message that Celery cannot run."""
        self.house().store.rejections.keep(rejected)

    def keep_for(self, lines: LinesToChildren) -> None:
        """Hold the leases of this process's children from now on."""
        self.house().keep_for(lines)

    def closing(self) -> None:
        """Claim nothing: each slot ends with the step in its hands."""
        if (house := self._houses.get(os.getpid())) is not None:
            house.closing()

    def hand_back(self) -> int:
        """Give what is in hand to other workers, at once; how many steps that were."""
        house = self._houses.get(os.getpid())
        return 0 if house is None else house.hand_back()

    def leave(self) -> None:
        """End what this process started. May be called twice; who comes second waits for the first."""
        with self._leaving:
            if (house := self._houses.pop(os.getpid(), None)) is not None:
                house.close()

    async def aleave(self) -> None:
        """As `leave`: for the end of an application's lifespan."""
        await self.aside(self.leave)

    @contextmanager
    def in_memory(self, **choices: Any) -> Iterator[House]:
        """Everything that is sent meanwhile runs in this process, in memory; `choices` replace those of `Choices`."""
        house = memory_house(
            settings=self.settings,
            choices=self._choices(**choices),
            registry=self.registry,
            outcomes=KeptOutcomes(),
        )
        before, self._replacement = self._replacement, house
        try:
            yield house
        finally:
            self._replacement = before
            house.close()

    def _choices(self, **others: Any) -> Choices:
        mine: dict[str, Any] = {
            "providers": self._providers,
            "metrics": self._metrics,
            "tracer": self._tracer,
            "router": self._router,
            "estimator": self._estimator,
            "archive": self._archive,
        }
        return Choices(**{**mine, **others})

    def _route(self, task: str, split: str) -> str:
        return split if self.settings.split_queues else router_queue(self.app, task)


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
