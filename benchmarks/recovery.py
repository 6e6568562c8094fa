"""What a crash costs: workers are killed under load and at work; then it is counted what got lost or was done twice.

Each part can be made smaller by its option; all ends by itself. Stock Celery (`acks_late`) is killed in the same run.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import random
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from redis import Redis

from wink_tasks.adapters.redis.embedded import EmbeddedServer
from wink_tasks.adapters.redis.store import RedisStore
from wink_tasks.core.delivery import Message
from wink_tasks.core.errors import EvaluationFailedError, RunTimeoutError
from wink_tasks.core.events import EvaluationAccepted, ModelResponded, Terms, ToolReturned
from wink_tasks.core.ids import outcome_id
from wink_tasks.ports.mailbox import Acceptance, Address, Claimed

HERE = Path(__file__).parent
TIMEOUT = 2
"""The visibility timeout in seconds."""


class Fleet:
    """Celery workers as processes of their own."""

    def __init__(self, url: str) -> None:
        self.env = {**os.environ, "RECOVERY_REDIS_URL": url, "WINK_VISIBILITY_TIMEOUT": str(TIMEOUT)}
        self.started = 0
        self.alive: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, queues: str, *, pool: str = "threads", slots: int = 16) -> str:
        """A worker, from now on; it may take seconds until it works."""
        self.started += 1
        name = f"r{self.started}@bench"
        command = [sys.executable, "-m", "celery", "-A", "recovery_app", "worker", "-Q", queues, "-P", pool]
        process = subprocess.Popen(
            [*command, "-c", str(slots), "-n", name, "-l", "CRITICAL"],
            cwd=HERE,
            env=self.env,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        self.alive[name] = process
        return name

    def joined(self, app: Any) -> list[str]:
        """Those alive that work."""
        return sorted({worker.name for worker in app.wink.house().store.fleet.workers()} & set(self.alive))

    def join(self, app: Any, count: int) -> list[str]:
        """Those alive that work, when they are `count` at least."""
        found = within(90, lambda: len(self.joined(app)) >= count and self.joined(app))
        if not found:
            raise SystemExit(f"of {sorted(self.alive)} only {self.joined(app)} joined")
        return list(found)

    def holder(self, process: int) -> str:
        """The worker whose process, or child, that is."""
        return next(name for name, worker in self.alive.items() if ours(worker.pid, process))

    def kill(self, name: str) -> float:
        """End a worker as a crash does; when that was."""
        process = self.alive.pop(name)
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        at = time.time()
        process.wait()
        return at

    def close(self) -> None:
        """End all."""
        for name in list(self.alive):
            self.kill(name)


@contextmanager
def fleet(url: str) -> Iterator[Fleet]:
    """Workers that are all ended."""
    made = Fleet(url)
    try:
        yield made
    finally:
        made.close()


def within(seconds: float, condition: Callable[[], Any]) -> Any:
    """What `condition` gives as soon as it is true; None where it is not in time."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if found := condition():
            return found
        time.sleep(0.01)
    return None


def under_load(url: str, app: Any, redis: Any, *, kills: int, runs: int, draw: random.Random) -> dict[str, int]:
    """Kill workers at random while evaluations run, and count."""
    handles: list[Any] = []
    with fleet(url) as workers:
        for _ in range(4):
            workers.start("turns,tools")
        for killed in range(kills):
            working = workers.join(app, 2)
            while len(handles) < runs * (killed + 1) // kills:
                handles.append(app.five_steps.delay(f"run{len(handles)}"))
            time.sleep(draw.random() * 0.1)
            workers.kill(draw.choice(working))
            workers.start("turns,tools")
        lost = dead = twice = 0
        for handle in handles:
            try:
                handle.get(timeout=120)
            except RunTimeoutError:
                lost += 1
            except EvaluationFailedError:
                dead += 1
    for handle in handles:
        events = [record.event for record in app.wink.session(handle.id).events()]
        steps = [
            (type(event).__name__, getattr(event, "call", event.turn))
            for event in events
            if isinstance(event, ModelResponded | ToolReturned)
        ]
        twice += len(steps) - len(set(steps))
    repeated = repeated_steps(app, handles, redis)
    return {"kills": kills, "runs": len(handles), "lost": lost, "dead": dead, "recorded_twice": twice, **repeated}


