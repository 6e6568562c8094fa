"""From the first wish that a worker ends to the end of its process.

Celery waits for its pool as long as that takes, and on threads, gevent and solo it can do nothing else. So signals
reach a thread of ours as well, which stops claiming at once, hands back what is left after the grace, or at the second
signal, and ends the process where only steps that were handed back keep it.
"""

from __future__ import annotations

import atexit
import logging
import os
import queue
import signal
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from types import FrameType
from typing import Any, Final, Protocol

from billiard import active_children
from billiard.common import REMAP_SIGTERM
from celery.worker import state
from kombu.message import Message

from wink_tasks.adapters.celery.tasks import StepTask

log = logging.getLogger(__name__)

COURTESY: Final = 1.0
"""Seconds that Celery gets to end by itself, once nothing of ours is left in its way."""

LOOK: Final = 0.1
"""Seconds between two looks whether tasks of the host still run."""

LAST_WORDS: Final = 2.0
"""Seconds for giving doorbells back to the broker."""

HUSH: Final = 3.0
"""Seconds within which Celery's consumer stops to listen: it looks up once in one or two."""

BEGIN: Final = 0
"""In the place of a signal: Celery has begun to end by another way, as by `celery control shutdown`."""

OVER: Final = -1
"""In the place of a signal: the process ends by itself."""

Handler = Callable[[int, FrameType | None], Any]


class Leaver(Protocol):
    """What a worker process ends."""

    def closing(self) -> None:
        """Claim nothing: each slot ends with the step in its hands."""
        ...

    def hand_back(self) -> int:
        """Give what is in hand to other workers, at once."""
        ...

    def leave(self) -> None:
        """End what this process started. May be called twice."""
        ...


