"""How a step in this process is told to stop, and why."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final, Literal, cast, get_args

from wink_tasks.core.errors import CancelledError, LeaseLostError

Why = Literal["limit", "cancelled", "handed back", "lost"]
"""`limit`: the step's own limit passed. `cancelled`: its evaluation is asked to end. `handed back`: this worker
leaves, and gave the message to others. `lost`: another worker has claimed it. A later one outweighs an earlier one."""

_WEIGHT: Final = {why: weight for weight, why in enumerate(get_args(Why))}


def read_why(text: str) -> Why:
    """`text` as a Why; `lost`, which asks for nothing to be recorded, where it is of another version."""
    return cast("Why", text) if text in _WEIGHT else "lost"


class Stop:
    """Set from any thread; what was given to `then` is called once, also where it comes late."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open = False
        self._why: Why | None = None
        self._calls: list[Callable[[], object]] = []

    @property
    def why(self) -> Why | None:
        """The weightiest reason for which the step should not go on; None while it should."""
        return self._why

    @property
    def is_set(self) -> bool:
        """Whether the step should not go on."""
        return self._why is not None

    @property
    def cancelled(self) -> bool:
        """Whether its evaluation is asked to end, and not only this try."""
        return self._why == "cancelled"

    def set(self, why: Why) -> None:
        """Ask the step to stop."""
        with self._lock:
            if self._why is None or _WEIGHT[why] > _WEIGHT[self._why]:
                self._why = why
            calls, self._calls = self._calls, []
        for call in calls:
            call()

    def then(self, call: Callable[[], object]) -> None:
        """Have `call` called when the step is asked to stop."""
        with self._lock:
            if self._why is None:
                self._calls.append(call)
                return
        call()

    @contextmanager
    def interruptible(self) -> Iterator[None]:
        """What `interrupt` may end, from anywhere in it, and what is not begun once it is set.

        Raises CancelledError where the evaluation is asked to end, and LeaseLostError else.
        """
        self._open = True
        try:
            if self._why is not None:
                raise self._error()
            yield
        finally:
            self._open = False

    def interrupt(self) -> None:
        """For a signal handler in the thread that works on the step: takes no lock. Raises, as above, where it may."""
        if self._open and self._why is not None:
            self._open = False
            raise self._error()

    def _error(self) -> CancelledError | LeaseLostError:
        if self.cancelled:
            return CancelledError("the step was asked to stop: its evaluation was cancelled")
        return LeaseLostError(f"the step was asked to stop: {self._why}")
