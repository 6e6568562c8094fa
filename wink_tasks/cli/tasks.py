"""`wink tasks`: the functions that the application declares: durable tasks, and tools, which run alone as well."""

from __future__ import annotations

import typer

from wink_tasks.cli.options import App, Json, application
from wink_tasks.cli.printing import console, print_json, print_table
from wink_tasks.core.task import TaskDefinition
from wink_tasks.runtime.registry import Registry

commands = typer.Typer(no_args_is_help=True)

COLUMNS = ("name", "kind", "parameters", "mailbox", "max_retries", "deadline")


@commands.callback()
def tasks() -> None:
    """Durable tasks, and tools, that the application declares."""


@commands.command("ls")
def list_tasks(app: App = None, as_json: Json = False) -> None:
    """List the durable tasks and the tools."""
    with application(app) as wink:
        listed = [summary(wink.registry, task) for _, task in sorted(wink.registry.tasks.items())]
    if as_json:
        print_json(listed)
        return
    print_table(console(), COLUMNS, ((cell(row[name]) for name in COLUMNS) for row in listed))


def summary(registry: Registry, task: TaskDefinition) -> dict[str, object]:
    """A task in a row; `deadline` is seconds."""
    return {
        "name": task.name,
        "kind": task.work.kind,
        "parameters": list(task.parameters.names),
        "mailbox": registry.mailbox(task),
        "max_retries": task.work.max_retries,
        "deadline": task.deadline,
    }


def cell(value: object) -> str:
    """A value in a table."""
    if isinstance(value, list):
        return ", ".join(value)
    return "-" if value is None else str(value)
