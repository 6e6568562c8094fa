"""What a call changes is recorded with its result, or put back: session, resources, files, rows."""

from __future__ import annotations

import asyncio
import threading
from contextlib import suppress
from dataclasses import dataclass
from typing import ClassVar

import pytest
from msgspec import structs
from sqlalchemy import Column, MetaData, String, Table, create_engine, insert, select

from tests.unit.runtime.conftest import NoProvider, Shop
from wink_tasks import (
    ContextClosedError,
    LeaseLostError,
    LedgerUnavailableError,
    RollbackFailedError,
    Scope,
    SlicePolicy,
    SqlTransaction,
    ToolContext,
    ToolError,
    UnsupportedError,
    Workspace,
    tool_transaction,
)
from wink_tasks.adapters.files.journal import Control
from wink_tasks.core.events import ToolFailed, ToolReturned
from wink_tasks.ports.transaction import Answer, Attempt
from wink_tasks.runtime.fate import fate_of
from wink_tasks.runtime.tool_transaction import Plain
from wink_tasks.testing import answer, call, scripted, tool_context

METADATA = MetaData()
ROWS = Table("rows", METADATA, Column("text", String(50)))


@dataclass(frozen=True)
class Noted:
    text: str


@dataclass(frozen=True)
class Logged:
    text: str


class Dial:
    """In memory; what it is put back to is listed. `stuck` cannot be put back."""

    restored: ClassVar[list[tuple[str, int]]] = []

    def __init__(self, name: str = "dial") -> None:
        self.name, self.value, self.stuck = name, 0, False

    def snapshot(self) -> int:
        return self.value

    def restore(self, token: int) -> None:
        if self.stuck:
            raise OSError("it is stuck")
        self.restored.append((self.name, token))
        self.value = token


class Second(Dial):
    """Another one."""


class World:
    """An application whose tool does what a test says, with all kinds of resources."""

    def __init__(self, folder) -> None:
        self.shop = Shop(providers={"house": NoProvider()})
        self.wink = self.shop.wink
        self.engine = create_engine(f"sqlite:///{folder}/rows.db")
        METADATA.create_all(self.engine)
        (folder / "files").mkdir()
        self.workspace = Workspace.at(folder / "files")
        self.workspace.write("old.txt", "old")
        self.sql = SqlTransaction(self.engine)
        self.sql.create_tables()
        self.dial, self.second = Dial("dial"), Second("second")
        self.dial.restored.clear()
        self.wink.slices.register(Noted)
        self.wink.slices.register(Logged, policy=SlicePolicy.LOG)
        self.wink.resources.bind(Workspace, lambda: self.workspace)
        self.wink.resources.bind(SqlTransaction, lambda: self.sql)
        self.wink.resources.bind(Dial, self.dial)
        self.wink.resources.bind(Second, self.second)
        self.does = lambda ctx: None
        self.ran = 0

        @self.wink.tool(retry_on=[ConnectionError])
        def act(ctx: ToolContext) -> str:
            """Act."""
            self.ran += 1
            self.does(ctx)
            return f"done {self.ran}"

        @self.wink.tool
        async def aact(ctx: ToolContext, workspace: Workspace) -> str:
            """Act."""
            workspace.write("new.txt", "new")
            await asyncio.to_thread(self.does, ctx)
            return "done"

        @self.wink.prompt(output=str, tools=[act, aact], model="house:small")
        def actor() -> str:
            """You act."""
            return "go"

        @self.wink.task(max_retries=2, retry_on=[ConnectionError])
        def work(ctx: ToolContext) -> str:
            self.ran += 1
            self.does(ctx)
            return f"done {self.ran}"

        self.act, self.aact, self.actor, self.work = act, aact, actor, work

    def change_all(self, ctx: ToolContext) -> None:
        """A change of each kind."""
        ctx.session.dispatch(Noted("n"))
        ctx.session.dispatch(Logged("l"))
        ctx.resources[Workspace].write("old.txt", "new")
        ctx.resources[Workspace].write("more/new.txt", "new")
        ctx.resources[SqlTransaction].execute(insert(ROWS), {"text": "row"})
        ctx.resources[Dial].value += 1
        ctx.resources[Second].value += 1

    @property
    def rows(self) -> list[str]:
        return [row.text for row in self.sql.execute(select(ROWS))]

    @property
    def files(self) -> dict[str, str]:
        return {path: self.workspace.read_text(path) for path in self.workspace.walk()}

    @property
    def journals(self) -> list[str]:
        return Control(str(self.workspace.root)).calls()

    def untouched(self) -> bool:
        return (self.rows, self.files, self.dial.value, self.second.value, self.journals) == (
            [],
            {"old.txt": "old"},
            0,
            0,
            [],
        )

    def run(self, kit_moves=None, task=False):
        """Run the tool in a prompt, or the task; the session afterwards."""
        moves = kit_moves or [call(self.act), answer("ok")]
        with scripted(self.wink, {self.actor: moves}):
            run = self.work.delay() if task else self.actor.delay()
            self.result = run.get(propagate=False)
            self.events = [record.event for record in run.session.events()]
            self.noted, self.logged = run.session[Noted].all(), run.session[Logged].all()


