"""The `a...` twins: coroutines that submit, wait and read without holding their loop, nor a thread each."""

from __future__ import annotations

import asyncio
import inspect
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import aclosing
from contextvars import ContextVar
from typing import Any

import pytest
from celery import Celery

from tests.workers import eventually
from wink_tasks import (
    BlockingInTaskError,
    CancelledError,
    LedgerUnavailableError,
    Run,
    RunTimeoutError,
    Session,
    UnknownRunError,
    Wink,
)
from wink_tasks.adapters.celery.handles import PromptHandle
from wink_tasks.runtime.aside import THREADS, aside
from wink_tasks.testing import answer, call, scripted

MANY = 200


class Shop:
    """An application that no worker serves."""

    def __init__(self, url: str) -> None:
        self.wink = Wink(Celery("shop", set_as_current=False, broker=url), redis_url=url, store_give_up_after=0.3)

        @self.wink.prompt(output=str, model="offline:m")
        def chat(text: str) -> str:
            """You talk."""
            return text

        self.chat = chat


@pytest.fixture
def shop(redis_url: str) -> Iterator[Shop]:
    found = Shop(redis_url)
    yield found
    found.wink.leave()


def named(prefix: str) -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith(prefix)]


async def until(condition: Callable[[], Any], what: str) -> None:
    """Let others run until `condition` holds, which is looked at in a thread of asyncio's."""
    await asyncio.to_thread(eventually, condition, what)


def waiters(shop: Shop) -> int:
    return len(shop.wink.house().waiting._waiters)


def test_two_hundred_wait_at_once_on_one_thread(shop: Shop):
    async def main() -> list[Any]:
        runs = await asyncio.gather(*(shop.chat.adelay("x") for _ in range(MANY)))
        assert len({run.id for run in runs}) == MANY
        waits = [asyncio.create_task(run.aget()) for run in runs]
        await until(lambda: waiters(shop) == MANY, "all wait")
        assert len(named("wink-watch")) == 1
        assert len(named("wink-aside")) <= THREADS
        assert await asyncio.wait_for(runs[0].astatus(), 30) == "PENDING", "waiting holds none of the threads"
        await asyncio.gather(*(run.acancel("enough") for run in runs))
        return await asyncio.gather(*waits, return_exceptions=True)

    ends = asyncio.run(main())
    assert [isinstance(end, CancelledError) and "enough" in str(end) for end in ends] == [True] * MANY
    eventually(lambda: not named("wink-watch"), "the thread ends with the last who waits")


def test_those_who_submit_at_once_are_warned_once(shop: Shop, caplog: pytest.LogCaptureFixture):
    async def main() -> None:
        await asyncio.gather(*(shop.chat.adelay("x") for _ in range(THREADS)))

    asyncio.run(main())
    assert sum("it has no persistence" in record.message for record in caplog.records) == 1


def test_a_wait_that_is_cancelled_leaves_nothing_behind(shop: Shop):
    async def main() -> None:
        run = await shop.chat.adelay("x")
        waiting = asyncio.create_task(run.aget())
        await until(lambda: waiters(shop) == 1, "it waits")
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert waiters(shop) == 0
        assert await run.astatus() == "PENDING", "the run goes on"

    asyncio.run(main())
    eventually(lambda: not named("wink-watch"), "the thread ends")


def test_who_waits_on_a_loop_that_is_closed_waits_no_more(shop: Shop):
    loop = asyncio.new_event_loop()
    run = shop.chat.delay("x")
    waiting = loop.create_task(run.aget())

    async def begun() -> None:
        await until(lambda: waiters(shop) == 1, "it waits")

    loop.run_until_complete(begun())
    waiter = next(iter(shop.wink.house().waiting._waiters))
    waiting.add_done_callback(lambda _: None)
    loop.run_until_complete(loop.shutdown_default_executor())
    loop.close()
    waiter.tell((), None)
    eventually(lambda: not named("wink-watch"), "the thread ends")
    waiting._log_destroy_pending = False


