"""Ten kills at random under load: the small form of `benchmarks/recovery.py`."""

from __future__ import annotations

import os
import random
import signal
import threading

from tests.faults.conftest import Site
from tests.workers import eventually


def test_ten_kills_at_random_lose_nothing_and_repeat_no_step_that_was_recorded(site: Site):
    draw = random.Random(6)  # noqa: S311 - no secret
    runs = [f"r{number}" for number in range(100)]
    members = [site.worker(), site.worker(), site.worker()]
    for number, run in enumerate(runs):
        site.run(run)
        if number % 10 == 9:
            eventually(lambda run=run: site.done(f"model:{run}:0"), "it is worked on")
            threading.Event().wait(draw.random() * 0.02)  # a kill hits any place
            victim = members.pop(draw.randrange(3))
            os.kill(victim.pid, signal.SIGKILL)
            members.append(site.worker())
    for run in runs:
        site.whole(run)
    again = sum(site.done(f"{what}{run}{rest}") - 1 for run in runs for what, rest in STEPS)
    assert again <= 10 * 64, "a kill costs no more than the steps in its hands"
    dead = site.wink.house().store.mailbox.depth(["turns", "tools"])
    assert [depth.dead for depth in dead.values()] == [0, 0]


STEPS = (("model:", ":0"), ("tool:", ""), ("model:", ":1"))
