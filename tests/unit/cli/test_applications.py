"""Commands that look at an application and its ledgers, with a store in memory."""

from __future__ import annotations

import io
import json
import socket
from collections.abc import Callable
from pathlib import Path

import pytest
from celery import Celery

from tests.unit.cli.conftest import Command, Desk, desk_of
from wink_tasks import Wink
from wink_tasks.ports.fleet import Worker
from wink_tasks.ports.pauses import Pause
from wink_tasks.testing.scripted import Scripted


def test_prompts_are_listed(desk: Desk, command: Command):
    listed = json.loads(command("prompts", "ls", "--json").out)
    assert listed[1] == {
        "name": "desk.total",
        "parameters": ["text", "times"],
        "models": ["offline:m"],
        "mailbox": "turns",
        "tools": ["add"],
    }
    printed = command("prompts", "ls")
    assert printed.code == 0
    assert "text, times" in printed.out


def test_a_prompt_is_shown_as_the_model_would_see_it(desk: Desk, command: Command):
    shown = json.loads(command("prompts", "show", "total", "--param", "text=7", "--param", "times=2", "--json").out)
    assert shown["content"] == "Add up 7, 2 times."
    assert shown["tools"][0]["parameters"]["required"] == ["a", "b"]
    assert shown["output"]["properties"]["total"]["type"] == "integer"
    assert shown["tokens"] > 50
    printed = command("prompts", "show", "desk.chat", "--param", "text=[hi]").out
    assert "--- instructions\nYou talk.\n--- content\n[hi]\n--- tools\n[]\n--- output\ntext\n--- about " in printed


def test_what_does_not_fit_a_prompt_is_one_line_and_code_2(desk: Desk, command: Command):
    printed = command("prompts", "show", "total")
    assert printed.code == 2
    assert printed.err.startswith("wink: prompt 'desk.total': text: ")
    assert printed.err.count("\n") == 1
    assert (
        command("prompts", "show", "nope").err == "wink: no prompt is called 'nope'; there are: desk.chat, desk.total\n"
    )


def test_run_shows_progress_and_prints_the_output(desk: Desk, played: Scripted, command: Command):
    printed = command("run", "total", "--param", "text=x", "--session", "s1")
    assert printed.code == 0
    assert "add(a=1, b=2) returned 1 bytes" in printed.out
    assert '{\n  "total": 3\n}\n2 model calls, 20 input and 10 output tokens\n' in printed.out
    assert command("run", "chat", "--param", "text=x").out.endswith(
        "succeeded\n[hello]\n1 model calls, 10 input and 5 output tokens\n"
    )


def test_run_as_json_prints_nothing_else_on_standard_output(desk: Desk, played: Scripted, command: Command):
    printed = command("run", "total", "--param", "text=x", "--json")
    document = json.loads(printed.out)
    assert (document["status"], document["output"]) == ("SUCCESS", {"total": 3})
    assert document["usage"]["total_tokens"] == 30
    assert "succeeded" in printed.err


def test_run_without_waiting(desk: Desk, played: Scripted, command: Command):
    assert json.loads(command("run", "chat", "--param", "text=x", "--no-wait", "--json").out)["output"] is None
    printed = command("run", "chat", "--param", "text=x", "--no-wait", "--model", "offline:other")
    assert printed.out.startswith("Run ")
    assert printed.out.count("\n") == 1


def test_a_run_that_fails_is_an_error_with_its_reason(desk: Desk, played: Scripted, command: Command):
    printed = command("run", "chat", "--param", "text=x", "--model", "offline:m", "--session", "bad session")
    assert (printed.code, printed.out) == (2, "")
    assert "session 'bad session' is not usable as a name" in printed.err
    played.script(desk.chat, [])
    printed = command("run", "chat", "--param", "text=x")
    assert printed.code == 1
    assert "ScriptEndedError" in printed.err


def test_runs_are_listed_newest_first(desk: Desk, run_id: str, played: Scripted, command: Command):
    played.clock.advance(60)
    later = desk.chat.delay("x").id
    listed = json.loads(command("runs", "ls", "--json").out)
    assert [(run["id"], run["status"]) for run in listed] == [(later, "SUCCESS"), (run_id, "SUCCESS")]
    assert [run["id"] for run in json.loads(command("runs", "ls", "--limit", "1", "--json").out)] == [later]
    assert json.loads(command("runs", "ls", "--tenant", "other", "--json").out) == []
    printed = command("runs", "ls").out
    assert printed.index(later) < printed.index(run_id)
    assert "s1" in printed