@pytest.fixture
def world(tmp_path):
    world = World(tmp_path)
    yield world
    world.engine.dispose()


CHANGED = {"old.txt": "new", "more/new.txt": "new"}


@pytest.mark.parametrize("task", [False, True])
def test_a_call_that_succeeds_keeps_all(world: World, task: bool):
    world.does = world.change_all
    world.run(task=task)
    assert (world.rows, world.files, world.dial.value, world.journals) == (["row"], CHANGED, 1, [])
    assert (world.noted, world.logged) == ((Noted("n"),), (Logged("l"),))
    assert world.result == ("done 1" if task else "ok")


@pytest.mark.parametrize("task", [False, True])
@pytest.mark.parametrize("error", [ToolError("no"), KeyError("x"), SystemExit(1), MemoryError(), TimeoutError()])
def test_a_call_that_fails_puts_all_back_newest_first(world: World, error: BaseException, task: bool):
    def does(ctx: ToolContext) -> None:
        world.change_all(ctx)
        raise error

    world.does = does
    world.run(task=task)
    assert world.untouched()
    assert world.dial.restored == [("second", 0), ("dial", 0)]
    assert (world.noted, world.logged) == ((), (Logged("l"),))


def test_what_ends_the_process_puts_all_back_as_well(world: World):
    def does(ctx: ToolContext) -> None:
        world.change_all(ctx)
        raise KeyboardInterrupt

    world.does = does
    with scripted(world.wink, {world.actor: [call(world.act), answer("ok")]}), pytest.raises(KeyboardInterrupt):
        world.actor.delay()
    assert world.untouched()


@pytest.mark.parametrize("task", [False, True])
def test_a_delivery_that_is_given_back_puts_all_back(world: World, task: bool):
    def does(ctx: ToolContext) -> None:
        assert world.untouched()
        world.change_all(ctx)
        if ctx.delivery_count < 3:
            raise ConnectionError("away")

    world.does = does
    world.run(task=task)
    assert world.result == ("done 3" if task else "ok")
    assert (world.rows, world.files, world.dial.value, world.ran) == (["row"], CHANGED, 1, 3)
    assert (world.noted, world.logged) == ((Noted("n"),), (Logged("l"),))


def test_a_coroutine_and_its_threads_are_in_it(world: World):
    def does(ctx: ToolContext) -> None:
        thread = threading.Thread(target=lambda: ctx.resources[Workspace].write("thread.txt", "1"))
        thread.start()
        thread.join()
        assert world.files == {"old.txt": "old", "new.txt": "new", "thread.txt": "1"}
        raise KeyError

    world.does = does
    world.run([call(world.aact), answer("ok")])
    assert world.untouched()


# Nested


def test_an_inner_transaction_fails_alone(world: World):
    def does(ctx: ToolContext) -> None:
        ctx.session.dispatch(Noted("outer"))
        ctx.resources[Workspace].write("outer.txt", "1")
        ctx.resources[Dial].value = 1
        with suppress(KeyError), ctx.transaction():
            world.change_all(ctx)
            with tool_transaction(ctx.session, ctx.resources):
                ctx.resources[Dial].value = 7
            assert len(ctx.session[Noted].all()) == 2
            raise KeyError
        assert ctx.session[Noted].all() == (Noted("outer"),)
        assert (ctx.resources[Dial].value, ctx.resources[Second].value) == (1, 0)
        with ctx.transaction():
            ctx.session.dispatch(Noted("inner"))
            ctx.resources[Second].value = 5

    world.does = does
    world.run()
    assert world.result == "ok"
    assert (world.noted, world.logged) == ((Noted("outer"), Noted("inner")), (Logged("l"),))
    assert (world.files, world.rows) == ({"old.txt": "old", "outer.txt": "1"}, [])
    assert (world.dial.value, world.second.value) == (1, 5)


