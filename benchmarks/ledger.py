"""What the ledger costs: a settle against raw writes, a step as the ledger grows, and the bytes that are kept."""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
from pathlib import Path

from celery import Celery
from redis import Redis

from wink_tasks import ToolContext, Wink
from wink_tasks.adapters.redis.embedded import EmbeddedServer
from wink_tasks.adapters.redis.store import RedisStore
from wink_tasks.core.delivery import Message
from wink_tasks.core.events import Call, EvaluationAccepted, Terms, ToolReturned
from wink_tasks.core.ids import outcome_id
from wink_tasks.ports.mailbox import Acceptance, Address, Claimed, Settlement
from wink_tasks.ports.provider import Request, Response
from wink_tasks.ports.work import StepEnd
from wink_tasks.testing.inline import NoObserver

QUEUE = "bench"


def message(kind: str, name: str, run: str) -> Message:
    """A message of the run's own session."""
    return Message(id=name, kind=kind, mailbox=QUEUE, task="bench.run", tenant="default", session=run, evaluation=run)


def settle_ratio(url: str, times: int) -> tuple[float, float]:
    """Median seconds of one settle with a 1 KB event that leads to the next message, and of the raw writes."""
    store, raw = RedisStore(url, prefix="settle"), Redis.from_url(url)
    run = "settle-run"
    accepted = EvaluationAccepted(evaluation=run, prompt="bench.run", digest="", params={}, terms=Terms(models=("m",)))
    store.mailbox.accept(
        Acceptance(
            event=accepted,
            message=message("turn", run, run),
            outcome=message("outcome", outcome_id(run), run),
            actor="bench",
        )
    )
    held = store.mailbox.claim(Address("default", run, run), task="bench.run", owner="bench", after=0)
    event = ToolReturned(evaluation=run, turn=1, call="c", tool="t", value="x" * 900, seconds=0.1)
    payload = b"x" * 1000
    settles, writes = [], []
    for step in range(times):
        if not isinstance(held, Claimed):
            raise SystemExit(f"lost the lease at step {step}")
        began = time.perf_counter()
        settled = store.mailbox.settle(
            Settlement(
                receipt=held.receipt,
                actor="bench",
                events=(event,),
                messages=(message("turn", f"{run}~turn{step + 2}", run),),
                serves=(QUEUE,),
            )
        )
        settles.append(time.perf_counter() - began)
        held = settled.claimed
        began = time.perf_counter()
        pipe = raw.pipeline(transaction=False)
        pipe.xadd("raw:{07}:ledger", {"t": step, "a": "bench", "v": 1, "e": payload})
        pipe.hset(
            f"raw:{{07}}:message:{step}",
            mapping={"state": "leased", "mailbox": QUEUE, "epoch": 1, "deliveries": 1, "spec": payload[:300]},
        )
        pipe.execute()
        writes.append(time.perf_counter() - began)
    store.close()
    raw.close()
    return statistics.median(settles), statistics.median(writes)


class Talker:
    """Asks for the tool until it was answered `wanted` times."""

    def __init__(self, wanted: int) -> None:
        self.wanted = wanted
        self.asked = 0

    async def complete(self, request: Request) -> Response:
        """See `ports.provider`. It does not look at the history: what that costs is the provider's."""
        self.asked += 1
        if self.asked > self.wanted:
            return Response(text="done", model="m")
        return Response(text="", model="m", calls=(Call(id=f"c{self.asked}", tool="say", arguments={}),))

    async def close(self) -> None:
        """See `ports.provider`."""


def talk(url: str, prefix: str, calls: int, size: int) -> tuple[Wink, str, list[float]]:
    """An evaluation with that many calls, each of `size` bytes, in this process: the seconds of each step."""
    app = Celery(f"bench-{prefix}", broker="memory://", set_as_current=False)
    wink = Wink(app, providers={"talker": Talker(calls)}, redis_url=url, prefix=prefix)

    @wink.tool(queue=QUEUE)
    def say(ctx: ToolContext) -> str:
        """Say something."""
        return "x" * size

    @wink.prompt(output=str, tools=[say], model="talker:m", queue=QUEUE, max_turns=calls + 2, deadline=None)
    def run() -> str:
        """You talk."""
        return "go"

    handle = run.delay()
    steps, seconds = wink.steps(), []

    class Stopwatch(NoObserver):
        """Notes when each continued step ends."""

        def ended(self, _: Message, taken: float, end: StepEnd) -> None:
            """See `ports.work`."""
            if end.error is not None:
                raise end.error
            seconds.append(taken)

    steps.run(Address("default", handle.id, handle.id), run.name, serves=(QUEUE,), observer=Stopwatch())
    return wink, handle.id, seconds


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--settles", type=int, default=3000)
    parser.add_argument("--events", type=int, default=5000)
    args = parser.parse_args()
    os.environ.update(WINK_CONTINUATION_STEPS="1000000", WINK_CONTINUATION_SECONDS="1000000")
    with tempfile.TemporaryDirectory() as folder, EmbeddedServer(Path(folder)) as server:
        settle, writes = settle_ratio(server.url, args.settles)
        wink, _, seconds = talk(server.url, "growth", args.events // 2, 100)
        wink.leave()
        early, late = statistics.median(seconds[5:105]), statistics.median(seconds[-100:])
        redis = Redis.from_url(server.url)
        wink, run, _ = talk(server.url, "stored", 400, 5000)
        history = sum(
            len(record.event.value) for record in wink.session(run).events() if hasattr(record.event, "value")
        )
        kept = sum(redis.memory_usage(key, samples=0) for key in redis.scan_iter("stored:*", count=1000))
        wink.leave()
        redis.close()
    print(f"settle {settle * 1e6:.0f} us, raw XADD+HSET {writes * 1e6:.0f} us")
    print(f"step at event 10: {early * 1e6:.0f} us, at event {args.events}: {late * 1e6:.0f} us")
    print(f"history {history} bytes, kept {kept} bytes")
    print(
        json.dumps(
            {
                "settle_ratio": round(settle / writes, 2),
                "growth_ratio": round(late / early, 2),
                "stored_ratio": round(kept / history, 2),
            }
        )
    )


if __name__ == "__main__":
    main()
