from __future__ import annotations

import signal

import pytest

from wink_tasks.cli.ending import Ending


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_the_block_with_the_shells_code(number: int, code: int):
    before = signal.getsignal(number)
    with pytest.raises(SystemExit) as ended, Ending():
        signal.raise_signal(number)
    assert ended.value.code == code
    assert signal.getsignal(number) is before


def interrupted_while_held(done: list[str]) -> None:
    with Ending() as ending:
        with ending.held():
            signal.raise_signal(signal.SIGINT)
            done.append("held")
        done.append("not reached")


def test_what_is_held_is_done_first():
    done: list[str] = []
    with pytest.raises(SystemExit) as ended:
        interrupted_while_held(done)
    assert done == ["held"]
    assert ended.value.code == 130


def interrupted_again(done: list[str]) -> None:
    with Ending() as ending:
        try:
            signal.raise_signal(signal.SIGTERM)
        finally:
            with ending.held():
                signal.raise_signal(signal.SIGINT)
                done.append("cleared up")
            signal.raise_signal(signal.SIGINT)
            done.append("to the end")


def test_only_the_first_signal_counts():
    done: list[str] = []
    with pytest.raises(SystemExit) as ended:
        interrupted_again(done)
    assert done == ["cleared up", "to the end"]
    assert ended.value.code == 143


def test_without_a_signal_nothing_happens():
    with Ending() as ending, ending.held():
        pass