def test_what_an_inner_one_used_first_is_put_back_with_the_outer_one(world: World):
    def does(ctx: ToolContext) -> None:
        with ctx.transaction():
            world.change_all(ctx)
        with suppress(KeyError), ctx.transaction():
            ctx.resources[SqlTransaction].execute(insert(ROWS), {"text": "inner"})
            raise KeyError
        assert [row.text for row in ctx.resources[SqlTransaction].execute(select(ROWS))] == ["row"]
        raise ToolError("no")

    world.does = does
    world.run()
    assert world.untouched()


def test_transactions_are_nested_and_are_left(world: World):
    def crossed(ctx: ToolContext) -> None:
        one, two = ctx.transaction(), ctx.transaction()
        left.extend((one, two))
        one.__enter__()
        two.__enter__()
        one.__exit__(None, None, None)

    def inside(ctx: ToolContext) -> None:
        world.change_all(ctx)
        left.append(ctx.transaction())
        left[-1].__enter__()

    left: list = []
    for does, said in ((crossed, "UnsupportedError"), (inside, "ContextClosedError")):
        world.does = does
        world.run()
        [failed] = [event for event in world.events if isinstance(event, ToolFailed)]
        assert failed.message == f"The tool failed with {said}."
        assert world.untouched()
    assert not left[-1].__exit__(KeyError, KeyError("late"), None)
    assert world.untouched()


def test_after_the_call_none_begins(world: World):
    left: list[ToolContext] = []
    world.does = left.append
    world.run()
    with pytest.raises(ContextClosedError, match="has ended, and its context was asked for a transaction"):
        left[-1].transaction()


def test_outside_of_a_call_there_is_none(world: World):
    with world.wink.in_memory(), pytest.raises(UnsupportedError, match="part of a call"):
        tool_transaction(world.wink.session("s"), tool_context().resources)


def test_in_the_test_kit_what_is_in_memory_is_put_back(world: World):
    ctx = tool_context(resources={Dial: world.dial, Workspace: world.workspace})
    ctx.resources[Workspace].write("a.txt", "1")
    with suppress(KeyError), ctx.transaction():
        ctx.resources[Dial].value = 3
        raise KeyError
    assert (world.dial.value, world.workspace.read("a.txt"), world.journals) == (0, b"1", [])


# Another resource than one can put back


@pytest.mark.parametrize("task", [False, True])
@pytest.mark.parametrize("inner", [False, True])
def test_a_restore_that_fails_ends_the_evaluation_loudly(world: World, inner: bool, task: bool, caplog):
    def does(ctx: ToolContext) -> None:
        world.change_all(ctx)
        if inner:
            try:
                with ctx.transaction():
                    world.dial.stuck = True
                    raise KeyError
            except RollbackFailedError:
                return
        world.dial.stuck = True
        raise KeyError

    world.does = does
    world.run(task=task)
    assert isinstance(world.result, RollbackFailedError)
    assert "could not be put back: Dial: OSError: it is stuck" in str(world.result)
    assert "it is stuck" in caplog.text
    assert (world.rows, world.files, world.second.value) == ([], {"old.txt": "old"}, 0), "the others are"
    assert world.noted == ()


def test_rows_of_two_databases_are_refused(world: World, tmp_path):
    class Other(SqlTransaction):
        """Another database."""

    other = Other(create_engine(f"sqlite:///{tmp_path}/other.db"))
    METADATA.create_all(other.engine)
    world.wink.resources.bind(Other, lambda: other)

    def does(ctx: ToolContext) -> None:
        world.change_all(ctx)
        ctx.resources[Other].execute(insert(ROWS), {"text": "row"})

    world.does = does
    world.run()
    assert world.untouched()
    assert "two databases" in next(event for event in world.events if isinstance(event, ToolFailed)).error
    assert list(other.execute(select(ROWS))) == []
    other.engine.dispose()


