"""Sessions as they were, by the command line."""

from __future__ import annotations

import json

import pytest

from tests.unit.cli.conftest import Command, Desk, Sum
from wink_tasks import Budget, BudgetExceededError
from wink_tasks.testing.scripted import Scripted


def test_a_session_is_shown_as_it_was(desk: Desk, run_id: str, command: Command):
    printed = command("sessions", "show", "s1", "--at", "5").out
    assert printed.startswith("Session s1 of tenant default as it was at event 5\n")
    assert "STARTED" in printed
    assert "succeeded" not in printed
    document = json.loads(command("sessions", "show", "s1", "--at", "5", "--json").out)
    assert [event["seq"] if isinstance(event, dict) else event[0] for event in document["events"]] == [1, 2, 3, 4, 5]
    assert (document["seq"], document["slices"], document["runs"][0]["status"]) == (5, {}, "STARTED")


def test_slices_are_shown_as_they_were(desk: Desk, run_id: str, command: Command):
    document = json.loads(command("sessions", "show", "s1", "--json").out)
    head = document["session"]["head"]
    printed = command("sessions", "show", "s1", "--at", str(head)).out
    assert '.Sum: 1 values\n    {"total":3}\n' in printed
    shown = json.loads(command("sessions", "show", "s1", "--at", str(head), "--json").out)
    assert list(shown["slices"].values()) == [[{"total": 3}]]


def test_a_point_that_is_none(desk: Desk, run_id: str, command: Command):
    printed = command("sessions", "show", "s1", "--at", "99")
    assert (printed.code, printed.out) == (2, "")
    assert printed.err == "wink: session 's1' has no event 99: they are numbered from 1 to 7 so far\n"
    assert command("sessions", "diff", "s1@99", "s1").code == 2
    assert command("sessions", "diff", "s1", "nope@1").err == "wink: tenant 'default' has no session 'nope'\n"


def test_two_points_of_a_session_differ(desk: Desk, run_id: str, command: Command):
    printed = command("sessions", "diff", "s1@4", "s1").out
    assert printed.startswith("- s1 at event 4\n+ s1 at event 7\nslice ")
    assert '  + {"total":3}\n' in printed
    assert "transcript: 2 the same before\n  + {" in printed
    assert f"run {run_id}\n" in printed
    assert '  - {"phase":"calling"}\n  + {"phase":"ended"}\n' in printed
    document = json.loads(command("sessions", "diff", "s1@4", "s1@7", "--json").out)
    assert (document["left"], document["right"]) == ({"session": "s1", "seq": 4}, {"session": "s1", "seq": 7})
    assert document["same"] is False
    assert document["evaluations"][run_id]["right"]["turns"] == 2


def test_two_sessions_differ(desk: Desk, run_id: str, command: Command):
    other = desk.chat.with_options(session="s2").delay("x")
    other.get()
    printed = command("sessions", "diff", "s1", "s2").out
    assert f'run {run_id}\n  - {{"end":' in printed
    assert f'run {other.id}\n  + {{"end":' in printed
    assert "transcript: 0 the same before\n" in printed


def test_what_does_not_differ(desk: Desk, run_id: str, command: Command):
    assert command("sessions", "diff", "s1", "s1@7").out.endswith("They are the same: slices, transcript and runs.\n")
    assert json.loads(command("sessions", "diff", "s1", "s1", "--json").out)["same"] is True


def test_what_differs_in_the_middle_is_shown_with_what_follows(desk: Desk, run_id: str, command: Command):
    session = desk.wink.session("s1")
    session[Sum].seed(Sum(total=1), Sum(total=3))
    session[Sum].seed(Sum(total=2), Sum(total=3))
    printed = command("sessions", "diff", "s1@8", "s1@9").out
    assert ': 0 the same before, 1 after\n  - {"total":1}\n  + {"total":2}\n' in printed


