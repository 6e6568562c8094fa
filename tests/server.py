"""The Redis of the test run: one server for the session, empty for each test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from redis import Redis

from wink_tasks.adapters.redis.embedded import EmbeddedServer


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedServer]:
    """A real server without persistence."""
    with EmbeddedServer(tmp_path_factory.mktemp("redis"), options={"appendonly": "no"}) as server:
        yield server


@pytest.fixture
def redis_url(redis_server: EmbeddedServer) -> str:
    """Its address, with nothing in any of its databases."""
    with Redis.from_url(redis_server.url) as client:
        client.flushall()
    return redis_server.url
