"""What only a real server shows: threads, lost scripts, full memory, its own clock, what it stores."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator
from hashlib import shake_128
from typing import Any

import pytest
from redis import Redis

from wink_tasks.adapters.redis import keys
from wink_tasks.adapters.redis.store import RedisStore
from wink_tasks.core.codec import VERSION, encode
from wink_tasks.core.errors import DuplicateError, LeaseLostError, LedgerUnavailableError, SessionBusyError
from wink_tasks.core.events import SessionForked
from wink_tasks.core.ids import partition_of
from wink_tasks.ports.fleet import Worker
from wink_tasks.ports.ledger import Snapshot
from wink_tasks.ports.mailbox import Address, Claimed, NotClaimed
from wink_tasks.ports.pauses import Pause
from wink_tasks.ports.rejections import Rejected
from wink_tasks.testing.conformance.driver import TENANT, Driver, responded, returned, rung, succeeded

MB = 1 << 20


@pytest.fixture
def store(redis_url: str) -> Iterator[RedisStore]:
    store = RedisStore(redis_url, partitions=4)
    yield store
    store.close()


@pytest.fixture
def d(store: RedisStore) -> Driver:
    return Driver(store)


@pytest.fixture
def server(redis_url: str) -> Iterator[Any]:
    with Redis.from_url(redis_url, decode_responses=True) as client:
        yield client


def at_once(count: int, work: Callable[[int], Any]) -> list[Any]:
    """What `count` threads get that start at the same moment."""
    answers: list[Any] = [None] * count
    start = threading.Barrier(count)

    def run(place: int) -> None:
        start.wait()
        answers[place] = work(place)

    threads = [threading.Thread(target=run, args=(place,)) for place in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return answers


def test_of_eight_claims_at_once_one_wins(d: Driver) -> None:
    d.accept("e1")
    answers = at_once(8, lambda place: d.ask("e1", owner=f"w{place}"))
    assert sum(isinstance(answer, Claimed) for answer in answers) == 1
    assert sum(answer == NotClaimed(reason="busy") for answer in answers) == 7
    assert d.look("e1").deliveries == 1


def test_of_eight_settlements_at_once_one_counts(d: Driver) -> None:
    d.accept("e1")
    claimed = d.claim("e1")

    def settle(_: int) -> bool:
        try:
            return bool(d.settle(claimed, responded("e1"), messages=[d.turn("e1", 2)]).first)
        except LeaseLostError:
            return False

    assert sum(at_once(8, settle)) == 1
    assert d.names() == ["EvaluationAccepted", "ModelResponded"]


def test_the_last_of_parallel_calls_wakes_the_turn_once_whoever_is_last(d: Driver) -> None:
    calls = d.fan_out("e1", 12)
    settled = at_once(12, lambda place: d.settle(calls[place], returned("e1", place)))
    assert [rung(answer.doorbells) for answer in settled if answer.doorbells] == [["e1~turn2"]]
    assert sorted(answer.first for answer in settled) == list(range(4, 16))


def test_more_threads_than_connections_wait_for_their_turn(store: RedisStore, server: Any) -> None:
    before = len(server.client_list())
    seen = at_once(250, lambda place: store.mailbox.accept(Driver(store).acceptance(f"e{place}", f"s{place}")).created)
    assert all(seen)
    assert len(server.client_list()) - before <= 64


def test_scripts_that_the_server_forgot_are_told_again(d: Driver, server: Any) -> None:
    d.accept("e1")
    d.claim("e1")
    server.script_flush()
    assert d.accept("e2", "s2").created
    server.script_flush()
    assert d.mailbox.reap() == (), "in a pipeline, too"


def test_time_is_the_servers(d: Driver, server: Any) -> None:
    def seconds() -> float:
        whole, micros = server.time()
        return float(whole + micros / 1e6)

    before = seconds()
    d.accept("e1", visibility_timeout=0.05)
    claimed = d.claim("e1")
    after = seconds()
    record = d.ledger.read(TENANT, "s1")[0]
    assert before - 0.001 <= record.at <= after
    assert record.at <= claimed.started_at <= after
    while not (bells := d.mailbox.reap()):
        threading.Event().wait(0.005)
    assert rung(bells) == ["e1"]
    assert 0 <= d.mailbox.depth(["turns"])["turns"].age < 5
    assert d.ledger.expire(older_than=0) == 0, "an evaluation is open"


def test_at_maxmemory_new_work_is_refused_and_paid_work_recorded(d: Driver, server: Any) -> None:
    for name in ("e1", "e2", "e3", "e4", "e5"):
        d.accept(name, name)
    paid, failed, dying = d.claim("e1", "e1"), d.claim("e2", "e2"), d.claim("e3", "e3")
    server.config_set("maxmemory", 1)
    try:
        with pytest.raises(LedgerUnavailableError, match="maxmemory"):
            d.accept("e9", "s9")
        with pytest.raises(LedgerUnavailableError, match="maxmemory"):
            d.claim("e4", "e4")
        assert list(d.mailbox.extend([paid.receipt])) == ["held"]
        follow = d.turn("e1", 2, "e1")
        assert rung(d.settle(paid, responded("e1"), messages=[follow]).doorbells) == ["e1~turn2"]
        assert rung(d.mailbox.nack(failed.receipt, delay=0, counts=True, error="x")) == ["e2"]
        assert rung(d.mailbox.bury(dying.receipt, reason="poison", error="x")) == ["e3~outcome"]
        assert rung(d.mailbox.cancel(TENANT, "e5", by="ann", reason="r")) == ["e5~outcome"]
        assert d.ledger.delete(TENANT, "e5") is True
    finally:
        server.config_set("maxmemory", 0)
    assert d.ledger.session(TENANT, "s9") is None
    assert (d.look("e4", "e4").state, d.look("e4", "e4").deliveries) == ("ready", 0)
    assert d.names("e1") == ["EvaluationAccepted", "ModelResponded"]


def test_at_maxmemory_the_reaper_still_brings_back(d: Driver, server: Any) -> None:
    d.accept("e1", visibility_timeout=0.001)
    d.claim("e1")
    server.config_set("maxmemory", 1)
    try:
        while not (bells := d.mailbox.reap()):
            threading.Event().wait(0.005)
    finally:
        server.config_set("maxmemory", 0)
    assert rung(bells) == ["e1"]


def test_tool_values_are_stored_once(d: Driver, server: Any) -> None:
    """400 calls of 5 KB: what is stored in the end is at most 1.3 times the history."""
    history = 0
    d.settle(accepted_and_claimed(d, "e0"), end=succeeded("e0"))  # the server compiles the scripts
    before = server.info("memory")["used_memory"]
    d.accept("e1")
    claimed = d.claim("e1")
    for turn in range(1, 401):
        asked = responded("e1", 1, turn=turn)
        answer = d.settle(
            claimed,
            asked,
            messages=[
                d.call("e1", 0, id=f"e1~turn{turn}.call0", wakes=f"e1~turn{turn + 1}"),
                d.turn("e1", turn + 1, needs=1),
            ],
            serves=["tools"],
        ).claimed
        assert answer is not None
        value = shake_128(bytes(turn)).hexdigest(2_560)
        history += len(value)
        following = d.settle(answer, returned_value(value), serves=["turns"]).claimed
        assert following is not None
        claimed = following
    stored = server.info("memory")["used_memory"] - before
    assert stored / history < 1.3, f"{stored / history:.2f}"


def returned_value(value: str) -> Any:
    event = returned("e1")
    return type(event)(**{name: getattr(event, name) for name in event.__struct_fields__} | {"value": value})


def test_what_is_closed_is_forgotten_after_an_hour_and_what_is_owed_never(d: Driver, server: Any) -> None:
    d.accept("e1")
    d.accept("e2")
    d.mailbox.bury(d.claim("e1").receipt, reason="poison", error="")
    d.settle(d.claim("e1~outcome"))
    d.settle(d.claim("e2"), messages=[d.call("e2", 0), d.turn("e2", 2, needs=1)])
    d.store.fleet.agree({"partitions": "4"})
    expiring = {key for key in server.keys("*") if server.ttl(key) != -1}
    assert {key.partition("}:")[2] for key in expiring} == {"closed:e1~outcome", "closed:e2"}
    assert all(3500 < server.ttl(key) <= 3600 for key in expiring)


def test_what_a_dropped_session_leaves_is_forgotten_too(d: Driver, server: Any) -> None:
    d.accept("e1")
    d.settle(d.claim("e1"), end=succeeded("e1"))
    d.settle(d.claim("e1~outcome"))
    d.mailbox.bury(accepted_and_claimed(d, "e2").receipt, reason="poison", error="")
    while d.ledger.expire(older_than=0.001) == 0:
        threading.Event().wait(0.002)
    left = {key.partition("}:")[2]: server.ttl(key) for key in server.keys("*")}
    assert (left.pop("feed"), left.pop("buried"), left.pop("lanes")) == (-1, -1, -1)
    assert 90 * 86_400 - 100 < left.pop(f"{TENANT}:expired:s1") <= 90 * 86_400
    assert set(left) == {"closed:e1", "closed:e1~outcome", f"{TENANT}:dropped:s1"}
    assert max(left.values()) <= 3600


def accepted_and_claimed(d: Driver, evaluation: str) -> Claimed:
    d.accept(evaluation)
    return d.claim(evaluation)


def test_a_session_with_more_keys_than_one_command_takes_is_dropped(d: Driver, server: Any) -> None:
    for number in range(350):
        d.accept(f"e{number}")
        d.settle(d.claim(f"e{number}"), end=succeeded(f"e{number}"))
    assert d.ledger.delete(TENANT, "s1") is True
    assert {key.partition("}:")[2].partition(":")[0] for key in server.keys("*")} == {"closed", "feed", "lanes", TENANT}


def test_a_settlement_may_make_thousands_of_messages_and_events_and_an_end_may_close_them(
    d: Driver, server: Any
) -> None:
    d.accept("e1")
    d.settle(d.claim("e1"), messages=[d.turn("e1", 2)])
    events = [returned("e1", place) for place in range(4500)]
    calls = [d.call("e1", place) for place in range(3000)]
    answer = d.settle(d.claim("e1~turn2"), *events, messages=[*calls, d.turn("e1", 3, needs=3000)])
    assert len(answer.doorbells) == 3000
    assert d.mailbox.depth(["tools"])["tools"].ready == 3000
    assert len(d.names()) == 4501
    assert rung(d.mailbox.cancel(TENANT, "e1", by="ann", reason="r")) == ["e1~outcome"]
    assert d.mailbox.depth(["tools"])["tools"].ready == 0
    record = d.ledger.evaluation(TENANT, "e1")
    assert record is not None
    assert record.open_messages == ("e1~outcome",)


def test_a_session_that_is_only_in_the_index_is_taken_out_of_it(d: Driver, server: Any) -> None:
    d.accept("e1")
    (key,) = server.keys("*:sessions")
    names = [f"gone{number}" for number in range(40)]
    server.zadd(key, {f"{TENANT}:{name}": 1 for name in names})
    assert d.ledger.expire(older_than=0) == 0
    strays = {f"{TENANT}:{name}" for name in names if partition_of(name, 4) != partition_of("s1", 4)}
    assert 0 < len(strays) < 40
    assert set(server.zrange(key, 0, -1)) == {f"{TENANT}:s1", *strays}, "what lives elsewhere is passed over"


def test_a_session_whose_index_entry_is_too_old_is_passed_over(d: Driver, server: Any) -> None:
    d.accept("e1")
    d.settle(d.claim("e1"), end=succeeded("e1"))
    (key,) = server.keys("*:sessions")
    server.zadd(key, {f"{TENANT}:s1": 1})
    assert d.ledger.expire(older_than=60) == 0
    assert d.ledger.session(TENANT, "s1") is not None


def test_the_home_of_a_run_that_was_refused_is_gone_after_an_hour(d: Driver, server: Any) -> None:
    d.accept("e1")
    elsewhere, here = elsewhere_and_here(d)
    for name in (elsewhere, here):
        with pytest.raises(SessionBusyError):
            d.accept(name, busy="reject")
    (home,) = server.keys(f"*:home:{elsewhere}")
    assert 600_000 < server.ttl(home) <= 604_800
    assert not server.keys(f"*:home:{here}")


def test_the_home_of_a_run_that_was_accepted_stays(d: Driver, server: Any) -> None:
    elsewhere, _ = elsewhere_and_here(d)
    assert d.accept(elsewhere).created
    (home,) = server.keys(f"*:home:{elsewhere}")
    assert server.ttl(home) == -1
    assert not d.accept(elsewhere).created
    assert server.ttl(home) == -1
    server.expire(home, 5)
    assert not d.accept(elsewhere).created, "whoever asks again after an answer was lost"
    assert server.ttl(home) == -1


def test_a_reserved_home_is_reserved_for_another_hour_by_whoever_asks_again(d: Driver, server: Any) -> None:
    d.accept("e1")
    elsewhere, _ = elsewhere_and_here(d)
    for _ in range(2):
        with pytest.raises(SessionBusyError):
            d.accept(elsewhere, busy="reject")
        (home,) = server.keys(f"*:home:{elsewhere}")
        assert server.ttl(home) > 3500
        server.expire(home, 5)
    with pytest.raises(DuplicateError):
        d.accept(elsewhere, "s9", busy="reject")
    assert server.ttl(home) <= 5


def elsewhere_and_here(d: Driver) -> tuple[str, str]:
    """Evaluation ids that live in another partition than session s1, and in the same."""
    names = [f"f{number}" for number in range(100)]
    own = partition_of("s1", 4)
    return (
        next(name for name in names if partition_of(name, 4) not in (own, partition_of("s9", 4))),
        next(name for name in names if partition_of(name, 4) == own),
    )


def test_the_feed_tells_what_happens(d: Driver, server: Any) -> None:
    d.accept("e1", visibility_timeout=0.001)
    d.claim("e1")
    while not d.mailbox.reap():
        threading.Event().wait(0.005)
    d.mailbox.bury(d.claim("e1").receipt, reason="poison", error="")
    (feed,) = (key for key in server.keys("*feed"))
    entries = [fields for _, fields in server.xrange(feed)]
    assert [(entry["what"], entry["message"]) for entry in entries] == [
        ("accepted", "e1"),
        ("recovered", "e1"),
        ("buried", "e1"),
        ("ended", ""),
    ]
    assert {(entry["tenant"], entry["session"], entry["evaluation"]) for entry in entries} == {(TENANT, "s1", "e1")}


def test_every_key_is_in_the_dictionary(d: Driver, server: Any) -> None:
    for session in ("s1", "s2"):
        d.accept(f"e-{session}", session)
        d.accept(f"f-{session}", session)
    d.mailbox.bury(d.claim("e-s1").receipt, reason="poison", error="")
    d.settle(d.claim("e-s2", "s2"), end=succeeded("e-s2"))
    d.mailbox.cancel(TENANT, "f-s2", by="ann", reason="r")
    for outcome in ("e-s2~outcome", "f-s2~outcome"):
        d.settle(d.claim(outcome, "s2"))
    while d.ledger.expire(older_than=0.001) == 0:
        threading.Event().wait(0.002)
    d.accept("g", "s3", visibility_timeout=0.001)
    d.claim("g", "s3")
    d.accept("h", "s3")
    while not d.mailbox.reap():
        threading.Event().wait(0.002)
    d.mailbox.bury(d.claim("g", "s3").receipt, reason="poison", error="")
    d.mailbox.purge([Address(TENANT, "s3", "g")])
    d.claim("h", "s3")
    d.accept("i", "s3")
    d.ledger.keep_snapshot(TENANT, "s3", Snapshot(seq=1, fingerprint="f", slices=b"{}"))
    worker = Worker(name="w1", pid=1, version="0", pool="threads", mailboxes=())
    d.store.fleet.beat(worker, every=1, term=1)
    d.store.fleet.agree({"partitions": "4"})
    d.store.pauses.pause(Pause(subject="tenant", name=TENANT, by="ann", at=1.0))
    d.store.rejections.keep(Rejected(queue="celery", reason="undecodable", at=1.0, size=1, body=b"x"))
    forked = [SessionForked(tenant=TENANT, session="s4", parent="s3", seq=1)]
    d.ledger.fork(TENANT, "s3", "s4", at=1, events=forked, actor="a")
    entry = d.ledger.read(TENANT, "s3", count=1)[0]
    fields = (round(entry.at * 1000), entry.actor, VERSION, encode(entry.event))
    d.store.ledger._commands.run("stage", TENANT, "s5", "n", 1, *fields)  # as a restoration that was killed
    names = [re.sub(r"^wink:\{\d\d\}:", "B", key).replace(f"B{TENANT}:", "B<tenant>:") for key in server.keys("*")]
    names = [name.replace("wink:{fleet}", "<prefix>:{fleet}") for name in names]
    kinds = {re.sub(r"^(B(<tenant>:)?\w+).*", r"\1", name) for name in names}
    entry = r"^(?:B(?:<tenant>:)?|<prefix>:{fleet}:)\w+|(?<=, )B\w+"
    listed = set(re.findall(entry, keys.__doc__ or "", re.MULTILINE))
    assert kinds == listed


def test_a_waiting_reader_hears_of_an_event_at_once(d: Driver) -> None:
    d.accept("e1")
    heard: list[Any] = []
    reader = threading.Thread(target=lambda: heard.extend(d.ledger.wait(TENANT, "s1", after=2, timeout=30)))
    reader.start()
    d.settle(d.claim("e1"), responded("e1"))
    reader.join(10)
    assert [record.event for record in heard] == [responded("e1")]


def test_scripts_write_the_format_that_the_codec_writes(d: Driver, server: Any) -> None:
    d.accept("e1")
    d.mailbox.bury(d.claim("e1").receipt, reason='a/b "c" \x01 \u2028', error="\\")
    (ledger,) = server.keys("*:ledger:*")
    assert {fields["v"] for _, fields in server.xrange(ledger)} == {str(VERSION)}
    assert d.events()[2].reason == 'a/b "c" \x01 \u2028'
