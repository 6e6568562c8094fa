"""What a user's program looks like, type-checked as it stands by `mypy --strict` and pyright."""

from __future__ import annotations

from typing import assert_type

from celery import Celery
from pydantic import BaseModel

from wink_tasks import Budget, Run, ToolContext, Wink

app = Celery("proj")
wink = Wink(app)


class FileText(BaseModel):
    """A part of a file."""

    path: str
    text: str


class Finding(BaseModel):
    """Something to mend."""

    file: str
    line: int
    finding: str


class Review(BaseModel):
    """What the agent gives."""

    findings: list[Finding]


@wink.tool
def read_file(ctx: ToolContext, path: str, start: int = 1, lines: int = 400) -> FileText:
    """Read part of a file in the workspace."""
    ctx.check()
    return FileText(path=path, text=f"{start} {lines}")


@wink.tool(parallel=True, max_retries=1)
def list_files(path: str = ".") -> list[str]:
    """List the files of a folder."""
    return [path]


@wink.prompt(
    output=Review,
    tools=[read_file, list_files],
    model="openai:gpt-5-mini",
    deadline=300,
    budget=Budget(total_tokens=200_000),
)
def review(path: str, security: bool = False) -> str:
    """You review Python code. Report only what you have seen in a file."""
    return f"Review the code in {path}." + (" Look for security holes." if security else "")


def use() -> None:
    """Start runs and read them."""
    run: Run[Review] = review.delay("src")
    run = review.with_options(session="ticket:42", queue="fast", countdown=5).delay("src", security=True)
    for event in run.events():
        assert_type(event.seq, int)
    assert_type(run.get(timeout=60), Review)
    wink.run(run.id).get()
    assert_type(run.session[Finding].all(), tuple[Finding, ...])
    run.status  # noqa: B018 - AsyncResult's own
    run.cancel()
    assert_type(list_files("src"), list[str])


def misuse() -> None:
    """What a type checker refuses."""
    review.delay(1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    review.delay("src", secure=True)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
