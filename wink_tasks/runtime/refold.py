"""Folding recorded sessions again: against what was kept of them, and by other reducers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

import msgspec
from msgspec import to_builtins

from wink_tasks.core.errors import LedgerFormatError, ReducerFailedError, ValueInvalidError
from wink_tasks.core.events import EvaluationAccepted, Recorded
from wink_tasks.core.json_differences import Difference, differences
from wink_tasks.core.reducers import Reducers
from wink_tasks.core.refolding import (
    EvaluationFacts,
    SliceDifference,
    compare_folds,
    compare_kept,
    facts,
    folded_slices,
)
from wink_tasks.core.session import SessionState, fold
from wink_tasks.core.snapshots import dumped, kept
from wink_tasks.ports.ledger import STATUS_OF, EvaluationRecord, Ledger, SessionRecord, Status
from wink_tasks.runtime.letters import is_named
from wink_tasks.runtime.missing import missing_session

Snapshots = Literal["none", "other reducers", "same", "differs"]

LOOKED_AT: Final = 100_000
"""How many sessions are looked at, newest first."""

_ENDS: Final[Mapping[Status, str]] = {status: event.__name__ for event, status in STATUS_OF.items()}


class Refolded(msgspec.Struct, frozen=True, kw_only=True):
    """What came of folding a session again. `events` is how many it has, `snapshot_seq` what the snapshot has seen.

    `slices` are those that the snapshot has otherwise, `evaluations` the places where the index says otherwise.
    """

    tenant: str
    session: str
    events: int
    evaluations_folded: int
    snapshot: Snapshots
    snapshot_seq: int = 0
    snapshot_fingerprint: str = ""
    fingerprint: str
    slices: tuple[SliceDifference, ...] = ()
    evaluations: tuple[Difference, ...] = ()

    @property
    def differs(self) -> bool:
        """Whether something that was kept is not what the ledger says."""
        return bool(self.slices or self.evaluations)


class Compared(msgspec.Struct, frozen=True, kw_only=True):
    """A session as two sets of reducers have it; `slices` are those that differ at its end.

    `failed` is why one of the two could not fold it.
    """

    tenant: str
    session: str
    events: int
    slices: tuple[SliceDifference, ...] = ()
    failed: str = ""

    @property
    def differs(self) -> bool:
        """Whether the two are not alike here."""
        return bool(self.slices or self.failed)


@dataclass(frozen=True, kw_only=True)
class Sessions:
    """Which sessions: with a run of this prompt (its last part is enough) and labels, changed `since` seconds ago."""

    prompt: str = ""
    tenant: str = ""
    since: float | None = None
    labels: Mapping[str, str] = field(default_factory=dict)


def refolded(ledger: Ledger, tenant: str, session: str, reducers: Reducers) -> Refolded:
    """Fold a session's ledger again, and compare. Raises UnknownSessionError, and what a fold raises."""
    snapshot = ledger.snapshot(tenant, session)
    index, records = _at_one_time(ledger, tenant, session)
    state = fold(SessionState(reducers=reducers), records)
    folded = to_builtins(facts(state, records))
    evaluations = tuple(differences(to_builtins(index), folded, "evaluations"))
    told: dict[str, Any] = {
        "tenant": tenant,
        "session": session,
        "events": len(records),
        "evaluations_folded": len(folded),
        "evaluations": evaluations,
        "fingerprint": reducers.fingerprint,
    }
    if snapshot is None:
        return Refolded(**told, snapshot="none")
    told |= {"snapshot_seq": snapshot.seq, "snapshot_fingerprint": snapshot.fingerprint}
    if snapshot.fingerprint != reducers.fingerprint:
        return Refolded(**told, snapshot="other reducers")
    then = folded_slices(tenant, session, records[: snapshot.seq], reducers)
    slices = tuple(compare_kept(kept(snapshot.slices), dumped(then)))
    return Refolded(**told, snapshot="differs" if slices else "same", slices=slices)


def chosen_sessions(ledger: Ledger, wanted: Sessions, now: float) -> Iterator[tuple[SessionRecord, Sequence[Recorded]]]:
    """The sessions that are wanted with their events, newest first. `now` is epoch seconds."""
    for record in ledger.sessions(tenant=wanted.tenant or None, limit=LOOKED_AT):
        if wanted.since is not None and now - record.updated_at > wanted.since:
            return
        runs = ledger.evaluations(record.tenant, record.session)
        if wanted.prompt and not any(is_named(run.prompt, wanted.prompt) for run in runs):
            continue
        records = ledger.read(record.tenant, record.session)
        if not wanted.labels or any(_is_wanted(one, wanted) for one in records):
            yield record, records


def compared(record: SessionRecord, records: Sequence[Recorded], ours: Reducers, theirs: Reducers) -> Compared:
    """Fold a session by both. What is `left_out` is not compared."""
    told: dict[str, Any] = {"tenant": record.tenant, "session": record.session, "events": len(records)}
    aside = left_out(ours, theirs)
    try:
        before, after = (folded_slices(record.tenant, record.session, records, one) for one in (ours, theirs))
        slices = tuple(one for one in compare_folds(before, after) if one.slice not in aside)
        return Compared(**told, slices=slices)
    except (ReducerFailedError, LedgerFormatError, ValueInvalidError) as error:
        return Compared(**told, failed=str(error))


def left_out(ours: Reducers, theirs: Reducers) -> tuple[str, ...]:
    """The slices that only `ours` declare: rules of some slices are tried, the others are not tried without theirs."""
    return tuple(sorted(ours.slices.keys() - theirs.slices.keys()))


def _is_wanted(record: Recorded, wanted: Sessions) -> bool:
    event = record.event
    return (
        isinstance(event, EvaluationAccepted)
        and is_named(event.prompt, wanted.prompt)
        and wanted.labels.items() <= event.terms.labels.items()
    )


def _at_one_time(ledger: Ledger, tenant: str, session: str) -> tuple[dict[str, EvaluationFacts], Sequence[Recorded]]:
    """What the index says, and the events; read again where something came in between."""
    while True:
        record = ledger.session(tenant, session)
        if record is None:
            raise missing_session(ledger, tenant, session)
        index = {run.id: _indexed(run) for run in ledger.evaluations(tenant, session)}
        records = ledger.read(tenant, session)
        if len(records) == record.head:
            return index, records


def _indexed(run: EvaluationRecord) -> EvaluationFacts:
    return EvaluationFacts(
        prompt=run.prompt, accepted_seq=run.accepted_seq, ended_seq=run.ended_seq, end=_ENDS.get(run.status, "")
    )
