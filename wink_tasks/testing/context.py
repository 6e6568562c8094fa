"""A tool context for calling a tool plainly in a test."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from wink_tasks.core.events import Json
from wink_tasks.core.limits import Budget
from wink_tasks.runtime.context import ToolContext
from wink_tasks.runtime.resources import Resources
from wink_tasks.runtime.session import Session
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
) -> ToolContext:
    """What a tool is given first: `read_file(tool_context(), "a.py")`. Its session is empty."""
    return ToolContext(
        params=dict(params or {}),
        session=Session(MemoryStore(FakeClock()).ledger, tenant, session),
        resources=Resources(resources or {}),
        run_id="test-run",
        tenant=tenant,
        deadline=deadline,
        budget=budget or Budget(),
        idempotency_key="test-run~turn1.call0",
        delivery_count=delivery_count,
    )