def test_a_run_is_shown_by_any_id_of_its_steps(desk: Desk, run_id: str, command: Command):
    printed = command("runs", "show", f"{run_id}~turn1.call0").out.splitlines()
    assert printed[0] == f"Run {run_id} succeeded"
    assert printed[1] == "Session s1 of tenant default; 2 model calls, 20 input and 10 output tokens"
    assert printed[2].endswith("accepted: desk.total(text='x', times=1)")
    assert printed[-1].endswith("succeeded")
    document = json.loads(command("runs", "show", run_id, "--json").out)
    assert (document["why"], document["run"]["id"]) == ("succeeded", run_id)
    assert document["usage"]["requests"] == 2
    assert document["events"][-1]["event"]["type"] == "EvaluationSucceeded"


def test_a_tool_alone_is_run_and_shown(desk: Desk, played: Scripted, command: Command):
    printed = command("run", "add", "--param", "a=1", "--param", "b=2")
    assert printed.code == 0
    assert printed.out.splitlines()[1:] == [
        "   0.00 s  accepted: desk.add(a=1, b=2)",
        "   0.00 s  succeeded",
        "3",
    ]
    run = desk.add.delay(a=1, b=3)
    shown = command("runs", "show", run.id).out.splitlines()
    assert shown[:2] == [f"Run {run.id} succeeded", f"Session {run.id} of tenant default"]
    printed = command("run", "nope")
    assert "no prompt, task or tool is called 'nope'; there are: desk.add, desk.chat, desk.total" in printed.err


def test_tasks_are_listed(desk: Desk, command: Command):
    @desk.wink.task(max_retries=0, deadline=30)
    def sync(n: int, to: str = "x") -> int:
        return n

    listed = json.loads(command("tasks", "ls", "--json").out)
    assert listed[1] == {
        "name": "desk.sync",
        "kind": "task",
        "parameters": ["n", "to"],
        "mailbox": "tools",
        "max_retries": 0,
        "deadline": 30,
    }
    printed = command("tasks", "ls")
    assert printed.code == 0
    assert [line.split() for line in printed.out.splitlines() if "desk." in line] == [
        ["desk.add", "tool", "a,", "b", "tools", "3", "-"],
        ["desk.sync", "task", "n,", "to", "tools", "0", "30"],
    ]


def test_a_run_is_cancelled(desk: Desk, played: Scripted, command: Command):
    run = desk.chat.with_options(countdown=60).delay("x")
    assert command("runs", "show", run.id).out.startswith(f"Run {run.id} turn {run.id} is delayed for 60 s more")
    printed = command("runs", "cancel", run.id)
    assert printed.out == f"Run {run.id} was cancelled: cancelled from the command line\n"
    assert "cancel was requested by operator " in command("runs", "show", run.id).out


@pytest.mark.parametrize("verb", ["show", "cancel"])
def test_an_unknown_run(desk: Desk, played: Scripted, command: Command, verb: str):
    printed = command("runs", verb, "nope")
    assert (printed.code, printed.out) == (2, "")
    assert "nope" in printed.err
    assert printed.err.count("\n") == 1


def test_sessions_are_listed_and_shown(desk: Desk, run_id: str, command: Command):
    listed = json.loads(command("sessions", "ls", "--json").out)
    assert [(one["session"], one["tenant"]) for one in listed] == [("s1", "default")]
    assert "nothing runs" in command("sessions", "ls").out
    printed = command("sessions", "show", "s1").out.splitlines()
    assert printed[0] == f"Session s1 of tenant default: nothing runs; {listed[0]['head']} events"
    assert run_id in "".join(printed)
    assert "     1  " in "\n".join(printed)
    document = json.loads(command("sessions", "show", "s1", "--json").out)
    assert [run["id"] for run in document["runs"]] == [run_id]
    assert len(document["events"]) == listed[0]["head"]


def test_a_session_in_which_runs_wait(desk: Desk, played: Scripted, command: Command):
    chat = desk.chat.with_options(session="s1")
    first = chat.with_options(countdown=60).delay("x")
    assert command("sessions", "show", "s1").out.startswith(f"Session s1 of tenant default: {first.id} runs; ")
    chat.delay("y")
    assert f": {first.id} runs, 1 behind it; " in command("sessions", "show", "s1").out


