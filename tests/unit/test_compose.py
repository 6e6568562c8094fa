"""docker-compose.yml starts what the package ships, and nothing in it loses a ledger or cuts a drain short."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import click
import pytest
import yaml
from celery.bin.beat import beat as celery_beat
from celery.bin.worker import worker as celery_worker

from wink_tasks.settings import load_settings

ROOT = Path(__file__).parents[2]
COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
CELERY = sorted(SERVICES.keys() - {"redis"})


def options(command: click.Command, args: list[str]) -> dict[str, Any]:
    """What Celery's own parser reads; it raises on an option that Celery does not have."""
    parsed, rest, _ = command.make_parser(click.Context(command)).parse_args(args)
    assert rest == []
    return parsed


def test_the_services() -> None:
    assert SERVICES.keys() == {"redis", "turns", "tools", "beat", "flower"}


@pytest.mark.parametrize("name", SERVICES)
def test_every_service_stops_in_45_s_and_tells_its_health(name: str) -> None:
    service = SERVICES[name]
    assert service["stop_grace_period"] == f"{load_settings().shutdown_grace + 15:g}s"
    assert service["healthcheck"]["test"][0] in {"CMD", "CMD-SHELL"}
    assert {"interval", "timeout", "retries"} < service["healthcheck"].keys()


def test_redis_keeps_what_it_was_told() -> None:
    command = SERVICES["redis"]["command"]
    given = dict(zip(command[1::2], command[2::2], strict=True))
    assert command[0] == "redis-server"
    assert given["--appendonly"] == "yes"
    assert given["--maxmemory-policy"] == "noeviction"
    assert SERVICES["redis"]["volumes"] == ["ledger:/data"]
    assert "ledger" in COMPOSE["volumes"]


@pytest.mark.parametrize("name", CELERY)
def test_a_celery_service_runs_a_shipped_app_beside_a_healthy_redis(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    service = SERVICES[name]
    monkeypatch.setenv("WINK_APP", "wink_tasks.examples.code_review:wink")
    assert service["command"][:2] == ["celery", "-A"]
    assert importlib.import_module(service["command"][2]).app.main == "code_review"
    assert service["depends_on"] == {"redis": {"condition": "service_healthy"}}
    assert {"WINK_REDIS_URL", "CELERY_BROKER_URL"} < service["environment"].keys()


@pytest.mark.parametrize(("name", "pool", "concurrency"), [("turns", "threads", "200"), ("tools", None, None)])
def test_a_worker_serves_its_mailbox_and_is_pinged_by_its_own_name(
    name: str, pool: str | None, concurrency: str | None
) -> None:
    app, command, *args = SERVICES[name]["command"][2:]
    given = options(celery_worker, args)
    assert (app, command) == (f"workers.{name}", "worker")
    assert (given["queues"], given.get("pool"), given.get("concurrency")) == (name, pool, concurrency)
    assert given["hostname"] == f"{name}@%h"
    assert f"celery -A {app} inspect ping" in SERVICES[name]["healthcheck"]["test"][1]
    assert SERVICES[name]["healthcheck"]["test"][1].endswith(f"-d {name}@$$HOSTNAME")


def test_beat_is_watched_by_the_pid_file_that_it_writes() -> None:
    app, command, *args = SERVICES["beat"]["command"][2:]
    assert (app, command) == ("beat", "beat")
    assert options(celery_beat, args)["pidfile"] in SERVICES["beat"]["healthcheck"]["test"][1]


def test_flower_is_asked_on_the_port_that_it_is_published_on() -> None:
    flower = SERVICES["flower"]
    assert flower["command"][3:] == ["flower", "--port=5555"]
    assert flower["ports"] == ["127.0.0.1:5555:5555"]
    assert "http://localhost:5555/healthcheck" in flower["healthcheck"]["test"][-1]


def test_the_application_by_default_is_the_shipped_example() -> None:
    default = SERVICES["turns"]["environment"]["WINK_APP"].removeprefix("${WINK_APP:-").removesuffix("}")
    module, name = default.split(":")
    assert hasattr(importlib.import_module(module), name)


def test_the_image_is_built_from_what_its_context_lets_in() -> None:
    let_in = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    assert let_in == {
        "LICENSE",
        "README.md",
        "pyproject.toml",
        "requirements-dev.lock",
        "wink_tasks",
        "workers",
        "beat",
    }
    assert all((ROOT / path).exists() for path in let_in)
