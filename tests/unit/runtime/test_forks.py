"""Forks of sessions, and runs in them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from tests.unit.runtime.conftest import Note, Review, Shop
from wink_tasks import (
    DuplicateError,
    ParametersInvalidError,
    Session,
    ToolContext,
    UnknownSessionError,
    UnsupportedError,
)
from wink_tasks.core.errors import UnknownEventError
from wink_tasks.core.events import EvaluationCancelled, SessionForked
from wink_tasks.core.snapshots import EVERY
from wink_tasks.core.transcript import ToolAnswered
from wink_tasks.ports.ledger import Ledger
from wink_tasks.testing import answer, call, scripted
from wink_tasks.testing.scripted import Scripted


@pytest.fixture
def scene(shop: Shop) -> Iterator[Scripted]:
    script = [call(shop.note, text="a"), answer(Review(summary="ok", score=1))]
    with scripted(shop.wink, {shop.review: script, shop.chat: lambda _: answer("hello")}) as scene:
        yield scene


@pytest.fixture
def session(shop: Shop, scene: Scripted) -> Session:
    shop.review.with_options(session="s1").delay("p").get()
    return shop.wink.session("s1")


def ledger(shop: Shop) -> Ledger:
    return shop.wink.house().store.ledger


def number_of(session: Session, name: str) -> int:
    return next(record.seq for record in session.events() if type(record.event).__name__ == name)


def test_a_fork_between_runs_goes_on_from_the_same_state(session: Session, shop: Shop):
    fork = session.fork(name="s2")
    assert (fork.id, fork.tenant, fork.seq) == ("s2", session.tenant, session.seq + 1)
    assert fork.transcript == session.transcript
    assert fork[Note].all() == session[Note].all() == (Note("a"),)
    assert fork.state.open == {}
    other = shop.chat.with_options(session="s2", model="house:large").delay("and now?")
    assert other.get() == "hello"
    assert fork.refresh().transcript[: len(session.transcript)] == session.transcript
    assert len(fork.transcript) == len(session.transcript) + 2
    assert session.refresh().seq == fork.seq - 5, "the parent goes on without it"
    assert session.state.session == "s1"
    assert fork.state.session == "s2"


def test_a_run_in_a_fork_is_shown_its_history(session: Session, shop: Shop, scene: Scripted):
    fork = session.fork()
    shop.chat.with_options(session=fork.id).delay("more").get()
    [request] = [request for request in scene.requests if request.prompt == "shop.chat"]
    assert len(request.transcript) == len(session.transcript) + 1
    asked = next(record.event for record in fork.events() if type(record.event).__name__ == "SessionForked")
    assert asked == SessionForked(tenant=fork.tenant, session=fork.id, parent="s1", seq=session.seq)


def test_a_fork_in_the_middle_of_a_run_cancels_it_there_and_nowhere_else(session: Session, shop: Shop):
    at = number_of(session, "ModelResponded")
    [run] = [record.event.evaluation for record in session.events() if type(record.event).__name__ == "ToolReturned"]
    fork = session.fork(at=at, name="s2")
    forked, cancelled = (record.event for record in fork.events(after=at))
    assert isinstance(forked, SessionForked)
    assert isinstance(cancelled, EvaluationCancelled)
    assert (cancelled.evaluation, fork.state.open) == (run, {})
    assert "s2 was forked from s1 at event 4" in cancelled.reason
    [ended] = fork.state.ended
    assert (ended.id, ended.pending[0].tool) == (run, "shop.note".rpartition(".")[2])
    answered = fork.transcript[-1]
    assert isinstance(answered, ToolAnswered)
    assert answered.failed, "the transcript is valid: the open call has an answer"
    assert shop.wink.run(run).status == "SUCCESS"
    assert shop.chat.with_options(session="s2").delay("go on").get() == "hello"


def test_runs_that_waited_are_cancelled_too(shop: Shop, scene: Scripted):
    chat = shop.chat.with_options(session="s1")
    first, second = chat.with_options(countdown=60).delay("a"), chat.delay("b")
    fork = shop.wink.session("s1").fork(at=3)
    assert [one.id for one in fork.state.ended] == [first.id, second.id]
    assert ledger(shop).evaluations(fork.tenant, fork.id) == []


def test_names_that_are_made(session: Session):
    assert [session.fork(at=4).id for _ in range(3)] == ["s1-fork-4", "s1-fork-4-2", "s1-fork-4-3"]
    assert session.fork().id == f"s1-fork-{session.seq}"


def test_what_cannot_be_forked(session: Session, shop: Shop):
    for at in (session.seq + 1, 0, -3):
        with pytest.raises(UnknownEventError, match=f"session 's1' has no event {at}: they are numbered from 1 to "):
            session.fork(at=at)
    for other in ("x", 4.0, True):
        with pytest.raises(ParametersInvalidError, match=f"at={other!r} does not fit: it takes the number of an event"):
            session.fork(at=other)
    with pytest.raises(DuplicateError, match="'s1' already"):
        session.fork(at=1, name="s1")
    with pytest.raises(ParametersInvalidError, match="session 'bad name' is not usable"):
        session.fork(at=1, name="bad name")
    with pytest.raises(ParametersInvalidError, match="session=5 does not fit: it takes text"):
        session.fork(at=1, name=5)
    with pytest.raises(UnknownSessionError, match="'nope'"):
        shop.wink.session("nope").fork(at=1)
    assert [one.session for one in ledger(shop).sessions()] == ["s1"]


def test_a_tool_cannot_fork(shop: Shop, scene: Scripted):
    caught: list[str] = []

    @shop.wink.tool
    def branch(ctx: ToolContext) -> str:
        """Fork."""
        try:
            ctx.session.fork(at=1)
        except UnsupportedError as error:
            caught.append(str(error))
        return "no"

    branch.delay().get()
    assert len(caught) == 1
    assert "a tool cannot fork" in caught[0]


def test_the_past_can_be_forked(session: Session, shop: Shop):
    past = shop.wink.session("s1", at=4)
    fork = past.fork()
    assert fork.seq == 6
    assert shop.chat.with_options(session=fork.id).delay("x").get() == "hello"


def test_coroutines_fork(session: Session):
    assert asyncio.run(session.afork(at=2, name="s7")).id == "s7"


def test_a_run_leads_to_a_fork(session: Session, shop: Shop):
    [run] = session.state.ended
    fork = shop.wink.run(run.id).session.fork(at=4)
    assert fork.id == "s1-fork-4"


def test_a_fork_of_a_long_session_has_a_snapshot_at_once(session: Session, shop: Shop):
    for number in range(EVERY):
        session[Note].append(Note(str(number)))
    fork = session.fork()
    kept = ledger(shop).snapshot(fork.tenant, fork.id)
    assert kept is not None
    assert kept.seq == fork.seq
    assert shop.wink.session(fork.id)[Note].latest() == Note(str(EVERY - 1))
    assert shop.wink.session(fork.id)[Note].all() == session[Note].all()
