"""Waiting for sessions' next events without a thread for each that waits.

One thread reads for all of a process: it asks the ledger for whatever comes first in any of the sessions, hands it to
those who wait for it, and ends when nobody waits any more. Who begins to wait while it asks is taken along at its next
question, so a question is short.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from wink_tasks.core.events import Recorded
from wink_tasks.ports.ledger import Ledger
from wink_tasks.runtime.aside import aside

QUESTION: Final = 0.02
QUESTION_EACH: Final = 0.0001
"""Seconds that one question lasts: a newcomer waits for its end. It grows with the number of sessions in it."""


class Glance:
    """Waits for nothing: of a ledger in memory, to which only this process adds."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    async def next(self, tenant: str, session: str, *, after: int, timeout: float) -> Sequence[Recorded]:  # noqa: ASYNC109 - the port's
        """See `ports.waiting`."""
        return await aside(self._ledger.wait, tenant, session, after=after, timeout=timeout)


@dataclass(frozen=True, eq=False)
class _Waiter:
    key: tuple[str, str]
    after: int
    loop: asyncio.AbstractEventLoop
    answer: asyncio.Future[Sequence[Recorded]]

    def tell(self, events: Sequence[Recorded], error: Exception | None) -> None:
        try:
            self.loop.call_soon_threadsafe(self._settle, events, error)
        except RuntimeError:  # the loop was closed: nobody waits there any more
            return

    def _settle(self, events: Sequence[Recorded], error: Exception | None) -> None:
        if error is None:
            self.answer.set_result(events)
        else:
            self.answer.set_exception(error)


class Watch:
    """See `ports.waiting`."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._lock = threading.Lock()
        self._waiters: set[_Waiter] = set()
        self._reading = False

    async def next(self, tenant: str, session: str, *, after: int, timeout: float) -> Sequence[Recorded]:  # noqa: ASYNC109 - the port's
        """See `ports.waiting`."""
        loop = asyncio.get_running_loop()
        waiter = _Waiter((tenant, session), after, loop, loop.create_future())
        self._add(waiter)
        try:
            await asyncio.wait([waiter.answer], timeout=timeout)
        finally:
            with self._lock:
                self._waiters.discard(waiter)
        return waiter.answer.result() if waiter.answer.done() else ()

    def _add(self, waiter: _Waiter) -> None:
        with self._lock:
            self._waiters.add(waiter)
            if not self._reading:
                self._reading = True
                threading.Thread(target=self._read, name="wink-watch", daemon=True).start()

    def _read(self) -> None:
        while waiters := self._present():
            error: Exception | None = None
            came: dict[tuple[str, str], Sequence[Recorded]] = {}
            cursors: dict[tuple[str, str], int] = {}
            for waiter in waiters:
                cursors[waiter.key] = min(waiter.after, cursors.get(waiter.key, waiter.after))
            try:
                came.update(self._ledger.wait_any(cursors, timeout=QUESTION + QUESTION_EACH * len(cursors)))
            except Exception as failure:  # noqa: BLE001 - it is raised where it is waited
                error = failure
            for waiter in waiters:
                new = [recorded for recorded in came.get(waiter.key, ()) if recorded.seq > waiter.after]
                if new or error is not None:
                    with self._lock:
                        self._waiters.discard(waiter)
                    waiter.tell(new, error)

    def _present(self) -> Sequence[_Waiter]:
        """Those who wait; where there are none the thread is to end, and the next to come starts another."""
        with self._lock:
            self._waiters = {waiter for waiter in self._waiters if not waiter.loop.is_closed()}
            self._reading = bool(self._waiters)
            return tuple(self._waiters)
