"""Messages and events as the scripts take and give them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from wink_tasks.core.codec import decode_event
from wink_tasks.core.delivery import Lane, Message, State
from wink_tasks.core.events import Recorded
from wink_tasks.ports.mailbox import Address, Claimed, Doorbell, Peeked, Receipt

_messages: Final = msgspec.json.Decoder(Message)


def doorbell(spec: bytes) -> Doorbell:
    """The doorbell of a message."""
    return Doorbell.of(_messages.decode(spec))


def pairs(flat: Sequence[bytes]) -> dict[bytes, bytes]:
    """A hash, or an entry's fields, as the server lists them."""
    return dict(zip(flat[::2], flat[1::2], strict=True))


def recorded(entries: Sequence[tuple[bytes, Sequence[bytes]]]) -> tuple[Recorded, ...]:
    """Entries of a ledger's stream."""
    return tuple(_recorded(entry, pairs(flat)) for entry, flat in entries)


def _recorded(entry: bytes, fields: Mapping[bytes, bytes]) -> Recorded:
    event = decode_event(fields[b"e"], int(fields[b"v"]))
    return Recorded(int(entry.partition(b"-")[0]), int(fields[b"t"]) / 1000, fields[b"a"].decode(), event)


def claimed(hand: Sequence[Any]) -> Claimed:
    """What a script hands to a claimer."""
    spec, reads, epoch, nonce, deliveries, pardoned, last, started_at, cancelled, *rest = hand
    head, opened_at, tail, read, paused, kept = rest
    message = msgspec.structs.replace(_messages.decode(spec), reads=tuple(map(int, reads.split())))
    return Claimed(
        receipt=Receipt(Address(message.tenant, message.session, message.id), int(epoch), nonce.decode()),
        message=message,
        deliveries=int(deliveries),
        pardoned=int(pardoned),
        last=last == 1,
        started_at=float(started_at),
        cancelled=cancelled == 1,
        head=int(head),
        opened_at=float(opened_at),
        tail=recorded(tail),
        read=recorded(read),
        paused=paused == 1,
        checkpoint=msgspec.json.decode(kept) if kept else None,
    )


def peeked(row: Sequence[bytes], state: State, since: float) -> Peeked:
    """A message as it lies in its mailbox, of its hash."""
    fields = {name.decode(): value.decode() for name, value in pairs(row).items()}
    sent = msgspec.structs.replace(_messages.decode(fields["spec"]), reads=tuple(map(int, fields["reads"].split())))
    known = {**fields, "sent": sent, "state": state, "since": since}
    return msgspec.convert({**known, "claimed_at": fields.get("claimed", "0")}, Peeked, strict=False)


def lane(found: Sequence[Any]) -> tuple[str, Lane]:
    """What a partition knows of a lane."""
    name, (passed, claimed_at, probed, awaited, probes, _), oldest, newest = found
    known = Lane(
        passed=float(passed),
        claimed=float(claimed_at),
        probed=float(probed),
        awaited=float(awaited),
        probes=int(probes),
        oldest=None if oldest is None else float(oldest),
        newest=None if newest is None else float(newest),
    )
    return name.decode(), known
