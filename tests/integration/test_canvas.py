"""Chains, groups, chords and callbacks with prompts, on Redis."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from celery import Celery
from celery.exceptions import TaskRevokedError

from tests.canvas import CanvasScenarios, Site, let_go, site_on
from tests.workers import Workers, eventually
from wink_tasks.adapters.redis.embedded import EmbeddedServer
from wink_tasks.core.events import EvaluationAccepted


@pytest.fixture(scope="module")
def site(redis_server: EmbeddedServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    url = redis_server.url.rsplit("/", 1)[0] + "/8"
    workers = Workers(tmp_path_factory.mktemp("workers"), {})
    quick = {"WINK_VISIBILITY_TIMEOUT": "3", "WINK_REAP_EVERY": "0.2", "WINK_WORKER_BEAT": "0.3"}
    with site_on(url, url, workers, quick) as started:
        yield started


@pytest.fixture
def stranger(site: Site) -> Iterator[Celery]:
    app = Celery("stranger", broker=site.app.app.conf.broker_url, backend=site.app.app.conf.result_backend)
    yield app
    let_go(app)


class TestCanvasOnRedis(CanvasScenarios):
    """All of them."""

    def test_a_message_of_a_stranger_that_expired_says_so(self, site: Site, stranger: Celery) -> None:
        past = datetime.now(UTC) - timedelta(seconds=5)
        sent = stranger.send_task("canvas.shout", ["late"], queue="turns", expires=past)
        with pytest.raises(TaskRevokedError, match="expired"):
            sent.get(timeout=60)
        assert site.app.wink.run(sent.id).state == "PENDING", "it was never accepted"

    def test_a_message_of_a_stranger_joins_nobodys_session(self, site: Site, stranger: Celery) -> None:
        name = f"customer-{uuid4()}"
        ours = site.app.shout.with_options(session=name).delay("ours")
        assert ours.get(timeout=60).text == "OURS"
        for task_id, why in ((name, "belongs to another session"), (f"{ours.id}~turn2", "may not hold '~'")):
            stranger.send_task("canvas.shout", ["theirs"], queue="turns", task_id=task_id)
            eventually(lambda why=why: any(why in w.log.read_text() for w in site.workers.started), why)
        assert stranger.AsyncResult(name).state == "PENDING", "what is stored under the id is somebody else's"
        accepted = [record.event for record in site.app.wink.session(name).events()]
        assert [event.params for event in accepted if isinstance(event, EvaluationAccepted)] == [{"text": "ours"}]
