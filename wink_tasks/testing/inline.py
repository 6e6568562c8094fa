"""Working off a mailbox in the calling thread: no broker, no worker."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable
from typing import Protocol

from wink_tasks.core.delivery import Message
from wink_tasks.core.errors import BlockingInTaskError, RunTimeoutError
from wink_tasks.ports.clock import Clock
from wink_tasks.ports.mailbox import Doorbell, Mailbox
from wink_tasks.ports.outcome import Outcome
from wink_tasks.ports.work import StepEnd
from wink_tasks.runtime.step import Steps


class NoObserver:
    """Nobody watches the steps."""

    def began(self, message: Message) -> None:
        """See `runtime.step.Observer`."""

    def ended(self, message: Message, seconds: float, end: StepEnd) -> None:
        """See `runtime.step.Observer`."""


class KeptOutcomes:
    """Keeps what would have gone to Celery."""

    def __init__(self) -> None:
        self.delivered: list[Outcome] = []

    def deliver(self, outcome: Outcome) -> None:
        """See `ports.outcome`. Nothing has to wait here."""
        self.delivered.append(outcome)


class Waiting(Protocol):
    """A store that can tell when something is due."""

    def next_due(self) -> float | None:
        """Epoch seconds of the next thing to reap, None where there is none."""
        ...


class InlineWorker:
    """Rings by working: what is ready is done at once, by whoever rings first.

    `pass_time` moves a clock on; None waits for the real one.
    """

    def __init__(
        self,
        *,
        steps: Callable[[], Steps],
        mailbox: Mailbox,
        waiting: Waiting,
        clock: Clock,
        pass_time: Callable[[float], object] | None,
    ) -> None:
        self._steps = steps
        self._mailbox = mailbox
        self._waiting = waiting
        self._clock = clock
        self._bells: deque[Doorbell] = deque()
        # Held by who works or moves the clock: a lease or a deadline must not pass by that while somebody works.
        self._working = threading.Lock()
        self._pass_time = pass_time
        self._news = threading.Condition()
        self._told = 0
        self._worker: int | None = None

    def ring(self, doorbells: Iterable[Doorbell]) -> None:
        """See `ports.doorbell`. Where another thread works already, it does these, too."""
        self._bells.extend(doorbells)
        self._tell()
        while self._bells and self._working.acquire(blocking=False):
            self._work_off()

    def close(self) -> None:
        """See `ports.doorbell`: there are no connections."""

    def work(self, at_most: float) -> None:
        """Let up to `at_most` seconds pass until something is due, and do it, or let another thread end its work.

        Raises RunTimeoutError where nothing ever is, BlockingInTaskError inside of a step.
        """
        if self._worker == threading.get_ident():
            message = "a step waits for a run, which nobody is left to work on: return instead"
            raise BlockingInTaskError(message)
        told, seconds = self._told, 0.0
        if not self._working.acquire(blocking=False):
            with self._working:
                return
        try:
            if not self._bells:
                seconds = min(at_most, self._until_due())
                if self._pass_time is not None:
                    self._pass_time(seconds)
        finally:
            self._working.release()
        if self._pass_time is None:
            with self._news:
                self._news.wait_for(lambda: self._told != told, seconds)
        self._bells.extend(self._mailbox.reap())
        self.ring(())

    def _until_due(self) -> float:
        due = self._waiting.next_due()
        if due is None:
            raise RunTimeoutError("nothing is left to do in this process, and the run has not ended")
        return max(0.0, due - self._clock.now())

    def _tell(self) -> None:
        """Have those who wait look again."""
        with self._news:
            self._told += 1
            self._news.notify_all()

    def _work_off(self) -> None:
        self._worker = threading.get_ident()
        try:
            while self._bells:
                bell = self._bells.popleft()
                try:
                    self._steps().run(bell.address, bell.task, serves=(), observer=NoObserver())
                except Exception:  # noqa: BLE001, S112 - what a tool raised fails its task; the ledger has it
                    continue
        finally:
            self._worker = None
            self._working.release()
            self._tell()
