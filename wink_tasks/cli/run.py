"""`wink run`: start a run and see it to its end."""

from __future__ import annotations

from typing import Annotated, Any, cast

import msgspec
import typer

from wink_tasks.adapters.celery.run import Run
from wink_tasks.cli.options import App, Json, Model, Param, Tenant, application
from wink_tasks.cli.parameters import find_runnable, given_parameters
from wink_tasks.cli.printing import console, print_json, usage_document, usage_line
from wink_tasks.cli.watching import watch
from wink_tasks.core.codec import encode
from wink_tasks.core.events import EvaluationSucceeded, Json as JsonValue


def run(
    prompt: Annotated[str, typer.Argument(help="A prompt, durable task or tool; the last part of its name is enough.")],
    *,
    app: App = None,
    param: Param = None,
    session: Annotated[str | None, typer.Option("--session", help="Go on in this session.")] = None,
    tenant: Tenant = None,
    model: Model = None,
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="See it to its end.")] = True,
    as_json: Json = False,
) -> None:
    """Start a run, show its progress, and print its output. Ctrl-C leaves it running."""
    with application(app) as wink:
        definition = find_runnable(wink, prompt)
        params = given_parameters(definition, param or ())
        options: dict[str, Any] = {"session": session, "tenant": tenant, "model": model}
        started = wink.send(definition.name, (), params, options)
        out = console(stderr=as_json)
        out.out(f"Run {started.id} in session {started.session.id}; `wink runs cancel {started.id}` ends it")
        output = _seen_to_its_end(started, as_json=as_json) if wait else None
        if as_json:
            document = {"run": started.id, "session": started.session.id, "status": started.status, "output": output}
            print_json({**document, "usage": usage_document(started.usage())})
        elif wait:
            out.out(output if isinstance(output, str) else msgspec.json.format(encode(output), indent=2).decode())
            if definition.models:
                out.out(usage_line(started.usage()))


def _seen_to_its_end(started: Run[Any], *, as_json: bool) -> JsonValue:
    end = watch(started.events(), console(stderr=True) if as_json else console()).record.event
    started.get()
    return cast("EvaluationSucceeded", end).output
