"""`wink record`: a session as a recording, on which tests run."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Annotated

import typer

from wink_tasks.cli.options import App, Json, Tenant, application
from wink_tasks.cli.printing import console, print_json
from wink_tasks.core.recording import EndLine, ModelLine, ToolLine
from wink_tasks.testing.recorded import recording_of, write


def record(
    session: Annotated[str, typer.Argument(help="The session's name.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The file, which is written anew.")],
    app: App = None,
    tenant: Tenant = None,
    as_json: Json = False,
) -> None:
    """Write what models and tools answered in a session to a file for tests, redacted.

    One that today's code would run otherwise is refused: its test would fail at once.
    """
    with application(app) as wink:
        view = wink.session(session, tenant=tenant)
        view.refresh()
        recording = recording_of(wink, [tuple(view.events())])
    write(output, recording)
    counts = Counter(type(line) for line in recording)
    models, tools, ends = counts[ModelLine], counts[ToolLine], counts[EndLine]
    if as_json:
        print_json({"file": str(output), "answers": models, "tool_results": tools, "ends": ends})
        return
    console().out(f"{output}: {models} answers of models, {tools} of tools, {ends} runs that ended")
