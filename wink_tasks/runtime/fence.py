"""Whether a call still counts, as its tool asks between two steps of long work."""

from __future__ import annotations

import logging
from math import inf

from wink_tasks.core.errors import LedgerUnavailableError
from wink_tasks.ports.clock import Clock
from wink_tasks.ports.mailbox import Claimed, Mailbox
from wink_tasks.runtime.stop import Stop, Why

log = logging.getLogger(__name__)


class Fence:
    """Knows what the keeper said, and asks the store itself where that may be old.

    A process that was paused, or whose keeper got no turn because of a tool that holds the GIL, would else go on for a
    while after another worker has claimed. `timeout` is the call's own, in seconds: on threads nothing else ends it.
    """

    def __init__(
        self, mailbox: Mailbox, clock: Clock, claimed: Claimed, stop: Stop, *, timeout: float | None = None
    ) -> None:
        self._mailbox = mailbox
        self._clock = clock
        self._receipt = claimed.receipt
        self._every = claimed.message.visibility_timeout / 3
        self._asked = clock.monotonic()
        self._ends_at = inf if timeout is None else self._asked + timeout
        self._stop = stop

    def why(self) -> Why | None:
        """Why the call should not go on; None while it should. Asks no more often than a keeper does."""
        now = self._clock.monotonic()
        if now >= self._ends_at:
            self._stop.set("limit")
        if self._stop.why is None and now - self._asked >= self._every:
            self._asked = now
            self._ask()
        return self._stop.why

    def _ask(self) -> None:
        try:
            [standing] = self._mailbox.extend([self._receipt])
        except LedgerUnavailableError as error:  # nobody can claim it now: its settlement will tell
            log.info("call %s goes on without knowing: %s", self._receipt.address.message, error)
            return
        if standing != "held":
            self._stop.set("lost" if standing == "stale" else "cancelled")
