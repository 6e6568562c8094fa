"""One event loop a process, on a thread of its own, for which synchronous threads wait."""

from __future__ import annotations

import asyncio
import logging
import selectors
import threading
from collections.abc import Coroutine
from concurrent.futures import Future
from typing import Any, Final, TypeVar

T = TypeVar("T")

log = logging.getLogger(__name__)

TICK: Final = 0.5
"""Seconds between two looks of the loop at itself."""

STANDSTILL: Final = 1.0
"""Seconds for which it may stand still before that is told, at most once in QUIET seconds."""

QUIET: Final = 30.0


class BackgroundLoop:
    """Runs coroutines for other threads. It starts at first use; `stop` may be called at any time, and twice."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None

    @property
    def started(self) -> bool:
        """Whether anything was submitted since it was made or stopped."""
        return self._loop is not None

    def is_current(self) -> bool:
        """Whether the caller runs on it."""
        return threading.current_thread() is self._thread

    def submit(self, coroutine: Coroutine[Any, Any, T]) -> Future[T]:
        """Start `coroutine`; cancelling the future ends it at its next await."""
        return asyncio.run_coroutine_threadsafe(coroutine, self._running())

    def stop(self) -> None:
        """Cancel what runs, and end the thread."""
        with self._lock:
            loop, thread = self._loop, self._thread
            self._loop = self._thread = None
        if loop is None or thread is None:
            return
        asyncio.run_coroutine_threadsafe(_cancel_all(), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()

    def _running(self) -> asyncio.AbstractEventLoop:
        with self._lock:
            if self._loop is None:
                selector = _Selector()
                self._loop = selector.loop = asyncio.SelectorEventLoop(selector)
                self._thread = threading.Thread(target=self._loop.run_forever, name="wink-loop", daemon=True)
                self._thread.start()
                asyncio.run_coroutine_threadsafe(_tick(self._loop), self._loop)
            return self._loop


class _Selector(selectors.DefaultSelector):
    """Leaves the thread without a running loop while it waits.

    With gevent's patches a thread is a greenlet: all others share what asyncio keeps for each thread, and a tool could
    not call `asyncio.run`.
    """

    loop: asyncio.AbstractEventLoop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        asyncio._set_running_loop(None)  # noqa: SLF001 - made for those who write loops
        try:
            return super().select(timeout)
        finally:
            asyncio._set_running_loop(self.loop)  # noqa: SLF001 - as above


async def _tick(loop: asyncio.AbstractEventLoop) -> None:
    """Notice that something keeps the loop from running."""
    told_at = -QUIET
    while True:
        due = loop.time() + TICK
        await asyncio.sleep(TICK)
        late = loop.time() - due
        if late > STANDSTILL and due - told_at >= QUIET:
            told_at = due
            log.warning(
                "the loop of model calls and async tools stood still for %.1f s: a tool that computes or waits "
                "synchronously belongs into a plain def, or its work into asyncio.to_thread",
                late,
            )


async def _cancel_all() -> None:
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)
