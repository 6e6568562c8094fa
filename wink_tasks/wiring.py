"""The only place where the runtime meets its adapters."""

from __future__ import annotations

import logging
import os
import random
import socket
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any, Protocol
from uuid import UUID, uuid4

from celery import Celery

from wink_tasks.adapters.celery.outcomes import CeleryOutcomes
from wink_tasks.adapters.celery.ringer import CeleryRinger
from wink_tasks.adapters.celery.task_events import TaskEvents
from wink_tasks.adapters.clock import SystemClock
from wink_tasks.adapters.redis.store import RedisStore
from wink_tasks.core.errors import ConfigurationError
from wink_tasks.ports.clock import Clock
from wink_tasks.ports.doorbell import Ringer
from wink_tasks.ports.fleet import Fleet, Worker
from wink_tasks.ports.ledger import Ledger
from wink_tasks.ports.mailbox import Mailbox
from wink_tasks.ports.outcome import OutcomeSink
from wink_tasks.ports.provider import Provider
from wink_tasks.ports.telemetry import MetricsCollector, NullTracer, Tracer
from wink_tasks.runtime.cache import SessionCache
from wink_tasks.runtime.findings import about_store
from wink_tasks.runtime.guards.breaker import BreakerGuard
from wink_tasks.runtime.guards.telemetry import TelemetryGuard
from wink_tasks.runtime.guards.time_limit import TimeLimitGuard
from wink_tasks.runtime.keeper import Keeper
from wink_tasks.runtime.loop import BackgroundLoop
from wink_tasks.runtime.parts import AgreedBudget, BudgetEstimator, ListedOrder, ModelRouter, Parts
from wink_tasks.runtime.providers import Factory, Providers
from wink_tasks.runtime.reaper import Reaper
from wink_tasks.runtime.registry import Registry
from wink_tasks.runtime.resources import Resources
from wink_tasks.runtime.step import Steps
from wink_tasks.runtime.submit import Submitter
from wink_tasks.settings import Settings
from wink_tasks.testing.inline import InlineWorker, KeptOutcomes
from wink_tasks.testing.memory import MemoryStore

log = logging.getLogger(__name__)

SHARED_SETTINGS = ("partitions",)


class Store(Protocol):
    """The three ports that one store serves."""

    @property
    def mailbox(self) -> Mailbox:
        """Work that is owed."""
        ...

    @property
    def ledger(self) -> Ledger:
        """What happened."""
        ...

    @property
    def fleet(self) -> Fleet:
        """Who is alive."""
        ...

    @property
    def url(self) -> str:
        """Where it is, without a password."""
        ...

    def close(self) -> None:
        """Let go of connections."""
        ...


