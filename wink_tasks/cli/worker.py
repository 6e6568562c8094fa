"""`wink worker`: `celery worker` for the application, in the mailboxes that it declares, with its metrics served."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Annotated

import typer

from wink_tasks.app import Wink
from wink_tasks.cli.options import App, application
from wink_tasks.core.errors import ConfigurationError
from wink_tasks.ports.telemetry import Gauges

GREEN = ("gevent", "eventlet")
THREADS_FOR_TURNS = 16
"""Turns wait for models; Celery's default, a slot a core, would leave the cores idle."""


def worker(
    context: typer.Context,
    *,
    app: App = None,
    turns: Annotated[
        bool, typer.Option("--turns", help="Serve the mailboxes of turns; on threads by default.")
    ] = False,
    tools: Annotated[bool, typer.Option("--tools", help="Serve the mailboxes of tool calls and tasks.")] = False,
    queues: Annotated[str | None, typer.Option("-Q", "--queues", help="Serve these queues, comma-separated.")] = None,
    pool: Annotated[str | None, typer.Option("-P", "--pool", help="Celery's pool.")] = None,
    concurrency: Annotated[int | None, typer.Option("-c", "--concurrency", min=1, help="How many slots.")] = None,
    metrics_port: Annotated[
        int | None, typer.Option(min=0, max=65535, help="Serve Prometheus metrics; 0 is any free port.")
    ] = None,
) -> None:
    """Run a Celery worker of the application; any other option of `celery worker` is passed on.

    Without --turns, --tools or -Q it serves all that the application declares, and its default queue.
    """
    if turns + tools + (queues is not None) > 1:
        raise ConfigurationError("--turns, --tools and -Q exclude each other: a worker serves one of them")
    with application(app) as wink:
        if pool in GREEN:
            raise ConfigurationError(
                f"-P {pool} has to change Python before anything is imported, which is too late here: start "
                f"WINK_APP=package.module:wink celery -A workers worker -P {pool} -Q ..."
            )
        pool = pool or ("threads" if turns else str(wink.app.conf.worker_pool))
        if concurrency is None and turns and pool == "threads":
            concurrency = THREADS_FOR_TURNS
        served = queues or ",".join(mailboxes(wink, turns=turns, tools=tools))
        slots = () if concurrency is None else ("-c", str(concurrency))
        forks = pool in ("prefork", "processes")
        with nullcontext() if metrics_port is None else measured(wink, metrics_port, forks=forks):
            run_celery(wink, ["worker", "-Q", served, "-P", pool, *slots, *context.args])


def mailboxes(wink: Wink, *, turns: bool, tools: bool) -> Sequence[str]:
    """The queues to serve. Raises ConfigurationError where the application declares nothing of the kind."""
    registry = wink.registry
    of_turns = {registry.turn_mailbox(prompt) for prompt in registry.prompts.values()}
    of_tools = {
        registry.tool_mailbox(tool, prompt) for tool in registry.tools.values() for prompt in registry.prompts.values()
    } | {registry.mailbox(task) for name, task in registry.tasks.items() if name not in registry.tools}
    both = registry.mailboxes() | {wink.app.conf.task_default_queue}
    chosen = of_turns if turns else of_tools if tools else both
    if not chosen:
        raise ConfigurationError("the application declares no prompt or no tool, so there is nothing to serve")
    return sorted(chosen)


@contextmanager
def measured(wink: Wink, port: int, *, forks: bool) -> Iterator[None]:
    """Within it, the application's metrics are served at `port`; those of children are added up through files."""
    from billiard.process import current_process

    from wink_tasks.adapters.telemetry.prometheus import MetricsServer, PrometheusMetrics, multiprocess_directory

    with tempfile.TemporaryDirectory(prefix="wink-metrics-") as folder:
        if forks:
            multiprocess_directory(Path(folder), process=lambda: getattr(current_process(), "index", "main"))
        metrics = PrometheusMetrics()
        metrics.register_scrape(lambda gauges: read_gauges(wink, gauges))
        wink.use_metrics(metrics)
        server = MetricsServer(metrics.registry, port)
        server.start()
        typer.echo(f"metrics: http://127.0.0.1:{server.port}/metrics", err=True)
        try:
            yield
        finally:
            server.stop()


def read_gauges(wink: Wink, gauges: Gauges) -> None:
    """What the store says at this moment."""
    store = wink.house().store
    for mailbox, depth in store.mailbox.depth(sorted(wink.registry.mailboxes())).items():
        for state in ("ready", "leased", "dead"):
            gauges.gauge("wink.mailbox.depth", getattr(depth, state), {"mailbox": mailbox, "state": state})
        gauges.gauge("wink.mailbox.age_seconds", depth.age, {"mailbox": mailbox})
    gauges.gauge("wink.session.active", store.ledger.active_sessions())


def run_celery(wink: Wink, arguments: Sequence[str]) -> None:
    """Celery's own command on this application; it exits the process. `app.worker_main` loses the exit code."""
    from celery.bin.celery import celery as celery_command

    option = celery_command.params[0]
    option.default = wink.app
    try:
        celery_command.main(args=list(arguments), prog_name="celery")
    finally:
        option.default = None