def repeated_steps(app: Any, handles: list[Any], redis: Any) -> dict[str, int]:
    """Calls that were made again though their value had been recorded, and those again that a crash had cut off.

    Each call returns how often it was made: a value that is recorded, and less than what is counted in the end, was
    recorded before the call was made again.
    """
    called = {name.decode(): int(times) for name, times in redis.hgetall("called").items()}
    completed = 0
    for handle in handles:
        for record in app.wink.session(handle.id).events():
            if isinstance(event := record.event, ToolReturned):
                completed += called[f"{handle.id}~turn{event.turn}.call0"] - event.value
    return {"repeated_steps": completed, "cut_off_steps": sum(times - 1 for times in called.values())}


def recovery(url: str, app: Any, redis: Any, *, times: int, draw: random.Random) -> list[float]:
    """Seconds from a SIGKILL of a worker, at any moment of its step, to the begin of that step in another worker."""
    taken = []
    with fleet(url) as workers:
        workers.start("turns,tools", slots=2)
        for number in range(times):
            workers.start("turns,tools", slots=2)
            workers.join(app, 2)
            run = f"crash{number}"
            process = begun(app, redis, run)
            time.sleep(draw.random() * TIMEOUT)
            at = workers.kill(workers.holder(process))
            taken.append(begun_again(redis, run, at))
    return taken


def begun(app: Any, redis: Any, run: str) -> int:
    """The process in which the step of a new run has begun."""
    app.held.delay(run)
    return int(within(60, lambda: redis.lindex(f"began:{run}", 0)).split()[0])


def begun_again(redis: Any, run: str, at: float, patience: float = 60.0) -> float:
    """Seconds from `at` to the second begin of a step; `patience` where there is none."""
    again = within(patience, lambda: redis.lindex(f"began:{run}", 1))
    return float(again.split()[1]) - at if again else patience


def ours(worker: int, process: int) -> bool:
    """Whether `process` is the worker, or its child."""
    if worker == process:
        return True
    with suppress(OSError):
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[1] == str(worker)
    return False


def lost_child(url: str, app: Any, redis: Any, *, times: int) -> list[float]:
    """Seconds from a SIGKILL of a prefork child to the second begin of the step that it held."""
    taken = []
    with fleet(url) as workers:
        workers.start("turns,tools", pool="prefork", slots=2)
        workers.join(app, 1)
        for number in range(times):
            run = f"child{number}"
            os.kill(begun(app, redis, run), signal.SIGKILL)
            taken.append(begun_again(redis, run, time.time()))
    return taken


def handback(url: str, app: Any, redis: Any, *, times: int) -> list[float]:
    """Seconds from the second SIGTERM, which ends the grace, to the second begin of the step, by another worker."""
    taken = []
    with fleet(url) as workers:
        workers.start("turns,tools", slots=2)
        for number in range(times):
            workers.start("turns,tools", slots=2)
            workers.join(app, 2)
            run = f"back{number}"
            name = workers.holder(begun(app, redis, run))
            workers.alive[name].terminate()
            time.sleep(1.0)
            workers.alive[name].terminate()
            taken.append(begun_again(redis, run, time.time(), 20.0))
            redis.set(f"go:{run}", 1)
            workers.kill(name)
    return taken


def stock_recovery(url: str, app: Any, redis: Any, patience: float) -> float | None:
    """The same with a bare task; None where it did not begin again in time."""
    with fleet(url) as workers:
        first = workers.start("bare", slots=2)
        run = "stock"
        app.bare.delay(run)
        within(60, lambda: redis.lindex(f"began:{run}", 0))
        workers.start("bare", slots=2)
        time.sleep(5)
        at = workers.kill(first)
        taken = begun_again(redis, run, at, patience)
    return None if taken == patience else taken


