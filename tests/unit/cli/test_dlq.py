"""Commands about dead letters, pauses, and runs in bulk, with a store in memory."""

from __future__ import annotations

import json
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from tests.unit.cli.conftest import Command, Desk, Sum
from wink_tasks import DeadLetteredError, ProviderUnavailableError
from wink_tasks.cli import dlq, filters
from wink_tasks.core.errors import NotDeadError, ParametersInvalidError
from wink_tasks.ports.mailbox import Address, Claimed
from wink_tasks.ports.rejections import LARGEST_BODY, NO_MESSAGE, Rejected
from wink_tasks.runtime.letters import error_class
from wink_tasks.testing import answer, call, scripted
from wink_tasks.testing.inline import NoObserver
from wink_tasks.testing.scripted import Scripted

DOWN = [ProviderUnavailableError("password=hunter2 is down")] * 4


@pytest.fixture
def kit(desk: Desk) -> Iterator[Scripted]:
    with scripted(desk.wink, {desk.chat: DOWN, desk.total: [call(desk.add, a=1, b=2), answer(Sum(total=3))]}) as kit:
        yield kit


@pytest.fixture
def dead(desk: Desk, kit: Scripted) -> Any:
    """A run that ended by the death of its first turn."""
    run = desk.chat.with_options(session="s1", labels={"team": "a"}).delay("x")
    with pytest.raises(DeadLetteredError, match="is a dead letter: 4 deliveries did not end it"):
        run.get()
    return run


@pytest.fixture
def strange(desk: Desk, kit: Scripted) -> str:
    """A message that Celery could not run."""
    rejections = desk.wink.house().store.rejections
    known = {"reason": "undecodable", "at": kit.clock.now(), "content_type": "application/json"}
    rejections.keep(Rejected(queue="celery", size=4, body=b"\xff\x00ab", task="their.task", error="E: x", **known))
    return next(iter(rejections.kept())).id


def bury_call(desk: Desk, kit: Scripted) -> str:
    """A run whose tool call is a dead letter; the call's id."""
    house = desk.wink.house()
    run = desk.total.with_options(countdown=10).delay("x")
    kit.clock.advance(10)
    first = house.store.mailbox.claim(Address("default", run.id, run.id), task="desk.total", owner="w", after=0)
    assert isinstance(first, Claimed)
    object.__setattr__(house.parts, "ringer", SimpleNamespace(ring=lambda _: None))
    house.steps._step(first, (), NoObserver(), first=True)
    return run.id


def test_dead_letters_are_listed_with_their_counts(desk: Desk, dead: Any, strange: str, command: Command):
    printed = command("dlq", "ls")
    assert printed.code == 0
    assert printed.out.startswith("2 dead letters: 1 in turns, 1 in rejected:celery\n")
    assert "4 deliveries did" in printed.out
    assert "hunter2" not in printed.out
    listed = json.loads(command("dlq", "ls", "--json").out)
    assert (listed["counts"], listed["rejected_ever"]) == ({"turns": 1, "rejected:celery": 1}, 1)
    letter, rejected = listed["letters"]
    assert (letter["id"], letter["prompt"], letter["labels"]) == (dead.id, "desk.chat", {"team": "a"})
    assert (letter["error_class"], letter["deliveries"], letter["arguments"]) == (
        "ProviderUnavailableError",
        4,
        {"text": "x"},
    )
    assert (rejected["kind"], rejected["task"], rejected["reason"]) == ("rejected", "their.task", "undecodable")
    assert len(json.loads(command("dlq", "ls", "--json", "--limit", "1").out)["letters"]) == 1


