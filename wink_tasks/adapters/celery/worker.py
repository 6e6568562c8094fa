"""A Celery worker as a member of the fleet: what starts with it, what it tells its consumer, what ends with it."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable
from types import MethodType
from typing import Any, Protocol

from celery import Celery, bootsteps, signals

from wink_tasks.adapters.celery.ringer import HEADER, address_in
from wink_tasks.adapters.celery.task_events import TaskEvents
from wink_tasks.ports.fleet import Worker
from wink_tasks.ports.mailbox import Address

log = logging.getLogger(__name__)

SWITCH_INTERVAL = 0.0005
"""Seconds after which a thread that computes lets another one run."""


class Member(Protocol):
    """What a worker process starts, asks and ends."""

    app: Celery
    events: TaskEvents

    def check(self) -> None:
        """Look whether this process can work at all. Raises ConfigurationError, with which the worker ends."""
        ...

    def join(self, describe: Callable[[], Worker]) -> None:
        """Begin to show signs of life and to reap."""
        ...

    def postpone(self, address: Address, task: str, reason: str) -> None:
        """Give a message back that this process cannot work on, uncounted."""
        ...

    def closing(self) -> None:
        """Go on with nothing: each slot ends with the step in its hands."""
        ...

    def leave(self) -> None:
        """End what this process started. May be called twice."""
        ...


def attach(member: Member, version: str, known: Callable[[], tuple[tuple[str, ...], tuple[str, ...]]]) -> None:
    """Have every worker of the app join the fleet. `known` gives the prompts and tools that are declared."""

    class Household(bootsteps.StartStopStep):
        """On each (re)connection of the consumer: its events, and what it does with a task it does not know."""

        requires = ("celery.worker.consumer.tasks:Tasks",)

        def start(self, consumer: Any) -> None:
            member.check()
            member.events.use(consumer.event_dispatcher, consumer.hostname)
            # From the class: at each reconnection the instance has what the last one put there.
            celery_does = MethodType(type(consumer).on_unknown_task, consumer)
            consumer.on_unknown_task = _unknown_task(member, celery_does)

    member.app.steps["consumer"].add(Household)

    def ready(sender: Any, **_: Any) -> None:
        if sender.app is member.app:
            worker = describe(sender, version, *known())
            if worker.pool == "thread":
                # Beside tools that compute, the loop of the model calls would get too few turns (5 ms by default).
                sys.setswitchinterval(SWITCH_INTERVAL)
            member.join(lambda: worker)

    def shutting_down(**_: Any) -> None:
        member.closing()

    def shutdown(sender: Any, **_: Any) -> None:
        if sender.app is member.app:
            member.leave()

    def child_ends(**_: Any) -> None:
        member.leave()

    signals.worker_ready.connect(ready, weak=False)
    signals.worker_shutting_down.connect(shutting_down, weak=False)
    signals.worker_shutdown.connect(shutdown, weak=False)
    signals.worker_process_shutdown.connect(child_ends, weak=False)


def describe(consumer: Any, version: str, prompts: tuple[str, ...], tools: tuple[str, ...]) -> Worker:
    """A worker as the others see it."""
    pool = type(consumer.pool).__module__.rpartition(".")[2]
    return Worker(
        name=consumer.hostname,
        pid=os.getpid(),
        version=version,
        pool=pool,
        mailboxes=tuple(sorted(consumer.app.amqp.queues.consume_from)),
        prompts=prompts,
        tools=tools,
    )


def _unknown_task(member: Member, celery_does: Callable[..., None]) -> Callable[..., None]:
    """A doorbell for a task that this worker does not know is no failure: in a rolling deploy others know it."""

    def on_unknown_task(body: Any, message: Any, error: Exception) -> None:
        address = address_in((message.headers or {}).get(HEADER))
        if address is None:
            celery_does(body, message, error)
            return
        task = message.headers["task"]
        log.warning("this worker does not know task %r; its message is left to others", task)
        try:
            member.postpone(address, task, f"task {task!r} is unknown to this worker")
        except Exception as failure:  # noqa: BLE001 - nothing may end the consumer; the message is rung again
            log.warning("its message was not given back: %s: %s", type(failure).__name__, failure)
        message.ack()

    return on_unknown_task
