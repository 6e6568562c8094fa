"""Resources in tools and durable tasks: who gets which, when they are closed, and what goes wrong."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any, Protocol

import pytest
from celery import Celery

from tests.unit.runtime.conftest import Note, Shop
from wink_tasks import (
    CancelledError,
    ConfigurationError,
    ContextClosedError,
    DeclarationError,
    ResourceCloseError,
    ResourceError,
    Scope,
    TaskFailedError,
    ToolContext,
    ToolError,
    Wink,
)
from wink_tasks.core.bindings import Binding
from wink_tasks.core.events import ToolFailed
from wink_tasks.runtime.loop import BackgroundLoop
from wink_tasks.runtime.resources import Singletons
from wink_tasks.testing import answer, call, scripted, tool_context

SAID: list[str] = []


@pytest.fixture(autouse=True)
def said() -> list[str]:
    SAID.clear()
    return SAID


class Closes:
    """Says what happens to it."""

    def __init__(self) -> None:
        SAID.append(f"open {type(self).__name__}")

    def close(self) -> None:
        SAID.append(f"close {type(self).__name__}")


class Pool(Closes):
    pass


class Cursor(Closes):
    def __init__(self, pool: Pool) -> None:
        super().__init__()
        self.pool = pool


class Rows(Protocol):
    pool: Pool

    def close(self) -> None: ...


class Client:
    pass


async def client(pool: Pool) -> AsyncIterator[Client]:
    SAID.append("open Client")
    yield Client()
    SAID.append(f"close Client on {threading.current_thread().name}")


def bind(shop: Shop) -> None:
    shop.wink.resources.bind(Pool, Pool)
    shop.wink.resources.bind(Rows, Cursor, Scope.TOOL_CALL)


def test_each_scope_has_its_own_life(shop: Shop):
    bind(shop)
    shop.wink.resources.bind(Cursor, Cursor, Scope.PROTOTYPE)
    seen: list[Any] = []

    @shop.wink.task
    def use(ctx: ToolContext, name: str, rows: Rows) -> str:
        assert rows is ctx.resources[Rows]
        assert rows.pool is ctx.resources[Pool]
        assert ctx.resources[Cursor] is not ctx.resources[Cursor]
        assert ctx.resources[ToolContext] is ctx
        seen.append(rows)
        SAID.append(name)
        return name

    with scripted(shop.wink, {}):
        assert use.delay("one").get() == "one"
        assert ["open Pool", *["open Cursor"] * 3, "one", *["close Cursor"] * 3] == SAID
        assert use.delay(name="two").get() == "two"
        assert seen[0] is not seen[1]
        assert seen[0].pool is seen[1].pool
        assert SAID.count("open Pool") == 1
    assert SAID[-1] == "close Pool"


def test_the_model_is_not_shown_them_wherever_they_are_bound(shop: Shop):
    @shop.wink.tool
    def count(rows: Rows, n: int, pool: Pool) -> int:
        """Count."""
        return n + (rows.pool is pool)

    needed = r"parameter 'rows' is a Rows, which JSON cannot hold, and which is bound to no resource: .*bind\(Rows"
    with pytest.raises(ConfigurationError, match=needed), scripted(shop.wink, {}):
        pass
    bind(shop)
    assert list(count.definition.parameters["properties"]) == ["n"]

    @shop.wink.prompt(output=str, tools=[count], model="house:m")
    def counter() -> str:
        """You count."""
        return "go"

    with scripted(shop.wink, {counter: [call(count, n=1), answer("ok")]}) as kit:
        counter.delay().get()
        assert kit.requests[-1].items[-1].value == 2
    assert SAID[-2:] == ["close Cursor", "close Pool"]


def test_what_a_model_may_have_seen_is_not_bound_afterwards(shop: Shop):
    @shop.wink.task
    def keep(note: Note) -> str:
        return note.text

    with scripted(shop.wink, {}):
        assert keep.delay(Note("a")).get() == "a"
    with pytest.raises(DeclarationError, match=r"resource Note is bound too late: task 'shop.keep'"):
        shop.wink.resources.bind(Note, lambda: Note("b"))
    with pytest.raises(DeclarationError, match="the factory of resource Cursor needs Pool, which is not bound"):
        shop.wink.resources.bind(Cursor, Cursor)
    shop.wink.resources.bind(Pool, Pool)
    shop.wink.resources.bind(Cursor, Cursor)


def test_a_dataclass_bound_before_the_first_run_is_a_resource(shop: Shop):
    @shop.wink.task
    def keep(note: Note) -> str:
        return note.text

    assert list(keep.definition.parameters.names) == ["note"]
    shop.wink.resources.bind(Note, lambda: Note("mine"))
    with scripted(shop.wink, {}):
        assert keep.delay().get() == "mine"
    with scripted(shop.wink, {}, resources={Note: Note("the test's")}):
        assert keep.delay().get() == "the test's"


def test_decorators_bind_what_a_factory_says(shop: Shop):
    @shop.wink.resource
    def note() -> Note:
        return Note("made")

    @shop.wink.resource(scope=Scope.TOOL_CALL)
    def cursor(note: Note, ctx: ToolContext) -> Iterator[Cursor]:
        SAID.append(f"{note.text} {ctx.tenant}")
        yield Cursor(Pool())

    @shop.wink.task
    def use(cursor: Cursor) -> str:
        return type(cursor).__name__

    with scripted(shop.wink, {}):
        assert use.delay().get() == "Cursor"
    assert SAID == ["made default", "open Pool", "open Cursor"]
    with pytest.raises(DeclarationError, match="resource Note is bound twice"):
        shop.wink.resource(note)


@pytest.mark.parametrize("is_async", [False, True])
def test_async_resources_are_for_all_tools(shop: Shop, is_async: bool):
    bind(shop)
    shop.wink.resources.bind(Client, client, Scope.TOOL_CALL)

    def use(ctx: ToolContext, found: Client) -> bool:
        return ctx.resources[Client] is found

    async def ause(ctx: ToolContext, found: Client) -> bool:
        return (await ctx.resources.aget(Client)) is found

    task = shop.wink.task(name="use")(ause if is_async else use)
    with scripted(shop.wink, {}):
        assert task.delay().get() is True
    assert SAID == ["open Pool", "open Client", "close Client on wink-loop", "close Pool"]


def test_an_async_tool_asks_for_them_without_holding_the_loop(shop: Shop):
    bind(shop)
    shop.wink.resources.bind(Client, client)

    @shop.wink.task
    async def use(ctx: ToolContext) -> bool:
        with pytest.raises(ResourceError, match=r"or `await ctx.resources.aget\(Client\)`"):
            _ = ctx.resources[Client]
        assert isinstance(ctx.resources[Pool], Pool)
        found = await asyncio.gather(*[ctx.resources.aget(Client) for _ in range(4)])
        return {ctx.resources[Client]} == set(found)

    with scripted(shop.wink, {}):
        assert use.delay().get() is True
    assert SAID.count("open Client") == 1


def test_a_hidden_coroutine_does_not_hang_the_loop(shop: Shop):
    async def made() -> Client:
        return Client()

    shop.wink.resources.bind(Client, lambda: made())  # noqa: PLW0108 - what hides that it is async

    @shop.wink.task
    async def use(ctx: ToolContext) -> bool:
        with pytest.raises(ResourceError, match="cannot be waited for on the loop"):
            _ = ctx.resources[Client]
        return isinstance(await ctx.resources.aget(Client), Client)

    with scripted(shop.wink, {}):
        assert use.delay().get() is True


class Fails(Closes):
    def close(self) -> None:
        super().close()
        raise ConnectionError("the line is dead")


class Worse(Closes):
    async def aclose(self) -> None:
        self.close()
        raise OSError("and the disk")


def three(shop: Shop) -> None:
    for one in (Fails, Pool, Worse):
        shop.wink.resources.bind(one, one, Scope.TOOL_CALL)


def test_all_are_closed_and_a_call_that_could_not_has_failed(shop: Shop):
    three(shop)

    @shop.wink.task
    def use(a: Fails, b: Pool, c: Worse) -> int:
        return 1

    with scripted(shop.wink, {}), pytest.raises(TaskFailedError) as caught:
        use.delay().get()
    assert [one for one in SAID if one.startswith("close")] == ["close Worse", "close Pool", "close Fails"]
    assert "2 did not close: OSError: and the disk (resource Worse); ConnectionError: the line" in str(caught.value)


def test_a_failed_call_tells_its_own_error_and_logs_the_others(shop: Shop, caplog: pytest.LogCaptureFixture):
    three(shop)

    @shop.wink.tool
    def use(a: Fails, c: Worse) -> int:
        """Use."""
        raise ToolError("no such row")

    @shop.wink.prompt(output=str, tools=[use], model="house:m")
    def user() -> str:
        """You use."""
        return "go"

    with scripted(shop.wink, {user: [call(use), answer("ok")]}), caplog.at_level(logging.ERROR):
        run = user.delay()
        assert run.get() == "ok"
        [failed] = [one.event for one in run.events() if isinstance(one.event, ToolFailed)]
    assert failed.message == "no such row"
    assert "and the disk" in caplog.text
    assert "the line is dead" in caplog.text


def test_an_error_of_a_factory_or_a_close_can_be_retried(shop: Shop):
    tried: list[int] = []

    def broken(ctx: ToolContext) -> Iterator[Client]:
        tried.append(ctx.delivery_count)
        if len(tried) == 1:
            raise ConnectionError("not yet")
        yield Client()
        if len(tried) == 2:
            raise ConnectionError("not committed")

    shop.wink.resources.bind(Client, broken, Scope.TOOL_CALL)

    @shop.wink.task(retry_on=[ConnectionError])
    def use(found: Client) -> int:
        return len(tried)

    with scripted(shop.wink, {}):
        run = use.delay()
        assert run.get() == 3
    assert tried == [1, 2, 3]


def test_what_a_factory_raises_says_whose_it_is(shop: Shop):
    def broken() -> Client:
        raise ValueError("no address")

    shop.wink.resources.bind(Client, broken)

    @shop.wink.task
    def use(ctx: ToolContext, found: Client) -> int:
        return 1

    with scripted(shop.wink, {}):
        run = use.delay()
        with pytest.raises(TaskFailedError, match="ValueError: no address"):
            run.get()
        [*_, end] = run.events()
        assert "the factory of resource Client raised this" in end.event.traceback


class Session:
    pass


@contextmanager
def session() -> Iterator[Session]:
    try:
        yield Session()
    except ToolError:
        SAID.append("rolled back")
        raise
    else:
        SAID.append("committed")


async def asession() -> AsyncIterator[Session]:
    with session() as made:
        yield made


class Passing:
    """Raises anew what it is told, as some do."""

    def __enter__(self) -> Session:
        return Session()

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        SAID.append("rolled back" if error else "committed")
        if error:
            raise error


@pytest.mark.parametrize("factory", [session, session.__wrapped__, asession, Passing])
def test_a_generator_is_told_how_the_call_ended(shop: Shop, factory: Any):
    shop.wink.resources.bind(Session, factory, Scope.TOOL_CALL)

    @shop.wink.task
    def use(session: Session, fails: bool) -> bool:
        if fails:
            raise ToolError("no")
        return type(session) is Session

    with scripted(shop.wink, {}):
        assert use.delay(fails=False).get() is True
        with pytest.raises(TaskFailedError):
            use.delay(fails=True).get()
    assert SAID == ["committed", "rolled back"]


class Entered:
    def __enter__(self) -> str:
        SAID.append("in")
        return "what it gives"

    def __exit__(self, *told: object) -> None:
        SAID.append(f"out {told[0]}")


class Both(Closes):
    def __enter__(self) -> None:
        raise AssertionError

    __exit__ = __enter__


class Coroutine:
    async def close(self) -> None:
        SAID.append("close in a coroutine")


class Awaited:
    async def __aenter__(self) -> None:
        SAID.append("in")

    async def __aexit__(self, *told: object) -> None:
        SAID.append(f"out {told[0]}")


async def made_on_the_loop() -> Pool:
    return Pool()


@pytest.mark.parametrize(
    ("wanted", "factory", "closing"),
    [
        (Entered, Entered, ["in", "out None"]),
        (Both, Both, ["open Both", "close Both"]),
        (Coroutine, Coroutine, ["close in a coroutine"]),
        (Awaited, Awaited, ["in", "out None"]),
        (Pool, made_on_the_loop, ["open Pool", "close Pool"]),
        (Client, Client, []),
        (Note, Note("given"), []),
    ],
)
def test_there_are_many_ways_to_close(wanted: type, factory: Any, closing: list[str]):
    loop = BackgroundLoop()
    singletons = Singletons({wanted: Binding.of(wanted, factory)}, loop)
    assert isinstance(singletons.of_call("c")[wanted], wanted)
    singletons.close()
    singletons.close()
    loop.stop()
    assert closing == SAID
    with pytest.raises(ResourceError, match="the process is ending"):
        _ = singletons.of_call("c")[wanted]


def test_a_context_outlives_its_call_in_vain(shop: Shop):
    bind(shop)
    kept: list[ToolContext] = []

    @shop.wink.task
    def use(ctx: ToolContext) -> int:
        kept.append(ctx)
        ctx.check()
        return 1

    with scripted(shop.wink, {}):
        use.delay().get()
        [ctx] = kept
        for late in (
            lambda: ctx.resources[Pool],
            lambda: ctx.checkpoint(1),
            lambda: ctx.session[Note].seed(Note("late")),
            ctx.check,
        ):
            with pytest.raises(ContextClosedError, match="ended"):
                late()
    assert SAID == []


def test_threads_that_come_at_once_share_one(shop: Shop):
    def slow() -> Pool:
        assert enough.wait(10)
        return Pool()

    shop.wink.resources.bind(Pool, slow)
    shop.wink.resources.bind(Rows, Cursor, Scope.TOOL_CALL)
    begin = threading.Barrier(8)
    found: list[Any] = []
    asking: list[int] = []
    singletons = Singletons(shop.wink.resources.bound, BackgroundLoop())
    calls = [singletons.of_call("c"), singletons.of_call("d")]
    enough = threading.Event()

    def ask(place: int) -> None:
        begin.wait()
        asking.append(place)
        if len(asking) == len(threads):
            enough.set()
        found.append(calls[place % 2][Rows].pool)

    threads = [threading.Thread(target=ask, args=(place,)) for place in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(map(id, found))) == 1
    assert SAID == ["open Pool", "open Cursor", "open Cursor"]


def test_what_is_made_too_late_is_closed_again(shop: Shop):
    held, go = threading.Event(), threading.Event()

    def slow() -> Pool:
        held.set()
        assert go.wait(10)
        return Pool()

    shop.wink.resources.bind(Pool, slow, Scope.TOOL_CALL)
    resources = Singletons(shop.wink.resources.bound, BackgroundLoop()).of_call("c")
    refused: list[ResourceError] = []

    def ask() -> None:
        with pytest.raises(ResourceError, match="made when the call c was over") as caught:
            _ = resources[Pool]
        refused.append(caught.value)

    thread = threading.Thread(target=ask)
    with resources:
        thread.start()
        assert held.wait(10)
    go.set()
    thread.join()
    assert len(refused) == 1
    assert SAID == ["open Pool", "close Pool"]


class Stubborn(Closes):
    def close(self) -> None:
        raise SystemExit(3)


def test_a_wish_to_end_the_process_waits_for_the_others(shop: Shop):
    bind(shop)
    shop.wink.resources.bind(Stubborn, Stubborn, Scope.TOOL_CALL)
    resources = Singletons(shop.wink.resources.bound, BackgroundLoop()).of_call("c")
    with pytest.raises(SystemExit), resources:
        _ = resources[Rows], resources[Stubborn]
    assert SAID[-1] == "close Cursor"


def test_singletons_that_do_not_close_are_logged(shop: Shop, caplog: pytest.LogCaptureFixture):
    shop.wink.resources.bind(Fails, Fails)

    @shop.wink.task
    def use(found: Fails) -> int:
        return 1

    with scripted(shop.wink, {}):
        assert use.delay().get() == 1
    assert "resources did not end cleanly: ResourceCloseError" in caplog.text
    assert issubclass(ResourceCloseError, Exception)


class Above:
    def __init__(self, below: Below) -> None:
        self.below = below


class Below:
    def __init__(self, pool: Pool) -> None:
        self.pool = pool


def test_a_watcher_is_told_of_what_the_call_uses(shop: Shop):
    bind(shop)
    shop.wink.resources.bind(Above, Above)
    shop.wink.resources.bind(Below, Below, Scope.PROTOTYPE)
    singletons = Singletons(shop.wink.resources.bound, BackgroundLoop())
    for _ in range(2):
        resources = singletons.of_call("c")
        outer: list[str] = []
        inner: list[str] = []

        def told(names: list[str], one: object) -> object:
            names.append(type(one).__name__)
            return one

        with resources:
            with resources.watching(partial(told, outer)):
                _ = resources[Above], resources[Above]
                with resources.watching(partial(told, inner)):
                    _ = resources[Rows]
                _ = resources[Below]
            _ = resources[Below]
        assert inner == ["Pool", "Above", "Cursor"]
        assert outer == ["Pool", "Above", "Cursor", "Below"]


def test_a_stopped_tool_ends_before_its_resources_are_closed(shop: Shop):
    bind(shop)
    started = threading.Event()

    @shop.wink.task
    async def sleeper(ctx: ToolContext, rows: Rows) -> None:
        started.set()
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.to_thread(SAID.append, "the tool waits")
            SAID.append("the tool cleans up")

    with scripted(shop.wink, {}) as kit:
        run = sleeper.with_options(countdown=1, deadline=50).delay()
        house = shop.wink.house()

        def cancel() -> None:
            assert started.wait(10)
            run.cancel("wake up")
            house.revocation.stop(run.id)

        helper = threading.Thread(target=cancel)
        helper.start()
        with pytest.raises(CancelledError, match="wake up"):
            run.get()
        helper.join()
    assert kit
    assert SAID == ["open Pool", "open Cursor", "the tool waits", "the tool cleans up", "close Cursor", "close Pool"]


def test_a_tool_that_will_not_be_stopped_is_left(
    shop: Shop, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("wink_tasks.runtime.invocation.LONGEST_END", 0.05)
    started, go = threading.Event(), asyncio.Event()

    @shop.wink.task
    async def stubborn(ctx: ToolContext) -> None:
        started.set()
        while not go.is_set():
            with suppress(asyncio.CancelledError):
                await go.wait()

    with scripted(shop.wink, {}):
        run = stubborn.with_options(countdown=1).delay()
        house = shop.wink.house()

        def cancel() -> None:
            assert started.wait(10)
            run.cancel()
            house.revocation.stop(run.id)

        helper = threading.Thread(target=cancel)
        helper.start()
        with pytest.raises(CancelledError):
            run.get()
        helper.join()

        async def let_go() -> None:
            go.set()

        house.parts.loop.submit(let_go()).result(10)
    assert "task 'shop.stubborn' goes on, though it was stopped" in caplog.text


def test_a_plain_call_in_a_test_has_them_too():
    context = tool_context(resources={Pool: Pool, Note: Note("given"), Client: client})
    with context.resources:
        assert context.resources[Note] == Note("given")
        assert isinstance(context.resources[Client], Client)
    with pytest.raises(ConfigurationError, match="no resource is bound to int"):
        _ = tool_context().resources[int]


def test_the_short_form_binds_one_a_process():
    wink = Wink(Celery("short", set_as_current=False), resources={Note: lambda: Note("one a process")})

    @wink.tool
    def read(note: Note) -> str:
        """Read it."""
        return note.text

    with wink.in_memory():
        assert read.delay().get() == "one a process"
