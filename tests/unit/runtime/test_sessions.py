"""Sessions as applications and tools read and write them."""

from __future__ import annotations

import threading
from dataclasses import dataclass, make_dataclass
from typing import Any

import pytest

from wink_tasks import (
    BlockingInTaskError,
    ConflictError,
    DeclarationError,
    LedgerUnavailableError,
    PayloadTooLargeError,
    PromptFailedError,
    ReducerFailedError,
    Session,
    TaskFailedError,
    ToolContext,
    ToolError,
    UnknownSessionError,
    UnknownSliceError,
    UnsupportedError,
    WaitTimeoutError,
    Wink,
)
from wink_tasks.core import typed
from wink_tasks.core.events import EvaluationSucceeded, Recorded, ToolFailed
from wink_tasks.core.reducers import Rule
from wink_tasks.core.slices import Append, ReducerContext, Replace, SlicePolicy
from wink_tasks.core.snapshots import EVERY, KEPT_WHOLE, Window, dumped
from wink_tasks.core.typed import slice_name
from wink_tasks.runtime.session import FoldedSession
from wink_tasks.runtime.slices import reducer
from wink_tasks.testing import answer, call, scripted
from wink_tasks.testing.clock import FakeClock
from wink_tasks.testing.memory import MemoryStore


@dataclass(frozen=True)
class Step:
    name: str


@dataclass(frozen=True)
class Done:
    name: str


@dataclass(frozen=True)
class Plan:
    steps: tuple[str, ...] = ()
    seq: int = 0

    @reducer(on=Step)
    def add(self, event: Step, *, context: ReducerContext) -> Plan:
        if not event.name:
            raise ValueError("a step has a name")
        return Plan((*self.steps, event.name), context.seq)

    @reducer(on=Done)
    def drop(self, event: Done) -> Replace[Plan]:
        return Replace((Plan(tuple(name for name in self.steps if name != event.name), self.seq),))


@dataclass(frozen=True)
class Tally:
    count: int


@dataclass(frozen=True)
class Note:
    text: str


def counted(view: Any, event: Step, *, context: ReducerContext) -> Replace[Tally]:
    latest = view.latest()
    return Replace((Tally(1 + (latest.count if latest else 0)),))


def declared(wink: Wink) -> Wink:
    wink.slices.event(Done)
    wink.slices.event(version=1)(Step)
    wink.slices.install(Plan, initial=Plan)
    wink.slices.register(Tally, {Step: counted})
    wink.slices.register(Note, policy=SlicePolicy.LOG)
    return wink


@pytest.fixture
def wink() -> Wink:
    return declared(Wink())


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore(FakeClock())


@pytest.fixture
def session(wink: Wink, store: MemoryStore) -> Session:
    return opened(wink, store)


def opened(wink: Wink, store: MemoryStore, name: str = "s1", clock: FakeClock | None = None, **options: Any) -> Session:
    reducers = wink.registry.reducers
    return Session(store.ledger, "acme", name, reducers=reducers, clock=clock or FakeClock(), **options)


def test_what_is_dispatched_is_recorded_and_folded(session: Session, wink: Wink, store: MemoryStore):
    assert session.dispatch(Step("a")) == 2
    assert session.dispatch(Step("b")) == 3
    session.dispatch(Done("a"))
    for view in (session, opened(wink, store)):
        assert view[Plan].all() == (Plan(("b",), 3),)
        assert view[Tally].latest() == Tally(2)
        assert view[Step].all() == (Step("a"), Step("b"))
        assert view.seq == 4
    assert [type(record.event).__name__ for record in session.events()] == ["SessionOpened", *["Dispatched"] * 3]


def test_a_view_stays_what_it_was_until_it_is_refreshed(session: Session, wink: Wink, store: MemoryStore):
    session.dispatch(Step("a"))
    reader = opened(wink, store)
    assert reader[Plan].latest() == Plan(("a",), 2)
    session.dispatch(Step("b"))
    assert reader[Plan].latest() == Plan(("a",), 2)
    assert reader.refresh()[Plan].latest() == Plan(("a", "b"), 3)


