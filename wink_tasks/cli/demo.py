"""`wink demo`: the code reviewer at work, from nothing to a typed review, and nothing left running."""

from __future__ import annotations

import os
import time
from collections.abc import Generator
from contextlib import closing
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from wink_tasks.adapters.celery.run import Run
from wink_tasks.adapters.redis.embedded import DEFAULT_DIRECTORY, EmbeddedServer
from wink_tasks.app import Wink, find_wink
from wink_tasks.cli.children import Child, Children, celery_worker
from wink_tasks.cli.ending import Ending
from wink_tasks.cli.options import Model
from wink_tasks.cli.printing import console, print_json, usage_document
from wink_tasks.cli.watching import watch
from wink_tasks.core.errors import ConfigurationError, RunTimeoutError
from wink_tasks.core.events import Recorded
from wink_tasks.runtime.providers import split_model

APP = "wink_tasks.examples.code_review:wink"
PROMPT = "code_review.review"
SAMPLE = Path(__file__).parents[1] / "examples" / "code_review" / "sample"
OFFLINE = (
    "The reviewer is a set of rules, not a language model. For a real one set OPENAI_API_KEY, and run "
    "`wink demo --model openai:gpt-5-mini`, or `make demo MODEL=openai:gpt-5-mini`."
)
WORKERS = {"turns": ("-P", "threads", "-c", "16"), "tools": ("-c", "2")}
COME_UP = 60.0
"""Seconds in which the workers must be seen alive."""
LOOK_EVERY = 0.5
"""Seconds without news after which it is seen whether the workers still live, and whether a signal came."""


def demo(
    directory: Annotated[Path | None, typer.Argument(metavar="[DIR]", help="What to review; else a sample.")] = None,
    model: Model = None,
    security: Annotated[bool, typer.Option("--security", help="Look for security holes as well.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the review as JSON; progress goes to stderr.")] = False,
    timeout: Annotated[float, typer.Option(min=1, help="Seconds after which to give up.")] = 300.0,
) -> None:
    """Have an agent review a folder of Python code: server, workers and run, all on this machine."""
    folder = checked_folder(directory or SAMPLE)
    check_model(model)
    out = console(stderr=as_json)
    server = EmbeddedServer(DEFAULT_DIRECTORY)
    with Ending() as ending:
        out.out(f"The reviewer is {model}." if model else OFFLINE)
        try:
            server.start()
            if not server.started_here:  # another demo's workers would take this one's steps, in their folder
                server = EmbeddedServer(DEFAULT_DIRECTORY / f"demo-{os.getpid()}")
                server.start()
            ending.check()
            wink = use_server(server.url, folder)
            ending.check()
            options = {} if model is None else {"model": checked_model(wink, model)}
            with Children() as children:
                start_workers(children, logs=server.directory / "logs")
                out.out(f"Redis is at {server.url}; the workers come up, their logs are in {server.directory / 'logs'}")
                children.await_alive(wink.house().store.fleet.workers, ending.pause, seconds=COME_UP)
                run = wink.send(PROMPT, (".",), {"security": security}, options)
                out.out(f"Run {run.id} reviews {folder}")
                began = time.monotonic()
                with closing(attended(run, children, ending, timeout)) as events:
                    watch(events, out)
                report(run, out, url=server.url, seconds=time.monotonic() - began, as_json=as_json)
                wink.leave()
        finally:
            server.stop()


def checked_folder(folder: Path) -> Path:
    """The folder's absolute path. Raises ConfigurationError where there is nothing to review."""
    if not folder.is_dir():
        what = "is no folder" if folder.exists() else "does not exist"
        raise ConfigurationError(f"{folder} {what}: name a folder with Python files, or none for the sample project")
    found = (place.relative_to(folder).parts for place in folder.rglob("*.py"))
    if not any(all(not part.startswith(".") for part in parts) for parts in found):
        raise ConfigurationError(f"{folder} has no .py files, so there is nothing to review: name another folder")
    return folder.resolve()


def check_model(model: str | None) -> None:
    """Raise ConfigurationError for a model that cannot be asked."""
    if model is not None and split_model(model)[0] == "openai" and not os.environ.get("OPENAI_API_KEY"):
        raise ConfigurationError(f"model {model!r} needs your key: export OPENAI_API_KEY=...")


def use_server(url: str, folder: Path) -> Wink:
    """The example's application, in this process and in those that it starts: on this server, for this folder."""
    os.environ.pop("CELERY_RESULT_BACKEND", None)
    os.environ.update(
        WINK_APP=APP, WINK_REDIS_URL=url, CELERY_BROKER_URL=url, WINK_SPLIT_QUEUES="1", WINK_DEMO_ROOT=str(folder)
    )
    os.environ.setdefault("WINK_DEMO_OUT", str(Path(DEFAULT_DIRECTORY).resolve()))  # workers run in another folder
    return find_wink(APP)


def checked_model(wink: Wink, model: str) -> str:
    """The model. Raises ConfigurationError where there is no such provider, or it cannot be used here."""
    wink.house().providers[split_model(model)[0]]
    return model


def start_workers(children: Children, *, logs: Path) -> None:
    """Start both."""
    logs.mkdir(exist_ok=True)
    for queue, options in WORKERS.items():
        name = f"{queue}@demo-{os.getpid()}"
        command = celery_worker(f"workers.{queue}", name, queue, *options)
        children.start(Child(name, command, log=logs / f"{queue}.log"))


def attended(run: Run[Any], children: Children, ending: Ending, seconds: float) -> Generator[Recorded]:
    """The run's events as they come. A run that is not seen to its end is cancelled.

    Raises WorkerLostError, SystemExit on a signal, and RunTimeoutError where it has not ended after `seconds`.
    """
    seen, ends_at, ended = 0, time.monotonic() + seconds, False
    try:
        while not ended:
            try:
                for recorded in run.events(after=seen, timeout=LOOK_EVERY):
                    seen = recorded.seq
                    yield recorded
                    ending.check()
                ended = True
            except RunTimeoutError:
                ending.check()
                children.check()
                if time.monotonic() > ends_at:
                    raise
    finally:
        if not ended:
            run.cancel("the demo was ended")


def report(run: Run[Any], out: Console, *, url: str, seconds: float, as_json: bool) -> None:
    """Print the review, while the workers still end. Raises what the run ended with where that is no review."""
    # These import the application, which reads the environment.
    from wink_tasks.cli.review import print_review, what_next
    from wink_tasks.examples.code_review.models import Report

    review, session, usage = run.get(), run.session.id, run.usage()
    if as_json:
        document = {"run": run.id, "session": session, "seconds": round(seconds, 2), "usage": usage_document(usage)}
        print_json({**document, "review": review.model_dump(mode="json")})
        return
    print_review(out, review)
    if (recorded := run.session[Report].latest()) is not None:
        out.out(f"The report is {_shown(recorded.file)}, with {recorded.rows} rows in reviews.db beside its folder.")
    out.out(f"Session {session}, run {run.id}: {usage.total_tokens:,} tokens in {seconds:.1f} s")
    out.out(what_next(run.id, session, app=APP, url=url))


def _shown(file: str) -> str:
    """As seen from here, where it is below."""
    place, here = Path(file), Path.cwd().resolve()
    return str(place.relative_to(here)) if place.is_relative_to(here) else file