def away(
    app: Any, redis: Any, url: str, server: EmbeddedServer, folder: Path, *, seconds: float, runs: int
) -> dict[str, int]:
    """Redis goes away under load: which models were asked twice, and which runs died."""
    redis.delete("asked")
    with fleet(url) as workers:
        for _ in range(2):
            workers.start("turns,tools")
        workers.join(app, 2)
        handles = [app.five_steps.delay(f"away{number}") for number in range(runs)]
        server.stop()
        time.sleep(seconds)
        back = EmbeddedServer(folder)
        back.start()
        try:
            bad = 0
            for handle in handles:
                try:
                    handle.get(timeout=120)
                except (EvaluationFailedError, RunTimeoutError):
                    bad += 1
            twice = sum(int(times) > 1 for times in redis.hvals("asked"))
        finally:
            workers.close()
            back.stop()
    return {"away_s": int(seconds), "away_runs": runs, "away_asked_twice": twice, "away_failed": bad}


def acceptance(run: str) -> Acceptance:
    """A run in a session of its own."""

    def message(kind: Any, name: str) -> Message:
        return Message(id=name, kind=kind, mailbox="deep", task="t", tenant="default", session=run, evaluation=run)

    accepted = EvaluationAccepted(evaluation=run, prompt="p", digest="", params={}, terms=Terms(models=("m",)))
    return Acceptance(
        event=accepted, message=message("turn", run), outcome=message("outcome", outcome_id(run)), actor="b"
    )