@pytest.mark.parametrize(
    ("given", "found"),
    [
        (["--mailbox", "turns"], 1),
        (["--mailbox", "tools"], 0),
        (["--mailbox", "rejected:celery"], 1),
        (["--mailbox", "rejected:other"], 0),
        (["--prompt", "chat"], 1),
        (["--prompt", "desk.chat"], 1),
        (["--prompt", "total"], 0),
        (["--tenant", "default"], 1),
        (["--tenant", "globex"], 0),
        (["--reason", "DELIVERIES"], 1),
        (["--error", "unavailable"], 1),
        (["--label", "team=a"], 1),
        (["--label", "team=a", "--label", "x=y"], 0),
        (["--age", "2m"], 0),
        (["--age", "60s"], 2),
    ],
)
@pytest.mark.usefixtures("dead", "strange")
def test_filters(kit: Scripted, command: Command, given: list[str], found: int):
    kit.clock.advance(60)
    assert sum(json.loads(command("dlq", "ls", "--json", *given).out)["counts"].values()) == found


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (["dlq", "ls", "--mailbox", "nope"], "no mailbox is called 'nope'; there are: tools, turns"),
        (["dlq", "ls", "--age", "soon"], "--age takes a number and a unit, as 90s, 15m, 2h or 7d, not 'soon'"),
        (["dlq", "ls", "--label", "team"], "--label takes name=value, not 'team'"),
        (["dlq", "show", "nope"], "no dead letter is called 'nope': see `wink dlq ls`"),
        (["dlq", "replay", "nope"], "no dead letter is called 'nope': see `wink dlq ls`"),
        (["dlq", "replay"], "name dead letters or filters, or take all of them by --all"),
        (["dlq", "purge"], "name dead letters or filters, or take all of them by --all"),
        (["dlq", "purge", "--all"], "nobody can be asked here: say --yes"),
        (["runs", "retry", "nope"], "no step of 'nope' is a dead letter that could be tried again"),
        (["runs", "retry"], "name runs, or filters: nothing is done to all of them at once"),
        (["runs", "cancel"], "name runs, or filters: nothing is done to all of them at once"),
        (["pause", "--mailbox", "nope"], "no mailbox is called 'nope'; there are: tools, turns"),
        (["pause", "--prompt", "nope"], "no prompt is called 'nope'; there are: desk.chat, desk.total"),
        (["pause", "--model", "nope"], "a model is named as provider:model, not 'nope'"),
        (["pause", "--tenant", "a b"], "tenant 'a b' is not usable"),
        (["resume"], "say what shall go on: --prompt, --mailbox, --tenant or --model"),
        (["resume", "--tenant", "acme"], "tenant 'acme' is not paused: see `wink pause`"),
    ],
)
def test_bad_input_is_one_clear_error(desk: Desk, dead: Any, command: Command, given: list[str], told: str):
    printed = command(*given)
    assert printed.code == 2
    assert printed.err.splitlines()[-1].startswith(f"wink: {told}")
    assert desk.wink.house().store.mailbox.dead() == {"turns": 1}


def test_a_dead_letter_is_shown(desk: Desk, dead: Any, strange: str, command: Command):
    printed = command("dlq", "show", dead.id)
    assert "reason: 4 deliveries did not end it (max_retries 3)" in printed.out
    assert 'arguments: {"text":"x"}' in printed.out
    assert "ProviderUnavailableError: password=***" in printed.out
    assert ", in complete\n" in printed.out, "a traceback"
    assert "hunter2" not in printed.out
    told = command("dlq", "show", strange).out
    assert "kind: rejected\nmailbox: rejected:celery\ntask: their.task\nreason: undecodable\ndied_at: 20" in told
    assert "traceback" not in told
    shown = json.loads(command("dlq", "show", strange, "--json").out)
    assert (shown["payload"]["size"], shown["payload"]["body"]) == (4, "/wBhYg==")


def test_a_replayed_turn_resumes_its_run(desk: Desk, dead: Any, kit: Scripted, command: Command):
    kit.script(desk.chat, [answer("[hello]")])
    dry = command("dlq", "replay", "--prompt", "chat", "--dry-run")
    assert (dry.code, dry.out) == (0, "1 dead letters: 1 in turns\n")
    assert dead.status == "FAILURE"
    printed = command("dlq", "replay", dead.id)
    assert printed.out.splitlines() == ["1 dead letters: 1 in turns", f"{dead.id} is tried again"]
    assert dead.get() == "[hello]"
    shown = command("runs", "show", dead.id).out
    assert "was revived by operator" in shown
    assert "goes on; its clock stood still for" in shown
    names = [type(record.event).__name__ for record in dead.events()]
    assert names[-1] == "EvaluationSucceeded"
    assert names.count("EvaluationFailed") == 1
    assert json.loads(command("dlq", "replay", "--all", "--json").out) == {
        "counts": {},
        "dry_run": False,
        "replayed": {},
    }


