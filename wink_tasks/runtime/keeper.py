"""Keepers hold the leases of what a process works on, and hear who is asked to stop."""

from __future__ import annotations

import logging
import threading
from typing import Protocol

import msgspec

from wink_tasks.core.ids import evaluation_of, outcome_id
from wink_tasks.core.redaction import redact
from wink_tasks.ports.clock import Clock
from wink_tasks.ports.mailbox import Mailbox, Receipt
from wink_tasks.runtime.stop import Stop

log = logging.getLogger(__name__)


class Keeper(Protocol):
    """What steps need. Whoever renews, in this process or in another one, stands behind it."""

    def start(self) -> None:
        """Begin to renew."""
        ...

    def stop(self) -> None:
        """End renewing; what is still held runs out. May be called twice, and before `start`."""
        ...

    def hold(self, receipt: Receipt, *, limit: float, stop: Stop) -> None:
        """Renew `receipt` for at most `limit` seconds; `stop` is set where the step should not go on.

        Raises LeaseLostError where nobody can renew it.
        """
        ...

    def release(self, receipt: Receipt) -> None:
        """The step is over."""
        ...

    def held(self) -> tuple[Receipt, ...]:
        """What is held at this moment."""
        ...

    def cancel(self, evaluation: str) -> int:
        """Ask the held steps of an evaluation to stop, at once; how many there were.

        The wish must be recorded already: this only saves the time until the next renewal tells of it.
        """
        ...


def is_step_of(receipt: Receipt, evaluation: str) -> bool:
    """Whether it holds a step of the evaluation that its cancellation ends: its outcome is told all the same."""
    message = receipt.address.message
    return evaluation_of(message) == evaluation and not message.startswith(outcome_id(evaluation))


class Held(msgspec.Struct):
    """A lease in this process. `until` is on the monotonic clock: the step's own limit, after which it is let go."""

    receipt: Receipt
    until: float
    stop: Stop


class LeaseKeeper:
    """Extends every lease each third of the visibility timeout, in one call."""

    def __init__(self, mailbox: Mailbox, clock: Clock, *, every: float) -> None:
        self._mailbox = mailbox
        self._clock = clock
        self._every = every
        self._held: dict[Receipt, Held] = {}
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin to renew; a second call changes nothing."""
        with self._lock:
            if self._thread is not None:
                return
            self._ended.clear()
            self._thread = threading.Thread(target=self._run, name="wink-keeper", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """End renewing; what is still held runs out."""
        self._ended.set()
        with self._lock:
            thread, self._thread = self._thread, None
        if thread is not None:
            thread.join()

    def hold(self, receipt: Receipt, *, limit: float, stop: Stop) -> None:
        """See Keeper. `stop` is set from the keeper's thread."""
        with self._lock:
            self._held[receipt] = Held(receipt, self._clock.monotonic() + limit, stop)

    def release(self, receipt: Receipt) -> None:
        """The step is over."""
        with self._lock:
            self._held.pop(receipt, None)

    def held(self) -> tuple[Receipt, ...]:
        """What is held at this moment."""
        return tuple(held.receipt for held in self._snapshot())

    def stop_of(self, receipt: Receipt) -> Stop | None:
        """How the step that holds `receipt` is told to stop; None where none does."""
        with self._lock:
            held = self._held.get(receipt)
        return None if held is None else held.stop

    def cancel(self, evaluation: str) -> int:
        """See Keeper."""
        theirs = [held for held in self._snapshot() if is_step_of(held.receipt, evaluation)]
        for held in theirs:
            held.stop.set("cancelled")
        return len(theirs)

    def renew(self) -> None:
        """One round: extend what is within its limit, stop what lost its lease or is cancelled."""
        now = self._clock.monotonic()
        holding = []
        for held in self._snapshot():
            if held.until > now:
                holding.append(held)
            else:
                self.release(held.receipt)
                held.stop.set("limit")
        if not holding:
            return
        standings = self._mailbox.extend([held.receipt for held in holding])
        for held, standing in zip(holding, standings, strict=True):
            if standing == "stale":
                self.release(held.receipt)
                held.stop.set("lost")
            elif standing == "cancelled":
                held.stop.set("cancelled")

    def _snapshot(self) -> list[Held]:
        with self._lock:
            return list(self._held.values())

    def _run(self) -> None:
        while not self._ended.wait(self._every):
            try:
                self.renew()
            except Exception as error:  # noqa: BLE001 - whatever it is: without a keeper, steps would run twice
                log.warning("%d leases not renewed: %s", len(self._held), redact(f"{type(error).__name__}: {error}"))
