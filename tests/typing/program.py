"""What a user's program looks like, type-checked as it stands by `mypy --strict` and pyright."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Protocol, assert_type

from celery import Celery, chain
from pydantic import BaseModel

from wink_tasks import Budget, Run, Scope, ToolContext, Wink

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


@wink.task
def total(prices: list[int], tax: float = 0.19) -> float:
    """Any function: its runs survive what kills their worker."""
    return sum(prices) * (1 + tax)


@wink.task(max_retries=5, retry_on=[ConnectionError], deadline=3600, visibility_timeout=30, queue="slow")
def import_rows(ctx: ToolContext, path: str) -> int:
    """Go on where the last delivery was."""
    done: int = ctx.checkpointed or 0
    if path == "":
        raise ctx.retry(countdown=5, max_retries=2)
    ctx.checkpoint(done + 1)
    return done


@wink.task(max_retries=0)
async def charge(ctx: ToolContext, amount: int) -> FileText:
    """Charge at most once."""
    return FileText(path=ctx.run_id, text=str(amount))


@wink.task
async def fetch(url: str) -> str:
    """Fetch."""
    return url


class Database(Protocol):
    """What tools need of one."""

    def execute(self, statement: str) -> int:
        """Run it."""
        ...


class Postgres:
    """A database."""

    def __init__(self, dsn: str = "") -> None:
        self.dsn = dsn

    def execute(self, statement: str) -> int:
        """See Database."""
        return len(statement)

    def close(self) -> None:
        """Let go."""


wink.resources.bind(Database, Postgres)


@wink.resource(scope=Scope.TOOL_CALL)
def cursor(database: Database) -> Iterator[Postgres]:
    """One a call."""
    yield Postgres(str(database))


@wink.resource
async def client() -> AsyncIterator[FileText]:
    """One a process."""
    yield FileText(path="", text="")


@wink.tool
def count_rows(table: str, database: Database) -> int:
    """Count the rows of a table."""
    return database.execute(table)


async def use_resources(ctx: ToolContext) -> None:
    """Resources have the types that they are asked for by."""
    assert_type(ctx.resources[Database], Database)
    assert_type(ctx.resources[Postgres], Postgres)
    assert_type(await ctx.resources.aget(FileText), FileText)


def use_tasks() -> None:
    """Start durable tasks, and a tool alone."""
    assert_type(total.delay([1, 2], tax=0.2), Run[float])
    assert_type(import_rows.with_options(session="imports", countdown=5).delay("rows.csv").get(), int)
    assert_type(charge.delay(amount=3).get(timeout=5), FileText)
    assert_type(fetch.delay("x").get(), str)
    total.apply_async(([1],), countdown=3).cancel()
    read_file.delay(path="a.py").get()


def use() -> None:
    """Start runs and read them."""
    run: Run[Review] = review.delay("src")
    run = review.with_options(session="ticket:42", queue="fast", countdown=5).delay("src", security=True)
    run = review.with_options(idempotency_key="order 7", headers={"ticket": 42}).apply_async(["src"], link=review.s())
    chain(review.s("src"), review.si("docs")).apply_async()
    for event in run.events():
        assert_type(event.seq, int)
    assert_type(run.get(timeout=60), Review)
    wink.run(run.id).get()
    assert_type(run.session[Finding].all(), tuple[Finding, ...])
    run.status  # noqa: B018 - AsyncResult's own
    run.cancel()
    assert_type(list_files("src"), list[str])


async def use_async() -> None:
    """The same from coroutines."""
    run = await review.adelay("src")
    assert_type(run, Run[Review])
    assert_type(await review.aapply_async(("src",), {"security": True}), Run[Review])
    async for event in run.aevents(after=3):
        assert_type(event.seq, int)
    assert_type(await run.aget(timeout=60), Review)
    assert_type((await run.asession())[Finding].latest(), Finding | None)
    assert_type(await run.aexplain(), str)
    await run.acancel()
    await wink.aleave()


def misuse() -> None:
    """What a type checker refuses."""
    review.delay(1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    review.delay("src", secure=True)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    total.delay(["x"])  # type: ignore[list-item]  # pyright: ignore[reportArgumentType]
    import_rows.delay()  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    charge.delay("x")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    review.adelay(1)  # type: ignore[arg-type, unused-coroutine]  # pyright: ignore[reportArgumentType, reportUnusedCoroutine]
