"""The keeper: holds the leases of what its process works on, and hears who is asked to stop."""

from __future__ import annotations

import logging
import threading

import msgspec

from wink_tasks.core.redaction import redact
from wink_tasks.ports.clock import Clock
from wink_tasks.ports.mailbox import Mailbox, Receipt
from wink_tasks.runtime.stop import Stop

log = logging.getLogger(__name__)


class Held(msgspec.Struct):
    """A lease in this process. `until` is on the monotonic clock: the step's own limit, after which it is let go."""

    receipt: Receipt
    until: float
    stop: Stop


class Keeper:
    """Extends every lease each third of the visibility timeout, in one call. `stop` is idempotent."""

    def __init__(self, mailbox: Mailbox, clock: Clock, *, every: float) -> None:
        self._mailbox = mailbox
        self._clock = clock
        self._every = every
        self._held: dict[Receipt, Held] = {}
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin to renew."""
        self._ended.clear()
        self._thread = threading.Thread(target=self._run, name="wink-keeper", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End renewing; what is still held runs out."""
        self._ended.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def hold(self, receipt: Receipt, *, limit: float, stop: Stop) -> None:
        """Renew `receipt` for at most `limit` seconds.

        `stop` is set, from the keeper's thread, where the step should not go on: the limit passed, the lease is
        lost, or the evaluation is cancelled.
        """
        with self._lock:
            self._held[receipt] = Held(receipt, self._clock.monotonic() + limit, stop)

    def release(self, receipt: Receipt) -> None:
        """The step is over."""
        with self._lock:
            self._held.pop(receipt, None)

    def held(self) -> tuple[Receipt, ...]:
        """What this process works on."""
        with self._lock:
            return tuple(held.receipt for held in self._held.values())

    def renew(self) -> None:
        """One round: extend what is within its limit, stop what lost its lease or is cancelled."""
        now = self._clock.monotonic()
        holding = []
        for held in self._snapshot():
            if held.until > now:
                holding.append(held)
            else:
                held.stop.set()
                self.release(held.receipt)
        if not holding:
            return
        standings = self._mailbox.extend([held.receipt for held in holding])
        for held, standing in zip(holding, standings, strict=True):
            if standing != "held":
                held.stop.set(cancelled=standing == "cancelled")
            if standing == "stale":
                self.release(held.receipt)

    def _snapshot(self) -> list[Held]:
        with self._lock:
            return list(self._held.values())

    def _run(self) -> None:
        while not self._ended.wait(self._every):
            try:
                self.renew()
            except Exception as error:  # noqa: BLE001 - whatever it is: without a keeper, steps would run twice
                log.warning("%d leases not renewed: %s", len(self._held), redact(f"{type(error).__name__}: {error}"))
