"""Circuit breakers of this process, one a model, on pybreaker."""

from __future__ import annotations

import threading

import pybreaker

from wink_tasks.core.errors import BreakerOpenError
from wink_tasks.ports.clock import Clock


class ProcessBreaker:
    """pybreaker's state machine, asked before a call and told after it.

    pybreaker's own `call` holds a lock for the whole call and does not see coroutines fail; and half-open it lets
    everybody through. Here one caller probes, the others are refused until its verdict.
    """

    def __init__(self, clock: Clock, *, failures: int, open_seconds: float) -> None:
        self._clock = clock
        self._failures = failures
        self._open_seconds = open_seconds
        self._lock = threading.Lock()
        self._breakers: dict[str, pybreaker.CircuitBreaker] = {}
        self._opened_at: dict[str, float] = {}
        self._probing: set[str] = set()

    def admit(self, key: str) -> None:
        """See `ports.breaker`."""
        with self._lock:
            breaker = self._breaker(key)
            if breaker.current_state == pybreaker.STATE_OPEN:
                left = self._opened_at[key] + self._open_seconds - self._clock.monotonic()
                if left > 0:
                    self._refuse(key, left)
                breaker.half_open()
            if breaker.current_state == pybreaker.STATE_HALF_OPEN:
                if key in self._probing:
                    self._refuse(key, self._open_seconds)
                self._probing.add(key)

    def succeeded(self, key: str) -> None:
        """See `ports.breaker`."""
        with self._lock:
            self._probing.discard(key)
            breaker = self._breaker(key)
            if breaker.current_state != pybreaker.STATE_OPEN:
                breaker.call(lambda: None)

    def failed(self, key: str, error: Exception) -> None:
        """See `ports.breaker`."""
        with self._lock:
            self._probing.discard(key)
            breaker = self._breaker(key)
            if breaker.current_state == pybreaker.STATE_OPEN:
                return
            try:
                breaker.call(_raise, error)
            except type(error):
                if breaker.current_state == pybreaker.STATE_OPEN:
                    self._opened_at[key] = self._clock.monotonic()

    def released(self, key: str) -> None:
        """See `ports.breaker`."""
        with self._lock:
            self._probing.discard(key)

    def _breaker(self, key: str) -> pybreaker.CircuitBreaker:
        if key not in self._breakers:
            self._breakers[key] = pybreaker.CircuitBreaker(
                fail_max=self._failures,
                reset_timeout=self._open_seconds,
                name=key,
                throw_new_error_on_trip=False,
            )
        return self._breakers[key]

    def _refuse(self, key: str, retry_after: float) -> None:
        message = f"the breaker of {key} is open after {self._failures} failures in a row; it is tried again later"
        raise BreakerOpenError(message, retry_after)


def _raise(error: Exception) -> None:
    raise error