def test_two_resources_with_one_folder_are_refused(world: World):
    class Other(Workspace):
        """The same folder."""

    world.wink.resources.bind(Other, lambda: Other(world.workspace.root))

    def does(ctx: ToolContext) -> None:
        ctx.resources[Workspace].write("a.txt", "1")
        assert ctx.resources[Workspace] is ctx.resources[Workspace]
        ctx.resources[Other].write("b.txt", "1")

    world.does = does
    world.run()
    assert "bind it once" in next(event for event in world.events if isinstance(event, ToolFailed)).error
    assert world.untouched()


def test_one_folder_has_one_journal_in_a_call_and_equal_objects_are_put_back_each(world: World):
    class Third(Workspace):
        """A new one each time."""

    @dataclass
    class Tally:
        value: int = 0

        def snapshot(self) -> int:
            return self.value

        def restore(self, token: int) -> None:
            self.value = token

    seen: list[Tally] = []
    world.wink.resources.bind(Third, lambda: Third(world.workspace.root), Scope.PROTOTYPE)
    world.wink.resources.bind(Tally, Tally, Scope.PROTOTYPE)

    def does(ctx: ToolContext) -> None:
        ctx.resources[Third].write("old.txt", "one")
        ctx.resources[Third].write("two.txt", "two")
        seen.extend((ctx.resources[Tally], ctx.resources[Tally]))
        for tally in seen:
            tally.value = 1
        raise KeyError

    world.does = does
    world.run()
    assert world.untouched()
    assert seen == [Tally(0), Tally(0)]
    assert seen[0] is not seen[1]


def test_a_resource_in_memory_knows_of_no_other_attempt(world: World):
    part = Plain(world.dial)
    part.take_over(kept=False)
    assert (part.earlier(), part.decide(Answer(value=1))) == (None, Answer(value=1))


def test_another_attempt_that_commits_first_gives_the_answer(world: World):
    def does(ctx: ToolContext) -> None:
        other = world.sql.join_transaction(ctx.resources.transaction._attempt, lambda _: "open")
        other.resource.execute(insert(ROWS), {"text": "other"})
        other.part.decide(Answer(value="other"))
        world.change_all(ctx)

    world.does = does
    world.run(task=True)
    assert (world.result, world.rows, world.noted) == ("other", ["other"], ())


# Lost deliveries


class Cut:
    """A mailbox that fails once to settle, after or before it did."""

    def __init__(self, mailbox, error, *, done=False):
        self.mailbox, self.error, self.done, self.left = mailbox, error, done, 1

    def __getattr__(self, name):
        return getattr(self.mailbox, name)

    def settle(self, settlement):
        call = any(isinstance(event, ToolReturned) for event in settlement.events)
        if call and self.left:
            self.left = 0
            if self.done:
                self.mailbox.settle(settlement)
            raise self.error
        return self.mailbox.settle(settlement)


def cut(world: World, error: Exception, *, done: bool = False):
    """Have the tool's settlement fail, and the lease run out."""
    kit = scripted(world.wink, {world.actor: [call(world.act), answer("ok")]})
    return kit, lambda house: object.__setattr__(house.parts, "mailbox", Cut(house.parts.mailbox, error, done=done))


def test_a_settlement_that_is_refused_puts_back_what_has_no_record(world: World):
    def does(ctx: ToolContext) -> None:
        ctx.resources[Workspace].write("old.txt", "new")
        ctx.resources[Dial].value = 1

    world.does = does
    kit, wire = cut(world, LeaseLostError("another has it"))
    with kit:
        wire(world.wink.house())
        run = world.actor.delay()
        assert (world.files, world.dial.value, world.journals) == ({"old.txt": "old"}, 0, [])
        assert run.get() == "ok"
    assert (world.files, world.ran, world.journals) == ({"old.txt": "new"}, 2, [])


def test_what_cannot_be_put_back_then_is_said(world: World, caplog):
    def does(ctx: ToolContext) -> None:
        ctx.resources[Dial].value = 1
        world.dial.stuck = True

    world.does = does
    kit, wire = cut(world, LeaseLostError("another has it"))
    with kit:
        wire(world.wink.house())
        world.actor.delay()
    assert "does not count, and is not undone" in caplog.text