def test_a_refused_event_is_not_written(session: Session):
    session.dispatch(Step("a"))
    with pytest.raises(ReducerFailedError, match=r"Plan.*a step has a name"):
        session.dispatch(Step(""))
    assert session.refresh().seq == 2


def test_who_expects_another_end_is_told(session: Session, wink: Wink, store: MemoryStore):
    session.dispatch(Step("a"), expected=0)
    other = opened(wink, store)
    other.dispatch(Step("b"), expected=2)
    with pytest.raises(ConflictError, match="has come to 3, the call expects 2"):
        session.dispatch(Step("c"), expected=2)
    assert session.dispatch(Step("c")) == 4
    assert session[Plan].latest() == Plan(("a", "b", "c"), 4)


def test_what_is_expected_is_asked_of_the_ledger_not_of_an_old_view(session: Session, wink: Wink, store: MemoryStore):
    session.dispatch(Step("a"))
    opened(wink, store).dispatch(Step("b"))
    assert session.seq == 2
    assert session.dispatch(Step("c"), expected=3) == 4
    assert session[Plan].latest() == Plan(("a", "b", "c"), 4)
    with pytest.raises(ConflictError, match="has come to 4, the call expects 5"):
        session.dispatch(Step("d"), expected=5)


def test_the_way_of_a_type_to_json_is_built_once(
    session: Session, wink: Wink, store: MemoryStore, monkeypatch: pytest.MonkeyPatch
):
    @dataclass(frozen=True)
    class Plain:
        text: str

    built: list[type] = []

    class Counted(typed.TypeAdapter):
        def __init__(self, type_: Any) -> None:
            built.append(type_)
            super().__init__(type_)

    monkeypatch.setattr(typed, "TypeAdapter", Counted)
    wink.slices.register(Plain)
    for text in "ab":
        opened(wink, store).dispatch(Plain(text))
        opened(wink, store).seed(Plain, [Plain(text)])
    built.clear()
    opened(wink, store).dispatch(Plain("c"))
    opened(wink, store).seed(Plain, [Plain("d")])
    assert built == []


