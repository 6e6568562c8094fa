"""Worker processes that die, stop, or lie where a test says so. Their broker is a list in Redis: it starts quickly.

Each step is by its own doorbell. What the model and the tool do is counted in Redis, so that repeated work shows.
"""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import msgspec
from celery import Celery
from pydantic import BaseModel
from redis import Redis
from redis.exceptions import RedisError

from tests.apps.writing import declare, write_all
from tests.lossy import LossyConnection
from wink_tasks import ToolContext, Wink
from wink_tasks.adapters.clock import SystemClock
from wink_tasks.core.errors import LedgerUnavailableError
from wink_tasks.core.events import Call
from wink_tasks.core.transcript import ToolAnswered
from wink_tasks.ports.fleet import Worker
from wink_tasks.ports.mailbox import Doorbell
from wink_tasks.ports.provider import Request, Response
from wink_tasks.testing.inline import NoObserver
from wink_tasks.wiring import Choices

THREADS = 64


class Sum(BaseModel):
    """What the prompt gives."""

    total: int


class Plan(msgspec.Struct, frozen=True):
    """A site, and what goes wrong in one of its processes: `trip` is "before:claim:2", the second claim not begun."""

    url: str
    prefix: str
    trip: str = ""
    copies: int = 1
    lossy: bool = False
    ahead: float = 0.0
    visibility_timeout: float = 1.0
    folder: str = ""

    @property
    def bells(self) -> str:
        """The list that is the broker."""
        return f"bells:{self.prefix}"


class Skewed(SystemClock):
    """A clock that is `ahead` seconds ahead."""

    def __init__(self, ahead: float) -> None:
        self.ahead = ahead

    def now(self) -> float:
        return super().now() + self.ahead


class Tripwire:
    """A port whose process is killed before or after one of its calls."""

    def __init__(self, port: Any, plan: Plan) -> None:
        self.port = port
        self.when, self.name, count = (plan.trip or "never:x:1").split(":")
        self.left = int(count)

    def __getattr__(self, name: str) -> Any:
        call = getattr(self.port, name)
        return self.wired(call) if name == self.name else call

    def wired(self, call: Callable[..., Any]) -> Callable[..., Any]:
        """The call, with its end of the wire."""

        def called(*args: Any, **options: Any) -> Any:
            self.left -= 1
            if self.left == 0 and self.when == "before":
                os.kill(os.getpid(), signal.SIGKILL)
            answer = call(*args, **options)
            if self.left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return answer

        return called


class ListRinger:
    """Rings into the list, each bell `copies` times."""

    def __init__(self, plan: Plan, confirm: Callable[[list[Doorbell]], None]) -> None:
        self.plan, self.confirm = plan, confirm
        self.redis = Redis.from_url(plan.url)

    def ring(self, doorbells: Iterable[Doorbell]) -> None:
        """See `ports.doorbell`."""
        bells = list(doorbells)
        try:
            for bell in bells:
                self.redis.rpush(self.plan.bells, *[msgspec.json.encode(bell)] * self.plan.copies)
        except RedisError:
            return
        self.confirm(bells)

    def close(self) -> None:
        """See `ports.doorbell`."""
        self.redis.close()


