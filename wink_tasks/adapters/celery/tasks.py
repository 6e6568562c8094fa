"""The Celery tasks of prompts, tools and durable tasks. Each is a doorbell's receiver: the work is in the mailbox."""

from __future__ import annotations

import logging
import sys
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, ClassVar, NoReturn, Protocol

from celery import Celery, Task, signals
from celery.exceptions import Ignore, Reject, Retry

from wink_tasks.adapters.celery.canvas import adoptable, forget
from wink_tasks.adapters.celery.children import PoolChildren, is_pool_child
from wink_tasks.adapters.celery.host import check_name
from wink_tasks.adapters.celery.revoked import StepRevoked
from wink_tasks.adapters.celery.ringer import HEADER, address_in, is_newer
from wink_tasks.adapters.celery.run import Run
from wink_tasks.adapters.celery.task_events import SETTLED, TaskEvents
from wink_tasks.adapters.celery.words import StepRetry
from wink_tasks.core.errors import (
    DeadLetteredError,
    DuplicateError,
    LedgerUnavailableError,
    NotCallableError,
    UnsupportedError,
    WinkError,
)
from wink_tasks.core.ids import OUTCOME, TURN, evaluation_of
from wink_tasks.ports.mailbox import Address
from wink_tasks.ports.waiting import Aside
from wink_tasks.ports.work import Revoker, StepEnd, StepRunner

log = logging.getLogger(__name__)


ADOPT_AGAIN = 5
"""Seconds until a run that came without our code is accepted again, when Redis was away."""


THROW = ("throw", True)
"""What Celery's own signature of `retry` has as a default."""