def test_writers_side_by_side_lose_nothing(wink: Wink, store: MemoryStore):
    def write() -> None:
        mine = opened(wink, store)
        for _ in range(50):
            mine.dispatch(Step("x"))

    threads = [threading.Thread(target=write) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert opened(wink, store)[Tally].latest() == Tally(200)


def test_slices_are_written_directly_as_well(session: Session, wink: Wink, store: MemoryStore):
    session[Note].append(Note("a"))
    session[Note].seed(Note("b"), Note("c"))
    assert opened(wink, store)[Note].where(lambda note: note.text > "b") == (Note("c"),)
    session[Note].clear()
    assert opened(wink, store)[Note].latest() is None
    assert len(session[Note]) == 0


@dataclass(frozen=True)
class Stranger:
    name: str = ""


def test_an_unknown_slice_is_told(session: Session):
    session.dispatch(Step("a"))
    for attempt in (lambda: session[Stranger], lambda: session.dispatch(Stranger()), lambda: session.seed(int, [1])):
        with pytest.raises(UnknownSliceError, match="is no slice of session 's1', and nothing declares it here"):
            attempt()
    assert session.refresh().seq == 2


def test_a_view_without_a_ledger_is_read_only(session: Session):
    session.dispatch(Step("a"))
    folded = FoldedSession(session.state)
    assert folded[Plan].all() == (Plan(("a",), 2),)
    with pytest.raises(UnsupportedError, match="Plan can only be read"):
        folded[Plan].clear()


def test_what_is_too_large_is_not_written(session: Session):
    with pytest.raises(PayloadTooLargeError, match="Dispatched has"):
        session.dispatch(Note("x" * 1_000_000))
    with pytest.raises(UnknownSessionError):
        session.refresh()


def test_a_snapshot_serves_a_reader_who_does_not_ask_for_what_is_absent(wink: Wink, store: MemoryStore):
    session = opened(wink, store)
    for number in range(EVERY + 20):
        session.dispatch(Step(f"{number}"))
    assert store.ledger.snapshot("acme", "s1") is not None
    reader = opened(wink, store)
    assert reader[Tally].latest() == Tally(EVERY + 20)
    assert isinstance(reader._current(), Window)
    steps = reader[Step]
    assert len(steps) == EVERY + 20
    assert steps.latest() == Step(f"{EVERY + 19}")
    assert isinstance(reader._current(), Window)
    assert len(steps.all()) == EVERY + 20
    assert dumped(reader.state) == dumped(session.state)
    assert reader.transcript == ()


def test_a_snapshot_that_is_written_by_a_reader_of_a_snapshot_says_the_same(wink: Wink, store: MemoryStore):
    opened(wink, store)[Note].seed(*(Note(f"{number}") for number in range(KEPT_WHOLE)))
    for number in range(2 * EVERY + 5):
        opened(wink, store).dispatch(Note(f"later {number}"))
    reader = opened(wink, store)
    assert isinstance(reader._current(), Window)
    assert reader.seq == 2 * EVERY + 7
    assert len(reader[Note]) == KEPT_WHOLE + 2 * EVERY + 5
    assert len(reader[Note].all()) == KEPT_WHOLE + 2 * EVERY + 5


def test_a_snapshot_of_other_reducers_does_not_count(wink: Wink, store: MemoryStore):
    session = opened(wink, store)
    for _ in range(EVERY):
        session.dispatch(Step("a"))
    other = Wink()
    other.slices.register(Tally, {Step: lambda view, event, *, context: Append(Tally(7))})
    reader = opened(other, store)
    assert len(reader[Tally].all()) == EVERY
    assert not isinstance(reader._current(), Window)


def test_waiting_for_what_another_writes(wink: Wink, store: MemoryStore):
    writer, clock = opened(wink, store), FakeClock()
    steps = iter([Step("a"), Step("b"), Done("a")])

    def work(left: float) -> None:
        writer.dispatch(next(steps))
        clock.advance(1)

    reader = opened(wink, store, clock=clock, work=work)
    assert reader.wait_for(lambda view: view[Tally].latest() == Tally(2), timeout=30)[Plan].latest() == Plan(
        ("a", "b"), 3
    )
    assert reader.wait_for(lambda view: True, timeout=0).seq == 3


def test_what_does_not_come_in_time(wink: Wink, store: MemoryStore):
    clock = FakeClock()
    reader = opened(wink, store, clock=clock, work=clock.advance)
    with pytest.raises(WaitTimeoutError, match="in session 's1' did not come within 3 s"):
        reader.wait_for(lambda view: False, timeout=3)


def test_watching_gives_the_view_each_time(wink: Wink, store: MemoryStore):
    writer, clock = opened(wink, store), FakeClock()
    writer.dispatch(Step("a"))

    def work(left: float) -> None:
        writer.dispatch(Step("b"))
        clock.advance(4)

    reader = opened(wink, store, clock=clock, work=work)
    assert [view.seq for view in reader.watch(timeout=7)] == [2, 3, 4]
    assert next(opened(wink, store).watch()).seq == 4


def test_what_cannot_be_installed(wink: Wink):
    with pytest.raises(DeclarationError, match="Stranger has no method that is marked"):
        wink.slices.install(Stranger)
    add = reducer(on=Step)(lambda self: self)
    with pytest.raises(DeclarationError, match=r"is not of the shape \(self, event\), or \(self, event, \*, context\)"):
        wink.slices.install(make_dataclass("Odd", [], namespace={"add": add}))


def test_a_class_without_a_first_value_refuses_what_comes_before_one(store: MemoryStore):
    wink = Wink()
    wink.slices.install(Plan)
    session = opened(wink, store)
    with pytest.raises(ReducerFailedError, match="the slice has no value yet, and no initial="):
        session.dispatch(Step("a"))
    session[Plan].seed(Plan(("z",)))
    session.dispatch(Step("a"))
    assert session[Plan].latest() == Plan(("z", "a"), 3)


class Agent:
    """A prompt whose tool writes to its session."""

    def __init__(self) -> None:
        self.wink = wink = declared(Wink())
        self.seen: list[Any] = []

        @wink.tool
        def write(ctx: ToolContext, name: str, then: str = "") -> Note:
            """Write."""
            ctx.session.dispatch(Step(name))
            ctx.session[Note].append(Note(f"tried {name}"))
            ctx.session[Note].seed(*ctx.session[Note].all(), Note("seeded"))
            ctx.session[Tally].seed(Tally(40))
            self.seen.append(ctx.session.refresh()[Plan].latest())
            if then == "tell":
                raise ToolError("no")
            if then == "wait":
                ctx.session.wait_for(lambda view: True)
            return Note(f"wrote {name}")

        @wink.prompt(output=Tally, tools=[write], model="offline:m")
        def plan() -> str:
            """You plan."""
            return "Plan."

        self.write, self.plan = write, plan


@pytest.fixture
def agent() -> Agent:
    return Agent()


def test_what_a_tool_wrote_is_recorded_with_its_result(agent: Agent):
    script = [call(agent.write, name="a"), call(agent.write, name="b"), answer(Tally(9))]
    with scripted(agent.wink, {agent.plan: script}):
        run = agent.plan.delay()
        assert run.get() == Tally(9)
        session = run.session
        assert [plan.steps for plan in agent.seen] == [("a",), ("a", "b")]
        assert session[Plan].latest().steps == ("a", "b")
        assert session[Tally].all() == (Tally(40), Tally(9))
        texts = [note.text for note in session[Note].all()]
        assert texts == ["tried a", "seeded", "wrote a", "tried b", "seeded", "wrote b"]
        records = [record for record in session.events() if record.evaluation == run.id]
        assert [type(record.event).__name__ for record in records].count("Dispatched") == 4
        assert [event.output for event in session[EvaluationSucceeded].all()] == [{"count": 9}]


def test_of_a_tool_that_failed_only_the_log_stays(agent: Agent):
    script = [call(agent.write, name="a", then="tell"), call(agent.write, name="", then=""), answer(Tally(9))]
    with scripted(agent.wink, {agent.plan: script}):
        run = agent.plan.delay()
        assert run.get() == Tally(9)
        session = run.session
        assert session[Plan].latest() is None
        assert session[Tally].all() == (Tally(9),)
        assert [note.text for note in session[Note].all()] == ["tried a", "seeded"]
        kinds = [event.kind for event in session[ToolFailed].all()]
        assert kinds == ["tool_error", "exception"]


def test_a_tool_does_not_wait_for_a_session(agent: Agent):
    script = [call(agent.write, name="a", then="wait"), answer(Tally(9))]
    with scripted(agent.wink, {agent.plan: script}):
        run = agent.plan.delay()
        run.get()
        [failed] = run.session[ToolFailed].all()
        assert BlockingInTaskError.__name__ in (failed.error or "")


def test_a_tool_reads_a_long_session_by_its_snapshot(agent: Agent):
    with scripted(agent.wink, {agent.plan: [call(agent.write, name="z"), answer(Tally(9))]}):
        session = agent.wink.session("long")
        for number in range(EVERY + KEPT_WHOLE):
            session[Note].append(Note(f"{number}"))
        run = agent.plan.with_options(session="long").delay()
        run.get()
        assert len(run.session[Note].all()) == EVERY + KEPT_WHOLE + 3
        assert run.session[Note].all()[0] == Note("0")


def test_a_hole_in_a_ledger_is_told_by_a_window_too(wink: Wink):
    from wink_tasks.core.errors import LedgerFormatError
    from wink_tasks.core.events import Dispatched
    from wink_tasks.core.snapshots import followed

    view = Window(tenant="acme", session="s1", seq=4)
    with pytest.raises(LedgerFormatError, match="event 6 follows 4"):
        followed(view, [Recorded(6, 0.0, "a", Dispatched(name="n", data=1))])


def test_workers_take_snapshots_too(agent: Agent):
    with scripted(agent.wink, {agent.plan: [call(agent.write, name="z"), answer(Tally(9))]}) as kit:
        session = agent.wink.session("long")
        for number in range(EVERY - 8):
            session[Note].append(Note(f"{number}"))
        ledger = agent.wink.house().store.ledger
        assert ledger.snapshot("default", "long") is None
        agent.plan.with_options(session="long").delay().get()
        found = ledger.snapshot("default", "long")
        assert found is not None
        assert found.seq >= EVERY
        assert kit.requests


def test_a_run_goes_on_where_its_snapshot_cannot_be_kept(
    agent: Agent, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    def refuse(*_: object) -> None:
        raise LedgerUnavailableError("full")

    with scripted(agent.wink, {agent.plan: [call(agent.write, name="z"), answer(Tally(9))]}):
        session = agent.wink.session("long")
        for number in range(EVERY - 8):
            session[Note].append(Note(f"{number}"))
        monkeypatch.setattr(agent.wink.house().store.ledger, "keep_snapshot", refuse)
        assert agent.plan.with_options(session="long").delay().get() == Tally(9)
    assert "no snapshot of session 'long': full" in caplog.text


def test_views_in_a_prompts_body_know_their_session(session: Session):
    session.dispatch(Step("a"))
    view = session.view()
    assert (view.id, view.seq, view.transcript, repr(session)) == ("s1", 2, (), "<Session s1 of acme>")
    session.dispatch(Step("b"))
    assert view[Plan].latest() == Plan(("a",), 2)
    reducers = session._reducers
    assert [name.rpartition(".")[2] for name, _ in reducers.rules] == ["Step", "Step", "Done"]


@dataclass(frozen=True)
class Claimed:
    fits: bool


@dataclass(frozen=True)
class Accepted:
    count: int


def strict(view: Any, event: Claimed, *, context: ReducerContext) -> Append[Accepted]:
    if not event.fits:
        raise ValueError("it does not fit")
    return Append(Accepted(len(view) + 1))


class Strict:
    """What a tool, a task and a prompt return has a reducer that may refuse it."""

    def __init__(self) -> None:
        self.wink = wink = Wink()
        wink.slices.register(Accepted, {Claimed: strict})

        @wink.tool
        def claim(fits: bool) -> Claimed:
            """Claim."""
            return Claimed(fits)

        @wink.task
        def file(fits: bool) -> Claimed:
            """File."""
            return Claimed(fits)

        @wink.prompt(output=Claimed, tools=[claim], model="offline:m")
        def ask() -> str:
            """You ask."""
            return "Ask."

        self.claim, self.file, self.ask = claim, file, ask


def test_what_a_reducer_refuses_of_a_tool_is_a_failure_of_the_tool():
    desk = Strict()
    script = [call(desk.claim, fits=False), call(desk.claim, fits=True), answer(Claimed(fits=True))]
    with scripted(desk.wink, {desk.ask: script}):
        run = desk.ask.delay()
        assert run.get() == Claimed(fits=True)
        assert run.session[Accepted].all() == (Accepted(1), Accepted(2))
        [failed] = run.session[ToolFailed].all()
        assert "it does not fit" in (failed.error or "")


def test_what_a_reducer_refuses_of_a_task_or_a_prompt_fails_its_run_and_leaves_the_session_readable():
    desk = Strict()
    with scripted(desk.wink, {desk.ask: [answer(Claimed(fits=False))]}):
        for handle, arguments, error in ((desk.file, [False], TaskFailedError), (desk.ask, [], PromptFailedError)):
            run = handle.apply_async(arguments)
            with pytest.raises(error, match="it does not fit"):
                run.get()
            assert run.session.refresh()[Accepted].all() == ()
        assert desk.file.delay(fits=True).get() == Claimed(fits=True)


def test_what_only_a_reducer_elsewhere_refuses_is_recorded_and_told(agent: Agent, caplog: pytest.LogCaptureFixture):
    """Another writer came between the tool's look and its settlement, or another version runs there."""
    with scripted(agent.wink, {agent.plan: [call(agent.write, name="a"), answer(Tally(9))]}):
        steps = agent.wink.house().steps
        reducers = agent.wink.registry.reducers
        remembered = steps._remembered

        def late(*args: Any) -> Any:
            reducers._rules[slice_name(Note)] = [Rule(slice=slice_name(Tally) or "", reducer=refuses)]
            reducers._plans.clear()
            try:
                return remembered(*args)
            finally:
                del reducers._rules[slice_name(Note)]
                reducers._plans.clear()

        steps._remembered = late
        assert agent.plan.delay().get() == Tally(9)
    assert "cannot be folded" in caplog.text


def refuses(view: Any, event: Note, *, context: ReducerContext) -> Any:
    raise ValueError("not here")
