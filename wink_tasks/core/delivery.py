"""The delivery machine: what may become of a message. The Redis scripts and the in-memory mailbox follow this table.

              send                claim (epoch+1, deliveries+1)          settle
     (none) -------> ready --------------------------------> leased ----------> done
                      ^  ^                                     |  |
      due, or wake    |  +---------- expire -------------------+  |  out of retries, or not retryable
           delayed ---+ <------------ nack(delay) --------------+ +------------------------------> dead

A message that waits for others (a turn for its tool calls, a call for the one before it, a first turn for its session)
is `delayed`, with `needs` counting what is still to close; each message names in `wakes` the one that it brings nearer.
It is due at `limit_at`, so that a deadline passes also where nothing comes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal

import msgspec

State = Literal["ready", "delayed", "leased", "done", "dead"]
Command = Literal["send", "claim", "extend", "settle", "nack", "wake", "due", "expire", "bury", "cancel"]
Kind = Literal["turn", "call", "outcome"]

RING_AGAIN: Final = 5.0
"""Seconds after which a ready message that nobody claimed has its doorbell rung again; doubles each time."""

RING_LONGEST: Final = 300.0
"""The longest pause between two rings, in seconds."""

LONGEST_ERROR: Final = 2_000
"""Characters of a failure's description that a message keeps."""

TABLE: Final[Mapping[State, Mapping[Command, State]]] = {
    # A lease that expired leaves its receipt the newest: until the next claim it still extends, settles and nacks.
    "ready": {
        "claim": "leased",
        "extend": "leased",
        "settle": "done",
        "nack": "delayed",
        "bury": "dead",
        "cancel": "done",
    },
    "delayed": {"wake": "ready", "due": "ready", "claim": "leased", "bury": "dead", "cancel": "done"},
    "leased": {
        "settle": "done",
        "extend": "leased",
        "nack": "delayed",
        "expire": "ready",
        "claim": "leased",
        "bury": "dead",
        "cancel": "done",
    },
    "done": {},
    "dead": {},
}


class Message(msgspec.Struct, frozen=True, kw_only=True):
    """One owed step, as it is sent. Times are epoch seconds, durations seconds.

    `id` is the Celery task id of its doorbell and `task` that task's name. `call` is the provider's id of a tool call.
    `reads` are the sequence numbers of the ledger events that the step needs; in a settlement 0 stands for its own
    first event, -1 for its second, and so on. `not_before` is the earliest start. `shown` is how its arguments look in
    Flower. `trace` are W3C headers. Stores read its JSON, so that leaves no default out.
    """

    id: str
    kind: Kind
    mailbox: str
    task: str
    tenant: str
    session: str
    evaluation: str
    turn: int = 1
    index: int = 0
    call: str = ""
    reads: tuple[int, ...] = ()
    needs: int = 0
    wakes: str = ""
    not_before: float = 0.0
    limit_at: float | None = None
    max_retries: int = 3
    visibility_timeout: float = 10.0
    priority: int | None = None
    shown: str = ""
    trace: dict[str, str] = {}


def out_of_retries(deliveries: int, pardoned: int, max_retries: int) -> bool:
    """Whether a message that was claimed `deliveries` times, this one included, may not be tried again."""
    return deliveries - pardoned > 1 + max_retries


def claimable(state: State, *, now: float, due: float) -> bool:
    """Whether a claim at `now` succeeds; `due` is the end of the lease, or the time until which it is delayed."""
    return state == "ready" or (state in ("leased", "delayed") and now >= due)


def ring_pause(rings: int) -> float:
    """Seconds until a message is rung again that has been rung `rings` times without being claimed."""
    return min(RING_LONGEST, RING_AGAIN * 2.0 ** min(max(rings - 1, 0), 16))
