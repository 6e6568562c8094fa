"""Sessions that go on from another's first events."""
# ruff: noqa: D102, PLR2004 - tests

from __future__ import annotations

import pytest

from wink_tasks.core.errors import (
    DuplicateError,
    SessionBusyError,
    SessionForkedError,
    UnknownEventError,
    UnknownSessionError,
)
from wink_tasks.core.events import AnyEvent, SessionForked
from wink_tasks.ports.ledger import Snapshot
from wink_tasks.testing.clock import FakeClock
from wink_tasks.testing.conformance.driver import TENANT, Driven, Driver, responded, rung, succeeded
from wink_tasks.testing.conformance.ledger import noted, opened


def fork(d: Driver, parent: str, session: str, at: int, *more: AnyEvent) -> None:
    """Open a fork; `more` are its own events after the first."""
    first = SessionForked(tenant=TENANT, session=session, parent=parent, seq=at)
    d.ledger.fork(TENANT, parent, session, at=at, events=(first, *more), actor="a1")


def numbers(d: Driver, session: str, **asked: int) -> list[int]:
    """The sequence numbers of what is read."""
    return [record.seq for record in d.ledger.read(TENANT, session, **asked)]


class ForkConformance(Driven):
    """A fork shares its parent's events, and has its own after them."""

    @pytest.fixture
    def six(self, d: Driver) -> Driver:
        """A session `s1` of six events."""
        d.append(opened("s1"), *map(noted, range(2, 7)), expected=0)
        return d

    def test_a_fork_reads_as_its_parent_and_then_itself(self, six: Driver) -> None:
        fork(six, "s1", "s2", 4, noted(60))
        six.append(noted(70), expected=6, session="s2")
        six.append(noted(7), expected=6)
        shared = [record.event for record in six.ledger.read(TENANT, "s1")][:4]
        own = [SessionForked(tenant=TENANT, session="s2", parent="s1", seq=4), noted(60), noted(70)]
        assert [record.event for record in six.ledger.read(TENANT, "s2")] == [*shared, *own]
        assert six.ledger.read(TENANT, "s2", count=4) == six.ledger.read(TENANT, "s1", count=4), "also their times"
        assert numbers(six, "s2") == [1, 2, 3, 4, 5, 6, 7]
        assert six.events("s1")[-1] == noted(7)

    def test_a_part_of_it_is_read_from_anywhere(self, six: Driver) -> None:
        fork(six, "s1", "s2", 4, noted(60))
        assert numbers(six, "s2", after=2) == [3, 4, 5, 6]
        assert numbers(six, "s2", after=2, count=1) == [3]
        assert numbers(six, "s2", after=3, count=2) == [4, 5]
        assert numbers(six, "s2", after=4) == [5, 6]
        assert numbers(six, "s2", after=5, count=5) == [6]
        assert numbers(six, "s2", after=6) == []
        assert numbers(six, "s2", count=2) == [1, 2]

    def test_waiting_gives_what_is_shared_too(self, six: Driver) -> None:
        fork(six, "s1", "s2", 4)
        assert [one.seq for one in six.ledger.wait(TENANT, "s2", after=3, timeout=1)] == [4, 5]
        came = six.ledger.wait_any({(TENANT, "s2"): 0, (TENANT, "s1"): 5}, timeout=1)
        assert {owner[1]: [one.seq for one in events] for owner, events in came.items()} == {
            "s1": [6],
            "s2": [1, 2, 3, 4, 5],
        }

    def test_an_application_appends_to_it(self, six: Driver) -> None:
        fork(six, "s1", "s2", 4)
        behind = six.append(noted(9), expected=2, session="s2")
        assert [one.seq for one in behind] == [3, 4, 5]
        assert list(six.append(noted(9), expected=5, session="s2")) == []
        with pytest.raises(UnknownSessionError, match="does not reach 7"):
            six.append(noted(9), expected=7, session="s2")

    def test_a_fork_of_a_fork(self, six: Driver) -> None:
        fork(six, "s1", "s2", 4, noted(60))
        fork(six, "s2", "s3", 6)
        fork(six, "s3", "s4", 2)
        fork(six, "s3", "s5", 7, noted(80))
        assert [numbers(six, name) for name in ("s3", "s4")] == [[1, 2, 3, 4, 5, 6, 7], [1, 2, 3]]
        assert six.ledger.read(TENANT, "s4", count=2) == six.ledger.read(TENANT, "s1", count=2)
        assert six.ledger.read(TENANT, "s5", count=6) == six.ledger.read(TENANT, "s2")
        assert numbers(six, "s5", after=3, count=4) == [4, 5, 6, 7]
        assert numbers(six, "s5", after=1) == [2, 3, 4, 5, 6, 7, 8, 9]

    def test_it_is_a_session_like_any(self, six: Driver, clock: FakeClock) -> None:
        clock.advance(5)
        fork(six, "s1", "s2", 4, noted(60))
        found = six.ledger.session(TENANT, "s2")
        assert found is not None
        assert (found.parent, found.base, found.head, found.current) == ("s1", 4, 6, "")
        assert (found.created_at, found.updated_at) == (clock.now(), clock.now())
        assert [one.session for one in six.ledger.sessions()] == ["s2", "s1"]
        parent = six.ledger.session(TENANT, "s1")
        assert parent is not None
        assert (parent.parent, parent.base, parent.head) == ("", 0, 6)
        six.ledger.keep_snapshot(TENANT, "s2", Snapshot(seq=5, fingerprint="f", slices=b"{}"))
        assert six.ledger.snapshot(TENANT, "s2") is not None
        assert six.ledger.snapshot(TENANT, "s1") is None

    def test_runs_go_on_in_it(self, six: Driver) -> None:
        fork(six, "s1", "s2", 4)
        accepted = six.accept("e1", "s2")
        assert (accepted.seq, rung(accepted.doorbells)) == (6, ["e1"])
        claimed = six.claim("e1", "s2", after=0)
        assert (claimed.head, [record.seq for record in claimed.tail]) == (6, [5, 6]), "without what is the parent's"
        six.mailbox.nack(claimed.receipt, delay=0, counts=False, error="")
        claimed = six.claim("e1", "s2", after=5)
        assert [record.seq for record in claimed.tail] == [6]
        settled = six.settle(claimed, responded("e1"), end=succeeded("e1"), serves=("turns",), after=3)
        assert settled.first == 7
        assert settled.claimed is not None
        assert [type(record.event).__name__ for record in settled.claimed.read] == [
            "EvaluationAccepted",
            "EvaluationSucceeded",
        ]
        assert [record.seq for record in settled.claimed.tail] == [5, 6]
        assert numbers(six, "s2") == [1, 2, 3, 4, 5, 6, 7, 8]
        assert numbers(six, "s1") == [1, 2, 3, 4, 5, 6]

    @pytest.mark.parametrize("at", [7, 100, 0, -1])
    def test_a_point_that_is_none(self, six: Driver, at: int) -> None:
        with pytest.raises(UnknownEventError, match=f"no event {at}: they are numbered from 1 to 6"):
            fork(six, "s1", "s2", at)
        assert six.ledger.session(TENANT, "s2") is None
        assert six.ledger.delete(TENANT, "s1"), "nothing is left of the try"

    def test_what_it_takes_to_fork(self, six: Driver) -> None:
        with pytest.raises(UnknownSessionError, match="'nope'"):
            fork(six, "nope", "s2", 1)
        for taken in ("s1", "s2"):
            six.append(opened("s2"), expected=0, session="s2")
            with pytest.raises(DuplicateError, match=f"session '{taken}' already"):
                fork(six, "s1", taken, 1)
        assert numbers(six, "s2") == [1]
        assert six.ledger.delete(TENANT, "s1"), "nothing is left of the tries"

    def test_a_parent_stays_as_long_as_its_forks(self, six: Driver) -> None:
        fork(six, "s1", "s2", 4)
        fork(six, "s1", "s3", 2)
        fork(six, "s2", "s4", 3)
        assert [sorted(six.ledger.forks(TENANT, name)) for name in ("s1", "s2", "s3")] == [["s2", "s3"], ["s4"], []]
        with pytest.raises(SessionForkedError, match=r"'s1' has forks, .* delete 's2', 's3' first"):
            six.ledger.delete(TENANT, "s1")
        with pytest.raises(SessionForkedError, match="delete 's2', 's3' first"):
            six.ledger.retire(TENANT, "s1", head=6, where="a")
        assert six.ledger.delete(TENANT, "s3")
        with pytest.raises(SessionForkedError, match="delete 's4' first"):
            six.ledger.delete(TENANT, "s2")
        with pytest.raises(SessionForkedError, match="delete 's2' first"):
            six.ledger.delete(TENANT, "s1")
        assert numbers(six, "s4") == [1, 2, 3, 4]
        assert [six.ledger.delete(TENANT, name) for name in ("s4", "s2", "s1")] == [True, True, True]
        assert six.ledger.sessions() == []

    def test_what_is_busy_is_said_before_its_forks(self, six: Driver) -> None:
        fork(six, "s1", "s2", 4)
        six.accept("e1")
        with pytest.raises(SessionBusyError):
            six.ledger.delete(TENANT, "s1")

    def test_a_name_may_be_used_again(self, six: Driver) -> None:
        fork(six, "s1", "s2", 4)
        six.ledger.delete(TENANT, "s2")
        six.append(opened("s2"), expected=0, session="s2")
        assert six.ledger.delete(TENANT, "s1"), "that session is no fork"
        six.append(opened("s1"), noted(1), expected=0)
        six.ledger.delete(TENANT, "s2")
        fork(six, "s1", "s2", 2)
        with pytest.raises(SessionForkedError):
            six.ledger.delete(TENANT, "s1")

    def test_retention_passes_over_parents(self, six: Driver, clock: FakeClock) -> None:
        fork(six, "s1", "s2", 4)
        six.append(opened("s9"), expected=0, session="s9")
        clock.advance(100)
        six.append(noted(1), expected=5, session="s2")
        assert six.ledger.expire(older_than=50) == 1
        assert [six.ledger.expired(TENANT, name) for name in ("s1", "s9")] == [False, True]
        assert numbers(six, "s2") == [1, 2, 3, 4, 5, 6]
        clock.advance(5_000)
        assert six.ledger.expire(older_than=50, limit=1) + six.ledger.expire(older_than=50, limit=1) == 2
        assert six.ledger.sessions() == []

    def test_tenants_do_not_see_each_others(self, six: Driver) -> None:
        fork(six, "s1", "s2", 4)
        assert list(six.ledger.read("globex", "s2")) == []
        first = SessionForked(tenant="globex", session="s2", parent="s1", seq=1)
        with pytest.raises(UnknownSessionError):
            six.ledger.fork("globex", "s1", "s2", at=1, events=(first,), actor="a1")
