"""The Celery tasks of a prompt and of a tool. Each is a doorbell's receiver: the work is in the mailbox."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, NoReturn, Protocol

from celery import Celery, Task, states
from celery.exceptions import Ignore

from wink_tasks.adapters.celery.ringer import HEADER, address_in
from wink_tasks.adapters.celery.run import Run
from wink_tasks.adapters.celery.task_events import TaskEvents
from wink_tasks.core.errors import LedgerUnavailableError, NotCallableError, UnsupportedError, WinkError
from wink_tasks.core.ids import OUTCOME, TURN
from wink_tasks.ports.mailbox import Address
from wink_tasks.ports.work import StepRunner

log = logging.getLogger(__name__)


SETTLED = "settled"
"""What a doorbell's task returns: its outcome is in the ledger."""


ADOPT_AGAIN = 5
"""Seconds until a run that came without our code is accepted again, when Redis was away."""


class Application(Protocol):
    """What the tasks need of the application that declared them."""

    app: Celery
    events: TaskEvents

    def send(self, prompt: str, args: Sequence[Any], kwargs: Mapping[str, Any], options: Mapping[str, Any]) -> Run[Any]:
        """Accept a run; `options` are those of `with_options`, and Celery's."""
        ...

    def run_here(
        self, prompt: str, args: Sequence[Any], kwargs: Mapping[str, Any], options: Mapping[str, Any]
    ) -> Run[Any]:
        """Run a prompt to its end in this process, without Redis or worker."""
        ...

    def steps(self) -> StepRunner:
        """What works on messages in this process."""
        ...


class StepTask(Task):
    """Its settings are its own, so that the host's stay what they are."""

    abstract = True
    acks_late = True
    reject_on_worker_lost = True
    ignore_result = True
    store_errors_even_if_ignored = False
    track_started = False
    serializer = "json"
    typing = False
    Request = "wink_tasks.adapters.celery.requests:StepRequest"
    wink: ClassVar[Application]

    def work(self, *args: Any, **kwargs: Any) -> str:
        """Work on the message that the doorbell names; raises Ignore where there was nothing to do."""
        if self.request.called_directly:
            refuse_call(self.name)
        address = self._addressed(args, kwargs)
        try:
            worked = self.wink.steps().run(address, self.name, serves=self.serves(), observer=self.wink.events)
        except LedgerUnavailableError as error:
            log.warning("step %s is left to be delivered again: %s", address.message, error)
            raise Ignore from error
        if not worked:
            raise Ignore
        return SETTLED

    def _addressed(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Address:
        header = self.request.get(HEADER)
        if header is not None:
            address = address_in(header)
            if address is None:
                log.warning("doorbell %s says what this version cannot read; it is left to others", self.request.id)
                raise Ignore
            return address
        try:
            return self.adopted(args, kwargs)
        except LedgerUnavailableError as error:
            # Nothing is recorded yet, so only the broker can bring it again.
            raise self.retry(exc=error, countdown=ADOPT_AGAIN, max_retries=None) from error
        except WinkError as error:
            # There is no run that could tell: whoever sent it hears of it by Celery's own means.
            self.backend.store_result(self.request.id, error, states.FAILURE)
            raise

    def apply_async(self, *_: Any, **__: Any) -> Any:
        """Refused: a step is made by its evaluation."""
        refuse_alone(self.name)

    def adopted(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Address:  # noqa: ARG002 - a prompt's does
        """The message for a doorbell without a header, which came from a process that has none of our code."""
        refuse_alone(self.name)

    def serves(self) -> frozenset[str]:
        """The queues from which this slot goes on without a doorbell.

        Not the app's default queue, and not where a time limit spans the slot: other tasks and limits must not feel it.
        """
        limits = self.request.timelimit
        if limits is not None and any(limits):
            return frozenset()
        return frozenset(self.app.amqp.queues.consume_from) - {self.app.conf.task_default_queue}


class PromptTask(StepTask):
    """A run's own task. `delay` and `apply_async` accept a run; they take what `with_options` takes."""

    abstract = True

    def apply_async(
        self, args: Sequence[Any] | None = None, kwargs: Mapping[str, Any] | None = None, **options: Any
    ) -> Run[Any]:
        """Accept a run. Raises as `PromptHandle.delay`."""
        return self.wink.send(self.name, args or (), kwargs or {}, options)

    def apply(
        self, args: Sequence[Any] | None = None, kwargs: Mapping[str, Any] | None = None, **options: Any
    ) -> Run[Any]:
        """Run to the end in this process, in memory: what `task_always_eager` does as well."""
        return self.wink.run_here(self.name, args or (), kwargs or {}, options)

    def map(self, *_: Any) -> NoReturn:
        """Refused: Celery would run the function inside of one worker."""
        refuse_call(f"{self.name}.map")

    starmap = chunks = map  # noqa: A003 - the method above

    def adopted(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Address:
        """Accept first, under Celery's id; its own doorbell does the work."""
        run = self.wink.send(self.name, args, kwargs, {"task_id": self.request.id})
        return Address(run.tenant, run.session.id, run.id)


def refuse_alone(name: str) -> NoReturn:
    """Raise UnsupportedError, which names the way out."""
    message = (
        f"{name} is a step of an evaluation, and runs in one: name the tool in a prompt's tools=, or call it plainly"
    )
    raise UnsupportedError(message)


def refuse_call(name: str) -> NoReturn:
    """Raise NotCallableError, which names the way out."""
    message = (
        f"{name} cannot be called like a function, which would run it outside of every guarantee: "
        f"use .delay(...), or group(prompt.s(...) for ...)"
    )
    raise NotCallableError(message)


def declare(wink: Application, base: type[StepTask], name: str, doc: str, **attributes: Any) -> None:
    """Have the app know a task of ours, once it is finalized: declaring reads no configuration."""

    def work(self: StepTask, *args: Any, **kwargs: Any) -> str:
        return self.work(*args, **kwargs)

    work.__doc__ = doc
    work.__module__ = __name__
    wink.app.task(work, base=base, name=name, bind=True, shared=False, wink=wink, **attributes)


def declare_prompt(wink: Application, name: str, doc: str) -> None:
    """The tasks of a prompt: its runs, their later turns, and their ends."""
    declare(wink, PromptTask, name, doc)
    declare(wink, StepTask, f"{name}{TURN}", doc)
    declare(wink, StepTask, f"{name}{OUTCOME}", doc)


def declare_tool(wink: Application, name: str, doc: str, *, timeout: float | None) -> None:
    """The task of a tool. In prefork its time limit ends the function."""
    declare(wink, StepTask, name, doc, soft_time_limit=timeout)
