"""Celery messages that nobody in their right mind would send."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import cycle, islice
from typing import Any

from celery import Celery
from celery.utils import uuid

JSON = ("application/json", "utf-8")
BODY = json.dumps([[], {}, {"callbacks": None, "errbacks": None, "chain": None, "chord": None}]).encode()

Hostile = tuple[dict[str, Any], bytes, tuple[str, str], dict[str, Any]]


def named(task: Any, body: bytes = BODY, kind: tuple[str, str] = JSON, **headers: Any) -> Hostile:
    """A message of Celery's second protocol."""
    return {"lang": "py", "task": task, "id": uuid(), "argsrepr": "()", **headers}, body, kind, {}


def rejected_ones(ours: str, theirs: str, refuses: str) -> list[Hostile]:
    """Messages that are to be kept. `ours` is a prompt's task, `theirs` one of the host's, which `refuses` as well."""
    doorbell = {"version": 1, "tenant": "default", "session": "s", "message": "m"}
    return [
        named("nobody.knows"),
        named("nobody.knows", b"x" * 1_000_000),
        named("nobody.knows", wink="not a doorbell"),
        named(ours, b"{ not json"),
        named(theirs, b"\xff\xfe\x00"),
        named(theirs, b"cos\nsystem\n(S'true'\ntR.", ("application/x-python-serialize", "binary")),
        named(theirs, BODY, ("application/x-unheard-of", "utf-8")),
        named(["a", "list"]),
        named({"a": "mapping"}),
        named(5),
        named(None),
        named(theirs, id={"no": "id"}),
        named("nobody.knows", id=["no", "id"]),
        named(theirs, eta="the day after"),
        named(theirs, expires="never, ever"),
        named(theirs, eta=7),
        named(theirs, timelimit="x"),
        named(theirs, timelimit=[1, 2, 3]),
        named(theirs, timelimit=["1", None]),
        ({}, json.dumps({"task": theirs, "id": uuid(), "timelimit": "x"}).encode(), JSON, {}),
        named(ours, wink="no mapping"),
        named(ours, wink=[1, 2]),
        named(ours, wink={"version": "1"}),
        named(ours, wink={**doorbell, "session": 5}),
        named(ours, wink={**doorbell, "message": "a\nb"}),
        named(ours, wink={**doorbell, "tenant": None}),
        named(refuses, json.dumps([["no"], {}, {}]).encode()),
        ({}, b'["no", "known", "format"]', JSON, {}),
        ({}, b'{"task": ["x"], "id": 5}', JSON, {}),
        ({}, b'{"task": "nobody.knows"}', JSON, {}),
        ({}, b'"text"', JSON, {}),
        ({}, b"\x80\x81", ("application/data", "binary"), {}),
        ({"lang": "py", "task": "nobody.knows"}, BODY, JSON, {}),
    ]


def harmless_ones(ours: str, theirs: str) -> list[Hostile]:
    """Messages that are handled as ever: forged doorbells find nothing, wrong arguments fail their task."""
    doorbell = {"version": 1, "tenant": "default", "session": "s", "message": "m"}
    return [
        named(ours, wink=doorbell),
        named(ours, wink={**doorbell, "tenant": "../..", "session": "*", "message": "{x}"}),
        named(ours, wink={**doorbell, "session": "s" * 100_000}),
        named(ours, wink={**doorbell, "version": 99}),
        named(theirs, BODY, ("application/json", "no-such-encoding")),
        named(theirs, json.dumps([["a"], {}, {}]).encode()),
        named(theirs, json.dumps([[1, 2, 3, 4], {"x": 1}, {}]).encode()),
    ]


def envelope(queue: str, body: Any = "W10=", headers: Any = None, **properties: Any) -> bytes:
    """What kombu would push into the list of this queue on Redis."""
    whole = {"delivery_tag": uuid(), "body_encoding": "base64", "delivery_info": {"exchange": "", "routing_key": queue}}
    kind = {"content-type": "application/json", "content-encoding": "utf-8"}
    return json.dumps({"body": body, "headers": headers, "properties": whole | properties, **kind}).encode()


def no_messages(queue: str) -> list[bytes]:
    """What somebody may push there by hand, and is no message at all."""
    return [
        b"garbage",
        b"",
        b"\x80\xff\xfe",
        b"[" * 100_000,
        b"x" * 1_000_000,
        b"null",
        b"7",
        b'"text"',
        b"[1, 2]",
        b"{}",
        b'{"__type__": "datetime", "__value__": 5}',
        b'{"__type__": "decimal", "__value__": "x"}',
        b'{"body": "W10=", "properties": null}',
        b'{"body": "W10=", "properties": {}}',
        b'{"body": "W10=", "properties": {"delivery_tag": "t"}}',
        envelope(queue, 5),
        envelope(queue, {"a": 1}),
        envelope(queue, headers=["no", "mapping"]),
        envelope(queue, body_encoding="rot13"),
        envelope(queue, body_encoding=5),
        envelope(queue, delivery_tag={"a": 1}),
        envelope(queue, delivery_tag=None),
        envelope(queue, delivery_tag=True),
        envelope(queue, delivery_info="no mapping"),
    ]


def odd_messages(queue: str) -> list[bytes]:
    """Messages that no program would send: bodies that are no text, and what no text in UTF-8 can hold."""
    headers = {"lang": "py", "task": "nobody.knows", "id": uuid()}
    return [
        envelope(queue, "no base64"),
        *(envelope(queue, body, headers, body_encoding=None) for body in (10**15, {"a": 1}, ["x"], True, "\ud800")),
        envelope(queue, headers={**headers, "id": "\ud800"}),
        envelope(queue, headers={**headers, "task": "\ud800"}),
        envelope(queue, headers={**headers, "n": 10**30}),
        envelope(queue, headers=headers, reply_to="\udfff"),
        envelope(queue, headers={**headers, "compression": "unheard of"}),
        envelope(queue, headers=headers, delivery_info={"exchange": ["x"], "routing_key": {"a": 1}}),
    ]


def send(app: Celery, queue: str, messages: Iterator[Hostile]) -> None:
    """Publish them as they are."""
    with app.producer_or_acquire() as producer:
        for headers, body, (content_type, encoding), properties in messages:
            producer.publish(
                body,
                exchange="",
                routing_key=queue,
                content_type=content_type,
                content_encoding=encoding,
                headers=headers,
                **properties,
            )


def many(messages: list[Hostile], count: int) -> Iterator[Hostile]:
    """So many of them, over and over."""
    return islice(cycle(messages), count)