@pytest.mark.parametrize("done", [False, True])
def test_rows_with_a_record_are_written_once_and_the_call_is_answered_from_it(world: World, done: bool):
    """Its worker gave up in the settlement: whether that was recorded or not."""
    world.does = world.change_all
    kit, wire = cut(world, LedgerUnavailableError("away"), done=done)
    with kit:
        house = world.wink.house()
        wire(house)
        house.steps._leaving.set()
        run = world.actor.delay()
        assert (world.rows, world.files, len(world.journals)) == (["row"], CHANGED, 1)
        house.steps._leaving.clear()
        assert run.get() == "ok"
        assert (world.rows, world.files, world.ran) == (["row"], CHANGED, 1)
        assert run.session[Noted].all() == (Noted("n"),)
        [returned] = [event.event for event in run.session.events() if isinstance(event.event, ToolReturned)]
        assert returned.value == "done 1"
        world.does = lambda ctx: ctx.resources[Workspace].write("old.txt", "later")
        world.work.delay().get()
    assert (world.files["old.txt"], world.journals) == ("later", [])


def test_without_a_record_it_runs_again_from_how_it_was(world: World):
    def does(ctx: ToolContext) -> None:
        assert ctx.resources[Workspace].read_text("old.txt") == "old"
        ctx.resources[Workspace].write("old.txt", f"new {ctx.delivery_count}")

    world.does = does
    kit, wire = cut(world, LedgerUnavailableError("away"))
    with kit:
        wire(world.wink.house())
        world.wink.house().steps._leaving.set()
        run = world.actor.delay()
        assert world.files == {"old.txt": "new 1"}
        assert run.get() == "ok"
    assert (world.files, world.ran, world.journals) == ({"old.txt": "new 2"}, 2, [])


def test_what_the_redelivery_cannot_put_back_ends_the_evaluation(world: World):
    world.does = lambda ctx: ctx.resources[Workspace].write("src/a.txt", "1")
    world.workspace.write("src/a.txt", "0")
    kit, wire = cut(world, LedgerUnavailableError("away"))
    with kit:
        wire(world.wink.house())
        world.wink.house().steps._leaving.set()
        run = world.actor.delay()
        (world.workspace.root / "src").rename(world.workspace.root / "elsewhere")
        with pytest.raises(RollbackFailedError, match=r"could not be put back .*mend them"):
            run.get()
    assert world.ran == 1


def test_what_is_not_cleared_away_is_no_failure(world: World, monkeypatch, caplog):
    world.does = world.change_all
    monkeypatch.setattr(Control, "end", lambda *_: (_ for _ in ()).throw(OSError("read-only now")))
    world.run()
    assert (world.result, world.files) == ("ok", CHANGED)
    assert "is not cleared away" in caplog.text


# What became of an attempt


def test_the_fate_of_an_attempt_is_in_its_ledger(world: World):
    with scripted(world.wink, {world.actor: [call(world.act), answer("ok")]}):
        house = world.wink.house()
        ledger, actor = house.store.ledger, house.parts.actor
        seen = []

        def attempt(ctx: ToolContext) -> Attempt:
            return Attempt(
                key=ctx.idempotency_key,
                epoch=1,
                tenant="default",
                session="s",
                evaluation=ctx.run_id,
                turn=1,
                call="",
                opened_at=0.0,
                after=1,
                actor=actor,
            )

        def look(ctx: ToolContext) -> None:
            seen.append(attempt(ctx))
            assert fate_of(ledger, seen[-1]) == "open"

        world.does = look
        run = world.actor.apply_async(session="s")
        run.get()
        asked = next(event.event for event in run.session.events() if isinstance(event.event, ToolReturned))
        mine = structs.replace(seen[0], call=asked.call)
        assert fate_of(ledger, mine) == "kept"
        assert fate_of(ledger, structs.replace(mine, actor="other:1")) == "lost"
        assert fate_of(ledger, structs.replace(mine, call="c9")) == "lost"
        assert fate_of(ledger, structs.replace(mine, session="gone")) == "unknown"
        task = world.work.apply_async(session="s")
        task.get()
        assert fate_of(ledger, seen[1]) == "kept"
        assert fate_of(ledger, structs.replace(seen[1], actor="other:1")) == "lost"