def test_a_session_whose_name_looks_like_a_point(desk: Desk, run_id: str, command: Command):
    desk.chat.with_options(session="s1@4").delay("x").get()
    assert command("sessions", "diff", "s1@4", "s1@4").out.startswith("- s1@4 at event 5\n")


def test_the_tail_of_a_session(desk: Desk, run_id: str, command: Command):
    whole = command("sessions", "tail", "s1").out.splitlines()
    assert [int(line.split()[0]) for line in whole] == [1, 2, 3, 4, 5, 6, 7]
    short = command("sessions", "tail", "s1", "-n", "3").out.splitlines()
    assert short == whole[-3:], "also what a call's arguments were is known"
    assert "add(a=1, b=2) returned" in short[0]
    assert command("sessions", "tail", "s1", "-n", "0").out == ""
    lines = command("sessions", "tail", "s1", "-n", "2", "--json").out.splitlines()
    assert [json.loads(line)["seq"] for line in lines] == [6, 7]
    assert command("sessions", "tail", "nope").err == "wink: tenant 'default' has no session 'nope'\n"


def test_the_tail_after_a_run_that_has_ended(desk: Desk, run_id: str, command: Command):
    desk.chat.with_options(session="s1").delay("x").get()
    assert [line.split()[0] for line in command("sessions", "tail", "s1", "-n", "1").out.splitlines()] == ["11"]


def test_a_session_is_forked(desk: Desk, run_id: str, command: Command):
    printed = command("sessions", "fork", "s1", "--at", "4", "--as", "s2").out
    assert printed.splitlines() == [
        "Session s2 goes on from event 4 of s1.",
        f"Run {run_id} had not ended there: in the fork it is cancelled.",
        "`wink run NAME --session s2` starts a run in it.",
    ]
    document = json.loads(command("sessions", "fork", "s1", "--at", "7", "--json").out)
    expected = {"session": "s1-fork-7", "tenant": "default", "parent": "s1", "at": 7, "cancelled": []}
    assert document == expected
    shown = command("sessions", "show", "s2").out
    assert "Forked from session s1 at event 4\n" in shown
    assert "session 's2' was forked from 's1' at event 4\n" in shown
    assert command("run", "chat", "--param", "text=x", "--session", "s2").out.endswith("5 output tokens\n")
    assert "slice " not in command("sessions", "diff", "s1@4", "s2@4").out


def test_a_fork_beyond_the_head_is_one_line_and_code_2(desk: Desk, run_id: str, command: Command):
    printed = command("sessions", "fork", "s1", "--at", "8")
    expected = (2, "", "wink: session 's1' has no event 8: they are numbered from 1 to 7 so far\n")
    assert printed == expected


def test_a_session_with_forks_is_not_deleted(desk: Desk, run_id: str, command: Command):
    command("sessions", "fork", "s1", "--at", "7", "--as", "s2")
    printed = command("sessions", "delete", "s1", "--yes")
    said = "wink: session 's1' has forks, which read its first events: archive or delete 's2' first\n"
    assert printed == (2, "", said)
    assert command("sessions", "delete", "s2", "--yes").code == 0
    assert command("sessions", "delete", "s1", "--yes").code == 0


def test_a_run_that_failed_is_resumed(desk: Desk, played: Scripted, command: Command):
    run = desk.total.with_options(session="s1", budget=Budget(total_tokens=10)).delay("x")
    with pytest.raises(BudgetExceededError):
        run.get()
    printed = command("runs", "resume", run.id)
    assert (printed.code, printed.out) == (2, "")
    assert "it would end at once again: the budget is used up: total_tokens 15 of 10" in printed.err
    printed = command("runs", "resume", run.id, "--total-tokens", "100", "--max-turns", "5", "--model", "offline:n")
    assert printed.out == f"Run {run.id} goes on: succeeded\n"
    shown = command("runs", "show", run.id).out
    assert "goes on, with budget={'total_tokens': 100}, models=('offline:n',), max_turns=5; its clock stood" in shown
    assert [line.split("  ")[2] for line in shown.splitlines() if "failed: Budget" in line] != []
