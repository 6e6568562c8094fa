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
    """Rings by working: what is ready is done at once, by whoever rings first. `pass_time` lets seconds go by."""

    def __init__(
        self,
        *,
        steps: Callable[[], Steps],
        mailbox: Mailbox,
        waiting: Waiting,
        clock: Clock,
        pass_time: Callable[[float], object],
    ) -> None:
        self._steps = steps
        self._mailbox = mailbox
        self._waiting = waiting
        self._clock = clock
        self._pass_time = pass_time
        self._bells: deque[Doorbell] = deque()
        self._working = threading.Lock()
        self._passing = threading.Lock()
        self._worker: int | None = None

    def ring(self, doorbells: Iterable[Doorbell]) -> None:
        """See `ports.doorbell`. Where another thread works already, it does these, too."""
        self._bells.extend(doorbells)
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
        if not self._working.acquire(blocking=False):
            with self._working:
                return
        self._working.release()
        with self._passing:  # two that moved a clock at once would move it twice as far
            idle = not self._bells and not self._working.locked()
            due = self._waiting.next_due()
            if due is None and idle:
                message = "nothing is left to do in this process, and the run has not ended"
                raise RunTimeoutError(message)
            self._pass_time(min(at_most, max(0.0, (due or 0.0) - self._clock.now())))
            self._bells.extend(self._mailbox.reap())
        self.ring(())

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
