"""What tools use beside their arguments: one object a type and process, made at first use."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import Any, TypeVar, cast

from wink_tasks.core.errors import ConfigurationError

T = TypeVar("T")


class Resources:
    """`bindings` gives, for a type, an instance of it or a function that makes one."""

    def __init__(self, bindings: Mapping[type, Any]) -> None:
        self._bindings = dict(bindings)
        self._lock = threading.Lock()
        self._made: dict[type, object] = {}

    def __getitem__(self, wanted: type[T]) -> T:
        """The resource of that type. Raises ConfigurationError where none is bound."""
        with self._lock:
            if wanted not in self._made:
                if wanted not in self._bindings:
                    message = f"no resource is bound to {wanted.__qualname__}: add it to Wink(resources={{...}})"
                    raise ConfigurationError(message)
                bound = self._bindings[wanted]
                made = bound if isinstance(bound, wanted) else cast("Callable[[], T]", bound)()
                self._made[wanted] = made
            return cast("T", self._made[wanted])
