"""The tree of commands."""

from __future__ import annotations

from importlib.metadata import version as installed

import typer

from wink_tasks.adapters.telemetry.log import configure_logging
from wink_tasks.cli import archive, dlq, prompts, runs, sessions, tasks
from wink_tasks.cli.demo import demo
from wink_tasks.cli.doctor import doctor
from wink_tasks.cli.options import Json
from wink_tasks.cli.pause import pause, resume
from wink_tasks.cli.printing import print_json
from wink_tasks.cli.record import record
from wink_tasks.cli.replay import replay
from wink_tasks.cli.run import run
from wink_tasks.cli.up import up
from wink_tasks.cli.worker import worker
from wink_tasks.settings import load_settings

ANY_OPTION = {"allow_extra_args": True, "ignore_unknown_options": True}

wink = typer.Typer(
    name="wink",
    help="Durable background agents as Celery tasks.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


@wink.callback()
def every_command() -> None:
    """Durable background agents as Celery tasks."""
    configure_logging(json=load_settings().log_json, level="warning")


@wink.command()
def version(as_json: Json = False) -> None:
    """Print the version of wink-tasks."""
    found = installed("wink-tasks")
    if as_json:
        print_json({"version": found})
    else:
        typer.echo(found)


wink.command()(up)
wink.command()(demo)
wink.command(context_settings=ANY_OPTION)(worker)
wink.command()(run)
wink.add_typer(prompts.commands, name="prompts", help="Prompts that the application declares.")
wink.add_typer(tasks.commands, name="tasks", help="Durable tasks, and tools, that the application declares.")
for name, command in archive.COMMANDS.items():
    sessions.commands.command(name)(command)
wink.add_typer(sessions.commands, name="sessions", help="Sessions: what happened in each.")
wink.add_typer(runs.commands, name="runs", help="Runs; any id that Flower shows names one.")
wink.add_typer(dlq.commands, name="dlq", help="Dead letters: looked at, tried again, exported, forgotten.")
wink.command()(replay)
wink.command()(record)
wink.command()(pause)
wink.command()(resume)
wink.command()(doctor)
