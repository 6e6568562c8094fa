"""A tool context for calling a tool plainly in a test."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from wink_tasks.core.bindings import Binding
from wink_tasks.core.events import Json
from wink_tasks.core.limits import Budget
from wink_tasks.runtime.context import ToolContext
from wink_tasks.runtime.loop import BackgroundLoop
from wink_tasks.runtime.resources import Singletons
from wink_tasks.runtime.tool_transaction import Transaction
from wink_tasks.runtime.transaction import ToolSession
from wink_tasks.testing.clock import FakeClock
from wink_tasks.testing.memory import MemoryStore


def tool_context(
    *,
    params: Mapping[str, Json] | None = None,
    resources: Mapping[type, Any] | None = None,
    session: str = "test",
    tenant: str = "default",
    deadline: float | None = None,
    budget: Budget | None = None,
    delivery_count: int = 1,
    checkpointed: Json = None,
    keep: Callable[[Json], object] = lambda _: None,
) -> ToolContext:
    """What a tool or a durable task is given first: `read_file(tool_context(), "a.py")`. Its session is empty.

    Files and rows are written at once, for good; `ctx.transaction()` puts back what is in memory. `keep` is called
    with each checkpoint.
    """
    bound = {wanted: Binding.of(wanted, one) for wanted, one in (resources or {}).items()}
    buffered = ToolSession(MemoryStore(FakeClock()).ledger, tenant, session, evaluation="test-run")
    of_call = Singletons(bound, BackgroundLoop()).of_call("test-run~turn1.call0")
    Transaction(buffered, of_call, None, lambda _: "open")
    return ToolContext(
        params=dict(params or {}),
        session=buffered,
        resources=of_call,
        run_id="test-run",
        tenant=tenant,
        deadline=deadline,
        budget=budget or Budget(),
        idempotency_key="test-run~turn1.call0",
        delivery_count=delivery_count,
        checkpointed=checkpointed,
        _keep=keep,
    )
