"""Chains, groups, chords and callbacks with prompts, with RabbitMQ for a broker."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.canvas import CanvasScenarios, Site, site_on
from tests.rabbitmq.broker import rabbitmq
from tests.workers import Workers
from wink_tasks.adapters.redis.embedded import EmbeddedServer


@pytest.fixture(scope="module")
def site(redis_server: EmbeddedServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    workers = Workers(tmp_path_factory.mktemp("workers"), {})
    quick = {"WINK_VISIBILITY_TIMEOUT": "3", "WINK_REAP_EVERY": "0.2", "WINK_WORKER_BEAT": "0.3"}
    with (
        rabbitmq(tmp_path_factory.mktemp("rabbitmq")) as broker_url,
        site_on(redis_server.url, broker_url, workers, quick) as started,
    ):
        yield started


class TestCanvasOnRabbitMQ(CanvasScenarios):
    """All of them."""
