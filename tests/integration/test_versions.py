"""A rolling deploy: workers with different versions of one module beside each other."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from types import ModuleType

import pytest

from tests.workers import Workers, eventually
from wink_tasks.core.events import PromptChanged
from wink_tasks.ports.mailbox import Address


@pytest.fixture
def first(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """Version 1, in this process."""
    monkeypatch.setenv("WINK_REDIS_URL", redis_url)
    sys.modules.pop("tests.apps.versioned", None)
    module = importlib.import_module("tests.apps.versioned")
    yield module
    module.wink.leave()


def test_a_run_waits_for_its_version_or_goes_on_with_the_next_and_says_so(first: ModuleType, workers: Workers):
    parks = workers.start("tests.apps.versioned", "celery", wink=first.wink, env={"APP_VERSION": "2"})
    run = first.talk.delay("trees")
    eventually(
        lambda: "parked until a worker with the old one takes it" in run.explain(), "the second version parks it"
    )
    assert run.status == "STARTED"
    parks.kill()
    workers.start("tests.apps.versioned", "celery", wink=first.wink, env={"APP_VERSION": "3"})
    house = first.wink.house()
    house.ringer.ring(house.store.mailbox.wake(Address("default", run.id, run.id)))
    assert run.get(timeout=60) == "You are version 3."
    [changed] = [one.event for one in run.events() if isinstance(one.event, PromptChanged)]
    assert (changed.version_before, changed.version) == ("1", "3")