def test_a_session_is_deleted_once_its_owner_says_so(
    desk: Desk, run_id: str, command: Command, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("sys.stdin", io.StringIO("n\n"))
    assert command("sessions", "delete", "s1").code == 1
    assert command("sessions", "show", "s1").code == 0
    monkeypatch.setattr("sys.stdin", io.StringIO("y\n"))
    assert command("sessions", "delete", "s1").out.endswith("Session s1 is deleted.\n")
    for arguments in (("show", "s1"), ("delete", "s1", "--yes")):
        printed = command("sessions", *arguments)
        assert (printed.code, printed.err) == (2, "wink: tenant 'default' has no session 's1'\n")


def test_doctor_names_what_is_missing(desk: Desk, played: Scripted, command: Command):
    printed = command("doctor", "--json")
    document = json.loads(printed.out)
    assert (printed.code, document["healthy"]) == (1, False)
    assert document["findings"][0]["what"].startswith("nothing tells in which Redis the ledgers are")


def test_doctor_of_an_installation_in_order(named: Callable[[Wink], str], command: Command):
    app = Celery("desk", set_as_current=False, broker="memory://", backend="cache+memory://")
    wink = desk_of(Wink(app, split_queues=True, redis_url="redis://unused/0")).wink
    named(wink)
    with wink.in_memory() as house:
        printed = command("doctor")
        assert printed.code == 1
        assert "no worker is alive" in printed.out
        worker = Worker(
            name="w1@host",
            pid=7,
            version=json.loads(command("version", "--json").out)["version"],
            pool="threads",
            mailboxes=("tools", "turns"),
            prompts=("desk.chat", "desk.total"),
        )
        house.store.fleet.beat(worker, every=12, term=1)
        house.store.pauses.pause(Pause(subject="prompt", name="desk.total", by="ann", at=1.0))
        printed = command("doctor", "--json")
    document = json.loads(printed.out)
    assert (printed.code, document["healthy"]) == (0, True)
    assert document["findings"][0] == {
        "level": "ok",
        "what": "ledgers are in memory://, from WINK_REDIS_URL",
        "way_out": "",
    }
    said = [one["what"] for one in document["findings"]]
    assert "prompt 'desk.total' is paused by ann" in said
    assert "the broker is memory://:**@localhost//" in said
    assert any(one.startswith("results are in memory://") for one in said)
    assert "clocks agree within 1 s" in said


def test_doctor_of_an_app_whose_broker_is_away(named: Callable[[Wink], str], command: Command):
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        address = f"redis://:secret@127.0.0.1:{nobody.getsockname()[1]}/0"
        wink = Wink(Celery("desk", set_as_current=False, broker=address))
        named(wink)
        with wink.in_memory():
            printed = command("doctor", "--json")
    found = {one["what"].partition(" (")[0]: one for one in json.loads(printed.out)["findings"]}
    assert printed.code == 1
    assert found[f"the broker {address.replace('secret', '**')} does not answer"]["level"] == "error"
    assert (
        found["ledgers share their Redis with Celery: its queues or results may fill the memory"]["level"] == "warning"
    )
    assert "no result backend: get() asks the ledger; chords need one" in found
    assert "secret" not in printed.out


def test_the_application_may_be_in_the_current_folder(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.delenv("WINK_APP", raising=False)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "cli_local_desk.py").write_text("from wink_tasks import Wink\nwink = Wink()\n")
    assert command("prompts", "ls", "--json", "--app", "cli_local_desk:wink").out == "[]\n"
    assert command("prompts", "ls", "--json", "--app", "cli_local_desk:wink").code == 0
    printed = command("prompts", "ls")
    assert printed.code == 2
    assert printed.err.startswith("wink: the application is named as package.module:wink (--app, or WINK_APP)")


def test_what_the_app_includes_but_cannot_be_imported_is_named(named: Callable[[Wink], str], command: Command):
    named(Wink(Celery("desk", set_as_current=False, include=["no_such_agents"])))
    printed = command("prompts", "ls")
    assert printed.code == 2
    assert "names or discovers cannot be imported: No module named 'no_such_agents'" in printed.err