class Application(Protocol):
    """What the tasks need of the application that declared them."""

    app: Celery
    events: TaskEvents
    aside: Aside
    children: PoolChildren

    def revoker(self) -> Revoker:
        """What ends evaluations from outside of their steps."""
        ...

    def limited_mailboxes(self) -> frozenset[str]:
        """Where calls of tools go that have a time limit of Celery's."""
        ...

    def send(self, prompt: str, args: Sequence[Any], kwargs: Mapping[str, Any], options: Mapping[str, Any]) -> Run[Any]:
        """Accept a run; `options` are those of `with_options`, and Celery's."""
        ...

    def run_here(
        self, prompt: str, args: Sequence[Any], kwargs: Mapping[str, Any], options: Mapping[str, Any]
    ) -> Run[Any]:
        """Run a prompt to its end in this process, without Redis or worker."""
        ...

    def run(self, run_id: str) -> Run[Any]:
        """The handle of an evaluation. Does no I/O."""
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
        """Work on the message that the doorbell names.

        Raises Ignore where there was nothing to do, StepRevoked, Celery's Retry where the message was given back, and
        DeadLetteredError.
        """
        if self.request.called_directly:
            refuse_call(self.name)
        address = self._addressed(args, kwargs)
        try:
            steps = self.wink.steps()
            if steps.closing:
                raise Reject("this worker ends; the doorbell is for another one", requeue=True)
            end = steps.run(address, self.name, serves=self.serves(), observer=self.wink.events)
        except LedgerUnavailableError as error:
            log.warning("step %s is left to be delivered again: %s", address.message, error)
            raise Ignore from error
        return self._told(end, is_run=address.message == evaluation_of(address.message))

    def _told(self, end: StepEnd, *, is_run: bool) -> str:
        """The end of the doorbell's own step in Celery's words. That of a run is told by its outcome."""
        match end.kind:
            case "settled":
                if is_run and signals.task_success.receivers:
                    raise Ignore
                return SETTLED
            case "returned":
                # Not self.retry(): the mailbox brings it again.
                raise Retry(end.reason, when=end.delay)
            case "revoked":
                raise StepRevoked(end.reason)
            case "dead" if not is_run:
                raise DeadLetteredError(end.reason)
            case _:
                raise Ignore

    def _addressed(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Address:
        header = self.request.get(HEADER)
        if header is not None:
            address = address_in(header)
            if address is None and is_newer(header):
                log.warning("doorbell %s says what this version cannot read; it is left to others", self.request.id)
                raise Ignore
            if address is None:
                reason = f"header {HEADER} of {self.request.id} is no doorbell's"
                raise Reject(reason, requeue=False)
            return address
        try:
            return self.adopted(args, kwargs)
        except LedgerUnavailableError as error:
            raise self._sent_again(error) from error
        except DuplicateError:
            # The id, and what is stored under it, is somebody else's.
            raise
        except WinkError:
            # There is no run that could tell: whoever sent it hears of it by Celery's own means.
            self.request.ignore_result = bool(self.request.ignore_result)
            raise

    def _sent_again(self, error: Exception) -> Reject | Retry:
        """Nothing is recorded yet, so only the broker can bring it again. Celery's own retry would accept a run."""
        again = self.signature_from_request(retries=self.request.retries + 1, countdown=ADOPT_AGAIN)
        try:
            self.app.send_task(self.name, again.args, again.kwargs, **again.options)
        except Exception as failure:  # noqa: BLE001 - whatever a broker raises, it keeps what is not acknowledged
            return Reject(failure, requeue=True)
        return Retry(exc=error, when=ADOPT_AGAIN)

    def retry(
        self,
        *changed: Any,
        exc: BaseException | None = None,
        eta: datetime | None = None,
        countdown: float | None = None,
        max_retries: int | None = None,
        **others: Any,
    ) -> NoReturn:
        """As Celery's, for the function of a tool or a durable task: its message is delivered again, later.

        Raises UnsupportedError where the new delivery should differ from this one.
        """
        if differs := [*map(repr, changed), *(name for name, value in others.items() if (name, value) != THROW)]:
            message = f"{self.name} is delivered again as it was accepted: retry() cannot change {', '.join(differs)}"
            raise UnsupportedError(message)
        cause = exc if exc is not None else sys.exception()
        delay = self.default_retry_delay if countdown is None else countdown
        retry = StepRetry(exc=cause, when=eta or delay)
        retry.max_retries = max_retries
        raise retry from cause

    def replace(self, *_: Any, **__: Any) -> NoReturn:
        """Refused: the other task would take this run's id."""
        message = f"{self.name} cannot replace itself: return, and let a chain or a link go on with the result"
        raise UnsupportedError(message)

    def apply_async(self, *_: Any, **__: Any) -> Any:
        """Refused: a step is made by its evaluation."""
        refuse_alone(self.name)

    def adopted(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Address:  # noqa: ARG002 - a prompt's does
        """The message for a doorbell without a header, which came from a process that has none of our code."""
        refuse_alone(self.name)

    def serves(self) -> frozenset[str]:
        """The queues from which this slot goes on without a doorbell.

        Not the app's default queue, and not where a time limit spans the slot: other tasks and limits must not feel it.
        Nor, in a prefork child, those of tools with a limit: Celery counts it from their own doorbell.
        """
        served = frozenset(self.app.amqp.queues.consume_from) - {self.app.conf.task_default_queue}
        if not is_pool_child():
            return served
        limits = (*(self.request.timelimit or ()), self.time_limit, self.soft_time_limit)
        return frozenset() if any(limits) else served - self.wink.limited_mailboxes()


class RunTask(StepTask):
    """The own task of a run, of a prompt, a durable task or a tool alone.

    `delay` and `apply_async` accept a run; they take what `with_options` takes.
    """

    abstract = True

    def apply_async(
        self, args: Sequence[Any] | None = None, kwargs: Mapping[str, Any] | None = None, **options: Any
    ) -> Run[Any]:
        """Accept a run. Raises as a handle's `delay`."""
        return self.wink.send(self.name, args or (), kwargs or {}, options)

    def apply(
        self, args: Sequence[Any] | None = None, kwargs: Mapping[str, Any] | None = None, **options: Any
    ) -> Run[Any]:
        """Run to the end in this process, in memory: what Celery's canvas does where the app is `task_always_eager`.

        `get` gives JSON, as a task that follows gets it.
        """
        run = self.wink.run_here(self.name, args or (), kwargs or {}, options)
        run.plain = True
        return run

    def AsyncResult(self, task_id: str, **_: Any) -> Run[Any]:  # noqa: N802 - Celery's name
        """The handle of a run that may still have to be accepted, like a chain's."""
        run = self.wink.run(task_id)
        run.expected = True
        return run

    def map(self, *_: Any) -> NoReturn:
        """Refused: Celery would run the function inside of one worker."""
        refuse_call(f"{self.name} (by map, starmap or chunks)")

    starmap = chunks = map  # noqa: A003 - the method above

    def adopted(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Address:
        """Accept first, under Celery's id; its own doorbell does the work."""
        run = self.wink.send(self.name, args, kwargs, adoptable(self.request))
        forget(self.request)
        return Address(run.tenant, run.session.id, run.id)


def refuse_alone(name: str) -> NoReturn:
    """Raise UnsupportedError, which names the way out."""
    message = f"{name} is a step of an evaluation, and runs in one: start a run of the prompt, the task or the tool"
    raise UnsupportedError(message)


def refuse_call(name: str) -> NoReturn:
    """Raise NotCallableError, which names the way out."""
    message = (
        f"{name} cannot be called like a function, which would run it outside of every guarantee: "
        f"use .delay(...), or group(prompt.s(...) for ...)"
    )
    raise NotCallableError(message)


def declare(wink: Application, base: type[StepTask], name: str, doc: str, **attributes: Any) -> None:
    """Have the app know a task of ours, once it is finalized: declaring reads no configuration.

    Raises DeclarationError where it has another one of that name; one that is not final yet is looked at when used.
    """

    def work(self: StepTask, *args: Any, **kwargs: Any) -> str:
        return self.work(*args, **kwargs)

    work.__doc__ = doc
    work.__module__ = __name__
    made = wink.app.task(work, base=base, name=name, bind=True, shared=False, wink=wink, **attributes)
    if wink.app.finalized:
        check_name(name, made, wink)


def declare_prompt(wink: Application, name: str, doc: str) -> None:
    """The tasks of a prompt: its runs, their later turns, and their ends."""
    declare(wink, RunTask, name, doc)
    declare(wink, StepTask, f"{name}{TURN}", doc)
    declare(wink, StepTask, f"{name}{OUTCOME}", doc)


def declare_tool(wink: Application, name: str, doc: str, *, timeout: float | None) -> None:
    """The tasks of a tool: its calls, its runs alone and their ends. In prefork a time limit ends the function."""
    declare(wink, RunTask, name, doc, soft_time_limit=timeout)
    declare(wink, StepTask, f"{name}{OUTCOME}", doc)


def declare_task(wink: Application, name: str, doc: str) -> None:
    """The tasks of a durable task: its runs, and their ends."""
    declare(wink, RunTask, name, doc)
    declare(wink, StepTask, f"{name}{OUTCOME}", doc)
