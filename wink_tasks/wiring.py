"""The only place where the runtime meets its adapters."""

from __future__ import annotations

import logging
import os
import random
import socket
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any
from uuid import UUID, uuid4

from celery import Celery
from msgspec import structs

from wink_tasks.adapters.archive import DirectoryArchive
from wink_tasks.adapters.celery.broadcast import tell_workers
from wink_tasks.adapters.celery.host import redis_url
from wink_tasks.adapters.celery.outcomes import CeleryOutcomes
from wink_tasks.adapters.celery.prefork import line_to_parent
from wink_tasks.adapters.celery.ringer import CeleryRinger
from wink_tasks.adapters.celery.task_events import TaskEvents
from wink_tasks.adapters.celery.words import in_our_words
from wink_tasks.adapters.clock import StoreClock, SystemClock
from wink_tasks.adapters.redis.store import RedisStore
from wink_tasks.core.errors import ConfigurationError
from wink_tasks.ports.archive import Archive
from wink_tasks.ports.clock import Clock
from wink_tasks.ports.doorbell import Ringer
from wink_tasks.ports.fleet import Worker
from wink_tasks.ports.line import LinesToChildren, LineToParent
from wink_tasks.ports.outcome import OutcomeSink
from wink_tasks.ports.provider import Provider
from wink_tasks.ports.store import Store
from wink_tasks.ports.telemetry import MetricsCollector, NullTracer, Tracer
from wink_tasks.ports.waiting import Waiting
from wink_tasks.runtime.archiving import Archivist
from wink_tasks.runtime.cache import SessionCache
from wink_tasks.runtime.children import Children, ForwardingKeeper
from wink_tasks.runtime.closing import close_each, hand_back
from wink_tasks.runtime.findings import about_store
from wink_tasks.runtime.guards.breaker import BreakerGuard
from wink_tasks.runtime.guards.telemetry import TelemetryGuard
from wink_tasks.runtime.guards.time_limit import TimeLimitGuard
from wink_tasks.runtime.interrupts import Interrupts
from wink_tasks.runtime.keeper import Keeper, LeaseKeeper
from wink_tasks.runtime.loop import BackgroundLoop
from wink_tasks.runtime.parts import AgreedBudget, BudgetEstimator, ListedOrder, ModelRouter, Parts
from wink_tasks.runtime.pausing import Holds
from wink_tasks.runtime.providers import Factory, Providers
from wink_tasks.runtime.reaper import Reaper
from wink_tasks.runtime.registry import Registry
from wink_tasks.runtime.resources import Singletons
from wink_tasks.runtime.revocation import Revocation
from wink_tasks.runtime.session import Session
from wink_tasks.runtime.step import Steps
from wink_tasks.runtime.submit import Submitter
from wink_tasks.runtime.watch import Glance, Watch
from wink_tasks.settings import COMPARED, Settings
from wink_tasks.testing.inline import InlineWorker
from wink_tasks.testing.memory import MemoryStore

log = logging.getLogger(__name__)

SHARED_SETTINGS = ("partitions",)

LONGEST_CLOSE = 5.0
"""Seconds after which a part that does not end is left behind."""


def actor_of(pid: int) -> str:
    """What a process of this host is called in ledgers and leases."""
    return f"{socket.gethostname()}:{pid}"


@dataclass(frozen=True, kw_only=True)
class Choices:
    """What an application, or a test, may put in the place of what we ship."""

    providers: Mapping[str, Factory]
    metrics: MetricsCollector
    tracer: Tracer
    resources: Mapping[type, Any] = field(default_factory=dict)
    router: ModelRouter = field(default_factory=ListedOrder)
    estimator: BudgetEstimator = field(default_factory=AgreedBudget)
    archive: Archive | None = None
    clock: Clock = field(default_factory=SystemClock)
    draw: Callable[[], float] = random.random
    uuid4: Callable[[], UUID] = uuid4
    pass_time: Callable[[float], object] | None = None


