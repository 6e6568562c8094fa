"""The command in this process, and a small application for it, anew for each test."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import ModuleType
from typing import Any, NamedTuple

import pytest
import structlog
from celery import Celery
from pydantic import BaseModel

from wink_tasks import Budget, Wink
from wink_tasks.cli import main
from wink_tasks.testing import answer, call, scripted
from wink_tasks.testing.scripted import Scripted


class Sum(BaseModel):
    """What the prompt gives."""

    total: int


class Printed(NamedTuple):
    code: int
    out: str
    err: str


Command = Callable[..., Printed]


@dataclass
class Desk:
    wink: Wink
    total: Any
    chat: Any
    add: Any


def desk_of(wink: Wink) -> Desk:
    """The application's prompts and tools."""

    @wink.tool
    def add(a: int, b: int) -> int:
        """Add two numbers."""
        return a + b

    @wink.prompt(output=Sum, tools=[add], model="offline:m", budget=Budget(total_tokens=1_000), deadline=100)
    def total(text: str, times: int = 1) -> str:
        """You add."""
        return f"Add up {text}, {times} times."

    @wink.prompt(output=str, model="offline:m", deadline=None, name="chat")
    def chat(text: str) -> str:
        """You talk."""
        return text

    return Desk(wink, total, chat, add)


@pytest.fixture
def named(monkeypatch: pytest.MonkeyPatch) -> Callable[[Wink], str]:
    """Have `--app` find an application."""

    def name(wink: Wink) -> str:
        module = ModuleType("cli_desk")
        module.__dict__["wink"] = wink
        monkeypatch.setitem(sys.modules, "cli_desk", module)
        monkeypatch.setenv("WINK_APP", "cli_desk:wink")
        return "cli_desk:wink"

    return name


@pytest.fixture
def desk(named: Callable[[Wink], str]) -> Desk:
    """An application that WINK_APP names."""
    found = desk_of(Wink(Celery("desk", set_as_current=False), split_queues=True))
    named(found.wink)
    return found


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Command]:
    """Run a command; the process's path, signals and logging stay as they were."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    monkeypatch.setattr(sys, "path", sys.path[:])
    monkeypatch.delenv("FORCE_COLOR", raising=False)

    def run(*arguments: str) -> Printed:
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main(arguments)
        return Printed(int(ended.value.code or 0), *capsys.readouterr())

    yield run
    structlog.reset_defaults()
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.fixture
def played(desk: Desk) -> Iterator[Scripted]:
    script = [call(desk.add, a=1, b=2), answer(Sum(total=3))]
    with scripted(desk.wink, {desk.total: script, desk.chat: lambda _: answer("[hello]")}) as scene:
        yield scene


@pytest.fixture
def run_id(desk: Desk, played: Scripted) -> str:
    run = desk.total.with_options(session="s1").delay("x")
    assert run.get() == Sum(total=3)
    return run.id
