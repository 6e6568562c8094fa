from __future__ import annotations

import json
import logging
from collections.abc import Iterator

import pytest
import structlog

from wink_tasks.adapters.telemetry.log import configure_logging
from wink_tasks.core.errors import ConfigurationError


class Client:
    def __repr__(self) -> str:
        return "<Client redis://:hunter2@host>"


def connect(url: str) -> None:
    raise ConnectionError(f"{url} refused")


@pytest.fixture(autouse=True)
def logging_as_before() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    root.handlers[:] = []
    yield
    structlog.reset_defaults()
    root.handlers[:] = handlers
    root.setLevel(level)


def lines(capsys: pytest.CaptureFixture[str]) -> list[str]:
    shown = capsys.readouterr()
    assert shown.out == ""
    return shown.err.splitlines()


def test_our_lines_and_those_of_others_are_json_of_one_form(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging(json=True, level="info")
    with structlog.contextvars.bound_contextvars(run="r1"):
        structlog.get_logger("wink_tasks.x").info("step done", seconds=1.5, api_key="hunter2", client=Client())
        logging.getLogger("celery").warning("Connected to %s", "redis://:hunter2@host//")
    ours, theirs = (json.loads(line) for line in lines(capsys))
    assert ours.pop("timestamp") <= theirs.pop("timestamp")
    assert ours == {
        "event": "step done",
        "level": "info",
        "logger": "wink_tasks.x",
        "run": "r1",
        "seconds": 1.5,
        "api_key": "***",
        "client": "<Client redis://***@host>",
    }
    assert theirs == {
        "event": "Connected to redis://***@host//",
        "level": "warning",
        "logger": "celery",
        "run": "r1",
    }


@pytest.mark.parametrize("as_json", [True, False])
def test_tracebacks_are_shown_without_credentials(capsys: pytest.CaptureFixture[str], *, as_json: bool) -> None:
    configure_logging(json=as_json, level="INFO")
    try:
        connect("redis://:hunter2@host")
    except ConnectionError:
        structlog.get_logger("ours").exception("lost", client=Client())
        logging.getLogger("theirs").exception("lost")
    shown = "\n".join(lines(capsys))
    assert shown.count("Traceback (most recent call last)") == 2
    assert shown.count("ConnectionError: redis://***@host refused") == 2
    assert "<Client redis://***@host>" in shown
    assert "hunter2" not in shown


def test_what_is_below_the_level_is_not_shown(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging(json=False, level="warning")
    structlog.get_logger("ours").info("hidden")
    logging.getLogger("theirs").info("hidden")
    structlog.get_logger("ours").warning("shown", n=1)
    (line,) = lines(capsys)
    assert "shown" in line
    assert "n=1" in line


def test_a_level_that_does_not_exist_is_a_clear_error() -> None:
    with pytest.raises(ConfigurationError, match="log level 'loud' does not exist: use debug, info, "):
        configure_logging(json=False, level="loud")
