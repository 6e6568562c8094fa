"""A session as it was at one of its events."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NoReturn

from msgspec import structs

from wink_tasks.core.errors import UnsupportedError
from wink_tasks.core.events import (
    TERMINAL,
    AnyEvent,
    CancelRequested,
    EvaluationAccepted,
    EvaluationResumed,
    EvaluationStarted,
    Recorded,
)
from wink_tasks.core.forking import checked_event, no_event
from wink_tasks.core.session import SessionState
from wink_tasks.core.snapshots import Window, followed
from wink_tasks.ports.ledger import STATUS_OF, EvaluationRecord
from wink_tasks.runtime.missing import missing_session
from wink_tasks.runtime.session import Session


class PastSession(Session):
    """A session as it was when its event `at` was the newest: read at first use, and then the same for ever.

    It cannot be written to, nor waited for. Reading raises UnknownEventError where the session has not come to `at`.
    """

    at: int

    @classmethod
    def of(cls, session: Session, at: int) -> PastSession:
        """`session` as it was at its event `at`. Does no I/O. Raises ParametersInvalidError where that is no number."""
        mine = session._ledger, session.tenant, session.id  # noqa: SLF001 - its own class
        own = {"reducers": session._reducers, "actor": session._actor, "clock": session._clock}  # noqa: SLF001
        past = cls(*mine, **own, work=session._work)  # type: ignore[arg-type]  # noqa: SLF001 - as above
        past.at = checked_event(at)
        return past

    def events(self, *, after: int = 0) -> Iterator[Recorded]:
        """The ledger's events up to that point."""
        yield from (record for record in super().events(after=after) if record.seq <= self.at)

    def watch(self, timeout: float | None = None) -> NoReturn:
        """Refused: nothing comes any more. Raises UnsupportedError."""
        del timeout
        self._refuse()

    def _written(self, event: AnyEvent, expected: int | None) -> NoReturn:
        del event, expected
        self._refuse()

    def _refuse(self) -> NoReturn:
        raise UnsupportedError(
            f"this is session {self.id!r} as it was at event {self.at}, which nothing changes any more: "
            f"wink.session({self.id!r}) is what it is now, and fork(at={self.at}) goes on from there"
        )

    def _caught_up(self) -> SessionState | Window:
        if self._seen is not None:
            return self._seen
        seen = self._kept()
        if seen.seq > self.at:
            seen = self._nothing()
        if self.at > seen.seq:
            records = self._ledger.read(self.tenant, self.id, after=seen.seq, count=self.at - seen.seq)
            seen = followed(seen, records)
        if self.at < 1 or seen.seq < self.at:
            found = self._ledger.session(self.tenant, self.id)
            if found is None:
                raise missing_session(self._ledger, self.tenant, self.id)
            raise no_event(self.id, self.at, found.head)
        self._seen = seen
        return seen


def runs_of(records: Iterable[Recorded], tenant: str, session: str) -> list[EvaluationRecord]:
    """The evaluations as they stood after `records`, which begin with the session's first."""
    runs: dict[str, EvaluationRecord] = {}
    for record in records:
        event, name = record.event, record.evaluation
        if isinstance(event, EvaluationAccepted):
            runs[name] = EvaluationRecord(
                id=name,
                tenant=tenant,
                session=session,
                prompt=event.prompt,
                status="PENDING",
                accepted_seq=record.seq,
                accepted_at=record.at,
            )
        elif name in runs:
            runs[name] = _followed(runs[name], record)
    return list(runs.values())


def _followed(run: EvaluationRecord, record: Recorded) -> EvaluationRecord:
    match record.event:
        case EvaluationStarted():
            return structs.replace(run, status="STARTED", started_at=run.started_at or record.at)
        case EvaluationResumed() if run.ended_seq:
            return structs.replace(run, status="STARTED", ended_seq=0, ended_at=0.0)
        case CancelRequested():
            return structs.replace(run, cancelled=True)
        case event if isinstance(event, TERMINAL):
            return structs.replace(run, status=STATUS_OF[type(event)], ended_seq=record.seq, ended_at=record.at)
        case _:
            return run
