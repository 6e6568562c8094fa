"""What a tool may ask for, and the ways in which it may end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import replace

import pytest

from tests.unit.runtime.conftest import NoProvider, Shop
from wink_tasks import (
    CancelledError,
    DeadlineExceededError,
    LeaseLostError,
    LedgerUnavailableError,
    ToolContext,
    ToolError,
)
from wink_tasks.core.events import ToolFailed
from wink_tasks.ports.mailbox import Claimed
from wink_tasks.ports.telemetry import NullTracer
from wink_tasks.testing import answer, call, calls, scripted, tool_context
from wink_tasks.wiring import House


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


def test_an_async_tool_sees_the_context_variables_of_its_step():
    where: ContextVar[str] = ContextVar("where", default="nowhere")

    class Marking(NullTracer):
        @contextmanager
        def span(self, name, attributes=None, *, parent=None):
            token = where.set(name)
            with super().span(name, attributes, parent=parent) as span:
                yield span
            where.reset(token)

    shop = Shop(providers={"house": NoProvider()}, tracer=Marking())

    @shop.wink.tool
    async def gaze() -> str:
        """Look."""
        return where.get()

    @shop.wink.prompt(output=str, tools=[gaze], model="house:small")
    def looker() -> str:
        """You look."""
        return "go"

    with scripted(shop.wink, {looker: [call(gaze), answer("ok")]}) as kit:
        assert looker.delay().get() == "ok"
        assert kit.requests[1].items[-1].value == "wink.call"


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


@pytest.mark.parametrize(
    ("why", "error"),
    [
        ("cancelled", CancelledError),
        ("limit", LeaseLostError),
        ("handed back", LeaseLostError),
        ("lost", LeaseLostError),
    ],
)
def test_a_context_that_should_stop_says_so(why: str, error: type[Exception]):
    context = replace(tool_context(), _why=lambda: why)
    with pytest.raises(error, match="should stop: "):
        context.check()


class Paused:
    """A process that was paused inside of its tool: what happens meanwhile is given."""

    def __init__(self, meanwhile: Callable[[House, Claimed], object]) -> None:
        self.said: list[str] = []
        shop, waited = Shop(providers={"house": NoProvider()}), []

        @shop.wink.tool
        def slow(ctx: ToolContext) -> str:
            """Be slow, the first time."""
            ctx.check()
            if not waited:
                waited.append(1)
                kit.clock.advance(4)
                meanwhile(house, claims[-1])
                try:
                    ctx.check()
                except Exception as error:
                    self.said.append(f"{type(error).__name__}: {error}")
                    raise
            return "done"

        @shop.wink.prompt(output=str, tools=[slow], model="house:m", deadline=None)
        def waiter() -> str:
            """You wait."""
            return "go"

        with scripted(shop.wink, {waiter: [call(slow), answer("ok")]}) as kit:
            house = shop.wink.house()
            claims: list[Claimed] = []
            claim, settle = house.store.mailbox.claim, house.store.mailbox.settle

            def keep_claim(*args, **kwargs):
                claims.append(claim(*args, **kwargs))
                return claims[-1]

            def keep_settled(settlement):
                settled = settle(settlement)
                claims.append(settled.claimed)
                return settled

            house.store.mailbox.claim, house.store.mailbox.settle = keep_claim, keep_settled
            self.run = waiter.delay()
            self.output = self._output()

    def _output(self) -> str:
        try:
            return self.run.get()
        except CancelledError as error:
            return str(error)


def test_after_a_pause_a_tool_hears_that_another_worker_has_claimed():
    def another_claims(house: House, claimed: Claimed) -> None:
        house.store.mailbox.nack(claimed.receipt, delay=0, counts=False, error="taken away")

    paused = Paused(another_claims)
    assert paused.said == [
        f"LeaseLostError: the call {paused.run.id}~turn1.call0 should stop: another worker has claimed it"
    ]
    assert paused.output == "ok"


def test_after_a_pause_a_tool_hears_that_its_evaluation_was_cancelled():
    def somebody_cancels(house: House, claimed: Claimed) -> None:
        house.store.mailbox.cancel("default", claimed.message.evaluation, by="me", reason="never mind")

    paused = Paused(somebody_cancels)
    assert paused.said == [
        f"CancelledError: the call {paused.run.id}~turn1.call0 should stop: its evaluation was cancelled"
    ]
    assert paused.output == "never mind"


def test_after_a_pause_a_tool_that_nobody_misses_goes_on():
    paused = Paused(lambda house, claimed: None)
    assert (paused.said, paused.output) == ([], "ok")


def test_a_tool_goes_on_while_the_store_is_away():
    def redis_goes(house: House, claimed: Claimed) -> None:
        extend = house.store.mailbox.extend

        def away(receipts):
            house.store.mailbox.extend = extend
            raise LedgerUnavailableError("away")

        house.store.mailbox.extend = away

    paused = Paused(redis_goes)
    assert (paused.said, paused.output) == ([], "ok")