class Drain:
    """A thread that waits for the end. `begin` may be called at any time, from signal handlers too."""

    def __init__(
        self, leaver: Leaver, consumer: Any, *, grace: float, leave: Callable[[int], object] = os._exit
    ) -> None:
        self._leaver = leaver
        self._leave = leave
        self._consumer = consumer
        self._grace = grace
        pool = type(consumer.pool).__module__.rpartition(".")[2]
        self._prefork = pool == "prefork"
        self._quiet = threading.Event()
        if pool == "solo":  # it does not listen while it works
            self._quiet.set()
        # Its put() is reentrant: it may interrupt itself, in a signal handler.
        self._asked: queue.SimpleQueue[int] = queue.SimpleQueue()
        self._chained: dict[int, Handler] = {}
        self._code = 0

    def start(self) -> None:
        """Begin to listen for signals."""
        thread = threading.Thread(target=self._run, name="wink-drain", daemon=True)
        thread.start()
        atexit.register(self._over, thread)
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT):
                self._chain(number)

    def begin(self) -> None:
        """The worker ends, whoever asked for it. Called in its main thread, when it no longer waits for messages."""
        self._asked.put(BEGIN)
        _told_broker("it was not told that this worker stops to listen", lambda: _hush(self._consumer))
        self._quiet.set()

    def _chain(self, number: int) -> None:
        theirs = signal.getsignal(number)
        if callable(theirs) and theirs != self._signalled:
            self._chained[number] = theirs
            signal.signal(number, self._signalled)

    def _signalled(self, number: int, frame: FrameType | None) -> None:
        if number == signal.SIGTERM and REMAP_SIGTERM == "SIGQUIT":
            number = signal.SIGQUIT
        self._asked.put(number)
        # Celery's own way of ending tasks by force would end runs behind our back, and raises on most pools.
        if number == signal.SIGQUIT:
            state.should_stop = 1
        elif state.should_stop is None:
            self._chained[number](number, frame)
            self._chain(signal.SIGINT)  # Celery has put its next handler there

    def _over(self, thread: threading.Thread) -> None:
        """Have the thread end: one that runs on while the interpreter is taken down may crash it."""
        self._asked.put(OVER)
        thread.join()

    def _run(self) -> None:
        with suppress(SystemExit):
            self._drain()

    def _drain(self) -> None:
        number = self._heard()
        self._leaver.closing()
        grace = 0.0 if number == signal.SIGQUIT else self._grace
        if number == BEGIN:
            code = self._consumer.controller.exitcode  # what a SystemExit carried
            self._ends_with(code if isinstance(code, int) else int(code is not None))
        else:
            self._ends_with(int(number != signal.SIGTERM))
        how = "Celery ends" if number == BEGIN else signal.Signals(number).name
        log.info("%s: nothing is claimed any more; steps in hand get %g s", how, grace)
        again = self._next(grace)
        if again == signal.SIGQUIT:
            self._ends_with(1)
        self._quiet.wait(HUSH)  # else this worker would hear of what it hands back
        handed = self._leaver.hand_back()
        why = "as asked again" if again else f"after {grace:g} s"
        log.log(logging.WARNING if handed else logging.INFO, "%d steps in hand were handed back %s", handed, why)
        forced = signal.SIGQUIT in (number, again)
        if not forced and self._await_others() == signal.SIGQUIT:
            self._ends_with(1)
            forced = True
        if forced and self._prefork:
            self._end_others()
        self._next(COURTESY)
        self._end()

    def _next(self, seconds: float) -> int | None:
        """The next signal within that time."""
        by = time.monotonic() + seconds
        try:
            while (found := self._heard(max(0.0, by - time.monotonic()))) == BEGIN:
                pass
        except queue.Empty:
            return None
        return found

    def _heard(self, seconds: float | None = None) -> int:
        """What is asked next. Raises queue.Empty where nothing is within that time, SystemExit where all is over."""
        found = self._asked.get(timeout=seconds)
        if found == OVER:
            raise SystemExit
        return found

    def _ends_with(self, code: int) -> None:
        """The exit code, also where Celery gets to end by itself."""
        self._code = self._consumer.controller.exitcode = code

    def _await_others(self) -> int | None:
        """A host's own tasks end in their own time, as without us, or when a signal comes once more: that signal."""
        while _others():
            if (number := self._next(LOOK)) is not None:
                return number
        return None

    def _end_others(self) -> None:
        """What Celery does with a host's own tasks at SIGQUIT."""
        self._consumer.controller.wait_for_soft_shutdown()
        for request in _others():
            request.cancel(self._consumer.pool, emit_retry=not request.task.acks_late)

    def _end(self) -> None:
        """Leave, though slots are still in use."""
        self._leaver.hand_back()  # what was claimed in the moment of the first
        self._leaver.leave()
        for child in active_children():
            with suppress(ProcessLookupError):
                os.kill(child.pid, signal.SIGKILL)
        what = "doorbells were not given back"
        given = (what, lambda: _give_doorbells_back(self._consumer))
        telling = threading.Thread(target=_told_broker, args=given, daemon=True)
        telling.start()
        telling.join(LAST_WORDS)
        log.warning("leaving though %d tasks have not ended", len(state.active_requests))
        logging.shutdown()
        self._leave(self._code)


def _others() -> list[Any]:
    """The host's own tasks that run at this moment."""
    while True:
        try:
            return [request for request in state.active_requests.copy() if not isinstance(request.task, StepTask)]
        except RuntimeError:  # one of them ended while we looked
            continue


def _told_broker(what: str, tell: Callable[[], None]) -> None:
    try:
        tell()
    except Exception as error:  # noqa: BLE001 - whatever a broker raises: messages are rung again
        log.warning("%s: %s: %s", what, type(error).__name__, error)


def _hush(consumer: Any) -> None:
    """Stop to listen to the broker.

    On Redis a question that is still open would be answered with a doorbell that somebody else could have heard, and
    nobody here reads it: it is read now, which takes the second after which the question expires, and put back.
    """
    consumer.task_consumer.cancel()
    channel = consumer.task_consumer.channel
    if getattr(channel, "_in_poll", None):
        with suppress(queue.Empty):
            channel._brpop_read()  # noqa: SLF001 - what kombu does when it closes the channel


def _give_doorbells_back(consumer: Any) -> None:
    """Where the broker cannot know that this worker is gone, which is so on Redis, it is told.

    Not of what has ended: that waits to be acknowledged by an event loop which does not run any more.
    """
    hub = consumer.controller.hub
    for callback in () if hub is None else hub._pop_ready():  # noqa: SLF001 - as Celery's prefork pool does
        if isinstance(getattr(getattr(callback, "fun", None), "__self__", None), Message):
            callback()
    messages = getattr(consumer.task_consumer, "channel", None)
    restore = getattr(getattr(messages, "qos", None), "restore_unacked_once", None)
    if restore is not None:
        restore()
