"""`wink demo`: the code reviewer at work, from nothing to a typed review, and nothing left running."""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from wink_tasks.adapters.redis.embedded import DEFAULT_DIRECTORY, EmbeddedServer
from wink_tasks.app import Wink, find_wink
from wink_tasks.cli.children import Child, Children, celery_worker
from wink_tasks.cli.ending import Ending
from wink_tasks.cli.options import Model
from wink_tasks.cli.printing import console, print_json, print_table
from wink_tasks.cli.up import exports
from wink_tasks.cli.watching import watch
from wink_tasks.core.errors import ConfigurationError, RunTimeoutError
from wink_tasks.core.events import Recorded
from wink_tasks.runtime.providers import split_model

APP = "wink_tasks.examples.code_review:wink"
PROMPT = "code_review.review"
SAMPLE = Path(__file__).parents[1] / "examples" / "code_review" / "sample"
OFFLINE = (
    "The reviewer is a set of rules, not a language model. For a real one set OPENAI_API_KEY, and: "
    "wink demo --model openai:gpt-5-mini, or make demo MODEL=openai:gpt-5-mini"
)
COME_UP = 60.0
"""Seconds in which the workers must be seen alive."""


def demo(
    directory: Annotated[Path | None, typer.Argument(metavar="[DIR]", help="What to review; else a sample.")] = None,
    model: Model = None,
    security: Annotated[bool, typer.Option("--security", help="Look for security holes as well.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the review as JSON; progress goes to stderr.")] = False,
    timeout: Annotated[float, typer.Option(min=1, help="Seconds after which to give up.")] = 300.0,
) -> None:
    """Have an agent review a folder of Python code: server, workers and run, all on this machine."""
    folder = checked_folder(directory or SAMPLE)
    check_key(model)
    out = console(stderr=as_json)
    out.out(f"The reviewer is {model}." if model else OFFLINE)
    server = EmbeddedServer(DEFAULT_DIRECTORY)
    with Ending() as ending:
        try:
            with ending.held():
                server.start()
            review(server, folder, ending=ending, out=out, model=model, security=security, timeout=timeout, json=as_json)
        finally:
            with ending.held():
                server.stop()


def review(
    server: EmbeddedServer,
    folder: Path,
    *,
    ending: Ending,
    out: Console,
    model: str | None,
    security: bool,
    timeout: float,
    json: bool,
) -> None:
    """Start the workers, have the folder reviewed, print what came out, and end the workers."""
    env = {
        "WINK_APP": APP,
        "WINK_REDIS_URL": server.url,
        "CELERY_BROKER_URL": server.url,
        "WINK_SPLIT_QUEUES": "1",
        "WINK_DEMO_ROOT": str(folder),
    }
    os.environ.pop("CELERY_RESULT_BACKEND", None)
    os.environ.update(env)
    wink = find_wink(APP)
    options = {} if model is None else {"model": checked_model(wink, model)}
    logs = server.directory / "logs"
    logs.mkdir(exist_ok=True)
    with Children(ending) as children:
        for name, options_ in {"turns": ("-P", "threads", "-c", "16"), "tools": ("-c", "2")}.items():
            command = celery_worker(f"workers.{name}", f"{name}@demo-{os.getpid()}", name, *options_)
            children.start(Child(command[command.index("-n") + 1], command, log=logs / f"{name}.log", env=env))
        out.out(f"Redis is at {server.url}, the workers' logs are in {logs}. The workers come up.")
        children.await_alive(lambda: wink.house().store.fleet.workers(), seconds=COME_UP)
        began = time.monotonic()
        run = wink.send(PROMPT, (".",), {"security": security}, options)
        out.out(f"Run {run.id} reviews {folder}")
        watch(attended(run, children, timeout), out)
        result = run.get(timeout=1)
        seconds = time.monotonic() - began
    document = {"run": run.id, "session": run.session.id, "seconds": round(seconds, 2), "usage": run.usage()}
    if json:
        print_json({**document, "review": result.model_dump(mode="json")})
    else:
        show(out, result)
        out.out(f"\nSession {run.session.id}: {run.usage().total_tokens:,} tokens in {seconds:.1f} s")
        out.out(what_next(run.id, run.session.id, server.url))
    wink.leave()
