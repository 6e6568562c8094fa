from __future__ import annotations

import pytest
from celery import Celery
from msgspec import structs

from tests.unit.cli.conftest import desk_of
from wink_tasks import Wink
from wink_tasks.ports.fleet import StoreFacts, Worker
from wink_tasks.runtime.findings import about_fleet, about_store
from wink_tasks.runtime.registry import Registry

MIB = 1 << 20
GOOD = StoreFacts(
    product="redis", version="7.2.5", persistent=True, eviction="noeviction", used_memory=3 * MIB, max_memory=0
)
WORKER = Worker(
    name="w1@host",
    pid=7,
    version="1.0",
    pool="threads",
    mailboxes=("tools", "turns"),
    prompts=("desk.chat", "desk.total"),
)


@pytest.fixture(scope="module")
def registry() -> Registry:
    return desk_of(Wink(Celery("desk", set_as_current=False), split_queues=True)).wink.registry


def bad(**facts: object) -> list[tuple[str, str]]:
    found = about_store(structs.replace(GOOD, **facts))
    return [(one.level, one.what) for one in found if one.level != "ok"]


def test_a_store_in_order():
    found = list(about_store(GOOD))
    assert {one.level for one in found} == {"ok"}
    assert {one.way_out for one in found} == {""}
    assert found[-1].what == "3 MiB used, without a limit of its own"
    assert list(about_store(structs.replace(GOOD, max_memory=10 * MIB)))[-1].what == "3 MiB used of 10"


@pytest.mark.parametrize("version", ["6.0.16", "5.0.7"])
def test_an_old_redis_is_an_error(version: str):
    assert bad(version=version) == [("error", f"redis {version} is older than 6.2")]


@pytest.mark.parametrize("version", ["6.2.0", "6.10.1", "255.255.255"])
def test_a_new_enough_redis_is_not(version: str):
    assert bad(version=version) == []


def test_versions_of_other_products_are_their_own():
    assert bad(product="memory", version="") == []


def test_what_is_wrong_with_a_store():
    assert bad(persistent=False) == [("warning", "it has no persistence: a restart forgets every run")]
    assert bad(eviction="allkeys-lru") == [("error", "maxmemory-policy is allkeys-lru: it may drop ledgers")]
    assert bad(used_memory=9 * MIB, max_memory=10 * MIB) == [("warning", "9 MiB used of 10")]


def test_a_fleet_that_serves_and_knows_everything(registry: Registry):
    [found] = about_fleet([WORKER], registry, version="1.0")
    assert (found.level, found.what) == ("ok", "worker w1@host (threads, pid 7) serves tools, turns")


def test_what_nobody_serves_or_knows(registry: Registry):
    other = structs.replace(WORKER, version="0.9", mailboxes=("turns",), prompts=("desk.total",))
    found = [(one.level, one.what) for one in about_fleet([other], registry, version="1.0")]
    assert found == [
        ("warning", "worker w1@host (threads, pid 7) serves turns; it is version 0.9, here is 1.0"),
        ("error", "no live worker serves mailbox 'tools'"),
        ("error", "no live worker knows prompt 'desk.chat'"),
    ]


def test_a_fleet_of_nobody(registry: Registry):
    [found] = about_fleet([], registry, version="1.0")
    assert (found.level, found.way_out) == ("error", "start one: wink worker")
