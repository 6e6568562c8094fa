from __future__ import annotations

import threading

import pytest

from wink_tasks.adapters.clock import ASK_AGAIN, StoreClock
from wink_tasks.core.errors import LedgerUnavailableError
from wink_tasks.testing import FakeClock


def test_the_time_is_the_stores_also_where_the_machine_jumps(caplog: pytest.LogCaptureFixture):
    machine, answers = FakeClock(), []

    def ask() -> float:
        answers.append(machine.monotonic())
        if len(answers) in (1, 3):
            raise LedgerUnavailableError("away")
        return 5_000.0 + machine.monotonic()

    clock = StoreClock(machine, ask)
    assert clock.now() == machine.now()
    assert "the time is this machine's: away" in caplog.text
    machine.advance(ASK_AGAIN)
    assert clock.now() == 5_000.0 + clock.monotonic()
    machine.advance(ASK_AGAIN / 2)
    assert clock.now() == 5_000.0 + machine.monotonic()
    machine.advance(ASK_AGAIN / 2)
    assert clock.now() == 5_000.0 + machine.monotonic()
    assert len(answers) == 3


def test_threads_that_come_while_the_store_is_asked_wait_for_its_answer():
    machine, asked, answer = FakeClock(), threading.Event(), threading.Event()

    def ask() -> float:
        asked.set()
        answer.wait(30)
        return 5_000.0

    clock = StoreClock(machine, ask)
    told: list[float] = []
    threads = [threading.Thread(target=lambda: told.append(clock.now())) for _ in range(2)]
    threads[0].start()
    assert asked.wait(30)
    threads[1].start()
    answer.set()
    for thread in threads:
        thread.join(30)
    assert told == [5_000.0, 5_000.0]