@dataclass(frozen=True, kw_only=True)
class Choices:
    """What an application, or a test, may put in the place of what we ship."""

    providers: Mapping[str, Factory]
    resources: Mapping[type, Any]
    metrics: MetricsCollector
    tracer: Tracer
    router: ModelRouter = field(default_factory=ListedOrder)
    estimator: BudgetEstimator = field(default_factory=AgreedBudget)
    clock: Clock = field(default_factory=SystemClock)
    draw: Callable[[], float] = random.random
    uuid4: Callable[[], UUID] = uuid4
    pass_time: Callable[[float], object] = time.sleep


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
        expects_workers: bool = True,
        shares: str = "",
    ) -> None:
        self._settings = settings
        self.work = work
        self._shares = shares
        self.store = store
        self.clock = choices.clock
        self.ringer = ringer
        self._loop = BackgroundLoop()
        self._keeper = Keeper(store.mailbox, choices.clock, every=settings.visibility_timeout / 3)
        self._keeping = False
        self._starting = threading.Lock()
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
            clock=choices.clock,
            draw=choices.draw,
            registry=registry,
            providers=self.providers,
            resources=Resources(choices.resources),
            router=choices.router,
            estimator=choices.estimator,
            loop=self._loop,
            cache=SessionCache(settings.cached_sessions),
            keeper=self._keeper,
            metrics=choices.metrics,
            tracer=choices.tracer,
            actor=f"{socket.gethostname()}:{os.getpid()}",
            step_limit=settings.step_limit,
            continuation_steps=settings.continuation_steps if settings.continuation else 1,
            continuation_seconds=settings.continuation_seconds,
        )
        self.steps = Steps(self.parts)
        self.submitter = Submitter(
            self.parts,
            uuid4=choices.uuid4,
            partitions=settings.partitions,
            tenant=settings.default_tenant,
            visibility_timeout=settings.visibility_timeout,
            expects_workers=expects_workers,
        )
        self._agreed = False

    def working(self) -> Steps:
        """What works on messages, with its leases held from now on."""
        self.agree()
        with self._starting:
            if not self._keeping:
                self._keeping = True
                self._keeper.start()
        return self.steps

    def agree(self) -> None:
        """Look at the store, and compare what all processes must share; at first use.

        Raises ConfigurationError where the store cannot hold ledgers, or another process has a setting otherwise.
        """
        if self._agreed:
            return
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
        self._agreed = True

    def join(self, describe: Callable[[], Worker]) -> None:
        """Be a member of the fleet: signs of life, and reaping where elected."""
        self.agree()
        if self._shares:
            log.warning(
                "ledgers share the memory of %s: give them a Redis of their own by WINK_REDIS_URL", self._shares
            )
        if self._reaper is None:
            self._reaper = Reaper(
                worker=describe,
                fleet=self.store.fleet,
                mailbox=self.store.mailbox,
                ledger=self.store.ledger,
                ringer=self.ringer,
                clock=self.clock,
                beat=self._settings.worker_beat,
                every=self._settings.reap_every,
                retention=self._settings.retention,
            )
            self._reaper.start()

    def closing(self) -> None:
        """Go on with nothing: each slot ends with the step in its hands."""
        self.steps.close()

    def close(self) -> None:
        """End what was started, each part also where another fails to end. May be called twice."""
        self.steps.close()
        with ExitStack() as last:
            last.callback(self.store.close)
            last.callback(self._end_loop)
            last.callback(self._keeper.stop)
            if self._reaper is not None:
                last.callback(self._reaper.stop)
        self._reaper, self._keeping = None, False

    def _end_loop(self) -> None:
        if self._loop.started:  # else no provider has a connection
            self._loop.submit(self.providers.close()).result()
        self._loop.stop()


def redis_url(settings: Settings, app: Celery) -> tuple[str, str]:
    """Where the ledgers are, and why there. Raises ConfigurationError where nothing tells."""
    if settings.redis_url:
        return settings.redis_url, "WINK_REDIS_URL"
    for name in ("result_backend", "broker_url"):
        url = getattr(app.conf, name) or ""
        if url.startswith(("redis://", "rediss://", "unix://", "redis+socket://")):
            return url.replace("redis+socket://", "unix://"), f"the app's {name}"
    message = (
        "nothing tells in which Redis the ledgers are: set WINK_REDIS_URL=redis://host:6379/0 "
        "(the app's result backend and broker are no Redis)"
    )
    raise ConfigurationError(message)


def celery_house(*, app: Celery, events: TaskEvents, settings: Settings, choices: Choices, registry: Registry) -> House:
    """The house of a process that works with Celery and Redis."""
    url, why = redis_url(settings, app)
    store = RedisStore(
        url, prefix=settings.prefix, partitions=settings.partitions, give_up_after=settings.store_give_up_after
    )
    return House(
        settings=settings,
        choices=choices,
        registry=registry,
        store=store,
        ringer=CeleryRinger(app, choices.tracer),
        outcomes=CeleryOutcomes(app, events),
        work=lambda _: None,
        shares="" if settings.redis_url else why,
    )


def memory_house(*, settings: Settings, choices: Choices, registry: Registry) -> House:
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
        outcomes=KeptOutcomes(),
        work=worker.work,
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


def shipped_providers() -> dict[str, Factory]:
    """The providers that every application has, by name. An SDK is imported when its provider is first used."""

    def offline() -> Provider:
        from wink_tasks.adapters.providers.offline import OfflineReviewer

        return OfflineReviewer()

    def openai() -> Provider:
        from wink_tasks.adapters.providers.openai import OpenAIProvider

        return OpenAIProvider()

    return {"offline": offline, "openai": openai}


def router_queue(app: Celery, task: str) -> str:
    """The queue to which the app's own routes send a task."""
    queue: str = app.amqp.router.route({}, task)["queue"].name
    return queue
