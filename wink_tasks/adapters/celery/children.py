"""What a worker's main process knows of its prefork children, and tells them in memory that they share since the fork.

A child that was not forked (macOS spawns) shares nothing: it sends task events as the configuration says.
"""

from __future__ import annotations

import mmap
from typing import Any, Final

from billiard import current_process

REAP_EVERY: Final = 0.05


def is_pool_child() -> bool:
    """Whether this process is a child of a prefork pool."""
    return getattr(current_process(), "index", None) is not None


class PoolChildren:
    """Both ends: the main process's `share`, `tell_events` and `reap`, a child's `events_on`."""

    def __init__(self) -> None:
        self._memory: mmap.mmap | None = None
        self.timer: Any = None
        self._pool: Any = None

    def use(self, timer: Any, pool: Any) -> None:
        """In the main process: the timer and the pool of its consumer."""
        self.timer, self._pool = timer, pool

    def share(self) -> None:
        """Before the fork, in the main process."""
        self._memory = mmap.mmap(-1, 1)

    def tell_events(self, *, on: bool) -> None:
        """Whether anybody listens to task events."""
        if self._memory is not None:
            self._memory[0] = on

    def events_on(self) -> bool | None:
        """What the main process told; None where nothing is shared."""
        return None if self._memory is None else bool(self._memory[0])

    def reap(self, pid: int, tries: int = 20) -> None:
        """Have the pool see that child `pid` is gone. It looks each 5 s, and gives work to the dead until then."""
        # A pool without an event loop has a thread that looks all the time.
        if tries > 0 and hasattr(getattr(self._pool, "_pool", None), "register_with_event_loop"):
            self._pool.maintain_pool()
            if any(process.pid == pid for process in processes(self._pool)):
                self.timer.call_after(REAP_EVERY, self.reap, (pid, tries - 1))


def processes(pool: Any) -> list[Any]:
    """The children of a prefork pool; none of another one."""
    return list(getattr(getattr(pool, "_pool", None), "_pool", ()))