def test_events_come_as_they_happen_from_anywhere(shop: Shop):
    async def main() -> None:
        run = await shop.chat.with_options(session="s").adelay("x")
        behind = await shop.chat.with_options(session="s").adelay("y")
        seen = []

        async def follow() -> None:
            async for recorded in run.aevents(timeout=60):
                seen.append(type(recorded.event).__name__)  # noqa: PERF401 - it is looked at meanwhile

        following = asyncio.create_task(follow())
        await until(lambda: seen and waiters(shop) == 1, "it has what there was, and waits")
        assert seen == ["EvaluationAccepted"]
        await run.arevoke()
        await following
        assert seen[1:] == ["CancelRequested", "EvaluationCancelled"]
        assert [recorded.seq for recorded in run.events()] == [recorded.seq async for recorded in run.aevents()]
        last = [recorded.seq for recorded in run.events()][-1]
        assert [recorded async for recorded in run.aevents(after=last)] == []
        async with aclosing(behind.aevents()) as events:
            async for recorded in events:
                assert recorded.evaluation == behind.id
                break

    asyncio.run(main())


def test_the_rest_says_what_the_synchronous_ones_say(shop: Shop):
    async def main() -> None:
        run = await shop.chat.with_options(session="s").aapply_async(("x",), task_id="mine")
        assert run.id == "mine"
        session = await run.asession()
        assert (session.id, session.seq) == ("s", 2)
        assert await run.aexplain() == run.explain()
        assert await run.aevaluation() == run.evaluation()
        assert await run.ausage() == run.usage()
        assert (await run.aready(), await run.asuccessful(), await run.afailed()) == (False, False, False)
        assert (await run.aexists(), await shop.wink.run("nobody").aexists()) == (True, False)
        await run.acancel()
        assert (await session.arefresh()).seq == 4
        assert [recorded.seq async for recorded in session.aevents(after=2)] == [3, 4]
        assert (await run.aready(), await run.asuccessful(), await run.afailed()) == (True, False, False)
        error = await run.aget(propagate=False)
        assert isinstance(error, CancelledError)
        with pytest.raises(UnknownRunError):
            await shop.wink.run("no-such-run").aget()
        await shop.wink.aleave()

    asyncio.run(main())


def test_a_wait_tells_why_it_gave_up(shop: Shop):
    async def main() -> None:
        run = await shop.chat.adelay("x")
        with pytest.raises(RunTimeoutError, match="no live worker serves mailbox"):
            await run.aget(timeout=0.05)

    asyncio.run(main())


def test_a_wait_hears_that_redis_is_away(shop: Shop, monkeypatch: pytest.MonkeyPatch):
    async def main() -> None:
        run = await shop.chat.adelay("x")
        waits = [asyncio.create_task(run.aget()) for _ in range(2)]
        await until(lambda: waiters(shop) == 2, "they wait")
        with socket.socket() as nobody:
            nobody.bind(("127.0.0.1", 0))
            away = Shop(f"redis://127.0.0.1:{nobody.getsockname()[1]}/0")
            monkeypatch.setattr(shop.wink.house().store.ledger, "_link", away.wink.house().store.link)
            for end in await asyncio.gather(*waits, return_exceptions=True):
                assert isinstance(end, LedgerUnavailableError)

    asyncio.run(main())


def test_context_variables_go_along():
    where: ContextVar[str] = ContextVar("where", default="nowhere")

    async def main() -> str:
        where.set("here")
        return await aside(where.get)

    assert asyncio.run(main()) == "here"


def test_runs_in_memory_are_awaited_together(shop: Shop):
    @shop.wink.tool(retry_on=[ConnectionError])
    def look(n: int) -> int:
        """Look."""
        if not seen.count(n):
            seen.append(n)
            raise ConnectionError
        return n

    @shop.wink.prompt(output=str, tools=[look], model="offline:m")
    def looker(n: int) -> str:
        """You look."""
        return str(n)

    seen: list[int] = []

    def script(request: Any) -> Any:
        if len(request.items) == 1:
            return call(look, n=int(request.items[0].content))
        return answer(f"saw {request.items[0].content}")

    async def one(n: int) -> str:
        run = await looker.adelay(n)
        return await run.aget()

    async def main() -> list[str]:
        return await asyncio.gather(*(one(n) for n in range(30)))

    with scripted(shop.wink, {looker: script}):
        assert asyncio.run(main()) == [f"saw {n}" for n in range(30)]
        seen.clear()
        assert asyncio.run(looker.aapply((7,))).get() == "saw 7"


