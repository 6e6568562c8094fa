from __future__ import annotations

import io
import re
from itertools import count

from rich.console import Console

from tests.unit.cli.test_story import ACCEPTED, CALLS, OPENED, STARTED, recorded, responded
from wink_tasks.cli.watching import watch
from wink_tasks.core.events import EvaluationSucceeded

END = EvaluationSucceeded(evaluation="r1", output=3)


def console(*, terminal: bool) -> tuple[Console, io.StringIO]:
    file = io.StringIO()
    return Console(file=file, force_terminal=terminal, width=120, markup=False, highlight=False), file


def test_a_file_gets_a_line_an_event_and_how_far_the_run_is_at_each_turn():
    out, file = console(terminal=False)
    how_far = "1 turn · 1,234 tokens · 3.0 s · left: 3,766 tokens, 56 s"
    assert watch(recorded(OPENED, ACCEPTED, STARTED, responded(), END), out).record.event == END
    assert file.getvalue().splitlines() == [
        "   0.00 s  session 's1' of tenant 'acme' began",
        "   1.00 s  accepted: desk.total(text='x')",
        "   2.00 s  started with offline:m: Add up x.",
        f"   3.00 s  turn 1: offline:m answers (1,234 tokens, 0.2 s)  [{how_far}]",
        "   4.00 s  succeeded",
    ]


def test_an_answer_whose_run_is_not_known_from_its_beginning_is_shown_without_a_standing():
    out, file = console(terminal=False)
    watch(recorded(responded()), out)
    assert file.getvalue() == "   0.00 s  turn 1: offline:m answers (1,234 tokens, 0.2 s)\n"


def test_a_terminal_gets_the_standing_below_the_events():
    out, file = console(terminal=True)
    clock = count(100.0)
    events = recorded(ACCEPTED, STARTED, responded(calls=CALLS, stop="tools"))
    told = watch(events, out, now=lambda: next(clock))
    assert told.state is not None
    shown = file.getvalue()
    assert "waits for a worker" in shown
    assert "   0.00 s  accepted: desk.total(text='x')" in shown
    assert "1 turn · 1,234 tokens" in shown
    assert "waits for 2 x add" in shown
    assert re.search(r"1 turn · 1,234 tokens · \d+\.0 s · left: 3,766 tokens, \d+ s\n$", shown)


def test_a_terminal_is_told_what_comes_though_the_run_is_not_known_from_its_beginning():
    out, file = console(terminal=True)
    watch(recorded(responded()), out)
    assert "offline:m answers" in file.getvalue()
    assert "left: " not in file.getvalue()
