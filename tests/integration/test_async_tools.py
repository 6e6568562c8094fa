"""`async def` tools on a real worker: on one loop, side by side, and ended in time."""

from __future__ import annotations

import importlib
import sys
from types import ModuleType

import pytest

from tests.workers import Workers, eventually
from wink_tasks import CancelledError, DeadlineExceededError
from wink_tasks.core.events import ToolFailed


@pytest.fixture
def awaited(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.setenv("WINK_REDIS_URL", redis_url)
    sys.modules.pop("tests.apps.awaited", None)
    return importlib.import_module("tests.apps.awaited")


def test_async_tools(awaited: ModuleType, workers: Workers):
    worker = workers.start("tests.apps.awaited", "turns,tools", wink=awaited.wink)
    [member] = awaited.wink.house().store.fleet.workers()
    assert (member.slots, member.pool) == (4, "thread")
    assert member.digests == {"awaited.pair": awaited.pair.definition.digest}
    assert member.settings == awaited.wink.house().compared_settings()
    assert abs(member.at - member.seen_at) < 30

    assert set(awaited.pair.delay("meet").get(timeout=60).split(",")) == {"0 met 1", "1 met 0"}

    late = awaited.pair.with_options(deadline=1.0).delay("forget")
    with pytest.raises(DeadlineExceededError):
        late.get(timeout=60)
    failed = [record.event for record in late.events() if isinstance(record.event, ToolFailed)]
    assert [(event.kind, event.message) for event in failed] == [("timeout", "The tool failed with TimeoutError.")] * 2

    stopped = awaited.pair.delay("forget")
    calls = {f"{stopped.id}~turn1.call{n}" for n in range(2)}
    ledger = awaited.wink.house().store.ledger
    eventually(
        lambda: all((m := ledger.message("default", stopped.id, one)) and m.state == "leased" for one in calls),
        "both calls run",
    )
    stopped.cancel("enough")
    with pytest.raises(CancelledError, match="enough"):
        stopped.get(timeout=60)

    assert awaited.pair.delay("block").get(timeout=60) == "0 blocked,1 blocked"
    eventually(lambda: "async tools stood still for" in worker.log.read_text(), "the standstill is told")
    assert worker.log.read_text().count("stood still") == 1
    awaited.wink.leave()
