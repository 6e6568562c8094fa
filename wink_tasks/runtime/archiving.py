"""Sessions on their way to files, and back."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass

import msgspec

from wink_tasks.core.archive import Archived, ArchivedRun, file_name, written
from wink_tasks.core.errors import (
    DuplicateError,
    LedgerUnavailableError,
    ReducerFailedError,
    SessionBusyError,
    ValueInvalidError,
)
from wink_tasks.core.events import Recorded
from wink_tasks.core.forking import still_forked
from wink_tasks.core.redaction import redact
from wink_tasks.core.reducers import Reducers
from wink_tasks.core.session import SessionState, fold
from wink_tasks.core.snapshots import due, dumped
from wink_tasks.ports.archive import Archive
from wink_tasks.ports.clock import Clock
from wink_tasks.ports.ledger import STATUS_OF, Archiving, EvaluationRecord, Ledger
from wink_tasks.ports.telemetry import MetricsCollector
from wink_tasks.runtime.missing import missing_session
from wink_tasks.runtime.session import snapshot_of

log = logging.getLogger(__name__)

LONGEST_LOOK = 1.0
"""Seconds after which one look of the retention archives no further session: the reaper has more to do."""

SET_ASIDE = 3600.0
"""Seconds after which a session that could not be archived is tried again."""


@dataclass(frozen=True, kw_only=True)
class Copy:
    """A session as it stood. `unfolded` is why it has no slices, where reducers refused it."""

    archived: Archived
    owed: tuple[str, ...]
    fingerprint: str
    unfolded: str = ""

    @property
    def name(self) -> str:
        """What its file is called."""
        return file_name(self.archived.tenant, self.archived.session, self.archived.created_at)

    def lines(self) -> Iterator[bytes]:
        """Its file."""
        return written(self.archived, fingerprint=self.fingerprint, unfolded=self.unfolded)


def copy_of(ledger: Ledger, reducers: Reducers, tenant: str, session: str) -> Copy:
    """The whole session, folded by `reducers`. Raises UnknownSessionError, SessionExpiredError."""
    events: list[Recorded] = []
    while True:
        record = ledger.session(tenant, session)
        if record is None:
            raise missing_session(ledger, tenant, session)
        evaluations = ledger.evaluations(tenant, session)
        events += ledger.read(tenant, session, after=len(events))
        if len(events) == record.head:  # else somebody wrote meanwhile, and the two need not fit
            break
    slices, unfolded = {}, ""
    try:
        slices = dict(dumped(fold(SessionState(reducers=reducers), events)))
    except (ReducerFailedError, ValueInvalidError) as error:
        unfolded = redact(f"{type(error).__name__}: {error}")
    archived = Archived(
        tenant=tenant,
        session=session,
        created_at=record.created_at,
        events=tuple(events),
        runs=tuple(map(_run, evaluations)),
        slices=slices,
    )
    owed = tuple(message for one in evaluations for message in one.open_messages)
    return Copy(archived=archived, owed=owed, fingerprint=reducers.fingerprint, unfolded=unfolded)


def restore(ledger: Ledger, archived: Archived) -> bool:
    """Write a session back; False where the very same one is there already.

    Raises SessionBusyError where a run of it had not ended, DuplicateError where something of it is there otherwise.
    """
    tenant, session = archived.tenant, archived.session
    if archived.unended:
        message = f"session {session!r} was at work when it was copied: run {archived.unended[0]!r} had not ended"
        raise SessionBusyError(message)
    records = [_record(run, archived) for run in archived.runs]
    if ledger.restore(tenant, session, created_at=archived.created_at, events=archived.events, evaluations=records):
        return True
    there = ledger.read(tenant, session)
    if tuple(there) != archived.events or tuple(map(_run, ledger.evaluations(tenant, session))) != archived.runs:
        message = (
            f"session {session!r} of tenant {tenant!r} exists, with {len(there)} events, and not as the file "
            f"has it: nothing is written over it"
        )
        raise DuplicateError(message)
    return False


def keep_snapshot(ledger: Ledger, archived: Archived, reducers: Reducers) -> None:
    """Give a long session that came back its snapshot, for nobody may ever write to it again.

    Where a reducer of today refuses it there is none: who reads the session is told.
    """
    if not due(0, len(archived.events)):
        return
    with suppress(ReducerFailedError, ValueInvalidError):
        state = fold(SessionState(reducers=reducers), archived.events)
        ledger.keep_snapshot(archived.tenant, archived.session, snapshot_of(state))


def _run(record: EvaluationRecord) -> ArchivedRun:
    return ArchivedRun(**{name: getattr(record, name) for name in ArchivedRun.__struct_fields__})


def _record(run: ArchivedRun, archived: Archived) -> EvaluationRecord:
    """Its status is what its end says, whatever the file does."""
    status = STATUS_OF[type(archived.events[run.ended_seq - 1].event)]
    known = {**msgspec.structs.asdict(run), "status": status}
    return EvaluationRecord(tenant=archived.tenant, session=archived.session, **known)


class Archivist:
    """Puts sessions into an archive before they are dropped."""

    def __init__(
        self, ledger: Ledger, archive: Archive, *, reducers: Reducers, clock: Clock, metrics: MetricsCollector
    ) -> None:
        self._ledger = ledger
        self._archive = archive
        self._reducers = reducers
        self._clock = clock
        self._metrics = metrics
        self._aside: dict[tuple[str, str], float] = {}

    def retire(self, tenant: str, session: str) -> str | None:
        """Put a session that has nothing left to do into the archive, and drop it; where it is.

        None where it has changed since: it stays. Raises SessionBusyError and SessionForkedError before a file is
        written, ArchiveFailedError, UnknownSessionError.
        """
        copy = copy_of(self._ledger, self._reducers, tenant, session)
        if copy.archived.unended or copy.owed:
            what = copy.archived.unended or copy.owed
            raise SessionBusyError(f"session {session!r} is at work: {what[0]!r} has not ended")
        if forks := self._ledger.forks(tenant, session):
            raise still_forked(session, forks)
        where = self._put(copy)
        dropped = self._ledger.retire(tenant, session, head=len(copy.archived.events), where=where)
        return where if dropped else None

    def look(self) -> Archiving:
        """What one look of the retention asks about each session: what cannot be archived now stays for later."""
        now = self._clock.monotonic()
        self._aside = {session: until for session, until in self._aside.items() if until > now}
        ends_at = now + LONGEST_LOOK

        def archive(tenant: str, session: str) -> str | None:
            if (tenant, session) in self._aside or self._clock.monotonic() >= ends_at:
                return None
            return self._kept(tenant, session)

        return archive

    def _kept(self, tenant: str, session: str) -> str | None:
        try:
            record = self._ledger.session(tenant, session)
            if record is None or record.current:
                return None
            return self._put(copy_of(self._ledger, self._reducers, tenant, session))
        except LedgerUnavailableError:
            raise
        except Exception as error:  # noqa: BLE001 - whatever an archive raises: this one stays, and others go on
            self._aside[tenant, session] = self._clock.monotonic() + SET_ASIDE
            self._metrics.counter("wink.sessions.archived", 1, {"status": "failed"})
            told = redact(f"{type(error).__name__}: {error}")
            log.error("session %r of tenant %r is not archived, and stays: %s", session, tenant, told)  # noqa: TRY400 - redacted
            return None

    def _put(self, copy: Copy) -> str:
        where = self._archive.put(copy.name, copy.lines())
        self._metrics.counter("wink.sessions.archived", 1, {"status": "ok"})
        return where
