"""What a tool may ask for, and the ways in which it may end."""

from __future__ import annotations

import asyncio

import pytest

from tests.unit.runtime.conftest import Shop
from wink_tasks import CancelledError, DeadlineExceededError, ToolContext, ToolError
from wink_tasks.core.events import ToolFailed
from wink_tasks.testing import answer, call, calls, scripted, tool_context


class Ledger:
    """A resource."""

    def __init__(self) -> None:
        self.rows: list[str] = []


def test_a_tool_sees_its_context(shop: Shop):
    seen: list[ToolContext] = []

    @shop.wink.tool
    def look_around(ctx: ToolContext) -> str:
        """Look."""
        ctx.check()
        ctx.resources[Ledger].rows.append("here")
        seen.append(ctx)
        return f"{ctx.params['text']} {ctx.session.seq} {ctx.session.id}"

    @shop.wink.prompt(output=str, tools=[look_around], model="house:small", deadline=50)
    def watcher(text: str) -> str:
        """You watch."""
        return text

    ledger = Ledger()
    with scripted(shop.wink, {watcher: [call(look_around), answer("ok")]}, resources={Ledger: ledger}) as kit:
        run = watcher.with_options(session="s").delay("hello")
        assert run.get() == "ok"
        assert kit.requests[-1].items[-1].text == "hello 4 s"
        [ctx] = seen
        assert ledger.rows == ["here"]
        assert (ctx.run_id, ctx.tenant, ctx.delivery_count) == (run.id, "default", 1)
        assert ctx.idempotency_key == f"{run.id}~turn1.call0"
        assert ctx.deadline == kit.clock.now() + 50
        assert ctx.session.transcript
        assert repr(ctx.session) == "<Session s of default>"


def test_async_tools_run_on_the_loop_and_within_their_time(shop: Shop):
    @shop.wink.tool
    async def double(n: int) -> int:
        """Double."""
        return 2 * n

    @shop.wink.tool(timeout=0.01)
    async def sleeper() -> int:
        """Sleep."""
        await asyncio.Event().wait()
        return 0

    @shop.wink.prompt(output=str, tools=[double, sleeper], model="house:small")
    def counter() -> str:
        """You count."""
        return "go"

    with scripted(shop.wink, {counter: [call(double, n=4), call(sleeper), answer("ok")]}) as kit:
        run = counter.delay()
        assert run.get() == "ok"
        assert kit.requests[1].items[-1].value == 8
        [failed] = [record.event for record in run.events() if isinstance(record.event, ToolFailed)]
        assert (failed.kind, failed.message) == ("timeout", "The tool failed with TimeoutError.")


def test_a_call_after_the_deadline_is_not_run(shop: Shop):
    kits = []

    @shop.wink.tool
    def linger() -> str:
        """Take long."""
        kits[0].clock.advance(200)
        return "done"

    @shop.wink.prompt(output=str, tools=[linger, shop.note], model="house:small", deadline=100)
    def lingerer() -> str:
        """You linger."""
        return "go"

    with scripted(shop.wink, {lingerer: [calls((linger, {}), (shop.note, {"text": "late"}))]}) as kit:
        kits.append(kit)
        run = lingerer.delay()
        assert isinstance(run.get(propagate=False), DeadlineExceededError)
        assert shop.done == []
        [failed] = [record.event for record in run.events() if isinstance(record.event, ToolFailed)]
        assert failed.message == "Not run: the deadline passed."


def test_a_tool_that_is_not_known_here_is_postponed(shop: Shop):
    with scripted(shop.wink, {shop.chat: [call(shop.note, text="x"), answer("ok")]}) as kit:
        hidden = shop.wink.registry.tools.pop("shop.note")

        def known_again(request):
            return answer("ok")

        run = shop.chat.delay("x")
        assert "tool 'shop.note' is unknown to worker" in run.explain()
        shop.wink.registry.tools["shop.note"] = hidden
        kit.script(shop.chat, known_again)
        assert run.get() == "ok"


def test_a_prompt_that_is_not_known_here_is_postponed(shop: Shop):
    with scripted(shop.wink, {shop.chat: [answer("ok")]}):
        run = shop.chat.with_options(countdown=1).delay("x")
        hidden = shop.wink.registry.prompts.pop("shop.chat")
        desk = shop.wink.desk()
        desk.work(10)
        assert "prompt 'shop.chat' is unknown to worker" in run.explain()
        shop.wink.registry.prompts["shop.chat"] = hidden
        assert run.get() == "ok"
        shop.wink.registry.prompts.pop("shop.chat")
        assert run.get() == "ok"


def test_a_tool_called_plainly(shop: Shop):
    assert shop.note(tool_context(), "a").text == "a"
    with pytest.raises(ToolError):
        shop.note(tool_context(delivery_count=2), text="bad")
    assert shop.note.__doc__ == "Write something down."
    assert repr(shop.note) == "<tool shop.note>"
    context = tool_context(params={"a": 1}, resources={int: 3}, deadline=5.0)
    assert (context.params, context.resources[int], context.deadline) == ({"a": 1}, 3, 5.0)


def test_a_context_that_should_stop_says_so():
    context = tool_context()
    object.__setattr__(context, "_stopping", lambda: True)
    with pytest.raises(CancelledError, match="should stop"):
        context.check()
