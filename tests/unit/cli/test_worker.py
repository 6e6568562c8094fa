from __future__ import annotations

from collections.abc import Callable

import pytest
from celery import Celery

from tests.unit.cli.conftest import Command, Desk, desk_of
from wink_tasks import ConfigurationError, Wink
from wink_tasks.cli.worker import mailboxes, read_gauges
from wink_tasks.testing import answer, scripted


class Readings:
    def __init__(self) -> None:
        self.values: dict[tuple[str, ...], float] = {}

    def gauge(self, name: str, value: float, labels: dict[str, str] | None = None) -> None:
        self.values[name, *(labels or {}).values()] = value


def test_what_a_worker_serves(desk: Desk):
    assert mailboxes(desk.wink, turns=True, tools=False) == ["turns"]
    assert mailboxes(desk.wink, turns=False, tools=True) == ["tools"]
    assert mailboxes(desk.wink, turns=False, tools=False) == ["celery", "tools", "turns"]


def test_durable_tasks_are_served_with_the_tools(desk: Desk):
    @desk.wink.task(queue="slow")
    def sync(n: int) -> int:
        return n

    assert mailboxes(desk.wink, turns=False, tools=True) == ["slow", "tools"]
    assert mailboxes(desk.wink, turns=True, tools=False) == ["turns"]


def test_an_inline_tool_alone_runs_where_turns_do(desk: Desk):
    @desk.wink.tool(inline=True)
    def near(n: int) -> int:
        """Be near."""
        return n

    registry = desk.wink.registry
    assert registry.mailbox(registry.tasks["desk.near"]) == "turns"
    assert registry.mailbox(registry.tasks["desk.add"]) == "tools"


def test_without_a_prompt_there_are_no_turns_to_serve():
    wink = Wink(Celery("empty", set_as_current=False))
    assert mailboxes(wink, turns=False, tools=False) == ["celery"]
    with pytest.raises(ConfigurationError, match="declares no prompt or no tool"):
        mailboxes(wink, turns=True, tools=False)


def test_gauges_are_read_from_the_store(desk: Desk):
    with scripted(desk.wink, {desk.chat: [answer("hi")]}):
        desk.chat.with_options(countdown=60).delay("x")
        readings = Readings()
        read_gauges(desk.wink, readings)
    assert readings.values == {
        ("wink.mailbox.depth", "tools", "ready"): 0,
        ("wink.mailbox.depth", "tools", "leased"): 0,
        ("wink.mailbox.depth", "tools", "dead"): 0,
        ("wink.mailbox.age_seconds", "tools"): 0.0,
        ("wink.mailbox.depth", "turns", "ready"): 0,
        ("wink.mailbox.depth", "turns", "leased"): 0,
        ("wink.mailbox.depth", "turns", "dead"): 0,
        ("wink.mailbox.age_seconds", "turns"): 0.0,
        ("wink.session.active",): 1,
    }


@pytest.mark.parametrize("options", [("--turns", "--tools"), ("--turns", "-Q", "x"), ("--tools", "-Q", "x")])
def test_a_worker_serves_one_kind(desk: Desk, command: Command, options: tuple[str, ...]):
    printed = command("worker", *options)
    assert (printed.code, printed.err) == (
        2,
        "wink: --turns, --tools and -Q exclude each other: a worker serves one of them\n",
    )


def test_a_green_pool_is_started_by_celery(named: Callable[[Wink], str], command: Command):
    named(desk_of(Wink(Celery("desk", set_as_current=False))).wink)
    printed = command("worker", "-P", "gevent")
    assert printed.code == 2
    assert "celery -A workers worker -P gevent" in printed.err


@pytest.mark.parametrize("options", [("--turns",), ("--turns", "-c", "2"), ("-Q", "x", "-P", "solo")])
def test_other_options_are_celerys_to_judge(named: Callable[[Wink], str], command: Command, options: tuple[str, ...]):
    wink = desk_of(Wink(Celery("desk", set_as_current=False))).wink
    named(wink)
    printed = command("worker", *options, "--bogus")
    assert printed.code == 2
    assert printed.err.startswith("Usage: celery worker")
    printed = command("worker", *options, "--metrics-port", "0", "--bogus")
    assert printed.code == 2
    assert printed.err.startswith("metrics: http://127.0.0.1:")
    assert "No such option '--bogus'" in printed.err