def test_an_async_tool_that_waits_for_a_run_is_refused(shop: Shop):
    @shop.wink.tool(inline=True)
    async def asks() -> str:
        """Ask another one."""
        try:
            return await shop.wink.run("other").aget()
        except BlockingInTaskError as error:
            return type(error).__name__

    @shop.wink.prompt(output=str, tools=[asks], model="offline:m")
    def asker() -> str:
        """You ask."""
        return "ask"

    with scripted(shop.wink, {asker: [call(asks), answer("ok")]}) as kit:
        assert asker.delay().get() == "ok"
        assert kit.requests[-1].items[-1].text == "BlockingInTaskError"


# What does no I/O; that it does none is looked at below.
SILENT = {
    # Django's transactions are synchronous, and so is waiting for their end.
    PromptHandle: {
        "map",
        "starmap",
        "chunks",
        "s",
        "si",
        "with_options",
        "task",
        "delay_on_commit",
        "apply_async_on_commit",
    },
    Run: {"app", "id", "tenant", "task_id"},
    Session: {"view", "state", "seq", "transcript", "id", "tenant"},
    Wink: {"tool", "prompt", "task", "resource", "register", "run", "session"},
}
CELERYS = {
    # `status` and `get(propagate=False)` by other names, and what Celery keeps of tasks in its result backend.
    *("state", "result", "info", "wait", "traceback", "backend", "supports_native_join", "on_ready", "ignored"),
    *("then", "maybe_reraise", "maybe_throw", "throw", "forget", "collect", "iterdeps", "get_leaf", "build_graph"),
    *("as_tuple", "as_list", "children", "parent", "graph", "TimeoutError", "revoke_by_stamped_headers"),
    *("args", "kwargs", "name", "retries", "queue", "worker", "date_done"),
}
WORKERS_OWN = {
    *("send", "run_here", "desk", "use_metrics", "house", "steps", "check", "join", "postpone", "closing"),
    *("hand_back", "keep", "keep_for", "revoker", "limited_mailboxes"),
}
EXEMPT = {PromptHandle: set(), Run: CELERYS, Session: set(), Wink: {*WORKERS_OWN, "in_memory"}}


@pytest.mark.parametrize("kind", SILENT, ids=lambda kind: kind.__name__)
def test_whatever_does_io_has_its_twin(kind: type):
    public = {name for name in dir(kind) if not name.startswith("_")}
    twins = {name for name in public if name.startswith("a") and name[1:] in public}
    doing_io = public - twins - SILENT[kind] - EXEMPT[kind]
    assert {f"a{name}" for name in doing_io} == twins
    for name in twins:
        twin, plain = getattr(kind, name), getattr(kind, name[1:])
        assert inspect.iscoroutinefunction(twin) or inspect.isasyncgenfunction(twin), name
        if callable(plain) and plain.__module__.startswith("wink_tasks"):
            assert parameters(plain) == parameters(twin), name


def parameters(function: Callable[..., Any]) -> list[tuple[str, Any]]:
    """What can be given by name; variadic ones may be called otherwise."""
    given = inspect.signature(function).parameters.values()
    return [(one.name, one.default) for one in given if one.kind not in (one.VAR_KEYWORD, one.VAR_POSITIONAL)]


def test_what_has_no_twin_does_no_io():
    with socket.socket() as tripwire:
        tripwire.bind(("127.0.0.1", 0))
        tripwire.listen()
        tripwire.setblocking(False)
        shop = Shop(f"redis://127.0.0.1:{tripwire.getsockname()[1]}/0")

        @shop.wink.tool
        def look() -> str:
            """Look."""
            return ""

        run, session = shop.wink.run("x"), shop.wink.session("s")
        assert (run.id, run.tenant, session.id, session.tenant) == ("x", "default", "s", "default")
        assert shop.chat.with_options(session="s").s("x").args == ("x",)
        assert shop.chat.task.name == "shop.chat"
        with pytest.raises(BlockingIOError):
            tripwire.accept()
        with pytest.raises(LedgerUnavailableError):
            run.explain()
        tripwire.accept()[0].close()
        shop.wink.leave()
