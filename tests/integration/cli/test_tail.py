"""`wink sessions tail -f` as a process."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys

from tests.workers import PATIENCE
from wink_tasks.adapters.redis.store import RedisStore
from wink_tasks.core.events import AnyEvent, Dispatched, SessionOpened


def test_tail_follows_a_session_until_ctrl_c(redis_url: str):
    store = RedisStore(redis_url)

    def append(*events: AnyEvent, after: int) -> None:
        store.ledger.append("default", "s1", events, expected=after, actor="a1")

    append(SessionOpened(tenant="default", session="s1"), Dispatched(name="proj.Noted", data=1), after=0)
    main = [sys.executable, "-c", "from wink_tasks.cli import main; main()"]
    with subprocess.Popen(
        [*main, "sessions", "tail", "s1", "-f", "--json"],
        env={**os.environ, "WINK_REDIS_URL": redis_url, "WINK_APP": "wink_tasks.examples.code_review:wink"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert [json.loads(process.stdout.readline())["seq"] for _ in range(2)] == [1, 2]
        append(Dispatched(name="proj.Noted", data=2), after=2)
        assert json.loads(process.stdout.readline())["event"]["data"] == 2
        process.send_signal(signal.SIGINT)
        try:
            out, err = process.communicate(timeout=PATIENCE)
        finally:
            process.kill()
    store.close()
    assert (process.returncode, out) == (130, "")
    assert "Traceback" not in err
