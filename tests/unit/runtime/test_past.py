"""Sessions as they were."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.unit.runtime.conftest import Review, Shop
from wink_tasks import (
    DeadLetteredError,
    ParametersInvalidError,
    Session,
    UnknownSessionError,
    UnsupportedError,
    Wink,
)
from wink_tasks.core.errors import UnknownEventError
from wink_tasks.core.reducers import NO_REDUCERS
from wink_tasks.core.snapshots import EVERY
from wink_tasks.ports.mailbox import Address
from wink_tasks.runtime.past import PastSession, runs_of
from wink_tasks.testing import answer, call, scripted
from wink_tasks.testing.clock import FakeClock
from wink_tasks.testing.memory import MemoryStore
from wink_tasks.testing.scripted import Scripted


@dataclass(frozen=True)
class Step:
    name: str


@pytest.fixture
def session() -> Session:
    wink = Wink()
    wink.slices.event(Step)
    return Session(MemoryStore(FakeClock()).ledger, "acme", "s1", reducers=wink.registry.reducers)


@pytest.fixture
def scene(shop: Shop) -> Iterator[Scripted]:
    script = [call(shop.note, text="a"), answer(Review(summary="ok", score=1))]
    with scripted(shop.wink, {shop.review: script}) as scene:
        yield scene


def steps(session: Session, *names: str) -> None:
    for name in names:
        session.dispatch(Step(name))


def test_a_session_as_it_was(session: Session):
    steps(session, "a", "b", "c")
    past = PastSession.of(session, 3)
    assert past[Step].all() == (Step("a"), Step("b"))
    assert (past.seq, past.refresh().seq, past.view().seq) == (3, 3, 3)
    assert [record.seq for record in past.events(after=1)] == [2, 3]
    session.dispatch(Step("d"))
    assert past.refresh()[Step].latest() == Step("b"), "nothing that comes later changes it"
    assert PastSession.of(session, 1)[Step].all() == ()
    assert PastSession.of(session, 5).seq == session.seq


def test_a_point_before_and_after_the_snapshot(session: Session):
    steps(session, *map(str, range(EVERY + 20)))
    kept = session._ledger.snapshot("acme", "s1")
    assert kept is not None
    for at in (kept.seq - 30, kept.seq, kept.seq + 10):
        past = PastSession.of(session, at)
        assert past[Step].latest() == Step(str(at - 2))
        assert len(past[Step].all()) == at - 1
        assert past.state.seq == at


@pytest.mark.parametrize("at", [4, 100, 0, -1])
def test_a_point_that_is_none(session: Session, at: int):
    steps(session, "a", "b")
    with pytest.raises(UnknownEventError, match=rf"has no event {at}: they are numbered from 1 to 3 so far"):
        PastSession.of(session, at).refresh()


@pytest.mark.parametrize("at", ["3", 3.0, True])
def test_a_point_that_is_no_number(session: Session, at: object):
    with pytest.raises(ParametersInvalidError, match=f"at={at!r} does not fit: .* not {type(at).__name__}"):
        PastSession.of(session, at)


def test_a_point_of_a_session_that_is_not_there(session: Session):
    with pytest.raises(UnknownSessionError, match="has no session 's1'"):
        _ = PastSession.of(session, 1).seq


def test_the_past_is_not_written_and_not_waited_for(session: Session):
    steps(session, "a", "b")
    past = PastSession.of(session, 2)
    for write in (
        lambda: past.dispatch(Step("x")),
        past[Step].clear,
        lambda: past.wait_for(lambda _: True),
    ):
        with pytest.raises(UnsupportedError, match="as it was at event 2"):
            write()
    assert session.refresh().seq == 3


def test_an_application_reads_the_past(shop: Shop, scene: Scripted):
    run = shop.review.with_options(session="s1").delay("p")
    run.get()
    records = list(run.session.events())
    asked = next(one.seq for one in records if type(one.event).__name__ == "ModelResponded")
    past = shop.wink.session("s1", at=asked)
    assert past.state.open[run.id].phase == "calling"
    assert [type(item).__name__ for item in past.transcript] == ["UserSaid", "ModelSaid"]
    assert isinstance(shop.wink.session("s1"), Session)


def test_runs_as_they_stood(shop: Shop, scene: Scripted):
    run = shop.review.with_options(session="s1").delay("p")
    run.get()
    records = list(run.session.events())
    tenant = run.tenant

    def stood(at: int) -> list[tuple[str, str, int]]:
        return [(one.id, one.status, one.ended_seq) for one in runs_of(records[:at], tenant, "s1")]

    assert stood(1) == []
    assert stood(2) == [(run.id, "PENDING", 0)]
    assert stood(3) == [(run.id, "STARTED", 0)]
    assert stood(len(records)) == [(run.id, "SUCCESS", len(records))]
    [found] = runs_of(records, tenant, "s1")
    [known] = shop.wink.house().store.ledger.evaluations(tenant, "s1")
    assert (found.accepted_seq, found.accepted_at, found.ended_at) == (
        known.accepted_seq,
        known.accepted_at,
        known.ended_at,
    )


def test_runs_that_were_cancelled_or_resumed(shop: Shop, scene: Scripted):
    chat = shop.chat.with_options(session="s1")
    cancelled = chat.with_options(countdown=60).delay("x")
    cancelled.cancel()
    scene.script(shop.chat, [*[RuntimeError("down")] * 4, answer("well")])
    died = chat.delay("y")
    with pytest.raises(DeadLetteredError):
        died.get()
    house = shop.wink.house()
    house.ringer.ring(house.store.mailbox.revive(Address(died.tenant, "s1", died.id), by="ann").doorbells)
    assert died.get() == "well"
    records = list(died.session.events())
    found = {one.id: one for one in runs_of(records, died.tenant, "s1")}
    assert (found[cancelled.id].status, found[cancelled.id].cancelled) == ("REVOKED", True)
    assert found[died.id].status == "SUCCESS"
    resumed = next(one.seq for one in records if type(one.event).__name__ == "EvaluationResumed")
    [_, again] = runs_of(records[:resumed], died.tenant, "s1")
    assert (again.status, again.ended_seq) == ("STARTED", 0)
    [_, ended] = runs_of(records[: resumed - 2], died.tenant, "s1")
    assert ended.status == "FAILURE"


def test_without_reducers_values_are_json(session: Session):
    steps(session, "a")
    bare = Session(session._ledger, "acme", "s1", reducers=NO_REDUCERS)
    assert PastSession.of(bare, 2)[Step].all() == (Step("a"),)