def filled(store: RedisStore, ready: int) -> list[str]:
    """So many runs that wait for their first claim, accepted by eight threads; in the order of their doorbells."""
    names: list[str] = []

    def accept(first: int) -> None:
        for number in range(first, ready, 8):
            name = f"d{ready}-{number}"
            store.mailbox.confirm(store.mailbox.accept(acceptance(name)).doorbells)
            names.append(name)

    threads = [threading.Thread(target=accept, args=(first,)) for first in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return names


def claim(store: RedisStore, name: str) -> None:
    """Take a run's first turn, for good."""
    claimed = store.mailbox.claim(Address("default", name, name), task="t", owner="b", after=0, patient=True)
    if not isinstance(claimed, Claimed):
        raise SystemExit(f"{name} was not claimed: {claimed}")


def claims(store: RedisStore, names: list[str], times: int) -> float:
    """Median seconds of a claim while all of `names` are ready."""
    taken = []
    for name in names[:: max(1, len(names) // times)]:
        began = time.perf_counter()
        claim(store, name)
        taken.append(time.perf_counter() - began)
    return statistics.median(taken)


def deep_claims(url: str, store: RedisStore, backlog: list[str], rounds: int = 7) -> float:
    """A claim where all of `backlog` is ready against one where 100 are, by turns: a machine is not always as fast."""
    ratios = []
    piece = len(backlog) // rounds
    for number in range(rounds):
        other = RedisStore(url, prefix=f"few{number}")
        few = claims(other, filled(other, 100), 100)
        many = claims(store, backlog[number * piece : (number + 1) * piece], 100)
        other.close()
        print(f"claim at 100 ready: {few * 1e6:.0f} us, at {len(backlog)}: {many * 1e6:.0f} us")
        ratios.append(many / few)
    return statistics.median(ratios)


def doorbells(store: RedisStore, names: list[str], seconds: float) -> float:
    """Doorbells a ready message, while one slow worker takes one each 0.5 s, and the reaper looks as often.

    Takes what it claims off the front of `names`.
    """
    rung = len(names)
    ready = len(names)
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        claim(store, names.pop(0))
        again = store.mailbox.reap()
        store.mailbox.confirm(again)
        rung += len(again)
        time.sleep(0.5)
    return rung / ready


def flushed(url: str, app: Any, redis: Any, *, runs: int) -> dict[str, int]:
    """The broker forgets every message it has, while evaluations run; which of them do not finish."""
    with fleet(url) as workers:
        for _ in range(2):
            workers.start("turns,tools")
        workers.join(app, 2)
        handles = [app.five_steps.delay(f"flushed{number}") for number in range(runs // 2)]
        for worker in workers.alive.values():
            worker.send_signal(signal.SIGSTOP)
        handles += [app.five_steps.delay(f"flushed{number}") for number in range(runs // 2, runs)]
        queues = list(redis.scan_iter("turns*")) + list(redis.scan_iter("tools*"))
        bells = sum(int(redis.llen(queue)) for queue in queues) + int(redis.hlen("unacked"))
        redis.delete(*queues, "unacked", "unacked_index")
        for worker in workers.alive.values():
            worker.send_signal(signal.SIGCONT)
        bad = 0
        for handle in handles:
            try:
                handle.get(timeout=120)
            except (EvaluationFailedError, RunTimeoutError):
                bad += 1
    return {"flushed_runs": runs, "flushed_bells": bells, "flushed_failed": bad}


def renewal(store: RedisStore, leases: int, rounds: int) -> float:
    """Share of a core, of this process and the server, for renewing so many leases at a timeout of 10 s."""
    receipts = []
    for number in range(leases):
        name = f"k{number}"
        store.mailbox.accept(acceptance(name))
        claimed = store.mailbox.claim(Address("default", name, name), task="t", owner="b", after=None)
        if not isinstance(claimed, Claimed):
            raise SystemExit(f"{name} was not claimed: {claimed}")
        receipts.append(claimed.receipt)
    with Redis.from_url(store.link._url) as redis:  # noqa: SLF001 - `url` hides its password

        def used() -> float:
            info = redis.info("cpu")
            return float(info["used_cpu_user"] + info["used_cpu_sys"] + time.process_time())

        before = used()
        for _ in range(rounds):
            store.mailbox.extend(receipts)
        return (used() - before) / rounds / (10 / 3)


def recoveries(url: str, app: Any, redis: Any, *, times: int, draw: random.Random) -> dict[str, float]:
    """How long it takes until a step goes on elsewhere, by what ended it."""
    killed = recovery(url, app, redis, times=times, draw=draw)
    print("recovery", [round(one, 2) for one in killed], flush=True)
    children = lost_child(url, app, redis, times=max(2, times // 4))
    print("lost child", [round(one, 2) for one in children], flush=True)
    back = handback(url, app, redis, times=max(2, times // 4))
    print("hand-back", [round(one, 2) for one in back], flush=True)
    return {
        "recovery_p50_s": round(statistics.median(killed), 2),
        "recovery_max_s": round(max(killed), 2),
        "child_lost_s": round(max(children), 2),
        "handback_s": round(max(back), 2),
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--runs", type=int, default=2000)
    parser.add_argument("--recoveries", type=int, default=20)
    parser.add_argument(
        "--stock", type=float, default=60.0, help="seconds for which stock Celery is waited for; 0: not"
    )
    parser.add_argument("--away", type=float, default=20.0, help="seconds for which Redis is away; 0: not")
    parser.add_argument("--ready", type=int, default=100_000, help="ready messages to claim from; 0: not")
    parser.add_argument("--backlog", type=float, default=120.0, help="seconds for which a slow worker claims from them")
    parser.add_argument("--flushed", type=int, default=200, help="runs under way as the broker is flushed; 0: not")
    parser.add_argument("--seed", type=int, default=6)
    args = parser.parse_args()
    figures: dict[str, Any] = {}
    folder = Path(tempfile.mkdtemp())
    server = EmbeddedServer(folder)
    server.start()
    try:
        os.environ.update(RECOVERY_REDIS_URL=server.url, WINK_VISIBILITY_TIMEOUT=str(TIMEOUT))
        sys.path.insert(0, str(HERE))
        app = importlib.import_module("recovery_app")
        redis = Redis.from_url(server.url)
        draw = random.Random(args.seed)  # noqa: S311 - no secret
        if args.kills:
            figures |= under_load(server.url, app, redis, kills=args.kills, runs=args.runs, draw=draw)
            print(figures, flush=True)
        if args.recoveries:
            figures |= recoveries(server.url, app, redis, times=args.recoveries, draw=draw)
        if args.stock:
            found = stock_recovery(server.url, app, redis, args.stock)
            figures["stock_recovery_s"] = "not recovered" if found is None else round(found, 2)
        if args.ready:
            store = RedisStore(server.url, prefix="deep")
            figures["renewal_share"] = round(renewal(store, 1000, 10), 4)
            backlog = filled(store, args.ready)
            figures["doorbell_ratio"] = round(doorbells(store, backlog, args.backlog), 4)
            figures["deep_claim_ratio"] = round(deep_claims(server.url, store, backlog), 2)
            store.close()
        if args.flushed:
            figures |= flushed(server.url, app, redis, runs=args.flushed)
        if args.away:
            figures |= away(app, redis, server.url, server, folder, seconds=args.away, runs=100)
        app.wink.leave()
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
