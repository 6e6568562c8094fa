"""What a tool may ask for beside its arguments."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from wink_tasks.core.errors import CancelledError
from wink_tasks.core.limits import Budget
from wink_tasks.runtime.resources import Resources
from wink_tasks.runtime.session import Session


@dataclass(frozen=True, kw_only=True)
class ToolContext:
    """`params` are the prompt's parameters, also those that the model never sees. `deadline` is epoch seconds.

    `idempotency_key` stays the same when the call is delivered again; `delivery_count` is 1 the first time.
    """

    params: Mapping[str, Any]
    session: Session
    resources: Resources
    run_id: str
    tenant: str
    deadline: float | None
    budget: Budget
    idempotency_key: str
    delivery_count: int
    _stopping: Callable[[], bool] = field(default=lambda: False, repr=False)

    def check(self) -> None:
        """Call it now and then in long work. Raises CancelledError where the call should not go on."""
        if self._stopping():
            message = (
                f"the call {self.idempotency_key} should stop: its evaluation was cancelled, or its lease was lost"
            )
            raise CancelledError(message, run_id=self.run_id, session_id=self.session.id)
