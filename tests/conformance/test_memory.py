"""The in-memory store does what every store has to do."""

from __future__ import annotations

import pytest

from wink_tasks.testing.clock import FakeClock
from wink_tasks.testing.conformance import (
    StoreConformance,
)
from wink_tasks.testing.memory import MemoryStore


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def store(clock: FakeClock) -> MemoryStore:
    return MemoryStore(clock, partitions=4)


class TestMemory(StoreConformance):
    pass
