"""Messages and events as the scripts take and give them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from wink_tasks.core.codec import decode_event, encode
from wink_tasks.core.delivery import Message
from wink_tasks.core.events import Recorded
from wink_tasks.ports.mailbox import Address, Claimed, Doorbell, Receipt

_messages: Final = msgspec.json.Decoder(Message)


def fields_of(message: Message) -> list[str]:
    """A message in the order of `FIELDS` in lua/_message.lua."""
    return [
        message.id,
        message.mailbox,
        message.kind,
        message.task,
        message.tenant,
        message.session,
        message.evaluation,
        message.wakes,
        message.call,
        str(message.needs),
        repr(message.not_before),
        "" if message.limit_at is None else repr(message.limit_at),
        str(message.max_retries),
        repr(message.visibility_timeout),
        ",".join(map(str, message.reads)),
        encode(message).decode(),
    ]


def doorbell(spec: bytes) -> Doorbell:
    """The doorbell of a message."""
    message = _messages.decode(spec)
    return Doorbell(
        address=Address(message.tenant, message.session, message.id),
        mailbox=message.mailbox,
        task=message.task,
        shown=message.shown,
        priority=message.priority,
        trace=message.trace,
    )


def recorded(entry: bytes, fields: Mapping[bytes, bytes]) -> Recorded:
    """An entry of a ledger's stream."""
    event = decode_event(fields[b"e"], int(fields[b"v"]))
    return Recorded(int(entry.partition(b"-")[0]), int(fields[b"t"]) / 1000, fields[b"a"].decode(), event)


def claimed(hand: Sequence[Any]) -> Claimed:
    """What a script hands to a claimer."""
    spec, reads, epoch, nonce, deliveries, started_at, cancelled, head, tail, read = hand
    message = msgspec.structs.replace(_messages.decode(spec), reads=tuple(int(seq) for seq in reads.split(b",") if seq))
    return Claimed(
        receipt=Receipt(Address(message.tenant, message.session, message.id), int(epoch), nonce.decode()),
        message=message,
        deliveries=int(deliveries),
        started_at=float(started_at),
        cancelled=cancelled == 1,
        head=int(head),
        tail=_events(tail),
        read=_events(read),
    )


def _events(entries: Sequence[tuple[bytes, Sequence[bytes]]]) -> tuple[Recorded, ...]:
    return tuple(recorded(entry, dict(zip(flat[::2], flat[1::2], strict=True))) for entry, flat in entries)
