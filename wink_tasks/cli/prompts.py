"""`wink prompts`: what the application declares, and what a model would see of it."""

from __future__ import annotations

from typing import Annotated

import msgspec
import typer

from wink_tasks.cli.options import App, Json, Param, application
from wink_tasks.cli.parameters import find_prompt, given_parameters
from wink_tasks.cli.printing import console, print_json, print_table
from wink_tasks.core.codec import encode
from wink_tasks.core.prompt import PromptDefinition, Rendered, estimate_tokens
from wink_tasks.core.sections import walk
from wink_tasks.core.session import SessionState
from wink_tasks.runtime.registry import Registry
from wink_tasks.runtime.session import FoldedSession

commands = typer.Typer(no_args_is_help=True)


@commands.command("ls")
def list_prompts(app: App = None, as_json: Json = False) -> None:
    """List the prompts."""
    with application(app) as wink:
        listed = [summary(wink.registry, prompt) for _, prompt in sorted(wink.registry.prompts.items())]
    if as_json:
        print_json(listed)
        return
    columns = ("name", "parameters", "models", "mailbox", "tools")
    rows = ([", ".join(cell) if isinstance(cell := row[name], list) else cell for name in columns] for row in listed)
    print_table(console(), columns, rows)


@commands.command("show")
def show_prompt(
    name: Annotated[str, typer.Argument(help="The prompt's name; its last part is enough.")],
    app: App = None,
    param: Param = None,
    as_json: Json = False,
) -> None:
    """Print what the model would see, without asking it."""
    with application(app) as wink:
        prompt = find_prompt(wink, name)
        params = prompt.bind(**given_parameters(prompt, param or ()))
        shown = seen_by_model(prompt, prompt.render(params, FoldedSession(SessionState())))
    if as_json:
        print_json(shown)
        return
    out = console()
    for title in ("instructions", "content", "tools", "output"):
        part = shown[title]
        out.out(f"--- {title}")
        out.out(part if isinstance(part, str) else msgspec.json.format(encode(part), indent=2).decode())
    out.out(f"--- about {shown['tokens']:,} tokens")


def summary(registry: Registry, prompt: PromptDefinition) -> dict[str, object]:
    """A prompt in a row."""
    return {
        "name": prompt.name,
        "parameters": list(prompt.parameters.names),
        "models": list(prompt.models),
        "mailbox": registry.turn_mailbox(prompt),
        "tools": sorted(
            {tool.name for _, section in walk(prompt.sections, lambda _: True) for tool in section.definitions}
        ),
    }


def seen_by_model(prompt: PromptDefinition, rendered: Rendered) -> dict[str, object]:
    """Instructions, content, tools with their schemas, the schema of the answer, and about how many tokens that is."""
    tools = [
        {"name": tool.name, "description": tool.description, "parameters": tool.parameters} for tool in rendered.tools
    ]
    shown: dict[str, object] = {
        "instructions": rendered.instructions,
        "content": rendered.content,
        "tools": tools,
        "output": prompt.output_schema() or "text",
    }
    text = "".join(part if isinstance(part, str) else encode(part).decode() for part in shown.values())
    return {**shown, "tokens": estimate_tokens(text)}
