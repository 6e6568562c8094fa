"""Sessions that are archived, dropped, and brought back."""
# ruff: noqa: D102, PLR2004 - tests

from __future__ import annotations

from collections.abc import Sequence

import pytest
from msgspec import structs

from wink_tasks.core.errors import DuplicateError, SessionBusyError
from wink_tasks.core.events import AnyEvent, Dispatched, Recorded, SessionOpened
from wink_tasks.ports.ledger import EvaluationRecord, Snapshot
from wink_tasks.testing.clock import FakeClock
from wink_tasks.testing.conformance.driver import TENANT, Driven, Driver, succeeded

Copy = tuple[float, Sequence[Recorded], Sequence[EvaluationRecord]]


def ended(d: Driver, evaluation: str, session: str) -> None:
    """A run with nothing left to do."""
    d.accept(evaluation, session)
    d.settle(d.claim(evaluation, session), end=succeeded(evaluation))
    d.settle(d.claim(f"{evaluation}~outcome", session))


def copied(d: Driver, session: str = "s1") -> Copy:
    """All that a file of the session would hold."""
    found = d.ledger.session(TENANT, session)
    assert found is not None
    return found.created_at, d.ledger.read(TENANT, session), d.ledger.evaluations(TENANT, session)


def restore(d: Driver, copy: Copy, session: str = "s1") -> bool:
    """Bring it back."""
    created_at, events, evaluations = copy
    return d.ledger.restore(TENANT, session, created_at=created_at, events=events, evaluations=evaluations)