@pytest.mark.parametrize(
    ("error", "told"),
    [
        ("OSError: no disk", "OSError"),
        ("redis.exceptions.DataError: x: y", "redis.exceptions.DataError"),
        ("process 7, which worked on it, died", ""),
        ("two words: no class", ""),
        ("", ""),
    ],
)
def test_only_what_was_raised_has_a_class(error: str, told: str):
    assert error_class(error) == told


def test_a_letter_that_somebody_else_revived_stays(desk: Desk, dead: Any, kit: Scripted):
    kit.script(desk.chat, [answer("ok")])
    letter = dlq.the(desk.wink, dead.id)
    assert dlq.replay(desk.wink, letter) == "is tried again"
    assert dlq.replay(desk.wink, letter).startswith(f"stays: message '{dead.id}' of tenant 'default' is done")
    with pytest.raises(NotDeadError):
        dlq.the(desk.wink, dead.id)


def test_what_celery_rejected_is_sent_again_unless_it_was_cut(
    desk: Desk, strange: str, monkeypatch: pytest.MonkeyPatch, command: Command
):
    sent = []
    monkeypatch.setattr(dlq, "republish", lambda app, one: sent.append((app, one.body)))
    printed = command("dlq", "replay", strange)
    assert printed.out.splitlines()[-1] == f"{strange} is sent to queue 'celery' again"
    assert sent == [(desk.wink.app, b"\xff\x00ab")]
    rejections = desk.wink.house().store.rejections
    assert list(rejections.kept()) == []
    rejections.keep(Rejected(queue="q", reason="unknown task", at=1.0, size=LARGEST_BODY + 1, body=b"x"))
    letter = dlq.chosen(desk.wink, dlq.Wanted())[0]
    assert dlq.replay(desk.wink, letter) == "stays: only a part of it was kept"
    rejections.drop([letter.id])
    rejections.keep(
        Rejected(queue="q", reason="invalid", at=1.0, size=1, body=b"x", headers={"cut": 1}, has_headers=False)
    )
    rejections.keep(Rejected(queue="q", reason=NO_MESSAGE, at=1.0, size=1, body=b"x"))
    assert [dlq.replay(desk.wink, one) for one in dlq.chosen(desk.wink, dlq.Wanted())] == [
        "stays: only a part of it was kept",
        "stays: it was no message of Celery's, so it cannot be sent as one",
    ]
    assert (len(sent), rejections.count()) == (1, 4)
    assert dlq.replay(desk.wink, letter) == "is gone"


def test_purged_letters_are_gone(
    desk: Desk, dead: Any, strange: str, command: Command, monkeypatch: pytest.MonkeyPatch
):
    assert "2 dead letters: 1 in turns, 1 in rejected:celery\n0 dead letters are forgotten." in (
        command("dlq", "purge", "--all", "--dry-run").out
    )
    assert json.loads(command("dlq", "purge", strange, "--yes", "--json").out)["purged"] == 1
    monkeypatch.setattr(dlq.sys, "stdin", SimpleNamespace(isatty=lambda: True))
    monkeypatch.setattr(dlq.typer, "confirm", lambda *_, **__: True)
    assert command("dlq", "purge", "--mailbox", "turns").out.endswith("1 dead letters are forgotten.\n")
    assert command("dlq", "ls").out.startswith("0 dead letters\n")
    assert command("dlq", "purge", "--all", "--yes").out == "0 dead letters\n0 dead letters are forgotten.\n"


def test_letters_are_exported_a_line_each(desk: Desk, dead: Any, strange: str, command: Command):
    lines = command("dlq", "export").out.splitlines()
    assert [json.loads(line)["id"] for line in lines] == [dead.id, strange]
    assert "hunter2" not in "".join(lines)
    assert json.loads(command("dlq", "export", strange).out)["id"] == strange