class House:
    """Everything of one process, joined. Nothing is opened before it is used."""

    def __init__(
        self,
        *,
        settings: Settings,
        choices: Choices,
        registry: Registry,
        store: Store,
        ringer: Ringer,
        outcomes: OutcomeSink,
        work: Callable[[float], None],
        waiting: Waiting,
        tell_workers: Callable[..., None] | None = None,
        clock: Clock | None = None,
        expects_workers: bool = True,
        shares: str = "",
        line: LineToParent | None = None,
    ) -> None:
        self._settings = settings
        self.work = work
        self.waiting = waiting
        self._shares = shares
        self.store = store
        self.clock = choices.clock
        self.ringer = ringer
        self._loop = BackgroundLoop()
        registry.check()
        self._resources = Singletons(registry.resources.replaced(choices.resources), self._loop)
        leases = [task.visibility_timeout or settings.visibility_timeout for task in registry.tasks.values()]
        shortest = min((settings.visibility_timeout, *leases))
        self._leases = LeaseKeeper(store.mailbox, choices.clock, every=shortest / 3)
        self._keeper: Keeper = self._leases
        if line is not None:
            self._keeper = ForwardingKeeper(line, closing=self.closing)
        self._children: Children | None = None
        self._reaper: Reaper | None = None
        from wink_tasks.adapters.breaker import ProcessBreaker  # pybreaker brings tornado

        breaker = ProcessBreaker(
            choices.clock, failures=settings.breaker_failures, open_seconds=settings.breaker_open_seconds
        )

        def time_limited(provider: Provider, name: str) -> Provider:
            return TimeLimitGuard(provider, name=name, seconds=settings.provider_timeout)

        def broken(provider: Provider, name: str) -> Provider:
            return BreakerGuard(provider, name=name, breaker=breaker)

        def seen(provider: Provider, name: str) -> Provider:
            return TelemetryGuard(provider, name=name, tracer=choices.tracer)

        self.providers = Providers(choices.providers, guards=(broken, time_limited, seen))
        self.parts = Parts(
            mailbox=store.mailbox,
            ledger=store.ledger,
            fleet=store.fleet,
            ringer=ringer,
            outcomes=outcomes,
            clock=clock or choices.clock,
            draw=choices.draw,
            registry=registry,
            providers=self.providers,
            resources=self._resources,
            router=choices.router,
            estimator=choices.estimator,
            in_our_words=in_our_words,
            loop=self._loop,
            cache=SessionCache(settings.cached_sessions, registry.reducers),
            keeper=self._keeper,
            holds=Holds(store.pauses, choices.clock),
            interrupts=Interrupts(),
            metrics=choices.metrics,
            tracer=choices.tracer,
            actor=actor_of(os.getpid()),
            step_limit=settings.step_limit,
            continuation_steps=settings.continuation_steps if settings.continuation else 1,
            continuation_seconds=settings.continuation_seconds,
        )
        self.steps = Steps(self.parts)
        self.revocation = Revocation(
            mailbox=store.mailbox, ledger=store.ledger, ringer=ringer, keeper=self._keeper, owner_of=actor_of
        )
        self.submitter = Submitter(
            self.parts,
            uuid4=choices.uuid4,
            partitions=settings.partitions,
            tenant=settings.default_tenant,
            visibility_timeout=settings.visibility_timeout,
            expects_workers=expects_workers,
        )
        self.tell_workers = tell_workers or self._stop
        archive = choices.archive
        if archive is None and settings.archive_dir is not None:
            archive = DirectoryArchive(settings.archive_dir)
        self.archivist: Archivist | None = None
        if archive is not None:
            self.archivist = Archivist(
                store.ledger,
                archive,
                reducers=registry.reducers,
                clock=choices.clock,
                metrics=choices.metrics,
            )
        self._agreed = False
        self._agreeing = threading.Lock()

    def _stop(self, _tenant: str, run: str, **_: Any) -> None:
        """A process that works alone is its own worker."""
        self.revocation.stop(run)

    def session(self, tenant: str, name: str) -> Session:
        """A session, read at first use."""
        return Session(
            self.store.ledger,
            tenant,
            name,
            reducers=self.parts.registry.reducers,
            actor=self.parts.actor,
            clock=self.clock,
            work=self.work,
        )

    def working(self) -> Steps:
        """What works on messages, with its leases held from now on."""
        self.agree()
        self._keeper.start()
        return self.steps

    def agree(self) -> None:
        """Look at the store, and compare what all processes must share; at first use.

        Raises ConfigurationError where the store cannot hold ledgers, or another process has a setting otherwise.
        """
        with self._agreeing:
            if not self._agreed:
                self._agree()
            self._agreed = True

    def _agree(self) -> None:
        for finding in about_store(self.store.fleet.facts()):
            if finding.level == "error":
                raise ConfigurationError(f"{self.store.url}: {finding.what}; {finding.way_out}")
            if finding.level == "warning":
                log.warning("%s: %s; %s", self.store.url, finding.what, finding.way_out)
        mine = {name: str(getattr(self._settings, name)) for name in SHARED_SETTINGS}
        for name, theirs in self.store.fleet.agree(mine).items():
            if mine.get(name, theirs) != theirs:
                message = (
                    f"WINK_{name.upper()} is {mine[name]} here, but {theirs} for those who already use "
                    f"{self.store.url} with prefix {self._settings.prefix!r}: set it to {theirs}, or use another prefix"
                )
                raise ConfigurationError(message)

    def join(self, describe: Callable[[], Worker]) -> None:
        """Be a member of the fleet: signs of life, and reaping where elected."""
        self.agree()
        if self._shares:
            log.warning(
                "ledgers share the memory of %s: give them a Redis of their own by WINK_REDIS_URL", self._shares
            )
        if self._reaper is None:
            self._reaper = Reaper(
                worker=lambda: self._described(describe()),
                fleet=self.store.fleet,
                mailbox=self.store.mailbox,
                ledger=self.store.ledger,
                ringer=self.ringer,
                clock=self.clock,
                beat=self._settings.worker_beat,
                every=self._settings.reap_every,
                retention=self._settings.retention,
                archivist=self.archivist,
            )
            self._reaper.start()

    def keep_for(self, lines: LinesToChildren) -> None:
        """Hold the leases of this process's children from now on."""
        self._children = Children(lines, self._leases, self.store.mailbox, self.ringer)
        self._leases.start()
        self._children.start()

    def compared_settings(self) -> dict[str, str]:
        """Those that other processes should have alike."""
        return {name: str(getattr(self._settings, name)) for name in COMPARED}

    def _described(self, worker: Worker) -> Worker:
        digests = {name: prompt.digest for name, prompt in self.parts.registry.prompts.items()}
        return structs.replace(worker, digests=digests, settings=self.compared_settings())

    def closing(self) -> None:
        """Claim nothing, here and in children: each slot ends with the step in its hands."""
        self.steps.close()
        if self._children is not None:
            self._children.closing()

    def hand_back(self) -> int:
        """Give what is in hand to other workers, at once; how many steps that were."""
        self.closing()
        self.steps.give_up()
        if self._children is not None:
            self._children.pardon()
        return hand_back(self._leases, self.store.mailbox, self.ringer)

    def close(self) -> None:
        """End what was started, in this order, each part also where another fails or hangs. May be called twice."""
        self.steps.give_up()
        parts: list[tuple[str, Callable[[], object]]] = []
        if self._reaper is not None:
            parts.append(("reaper", self._reaper.stop))
        if self._children is not None:
            parts.append(("lines to children", self._children.stop))
        parts += [("keeper", self._keeper.stop), ("resources", self._resources.close), ("loop", self._end_loop)]
        parts += [("ringer", self.ringer.close), ("store", self.store.close)]
        close_each(parts, seconds=LONGEST_CLOSE)
        self._reaper = self._children = None

    def _end_loop(self) -> None:
        if self._loop.started:  # else no provider has a connection
            self._loop.submit(self.providers.close()).result()
        self._loop.stop()