class ArchiveConformance(Driven):
    """What a ledger does with sessions that are kept elsewhere."""

    def test_a_restored_session_answers_as_before(self, d: Driver, clock: FakeClock) -> None:
        for name in ("e1", "e2", "e3"):
            ended(d, name, "s1")
            clock.advance(1.25)
        copy, records = copied(d), [d.ledger.evaluation(TENANT, name) for name in ("e1", "e2", "e3")]
        clock.advance(1000)
        assert d.ledger.retire(TENANT, "s1", head=len(copy[1]), where="file:a.jsonl")
        assert d.ledger.session(TENANT, "s1") is None
        assert (d.ledger.expired(TENANT, "s1"), d.ledger.archived(TENANT, "s1")) == (True, "file:a.jsonl")
        assert restore(d, copy) is True
        assert copied(d) == copy
        assert [d.ledger.evaluation(TENANT, name) for name in ("e1", "e2", "e3")] == records
        assert d.ledger.tenant_of("e2") == TENANT
        assert (d.ledger.expired(TENANT, "s1"), d.ledger.archived(TENANT, "s1")) == (False, "")
        assert restore(d, copy) is False
        assert copied(d) == copy

    def test_a_restored_session_goes_on_and_is_dropped_like_any(self, d: Driver, clock: FakeClock) -> None:
        ended(d, "e1", "s1")
        copy = copied(d)
        d.ledger.delete(TENANT, "s1")
        clock.advance(1000)
        restore(d, copy)
        assert d.ledger.expire(older_than=10) == 0, "its retention counts from its return"
        found = d.ledger.session(TENANT, "s1")
        assert found is not None
        assert (found.updated_at, found.current) == (clock.now(), "")
        assert d.accept("e1").seq == copy[2][0].accepted_seq, "a client that asks again finds its run"
        d.ledger.keep_snapshot(TENANT, "s1", Snapshot(seq=3, fingerprint="f", slices=b"{}"))
        ended(d, "e2", "s1")
        assert [record.seq for record in d.ledger.read(TENANT, "s1")] == [1, 2, 3, 4, 5]
        assert [one.id for one in d.ledger.evaluations(TENANT, "s1")] == ["e1", "e2"]
        assert [one.session for one in d.ledger.sessions()] == ["s1"]
        assert d.ledger.delete(TENANT, "s1")
        assert d.ledger.evaluation(TENANT, "e1") is None

    def test_a_large_session_comes_in_pieces_and_appears_as_a_whole(self, d: Driver) -> None:
        events: list[AnyEvent] = [
            SessionOpened(tenant=TENANT, session="s1"),
            *(Dispatched(name="app.Noted", data={"n": number, "text": "x" * 400}) for number in range(1200)),
            *(Dispatched(name="app.Noted", data="x" * 600_000) for _ in range(3)),
        ]
        records = [Recorded(seq, 1_700_000_000 + seq / 1000, "a1", event) for seq, event in enumerate(events, 1)]
        assert restore(d, (records[0].at, records, ())) is True
        assert list(d.ledger.read(TENANT, "s1")) == records
        found = d.ledger.session(TENANT, "s1")
        assert found is not None
        assert (found.head, found.created_at) == (1204, records[0].at)
        assert list(d.append(Dispatched(name="app.Noted", data=1), expected=1204)) == []

    def test_nothing_is_overwritten(self, d: Driver) -> None:
        ended(d, "e1", "s1")
        copy = copied(d)
        d.ledger.delete(TENANT, "s1")
        d.accept("e9", "s1")
        assert restore(d, copy) is False
        assert d.names() == ["EvaluationAccepted"]
        d.accept("e1", "s2")
        for other in ("s3", "s4", "s5", "s6", "s7"):
            with pytest.raises(DuplicateError, match="'e1'"):
                restore(d, copy, other)
            assert d.ledger.session(TENANT, other) is None
            assert d.ledger.read(TENANT, other) == ()
            assert d.ledger.evaluations(TENANT, other) == []
        assert d.claim("e1", "s2").deliveries == 1

    def test_an_id_whose_home_is_elsewhere_is_found_and_refused_like_any(self, d: Driver) -> None:
        names = [f"run{number}" for number in range(6)]
        for name in names:
            ended(d, name, "s1")
        copy = copied(d)
        d.ledger.delete(TENANT, "s1")
        assert [d.ledger.tenant_of(name) for name in names] == [None] * 6
        restore(d, copy)
        assert [d.ledger.tenant_of(name) for name in names] == [TENANT] * 6
        assert [d.status(name) for name in names] == ["SUCCESS"] * 6

    def test_a_session_is_retired_only_as_it_was_archived(self, d: Driver) -> None:
        assert d.ledger.retire(TENANT, "s1", head=1, where="a") is False
        d.accept("e1")
        with pytest.raises(SessionBusyError, match="'e1'"):
            d.ledger.retire(TENANT, "s1", head=2, where="a")
        d.settle(d.claim("e1"), end=succeeded("e1"))
        assert d.ledger.retire(TENANT, "s1", head=2, where="a") is False
        assert d.ledger.session(TENANT, "s1") is not None
        assert d.ledger.archived(TENANT, "s1") == ""

    def test_retention_drops_what_is_archived_first(self, d: Driver, clock: FakeClock) -> None:
        for number in range(4):
            ended(d, f"e{number}", f"s{number}")
        clock.advance(100)
        asked = []

        def archive(tenant: str, session: str) -> str | None:
            asked.append((tenant, session))
            assert d.ledger.session(tenant, session) is not None, "it is still there"
            if session == "s2":
                d.accept("e9", "s2")
            return None if session == "s1" else f"file:{session}"

        assert d.ledger.expire(older_than=50, archive=archive) == 2
        assert sorted(asked) == [(TENANT, f"s{number}") for number in range(4)]
        assert [d.ledger.archived(TENANT, f"s{number}") for number in range(4)] == ["file:s0", "", "", "file:s3"]
        assert [d.ledger.session(TENANT, f"s{number}") is None for number in range(4)] == [True, False, False, True]
        assert d.ledger.expire(older_than=50) == 1
        assert (d.ledger.expired(TENANT, "s1"), d.ledger.archived(TENANT, "s1")) == (True, "")

    def test_what_was_dropped_comes_back_with_its_times(self, d: Driver) -> None:
        ended(d, "e1", "s1")
        created_at, events, evaluations = copied(d)
        d.ledger.delete(TENANT, "s1")
        odd = [structs.replace(one, status="REVOKED", cancelled=True, started_at=0.0) for one in evaluations]
        restore(d, (created_at, events, odd))
        assert d.ledger.evaluations(TENANT, "s1") == odd