class CountingProvider:
    """Asks for the tool once, then answers with its sum. Each call is counted, and waits for the gate."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan

    async def complete(self, request: Request) -> Response:
        """See `ports.provider`."""
        run = request.items[0].content
        done = [item for item in request.items if isinstance(item, ToolAnswered)]
        await asyncio.to_thread(pass_gate, self.plan, f"model:{run}:{len(done)}")
        if not done:
            return Response(text="", model="m", calls=(Call(id="c0", tool="add", arguments={"run": run}),))
        total = 0 if done[0].failed else done[0].value
        return Response(text=f'{{"total": {total}}}', model="m")

    async def close(self) -> None:
        """See `ports.provider`."""


def pass_gate(plan: Plan, what: str) -> None:
    """Count what is done, and wait while the test keeps it shut. The store may be away meanwhile."""
    with Redis.from_url(plan.url) as redis:
        redis.hincrby(f"done:{plan.prefix}", what, 1)
        shut = f"shut:{plan.prefix}:{what.partition(':')[0]}"
        while True:
            try:
                if not redis.exists(shut):
                    return
                redis.blpop(["never"], 0.02)
            except RedisError:
                time.sleep(0.02)  # noqa: TID251 - away: nothing to wait for but time


def poison(plan: Plan) -> None:
    """End this process by force, as soon as the test lets it, which it does once for each try but the last."""
    with Redis.from_url(plan.url) as redis:
        tries = redis.hincrby(f"done:{plan.prefix}", "tool:poison", 1)
        while int(redis.get(f"strike:{plan.prefix}") or 0) < min(tries, 3):
            redis.blpop(["never"], 0.02)
    os.kill(os.getpid(), signal.SIGKILL)


def build(plan: Plan) -> tuple[Wink, Any]:
    """The application of a site, and its prompt."""

    class FaultyWink(Wink):
        """With another clock, ringer and mailbox."""

        def _choices(self, **others: Any) -> Choices:
            return super()._choices(clock=Skewed(plan.ahead), **others)

        def house(self) -> Any:
            known = os.getpid() in self._houses
            house = super().house()
            if not known:
                if plan.lossy:
                    LossyConnection.at(house.store)
                house.ringer = Tripwire(ListRinger(plan, house.store.mailbox.confirm), plan)
                object.__setattr__(house.parts, "ringer", house.ringer)
                object.__setattr__(house.parts, "mailbox", Tripwire(house.store.mailbox, plan))
                object.__setattr__(house.parts, "outcomes", Tripwire(Outcomes(plan), plan))
            return house

    wink = FaultyWink(
        Celery(plan.prefix, broker="memory://", set_as_current=False),
        providers={"counting": CountingProvider(plan)},
        redis_url=plan.url,
        prefix=plan.prefix,
        visibility_timeout=plan.visibility_timeout,
        reap_every=0.25,
        worker_beat=0.4,
        store_give_up_after=0.6,
        split_queues=True,
    )

    declare(wink, plan.folder)

    @wink.tool
    def add(ctx: ToolContext, run: str) -> int:
        """Add."""
        if run == "poison":
            poison(plan)
        write_all(ctx, run, plan.folder)
        pass_gate(plan, f"tool:{run}")
        return 3

    @wink.prompt(output=Sum, tools=[add], model="counting:m", deadline=100)
    def total(run: str) -> str:
        """You add."""
        return run

    return wink, total


class Outcomes:
    """Counts the outcomes that are delivered."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan

    def deliver(self, outcome: Any) -> None:
        """See `ports.outcome`."""
        with Redis.from_url(self.plan.url) as redis:
            redis.hincrby(f"done:{self.plan.prefix}", f"outcome:{outcome.accepted.evaluation}", 1)


def publish(plan: Plan, run: str) -> None:
    """Start a run whose id and argument are `run`."""
    wink, total = build(plan)
    total.apply_async((run,), task_id=run)
    wink.leave()


def work(plan: Plan, name: str) -> None:
    """Be a worker until somebody ends the process."""
    wink, _ = build(plan)
    house = wink.house()
    member = Worker(name=name, pid=os.getpid(), version="1", pool="threads", mailboxes=("turns", "tools"))
    house.join(lambda: member)
    steps = wink.steps()

    def step(bell: Doorbell) -> None:
        try:
            steps.run(bell.address, bell.task, serves=(), observer=NoObserver())
        except LedgerUnavailableError:
            return  # the message is delivered again

    with ThreadPoolExecutor(THREADS) as pool, Redis.from_url(plan.url) as redis:
        while True:
            try:
                found = redis.blpop([plan.bells], 1)
            except RedisError:
                time.sleep(0.02)  # noqa: TID251 - away: nothing to wait for but time
                continue
            if found:
                pool.submit(step, msgspec.json.decode(found[1], type=Doorbell))