def test_a_dead_call_tells_its_arguments(desk: Desk, kit: Scripted, command: Command):
    run = bury_call(desk, kit)
    name = f"{run}~turn1.call0"
    mailbox = desk.wink.house().store.mailbox
    claimed = mailbox.claim(Address("default", run, name), task="desk.add", owner="w", after=None)
    assert isinstance(claimed, Claimed)
    mailbox.bury(claimed.receipt, reason="poison", error="")
    shown = json.loads(command("dlq", "show", name, "--json").out)
    assert (shown["arguments"], shown["prompt"], shown["kind"]) == ({"a": 1, "b": 2}, "desk.total", "call")
    assert command("runs", "retry", "--prompt", "total").out == "0 runs\n"
    assert "its call counts as answered" in command("dlq", "replay", name).out


def test_runs_that_died_are_resumed(desk: Desk, dead: Any, kit: Scripted, command: Command):
    kit.script(desk.chat, [answer("ok")])
    assert command("runs", "retry", "--label", "team=a", "--dry-run").out == "1 runs: 1 of desk.chat\n"
    printed = command("runs", "retry", "--label", "team=a", "--yes")
    assert printed.out.splitlines() == ["1 runs: 1 of desk.chat", f"Run {dead.id}: its step {dead.id} is tried again"]
    assert dead.get() == "ok"


def test_a_run_is_resumed_by_its_id(desk: Desk, dead: Any, kit: Scripted, command: Command):
    kit.script(desk.chat, [answer("ok")])
    assert command("runs", "retry", f"{dead.id}~outcome").code == 0
    assert dead.get() == "ok"


def test_runs_are_cancelled_in_bulk(desk: Desk, kit: Scripted, command: Command):
    chat = desk.chat.with_options(countdown=60, session="s")
    runs = [chat.delay("x"), chat.delay("y"), desk.total.with_options(countdown=60, tenant="globex").delay("z")]
    assert command("runs", "cancel", "--prompt", "chat", "--dry-run").out == "2 runs: 2 of desk.chat\n"
    assert command("runs", "cancel", "--prompt", "chat").code == 2
    assert [run.status for run in runs] == ["PENDING", "WAITING", "PENDING"]
    printed = command("runs", "cancel", "--prompt", "chat", "--yes")
    assert printed.out.count("was cancelled") == 2
    assert [run.status for run in runs] == ["REVOKED", "REVOKED", "PENDING"]
    assert "was cancelled" in command("runs", "cancel", "--mailbox", "turns", "--yes").out
    assert runs[2].status == "REVOKED"
    assert command("runs", "cancel", "--age", "1s").out == "0 runs\n"


def test_what_is_paused_is_held_back_until_it_is_resumed(desk: Desk, kit: Scripted, command: Command):
    kit.script(desk.total, [answer(Sum(total=3))])
    assert command("pause").out == "Nothing is held back.\n"
    assert "too hot" in command("pause", "--prompt", "total", "--reason", "too hot").out
    kit.clock.advance(3)
    run = desk.total.delay("x")
    assert run.status == "STARTED"
    shown = command("runs", "show", run.id).out
    assert "last error: prompt 'desk.total' is paused by operator" in shown
    assert "is held back, its clock stands still" in shown
    assert json.loads(command("pause", "--json").out)[0]["reason"] == "too hot"
    assert json.loads(command("resume", "--prompt", "desk.total", "--json").out) == []
    assert run.get() == Sum(total=3)


def test_a_pause_takes_several_things_at_once(desk: Desk, kit: Scripted, command: Command):
    given = ["--mailbox", "turns", "--tenant", "acme", "--model", "offline:m"]
    assert "3 pauses are in force." in command("pause", *given).out
    assert command("resume", *given).out == "Nothing is held back.\n"


def test_who_has_no_name_is_an_operator(monkeypatch: pytest.MonkeyPatch):
    def nobody() -> str:
        raise KeyError("uid")

    monkeypatch.setattr(dlq.getpass, "getuser", nobody)
    assert dlq.operator() == "operator"


def test_an_age_has_a_unit():
    assert [filters.seconds(age) for age in ("", "90s", "1.5m", "2h", "1d")] == [0, 90, 90, 7200, 86400]
    with pytest.raises(ParametersInvalidError):
        filters.seconds("5")
