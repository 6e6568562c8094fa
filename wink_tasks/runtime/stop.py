"""How a step in this process is told to stop."""

from __future__ import annotations

import threading
from collections.abc import Callable


class Stop:
    """Set once, from any thread; what was given to `then` is called once, also where it comes late."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._set = False
        self.cancelled = False
        self._calls: list[Callable[[], object]] = []

    @property
    def is_set(self) -> bool:
        """Whether the step should not go on."""
        return self._set

    def set(self, *, cancelled: bool = False) -> None:
        """Ask the step to stop; `cancelled` says that its evaluation is asked to, and not only this try."""
        with self._lock:
            self._set = True
            self.cancelled = self.cancelled or cancelled
            calls, self._calls = self._calls, []
        for call in calls:
            call()

    def then(self, call: Callable[[], object]) -> None:
        """Have `call` called when the step is asked to stop."""
        with self._lock:
            if not self._set:
                self._calls.append(call)
                return
        call()
