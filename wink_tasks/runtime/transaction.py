"""What a tool writes to its session: buffered, and recorded by the settlement of its call, or not at all."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from msgspec import structs

from wink_tasks.core.errors import ContextClosedError
from wink_tasks.core.events import (
    AnyEvent,
    Dispatched,
    EvaluationSucceeded,
    Recorded,
    SliceSeeded,
    ToolReturned,
)
from wink_tasks.core.session import SessionState, fold
from wink_tasks.core.slices import ReducerContext
from wink_tasks.core.snapshots import Window, followed
from wink_tasks.runtime.session import Session


class ToolSession(Session):
    """A session as a tool sees it, with what it wrote itself at the end.

    Nobody else sees that before the call has succeeded. Of a call that failed, only what slices of policy LOG take is
    recorded.
    """

    def __init__(self, *args: Any, evaluation: str, **options: Any) -> None:
        super().__init__(*args, **options)
        self._evaluation = evaluation
        self._base: SessionState | Window | None = None
        self._pending: list[AnyEvent] = []
        self._over = False

    def admit(self, event: ToolReturned | EvaluationSucceeded) -> None:
        """Ask the reducers about what the function returned, before anything is written. Raises ReducerFailedError."""
        if event.slice is not None and self._reducers.has_rules(event.slice):
            seen = self._current()
            context = ReducerContext(self.tenant, self.id, seen.seq + 1, event.evaluation)
            self._reducers.folded(seen.slices, event, context)

    def written(self) -> tuple[AnyEvent, ...]:
        """The events of a call that succeeded."""
        return tuple(self._pending)

    def kept(self) -> tuple[AnyEvent, ...]:
        """The events of a call that failed."""
        return tuple(self._logged(self._pending))

    def _logged(self, events: Sequence[AnyEvent]) -> list[AnyEvent]:
        kept: list[AnyEvent] = []
        for event in events:
            match event:
                case Dispatched() if self._reducers.logs_event(event.name):
                    kept.append(structs.replace(event, failed=True))
                case SliceSeeded() if self._reducers.logs(event.slice):
                    kept.append(event)
                case _:
                    pass
        return kept

    def mark(self) -> int:
        """How much it has written so far."""
        return len(self._pending)

    def back_to(self, mark: int) -> None:
        """Take back what was written since `mark`, but what slices of policy LOG take."""
        self._pending[mark:] = self._logged(self._pending[mark:])
        if self._base is not None:
            self._seen = followed(self._base, self._numbered(self._base.seq))

    def adopt(self, events: Sequence[AnyEvent]) -> None:
        """Have written these, and nothing else: another attempt of the call did."""
        self._pending[:] = events
        self.back_to(len(self._pending))

    def end(self) -> None:
        """The call has ended: what would be written from now on would never be recorded."""
        self._over = True

    def _append(self, events: Sequence[AnyEvent], after: int) -> Sequence[Recorded]:  # noqa: ARG002 - the settlement does
        if self._over:
            message = (
                f"a call of {self._evaluation} wrote to session {self.id} when it had ended: write before the tool "
                f"returns, or from outside by wink.session({self.id!r})"
            )
            raise ContextClosedError(message)
        self._pending.extend(structs.replace(event, evaluation=self._evaluation) for event in events)
        return ()

    def _snapshot(self, before: int, after: SessionState | Window) -> None:
        """Not of what may be rolled back."""

    def _caught_up(self) -> SessionState | Window:
        base = self._kept() if self._base is None else self._base
        self._base = followed(base, self._ledger.read(self.tenant, self.id, after=base.seq))
        self._seen = followed(self._base, self._numbered(self._base.seq))
        return self._seen

    def _whole(self, seen: Window) -> SessionState:
        records = self._ledger.read(self.tenant, self.id, count=seen.seq - len(self._pending))
        self._base = fold(SessionState(reducers=self._reducers), records)
        return fold(self._base, self._numbered(self._base.seq))

    def _numbered(self, after: int) -> list[Recorded]:
        return [Recorded(seq, 0.0, self._actor, event) for seq, event in enumerate(self._pending, after + 1)]
