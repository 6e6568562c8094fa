"""Redis away, the broker away, and a store that cannot be used."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest
from msgspec import structs

from tests.unit.runtime.conftest import NoProvider, Shop
from tests.workers import eventually
from wink_tasks import ConfigurationError, LedgerUnavailableError, SessionExpiredError
from wink_tasks.adapters.celery.ringer import CeleryRinger
from wink_tasks.adapters.redis.embedded import EmbeddedServer, free_port
from wink_tasks.ports.fleet import Worker
from wink_tasks.ports.mailbox import Address, Claimed, Doorbell
from wink_tasks.ports.telemetry import NullTracer
from wink_tasks.testing import answer
from wink_tasks.testing.inline import NoObserver


class Hello:
    """Says hello."""

    async def complete(self, request):
        return answer("hello")

    async def close(self) -> None:
        """Nothing to close."""


def test_delay_says_within_seconds_that_redis_is_away():
    shop = Shop(redis_url=f"redis://:secret@127.0.0.1:{free_port()}/0", providers={"house": NoProvider()})
    began = time.monotonic()
    with pytest.raises(LedgerUnavailableError) as caught:
        shop.chat.delay("x")
    assert time.monotonic() - began < 3
    assert "secret" not in str(caught.value)
    shop.wink.leave()


def test_a_broker_that_is_away_is_one_warning_and_the_doorbell_is_rung_again(
    redis_url: str, caplog: pytest.LogCaptureFixture
):
    shop = Shop(redis_url=redis_url, providers={"house": NoProvider()})
    shop.app.conf.broker_url = f"redis://127.0.0.1:{free_port()}/0"
    run = shop.chat.delay("x")
    assert run.status == "PENDING"
    warnings = [record.getMessage() for record in caplog.records if "not published" in record.getMessage()]
    assert len(warnings) == 1
    assert f"doorbell of {run.id} to queue 'celery' not published" in warnings[0]
    [bell] = eventually(shop.wink.house().store.mailbox.reap, "the doorbell is due again")
    assert bell.address.message == run.id
    shop.wink.leave()


def test_a_broker_that_is_away_is_asked_once_for_many_doorbells(redis_url: str, caplog: pytest.LogCaptureFixture):
    shop = Shop(redis_url=redis_url, providers={"house": NoProvider()})
    shop.app.conf.broker_url = f"redis://127.0.0.1:{free_port()}/0"
    house = shop.wink.house()
    house.ringer.ring([DOORBELL, DOORBELL])
    assert caplog.text.count("not published") == 1
    shop.wink.leave()


def test_a_doorbell_that_cannot_be_published_does_not_keep_others_from_it(caplog: pytest.LogCaptureFixture):
    shop, told = Shop(providers={"house": NoProvider()}), []
    shop.app.conf.broker_url = "memory://"
    ringer = CeleryRinger(shop.app, NullTracer(), told.extend)
    ringer.ring([structs.replace(DOORBELL, shown=Unshowable()), structs.replace(DOORBELL, priority=3)])
    assert [bell.priority for bell in told] == [3]


class Unshowable:
    """Fails when it is to be shown."""

    def __str__(self) -> str:
        raise ValueError("no")


DOORBELL = Doorbell(address=Address("default", "s", "s"), mailbox="celery", task="shop.chat")


def test_an_outcome_is_recorded_when_redis_is_back(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    """The model was asked once, though Redis went away while it was."""
    asked = []
    server = EmbeddedServer(tmp_path)
    server.start()

    class Unlucky(Hello):
        """Redis goes while it answers."""

        async def complete(self, request):
            asked.append(request)
            server.stop()
            return answer("hello")

    shop = Shop(redis_url=server.url, providers={"house": Unlucky()}, store_give_up_after=0.3)
    shop.app.conf.broker_url = "memory://"
    run = shop.chat.delay("x")
    steps = shop.wink.steps()
    back = EmbeddedServer(tmp_path)

    def bring_back() -> None:
        eventually(lambda: "not recorded yet" in caplog.text, "the absence is noticed")
        back.start()

    helper = threading.Thread(target=bring_back)
    helper.start()
    assert steps.run(Address("default", run.id, run.id), "shop.chat", serves=(), observer=NoObserver())
    helper.join()
    assert run.get(timeout=10) == "hello"
    assert len(asked) == 1
    shop.wink.leave()
    back.stop()


def test_a_stopping_worker_gives_up_what_it_cannot_settle(tmp_path: Path):
    server = EmbeddedServer(tmp_path)
    server.start()

    class Unlucky(Hello):
        """Redis goes for good while it answers."""

        async def complete(self, request):
            server.stop()
            shop.wink.house().steps.give_up()
            return answer("hello")

    shop = Shop(redis_url=server.url, providers={"house": Unlucky()}, store_give_up_after=0.3)
    shop.app.conf.broker_url = "memory://"
    run = shop.chat.delay("x")
    with pytest.raises(LedgerUnavailableError):
        shop.wink.steps().run(Address("default", run.id, run.id), "shop.chat", serves=(), observer=NoObserver())
    shop.wink.leave()


def test_a_zombie_settles_nothing(redis_url: str):
    """Once another worker has claimed, what the first one does no longer counts."""

    class Slow(Hello):
        """Another worker takes over while it answers."""

        async def complete(self, request):
            mailbox = shop.wink.house().store.mailbox
            eventually(mailbox.reap, "the lease has run out")
            taken.append(mailbox.claim(Address("default", run.id, run.id), task="shop.chat", owner="other", after=0))
            return answer("hello")

    taken: list = []
    shop = Shop(redis_url=redis_url, providers={"house": Slow()}, visibility_timeout=1)
    shop.app.conf.broker_url = "memory://"
    run = shop.chat.delay("x")
    steps = shop.wink.house().steps  # without a keeper, as if this process were paused
    assert steps.run(Address("default", run.id, run.id), "shop.chat", serves=(), observer=NoObserver())
    assert isinstance(taken[0], Claimed)
    assert taken[0].deliveries == 2
    assert [type(record.event).__name__ for record in run.session.events()] == ["SessionOpened", "EvaluationAccepted"]
    shop.wink.leave()


def test_an_evicting_store_is_refused(tmp_path: Path):
    with EmbeddedServer(tmp_path, options={"maxmemory-policy": "allkeys-lru"}) as server:
        shop = Shop(redis_url=server.url, providers={"house": NoProvider()})
        with pytest.raises(ConfigurationError, match="maxmemory-policy is allkeys-lru"):
            shop.chat.delay("x")
        shop.wink.leave()


def test_a_session_ends_with_its_retention(redis_url: str):
    shop = Shop(redis_url=redis_url, providers={"house": Hello()})
    shop.app.conf.broker_url = "memory://"
    run = shop.chat.with_options(session="s").delay("x")
    shop.wink.steps().run(Address("default", "s", run.id), "shop.chat", serves=(), observer=NoObserver())
    assert run.get(timeout=5) == "hello"
    ledger = shop.wink.house().store.ledger
    assert ledger.expire(older_than=-1) == 1
    with pytest.raises(SessionExpiredError, match="WINK_RETENTION"):
        shop.wink.session("s").refresh()
    shop.wink.leave()


def test_a_worker_whose_ledgers_share_a_redis_says_so_and_joins_once(redis_url: str, caplog: pytest.LogCaptureFixture):
    shop = Shop(providers={"house": NoProvider()})
    shop.app.conf.broker_url = redis_url
    worker = Worker(name="w", pid=1, version="1", pool="threads", mailboxes=("celery",))
    shop.wink.join(lambda: worker)
    shop.wink.join(lambda: worker)
    fleet = shop.wink.house().store.fleet
    assert eventually(fleet.workers, "it joins")[0].name == "w"
    assert "ledgers share the memory of the app's broker_url" in caplog.text
    shop.wink.leave()
    assert not fleet.workers()


def test_threads_that_come_at_once_share_one_house(redis_url: str):
    shop = Shop(redis_url=redis_url, providers={"house": NoProvider()})
    start = threading.Barrier(8)
    seen = []

    def come() -> None:
        start.wait()
        seen.append((shop.wink.house(), shop.wink.steps()))

    threads = [threading.Thread(target=come) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({id(house) for house, _ in seen}) == len({id(steps) for _, steps in seen}) == 1
    assert sum(thread.name == "wink-keeper" for thread in threading.enumerate()) == 1
    shop.wink.leave()
