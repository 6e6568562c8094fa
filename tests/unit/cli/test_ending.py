from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable

import pytest

from wink_tasks.cli.ending import Ending

BOTH = pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])


def run(block: Callable[[Ending], object]) -> None:
    with Ending() as ending:
        block(ending)


def code_of(block: Callable[[Ending], object]) -> object:
    with pytest.raises(SystemExit) as ended:
        run(block)
    return ended.value.code


@BOTH
def test_a_signal_is_raised_where_it_is_checked_for(number: int, code: int):
    before, done = signal.getsignal(number), []

    def block(ending: Ending) -> None:
        ending.check()
        signal.raise_signal(number)
        done.append("not in the midst of something")
        ending.check()
        done.append("not reached")

    assert code_of(block) == code
    assert done == ["not in the midst of something"]
    assert signal.getsignal(number) is before


@BOTH
def test_a_pause_ends_with_the_signal(number: int, code: int):
    def block(ending: Ending) -> None:
        ending.pause(0)
        threading.Thread(target=os.kill, args=(os.getpid(), number)).start()
        ending.pause(3600)

    before = signal.set_wakeup_fd(-1)
    assert code_of(block) == code
    assert signal.set_wakeup_fd(before) == -1


def test_what_was_not_checked_for_is_raised_at_the_end_of_the_block():
    assert code_of(lambda _: signal.raise_signal(signal.SIGINT)) == 130


def test_an_error_is_not_hidden_by_a_signal():
    def block(_ending: Ending) -> None:
        signal.raise_signal(signal.SIGINT)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run(block)


def test_only_the_first_signal_counts():
    def block(_ending: Ending) -> None:
        signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGINT)

    assert code_of(block) == 143


def test_without_a_signal_nothing_happens():
    run(Ending.check)