def celery_house(*, app: Celery, events: TaskEvents, settings: Settings, choices: Choices, registry: Registry) -> House:
    """The house of a process that works with Celery and Redis."""
    url, why = redis_url(settings, app)
    store = RedisStore(
        url,
        prefix=settings.prefix,
        partitions=settings.partitions,
        give_up_after=settings.store_give_up_after,
        replica_acks=settings.replica_acks,
    )
    return House(
        settings=settings,
        choices=choices,
        registry=registry,
        store=store,
        ringer=CeleryRinger(app, choices.tracer, store.mailbox.confirm),
        outcomes=CeleryOutcomes(app, events),
        clock=StoreClock(choices.clock, store.now),
        work=lambda _: None,
        tell_workers=partial(tell_workers, app),
        waiting=Watch(store.ledger),
        shares="" if settings.redis_url else why,
        line=line_to_parent(),
    )


def memory_house(*, settings: Settings, choices: Choices, registry: Registry, outcomes: OutcomeSink) -> House:
    """The house of a process that works alone: nothing leaves its memory, and whoever waits does the work."""
    store = MemoryStore(choices.clock, partitions=settings.partitions)
    worker = InlineWorker(
        steps=lambda: house.steps,
        mailbox=store.mailbox,
        waiting=store,
        clock=choices.clock,
        pass_time=choices.pass_time,
    )
    house = House(
        settings=settings,
        choices=choices,
        registry=registry,
        store=store,
        ringer=worker,
        outcomes=outcomes,
        work=worker.work,
        waiting=Glance(store.ledger),
        expects_workers=False,
    )
    return house


def chosen_tracer(settings: Settings) -> Tracer:
    """OpenTelemetry where WINK_TRACING is on: our spans, and Celery's own through its instrumentation."""
    if not settings.tracing:
        return NullTracer()
    from wink_tasks.adapters.telemetry.opentelemetry import OpenTelemetryTracer, instrument_celery

    instrument_celery()
    return OpenTelemetryTracer()
