"""Stop, loop, resources, cache, providers, breaker: the small parts of a process."""

from __future__ import annotations

import asyncio
from concurrent.futures import CancelledError

import pytest

from wink_tasks.adapters.breaker import ProcessBreaker
from wink_tasks.adapters.clock import SystemClock
from wink_tasks.core.errors import BreakerOpenError, ConfigurationError, ProviderUnavailableError, RequestRejectedError
from wink_tasks.core.events import SessionOpened
from wink_tasks.core.log import Log
from wink_tasks.core.session import SessionState
from wink_tasks.ports.provider import Request
from wink_tasks.runtime.cache import SessionCache
from wink_tasks.runtime.guards.breaker import BreakerGuard
from wink_tasks.runtime.guards.time_limit import TimeLimitGuard
from wink_tasks.runtime.loop import BackgroundLoop
from wink_tasks.runtime.providers import Providers, refusing_remote, split_model
from wink_tasks.runtime.stop import Stop, read_why
from wink_tasks.testing import FakeClock

REQUEST = Request(
    prompt="p",
    model="m",
    instructions="",
    transcript=Log(),
    start=0,
    tools=(),
    output=None,
    settings={},
    max_output_tokens=None,
    digest="",
)


def test_stop_calls_once_also_what_comes_late():
    stop, called = Stop(), []
    stop.then(lambda: called.append("early"))
    assert not stop.is_set
    stop.set("limit")
    stop.set("limit")
    stop.then(lambda: called.append("late"))
    assert (stop.is_set, stop.cancelled, called) == (True, False, ["early", "late"])
    stop.set("cancelled")
    stop.set("limit")
    assert stop.cancelled
    stop.set("lost")
    stop.set("cancelled")
    assert stop.why == "lost"
    assert [read_why(text) for text in ("handed back", "a later version's")] == ["handed back", "lost"]


def test_loop_runs_for_other_threads_and_ends_what_runs():
    loop = BackgroundLoop()
    loop.stop()

    async def soon() -> int:
        return 3

    async def never() -> None:
        await asyncio.Event().wait()

    assert loop.submit(soon()).result(10) == 3
    hanging = loop.submit(never())
    loop.stop()
    with pytest.raises(CancelledError):
        hanging.result(10)
    assert loop.submit(soon()).result(10) == 3
    loop.stop()


def test_cache_keeps_the_sessions_used_last():
    cache = SessionCache(2)
    for name in ("a", "b", "a", "c"):
        cache.keep(SessionState(tenant="t", session=name, seq=4))
    assert [cache.known("t", name) for name in ("a", "b", "c")] == [4, 0, 4]
    assert SessionOpened(tenant="t", session="a").tenant == "t"


class Flaky:
    """Answers as it is told; what is no answer is raised."""

    def __init__(self, *answers: object) -> None:
        self.answers = list(answers)
        self.closed = False
        self.calls = 0

    async def complete(self, request):
        self.calls += 1
        answer = self.answers.pop(0)
        if isinstance(answer, BaseException):
            raise answer
        return answer

    async def close(self) -> None:
        self.closed = True
        if self.answers == ["cannot close"]:
            raise OSError("cannot close")


def test_providers_are_made_once_behind_their_guards_and_all_closed():
    one, two = Flaky("cannot close"), Flaky()
    wrapped = []

    def guard(provider, name):
        wrapped.append(name)
        return provider

    providers = Providers({"one": lambda: one, "two": lambda: two}, guards=[guard, guard])
    assert providers["one"] is providers["one"] is one
    assert providers["two"] is two
    assert wrapped == ["one", "one", "two", "two"]
    with pytest.raises(ConfigurationError, match="no provider is called 'three'; there are: one, two"):
        providers["three"]
    with pytest.raises(OSError, match="cannot close"):
        asyncio.run(providers.close())
    assert one.closed
    assert two.closed


def test_a_remote_provider_is_refused_where_tests_run():
    class Remote(Flaky):
        """Calls a real model."""

        remote = True

    with pytest.raises(ConfigurationError, match=r"calls a real model: test .* is not marked real_provider"):
        Providers({"far": Remote})["far"]


@pytest.mark.real_provider
def test_a_marked_test_may_use_one():
    class Remote(Flaky):
        """Calls a real model."""

        remote = True

    assert Providers({"far": Remote})["far"].remote
    with refusing_remote("because"), pytest.raises(ConfigurationError, match="because"):
        Providers({"far": Remote})["far"]


@pytest.mark.parametrize("model", ["gpt", ":gpt", "openai:"])
def test_a_model_names_its_provider(model: str):
    with pytest.raises(ConfigurationError, match="names no provider"):
        split_model(model)


def test_breaker_opens_probes_and_closes():
    clock = FakeClock()
    breaker = ProcessBreaker(clock, failures=2, open_seconds=1000)
    down = ProviderUnavailableError("down")
    for _ in range(2):
        breaker.admit("k")
        breaker.failed("k", down)
    with pytest.raises(BreakerOpenError, match="the breaker of k is open after 2 failures") as refused:
        breaker.admit("k")
    assert refused.value.retry_after == 1000
    breaker.admit("other")
    breaker.succeeded("k")
    breaker.failed("k", down)
    with pytest.raises(BreakerOpenError):
        breaker.admit("k")

    clock.advance(1000)
    breaker.admit("k")
    with pytest.raises(BreakerOpenError):
        breaker.admit("k")
    breaker.released("k")
    breaker.admit("k")
    breaker.failed("k", down)
    with pytest.raises(BreakerOpenError):
        breaker.admit("k")
    clock.advance(1000)
    breaker.admit("k")
    breaker.succeeded("k")
    for _ in range(2):
        breaker.admit("k")
    breaker.failed("k", down)
    breaker.admit("k")


def test_breaker_guard_counts_unavailability_only():
    breaker = ProcessBreaker(FakeClock(), failures=1, open_seconds=1000)
    flaky = Flaky(RequestRejectedError("no"), asyncio.CancelledError(), "fine", ConnectionError("the SDK's own"))
    guard = BreakerGuard(flaky, name="p", breaker=breaker)
    for expected in (RequestRejectedError, asyncio.CancelledError):
        with pytest.raises(expected):
            asyncio.run(guard.complete(REQUEST))
    assert asyncio.run(guard.complete(REQUEST)) == "fine"
    with pytest.raises(ConnectionError):
        asyncio.run(guard.complete(REQUEST))
    with pytest.raises(BreakerOpenError, match="p:m"):
        asyncio.run(guard.complete(REQUEST))
    assert flaky.calls == 4
    asyncio.run(guard.close())
    assert flaky.closed


def test_time_limit_guard_ends_a_call():
    class Slow(Flaky):
        """Never answers."""

        async def complete(self, request):
            await asyncio.Event().wait()

    slow = Slow()
    guard = TimeLimitGuard(slow, name="p", seconds=0.01)
    with pytest.raises(ProviderUnavailableError, match=r"p:m gave no answer in 0\.01 s"):
        asyncio.run(guard.complete(REQUEST))
    asyncio.run(guard.close())
    assert slow.closed


def test_system_clock_tells_the_time():
    clock = SystemClock()
    assert clock.now() > 1.7e9
    assert clock.monotonic() <= clock.monotonic()
