"""What takes part in the transaction of a call: resources that can be put back, and how they hear of its end."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, Protocol, runtime_checkable

import msgspec

from wink_tasks.core.codec import VERSION
from wink_tasks.core.events import Json


class Attempt(msgspec.Struct, frozen=True, kw_only=True):
    """One delivery of a call of a tool, or of a task: what a journal remembers of it.

    `key` is the call's idempotency key, the same for all its deliveries, whose `epoch` grows; `actor` is the process.
    `call` is the model's id of the call, empty for a task. `opened_at` tells the session from an earlier one of its
    name (epoch seconds of its first event). `after` is a sequence number of the ledger before that of its result.
    """

    key: str
    epoch: int
    tenant: str
    session: str
    evaluation: str
    turn: int
    call: str
    opened_at: float
    after: int
    actor: str


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """What a call came to: what it returned, and the events that it wrote to its session, as JSON of that `version`."""

    value: Json
    events: tuple[bytes, ...] = ()
    version: int = VERSION


Fate = Literal["open", "kept", "lost", "unknown"]
"""What became of an attempt. `open`: its call is delivered again. `kept`: what it did is recorded. `lost`: its call is
over, and what it did was not recorded. `unknown`: its session is gone."""

FateOf = Callable[[Attempt], Fate]


@runtime_checkable
class Snapshotable(Protocol):
    """A resource that can be put back to how it was."""

    def snapshot(self) -> Any:
        """A token for how it is now. Tokens are restored newest first."""
        ...

    def restore(self, token: Any, /) -> None:
        """Put it back to how it was at `token`. May be called twice. What it raises ends the evaluation."""
        ...


class Participant(Snapshotable, Protocol):
    """A resource's part in one call's transaction. `decides`: what it commits is the call's answer from then on."""

    @property
    def decides(self) -> bool:
        """Whether it has begun something that `decide` commits."""
        ...

    def earlier(self) -> Answer | None:
        """The answer that an earlier attempt of this call committed, None where none did."""
        ...

    def take_over(self, *, kept: bool) -> None:
        """Deal with what an earlier attempt of this call left: it counts (`kept`), or is put back."""
        ...

    def prepare(self, *, decided: bool) -> None:
        """The call succeeded; where `decided`, another part commits it next. Raises LeaseLostError where overtaken."""
        ...

    def decide(self, answer: Answer) -> Answer:
        """Commit; the answer that counts, which may be another attempt's. Only of what decides."""
        ...

    def close(self, *, kept: bool | None) -> None:
        """The end: what was done is recorded (`kept`), was put back, or (None) nobody knows, and the next one sees."""
        ...


class Joined(msgspec.Struct, frozen=True):
    """What a call is given in the place of a resource, and that resource's part in its transaction."""

    resource: Any
    part: Participant


@runtime_checkable
class Transactional(Protocol):
    """A resource that takes part in the transaction of each call that uses it."""

    def join_transaction(self, attempt: Attempt, fate_of: FateOf, /) -> Joined:
        """Its part in the transaction of `attempt`. Changes nothing that others see."""
        ...
