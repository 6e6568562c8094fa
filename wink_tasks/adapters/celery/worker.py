"""A Celery worker as a member of the fleet: what starts with it, what it tells its consumer, what ends with it."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from celery import Celery, bootsteps, signals

from wink_tasks.adapters.celery.children import PoolChildren
from wink_tasks.adapters.celery.lifecycle import Drain
from wink_tasks.adapters.celery.prefork import ParentEnd, is_prefork
from wink_tasks.adapters.celery.rejections import Rejecting
from wink_tasks.adapters.celery.ringer import HEADER, address_in
from wink_tasks.adapters.celery.task_events import TaskEvents
from wink_tasks.ports.fleet import Worker
from wink_tasks.ports.mailbox import Address
from wink_tasks.ports.rejections import Rejected
from wink_tasks.ports.work import Revoker

log = logging.getLogger(__name__)

SWITCH_INTERVAL = 0.0005
"""Seconds after which a thread that computes lets another one run."""


class Member(Protocol):
    """What a worker process starts, asks and ends."""

    app: Celery
    events: TaskEvents
    children: PoolChildren

    def revoker(self) -> Revoker:
        """What ends evaluations from outside of their steps."""
        ...

    def check(self) -> None:
        """Look whether this process can work at all. Raises ConfigurationError, with which the worker ends."""
        ...

    def join(self, describe: Callable[[], Worker]) -> None:
        """Begin to show signs of life and to reap."""
        ...

    def postpone(self, address: Address, task: str, reason: str) -> None:
        """Give a message back that this process cannot work on, uncounted."""
        ...

    def keep(self, rejected: Rejected) -> None:
        """Keep a message that Celery cannot run."""
        ...

    def keep_for(self, lines: ParentEnd) -> None:
        """Hold the leases of this process's children from now on."""
        ...

    def closing(self) -> None:
        """Claim nothing: each slot ends with the step in its hands."""
        ...

    def hand_back(self) -> int:
        """Give what is in hand to other workers, at once; how many steps that were."""
        ...

    def leave(self) -> None:
        """End what this process started. May be called twice."""
        ...


def attach(member: Member, version: str, known: Callable[[], Mapping[str, tuple[str, ...]]], *, grace: float) -> None:
    """Have every worker of the app join the fleet. `known` gives the prompts, tools and tasks that are declared.

    What starts and ends with a worker hangs on Celery's signals, whose order is known; that of its bootsteps is not.
    """
    drains: list[Drain] = []
    rejecting = Rejecting(member.keep)
    member.app.steps["consumer"].add(_household(member, rejecting, drains))

    def ready(sender: Any, **_: Any) -> None:
        if sender.app is not member.app:
            return
        worker = describe(sender, version, known())
        if worker.pool == "thread":
            # Beside tools that compute, the loop of the model calls would get too few turns (5 ms by default).
            sys.setswitchinterval(SWITCH_INTERVAL)
        member.join(lambda: worker)
        if not drains:  # else the consumer has connected again
            drains.append(Drain(member, sender, grace=grace))
            drains[0].start()

    def received(sender: Any, request: Any, **_: Any) -> None:
        if sender.app is member.app:
            rejecting.received(request)

    def shutdown(sender: Any, **_: Any) -> None:
        if sender.app is member.app:
            member.leave()

    def child_ends(**_: Any) -> None:
        member.leave()

    signals.worker_init.connect(_begins(member), weak=False)
    signals.worker_ready.connect(ready, weak=False)
    signals.task_received.connect(received, weak=False)
    signals.worker_shutdown.connect(shutdown, weak=False)
    signals.worker_process_shutdown.connect(child_ends, weak=False)


def _household(member: Member, rejecting: Rejecting, drains: Sequence[Drain]) -> type[bootsteps.StartStopStep]:
    """The step that each consumer of the app gets."""

    class Household(bootsteps.StartStopStep):
        """On each (re)connection of the consumer: its events, and what it does with a task it does not know."""

        requires = ("celery.worker.consumer.tasks:Tasks",)

        def start(self, consumer: Any) -> None:
            member.check()
            member.children.use(consumer.timer, consumer.pool)
            member.events.use(consumer.event_dispatcher, consumer.hostname)
            rejecting.watch(consumer, lambda celery_does: _unknown_task(member, celery_does))

        def close(self, _: Any) -> None:
            """The worker ends: unlike `stop`, not called where the consumer only starts anew."""
            for drain in drains:
                drain.begin()

    return Household


def describe(consumer: Any, version: str, known: Mapping[str, tuple[str, ...]]) -> Worker:
    """A worker as the others see it."""
    pool = type(consumer.pool).__module__.rpartition(".")[2]
    return Worker(
        name=consumer.hostname,
        pid=os.getpid(),
        version=version,
        pool=pool,
        mailboxes=tuple(sorted(consumer.app.amqp.queues.consume_from)),
        prompts=known["prompts"],
        tools=known["tools"],
        tasks=known["tasks"],
        slots=getattr(consumer.pool, "limit", None) or 0,
    )


def _begins(member: Member) -> Callable[..., None]:
    """Before there are children and a consumer: what they will share, and what control commands do."""

    def begins(sender: Any, **_: Any) -> None:
        if sender.app is member.app:
            from wink_tasks.adapters.celery.control import take_over  # only a worker needs it

            member.children.share()
            take_over(member)
            if is_prefork(sender.pool_cls):
                member.keep_for(ParentEnd())

    return begins


def _unknown_task(member: Member, celery_does: Callable[..., None]) -> Callable[..., None]:
    """A doorbell for a task that this worker does not know is no failure: in a rolling deploy others know it."""

    def on_unknown_task(body: Any, message: Any, error: Exception) -> None:
        address, task = address_in((message.headers or {}).get(HEADER)), (message.headers or {}).get("task")
        if address is None or not isinstance(task, str):
            celery_does(body, message, error)
            return
        log.warning("this worker does not know task %r; its message is left to others", task)
        try:
            member.postpone(address, task, f"task {task!r} is unknown to this worker")
        except Exception as failure:  # noqa: BLE001 - nothing may end the consumer; the message is rung again
            log.warning("its message was not given back: %s: %s", type(failure).__name__, failure)
        message.ack()

    return on_unknown_task
