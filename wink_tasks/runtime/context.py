"""What a tool or a durable task may ask for beside its arguments."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, Final, NoReturn

from wink_tasks.core.codec import encode
from wink_tasks.core.delivery import LONGEST_CHECKPOINT
from wink_tasks.core.errors import (
    CancelledError,
    LeaseLostError,
    PayloadTooLargeError,
    RetryLaterError,
    ValueInvalidError,
)
from wink_tasks.core.events import Json
from wink_tasks.core.limits import Budget
from wink_tasks.runtime.resources import Resources
from wink_tasks.runtime.session import Session
from wink_tasks.runtime.stop import Why
from wink_tasks.runtime.tool_transaction import tool_transaction

SAID: Final[Mapping[Why, str]] = {
    "limit": "its time limit has passed",
    "cancelled": "its evaluation was cancelled",
    "handed back": "its worker is shutting down, and gave it to others",
    "lost": "another worker has claimed it",
}


@dataclass(frozen=True, kw_only=True)
class ToolContext:
    """`params` are the prompt's parameters, also those that the model never sees; empty outside of a prompt's run.

    `deadline` is epoch seconds. `idempotency_key` stays the same when the call is delivered again; `delivery_count` is
    1 the first time. `checkpointed` is what an earlier delivery gave to `checkpoint`, None where none did.
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
    checkpointed: Json = None
    _why: Callable[[], Why | None] = field(default=lambda: None, repr=False)
    _keep: Callable[[Json], object] = field(default=lambda _: None, repr=False)

    def check(self) -> None:
        """Call it now and then in long work. Returns where the call should go on.

        Raises CancelledError where its evaluation was cancelled, and LeaseLostError where what it does no longer
        counts: another worker has claimed it, this worker leaves, or the tool's own time limit has passed. Once the
        call has ended, as for a thread that it left behind, it raises ContextClosedError.
        """
        self.resources.refuse_late("whether to go on")
        why = self._why()
        if why is None:
            return
        message = f"the call {self.idempotency_key} should stop: {SAID[why]}"
        if why == "cancelled":
            raise CancelledError(message, run_id=self.run_id, session_id=self.session.id)
        raise LeaseLostError(message)

    def checkpoint(self, value: Json) -> None:
        """Keep how far the work is: where this delivery is lost, the next one finds `value` in `checkpointed`.

        It is kept as JSON, at most 64 KiB of it, in the place of the one before, until the call has ended. Raises
        LeaseLostError where another worker has the call now, ContextClosedError once it has ended, ValueInvalidError,
        PayloadTooLargeError, and LedgerUnavailableError.
        """
        self.resources.refuse_late("a checkpoint")
        try:
            size = len(encode(value))
        except (TypeError, ValueError, RecursionError) as error:
            raise ValueInvalidError("checkpoint", f"it is no JSON: {error}") from error
        if size > LONGEST_CHECKPOINT:
            message = (
                f"the checkpoint of {self.idempotency_key} has {size} bytes; {LONGEST_CHECKPOINT} are kept: "
                f"keep where to go on, and the work itself elsewhere"
            )
            raise PayloadTooLargeError(message, run_id=self.run_id, session_id=self.session.id)
        self._keep(value)

    def transaction(self) -> AbstractContextManager[None]:
        """Within it, what is changed is put back where an exception leaves it: see `tool_transaction`."""
        return tool_transaction(self.session, self.resources)

    def retry(
        self, *, countdown: float | None = None, exc: BaseException | None = None, max_retries: int | None = None
    ) -> NoReturn:
        """End this delivery, and have the call delivered again `countdown` seconds from now (None: its own backoff).

        It counts; a call that is out of retries is a dead letter, whose last error is `exc` or what is being handled.
        `max_retries` lowers the declared number for this time: beyond it the call fails with that error. Always raises.
        """
        cause = exc if exc is not None else sys.exception()
        message = f"the call {self.idempotency_key} asks to be delivered again"
        raise RetryLaterError(message, delay=countdown, max_retries=max_retries) from cause
