"""The reaper: shows that its worker is alive and, where it is the elected one, brings back what is due."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from msgspec import structs

from wink_tasks.core.errors import LedgerUnavailableError
from wink_tasks.core.redaction import redact
from wink_tasks.ports.clock import Clock
from wink_tasks.ports.doorbell import Ringer
from wink_tasks.ports.fleet import Fleet, Worker
from wink_tasks.ports.ledger import Ledger
from wink_tasks.ports.mailbox import Mailbox
from wink_tasks.runtime.archiving import Archivist

log = logging.getLogger(__name__)

TERMS = 4
"""A reaper that misses this many rounds is succeeded."""

VACANT = 2.0
"""Where for so many seconds there was no reaper, though this worker was alive, the store was away."""

TURNS = 8
"""In the time of one beat this many workers look whether there is a reaper, however many there are."""

EXPIRE_EVERY = 60.0
"""Seconds between two looks for sessions whose retention has ended."""

EXPIRE_MORE = 5.0
"""Seconds until the next look where the last one dropped some: there may be more of them."""


class Reaper:
    """A thread in every worker. Any number of them at once is safe; the election only saves work."""

    def __init__(
        self,
        *,
        worker: Callable[[], Worker],
        fleet: Fleet,
        mailbox: Mailbox,
        ledger: Ledger,
        ringer: Ringer,
        clock: Clock,
        beat: float,
        every: float,
        retention: float,
        archivist: Archivist | None = None,
    ) -> None:
        self._worker = worker
        self._fleet = fleet
        self._mailbox = mailbox
        self._ledger = ledger
        self._ringer = ringer
        self._clock = clock
        self._beat = beat
        self._every = every
        self._retention = retention
        self._archivist = archivist
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None
        self._joined: Worker | None = None
        self._expire_at = self._began = self._clock.monotonic()

    def start(self) -> None:
        """Begin, with a first round at once."""
        self._ended.clear()
        self._thread = threading.Thread(target=self._run, name="wink-reaper", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End, and leave the fleet. May be called twice, and before `start`."""
        self._ended.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        if self._joined is not None:
            joined, self._joined = self._joined, None
            try:
                self._fleet.leave(joined.id)
            except LedgerUnavailableError as error:  # its entry runs out by itself
                log.warning("left without a word: %s", error)

    def round(self) -> float:
        """One look; returns after how many seconds the next one is due."""
        worker = structs.replace(self._worker(), at=self._clock.now())
        beat = self._fleet.beat(worker, every=self._beat, term=TERMS * self._every, spacing=self._beat / TURNS)
        self._joined = worker
        if not beat.reaper:
            return beat.pause
        if VACANT < beat.vacant < self._clock.monotonic() - self._began:
            log.warning("the store was away for some %.0f s: leases that expired meanwhile are spared", beat.vacant)
            self._mailbox.spare()
        self._ringer.ring(self._mailbox.reap())
        if self._clock.monotonic() >= self._expire_at:
            archive = None if self._archivist is None else self._archivist.look()
            dropped = self._ledger.expire(older_than=self._retention, archive=archive)
            self._expire_at = self._clock.monotonic() + (EXPIRE_MORE if dropped else EXPIRE_EVERY)
        return self._every

    def _run(self) -> None:
        pause = 0.0
        while not self._ended.wait(pause):
            try:
                pause = self.round()
            except Exception as error:  # noqa: BLE001 - whatever it is: without a reaper, nothing comes back
                log.warning("nothing reaped: %s", redact(f"{type(error).__name__}: {error}"))
                pause = self._beat
