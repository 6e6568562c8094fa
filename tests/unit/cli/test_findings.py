from __future__ import annotations

from collections.abc import Iterable

import pytest
from celery import Celery
from msgspec import structs

from tests.unit.cli.conftest import desk_of
from wink_tasks import ToolContext, Wink
from wink_tasks.core.task import TaskDefinition
from wink_tasks.ports.fleet import StoreFacts, Worker
from wink_tasks.ports.mailbox import Depth
from wink_tasks.runtime.findings import (
    Finding,
    about_clocks,
    about_fleet,
    about_grace,
    about_pools,
    about_settings,
    about_store,
)
from wink_tasks.runtime.registry import Registry

MIB = 1 << 20
GOOD = StoreFacts(
    product="redis",
    version="7.2.5",
    persistent=True,
    append_only=True,
    eviction="noeviction",
    used_memory=3 * MIB,
    max_memory=0,
    now=1_000.0,
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


def test_the_memory_of_a_process_is_told_to_persist_by_nobody():
    assert bad(product="memory", version="", persistent=False, append_only=False) == []


@pytest.mark.parametrize("version", ["6.0.16", "5.0.7"])
def test_an_old_redis_is_an_error(version: str):
    assert bad(version=version) == [("error", f"redis {version} is older than 6.2")]


@pytest.mark.parametrize("version", ["6.2.0", "6.10.1", "255.255.255"])
def test_a_new_enough_redis_is_not(version: str):
    assert bad(version=version) == []


def test_versions_of_other_products_are_their_own():
    assert bad(product="memory", version="") == []


def test_what_is_wrong_with_a_store():
    assert bad(append_only=False) == [("warning", "it persists by snapshots: a crash forgets all since the last one")]
    assert bad(persistent=False, append_only=False) == [
        ("warning", "it has no persistence: a restart forgets every run")
    ]
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


def test_a_task_that_nobody_knows():
    registry = desk_of(Wink(Celery("desk", set_as_current=False), split_queues=True)).wink.registry

    def sync(n: int) -> int:
        return n

    registry.add_task(TaskDefinition.of(sync, name="desk.sync", context_type=ToolContext))
    found = [(one.level, one.what) for one in about_fleet([WORKER], registry, version="1.0")]
    assert found[1:] == [("error", "no live worker knows task 'desk.sync'")]
    assert len(list(about_fleet([structs.replace(WORKER, tasks=("desk.sync",))], registry, version="1.0"))) == 1


def test_a_fleet_of_nobody(registry: Registry):
    [found] = about_fleet([], registry, version="1.0")
    assert (found.level, found.way_out) == ("error", "start one: wink worker")


def told(found: Iterable[Finding]) -> list[tuple[str, str]]:
    return [(one.level, one.what) for one in found]


def test_another_version_of_a_prompt_is_named(registry: Registry):
    digests = {name: prompt.digest for name, prompt in registry.prompts.items()}
    same = structs.replace(WORKER, digests={**digests, "desk.gone": "x"})
    assert len(told(about_fleet([same], registry, version="1.0"))) == 1
    other = structs.replace(WORKER, digests={**digests, "desk.chat": "0123456789"})
    here = digests["desk.chat"][:8]
    assert told(about_fleet([other], registry, version="1.0"))[1:] == [
        ("warning", f"worker w1@host has another version of prompt 'desk.chat': 01234567, here is {here}")
    ]


def test_settings_that_processes_do_not_share_are_named():
    other = structs.replace(WORKER, settings={"retention": "60.0", "partitions": "16", "of_another_version": "x"})
    assert told(about_settings({"partitions": "16", "retention": "90.0"}, [other, WORKER])) == [
        ("warning", "WINK_RETENTION is 60.0 for worker w1@host, here 90.0")
    ]


def test_clocks_are_compared_with_the_stores():
    beaten = structs.replace(WORKER, seen_at=500.0, at=500.2)
    assert told(about_clocks(1_000.4, GOOD, [WORKER, beaten])) == [("ok", "clocks agree within 1 s")]
    late = structs.replace(beaten, at=458.0)
    assert told(about_clocks(1_003.0, GOOD, [late])) == [
        ("warning", "the clock of this process is 3 s ahead of the store's"),
        ("error", "the clock of worker w1@host is 42 s behind the store's"),
    ]


def test_the_grace_is_told_against_the_longest_call():
    [short] = about_grace(30.0, 600.0)
    assert short.what == (
        "workers that are asked to end wait 30 s (WINK_SHUTDOWN_GRACE); "
        "a model call may take 600 s, and one that is cut by a deploy is made again"
    )
    [long] = about_grace(600.0, 600.0)
    assert long.what == "workers that are asked to end wait 600 s (WINK_SHUTDOWN_GRACE), and no model call takes longer"


def test_turns_that_crowd_a_pool_of_processes_are_told_the_split_form(registry: Registry):
    forks = structs.replace(WORKER, pool="prefork", slots=4)
    full = {"turns": Depth(ready=9, leased=4, age=12.3), "tools": Depth(ready=9, leased=9)}
    [found] = about_pools([forks], registry, full)
    assert found.level == "warning"
    assert found.what == (
        "turns crowd w1@host: 4 of 4 slots that serve 'turns' are taken, 9 steps wait, the oldest for 12 s"
    )
    assert "-Q turns -P threads" in found.way_out
    threads = structs.replace(WORKER, name="w2@host", pool="threads", slots=200)
    for workers, depth in (
        ([threads], full["turns"]),
        ([forks, threads], full["turns"]),
        ([forks], Depth(ready=9, leased=3)),
        ([forks], Depth(ready=0, leased=4)),
        ([], full["turns"]),
    ):
        assert list(about_pools(workers, registry, {"turns": depth})) == []
