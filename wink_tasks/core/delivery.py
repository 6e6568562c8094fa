"""The delivery machine: what may become of a message. The Redis scripts and the in-memory mailbox follow this table.

              send                claim (epoch+1, deliveries+1)          settle
     (none) -------> ready --------------------------------> leased ----------> done
                      ^  ^                                     |  |
      due, or wake    |  +---------- expire -------------------+  |  out of retries, or not retryable
           delayed ---+ <------------ nack(delay) --------------+ +------------------------------> dead
                      ^                                                                             |
                      +------------------------------- revive --------------------------------------+

A dead letter that is revived is `delayed` where its session runs another evaluation, and closed at once where it would
change nothing: its call is answered, or its evaluation has ended otherwise.

A message that waits for others (a turn for its tool calls, a call for the one before it, a first turn for its session)
is `delayed`, with `needs` counting what is still to close; each message names in `wakes` the one that it brings nearer.
It is due at `limit_at`, so that a deadline passes also where nothing comes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, Literal

import msgspec

State = Literal["ready", "delayed", "leased", "done", "dead"]
Command = Literal[
    "send", "claim", "extend", "settle", "nack", "wake", "due", "expire", "ring", "bury", "cancel", "revive"
]
Kind = Literal["turn", "call", "task", "outcome"]

RING_AGAIN: Final = 5.0
"""Seconds after which a doorbell that nobody published, or that others overtook, is rung again."""

RING_LONGEST: Final = 60.0
"""The longest pause between two rings that nobody answers, in seconds."""

MAX_RETRIES: Final = 3
"""How often a message is delivered again that says nothing else."""

LONGEST_ERROR: Final = 2_000
"""Characters of a failure's description that a message keeps."""

LONGEST_TRACEBACK: Final = 8_000
"""Characters of a failure's traceback that a message keeps: the last ones."""

LONGEST_CHECKPOINT: Final = 65_536
"""Bytes of JSON that a message keeps of how far its step is."""

SHORTEST_LEASE: Final = 1.0
LONGEST_LEASE: Final = 43_200.0
"""Seconds within which a visibility timeout has to be."""

TABLE: Final[Mapping[State, Mapping[Command, State]]] = {
    # A lease that expired leaves its receipt the newest: until the next claim it still extends, settles and nacks.
    "ready": {
        "claim": "leased",
        "extend": "leased",
        "settle": "done",
        "nack": "delayed",
        "ring": "ready",
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
    "dead": {"revive": "ready"},
}


class Message(msgspec.Struct, frozen=True, kw_only=True):
    """One owed step, as it is sent. Times are epoch seconds, durations seconds.

    `id` is the Celery task id of its doorbell and `task` that task's name. `call` is the provider's id of a tool call.
    `reads` are the sequence numbers of the ledger events that the step needs; in a settlement 0 stands for its own
    first event, -1 for its second, and so on. `not_before` is the earliest start. `shown` is how its arguments look in
    Flower. `trace` are W3C headers, `headers` those that the caller gave. Stores read its JSON, so that leaves no
    default out.
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
    max_retries: int = MAX_RETRIES
    visibility_timeout: float = 10.0
    priority: int | None = None
    shown: str = ""
    trace: dict[str, str] = {}
    headers: dict[str, Any] = {}


def out_of_retries(deliveries: int, pardoned: int, max_retries: int) -> bool:
    """Whether a message that was claimed `deliveries` times, this one included, may not be tried again."""
    return deliveries - pardoned > 1 + max_retries


def outcome_unknown(kind: Kind, max_retries: int) -> bool:
    """Whether a delivery that neither ended nor was given back may have done what must not be done twice."""
    return max_retries == 0 and kind in ("call", "task")


def claimable(state: State, *, now: float, due: float) -> bool:
    """Whether a claim at `now` succeeds; `due` is the end of the lease, or the time until which it is delayed."""
    return state == "ready" or (state in ("leased", "delayed") and now >= due)


def on_its_last(deliveries: int, pardoned: int, lost: int, max_retries: int) -> bool:
    """Whether a claimed message dies if its worker dies again, `lost` of its deliveries having ended so."""
    return lost > 0 and out_of_retries(deliveries + 1, pardoned, max_retries)


def not_dead(message: str, tenant: str, state: str) -> str:
    """Why a message cannot be revived that is in another `state` than dead; '' where there is none."""
    is_what = f"is {state}" if state else "is not there"
    return f"message {message!r} of tenant {tenant!r} {is_what}: only a dead letter can be revived"


def ring_pause(rings: int) -> float:
    """Seconds until a message is rung again that has been rung `rings` times without being claimed."""
    return min(RING_LONGEST, RING_AGAIN * 2.0 ** min(max(rings - 1, 0), 16))


class Lane(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of the doorbells of one mailbox and priority. A broker hands them out in the order of ringing.

    `passed`: of all bells that rang before, each has arrived or never will. `claimed`: when the last bell led to a
    claim. `oldest` and `newest`: when those rang that wait (None: nobody waits). `probes` were rung into the silence
    without answer, the last at `probed` for a message whose first bell rang at `awaited`. Times are epoch seconds, and
    those of bells differ.
    """

    passed: float = 0.0
    claimed: float = 0.0
    probed: float = 0.0
    awaited: float = 0.0
    probes: int = 0
    oldest: float | None = None
    newest: float | None = None


class Again(msgspec.Struct, frozen=True, kw_only=True):
    """What to ring in a lane: those that rang up to `before`, and as the `probes`-th try the newest (0: it is not)."""

    before: float | None = None
    probes: int = 0


def ring_again(lanes: Sequence[Mapping[str, Lane]], now: float) -> list[dict[str, Again]]:
    """What to ring in each partition, given what each knows of each lane.

    A deep backlog is not multiplied. A bell is lost only where one that rang RING_AGAIN later has arrived. Where none
    arrives any more, the newest is rung, alone, and ever more seldom until it was passed: if it is claimed at once,
    the others were lost; if they arrive before it, they were only waiting.
    """
    plans: list[dict[str, Again]] = [{} for _ in lanes]
    for name in sorted({name for known in lanes for name in known}):
        parts = [known.get(name, Lane()) for known in lanes]
        whole = _together(parts)
        before = whole.passed - RING_AGAIN
        probes = _probes(whole, now)
        for plan, part in zip(plans, parts, strict=True):
            overtaken = part.oldest is not None and part.oldest <= before
            probing = probes if part.newest is not None and part.newest == whole.newest else 0
            if overtaken or probing:
                plan[name] = Again(before=before if overtaken else None, probes=probing)
            if probing:
                probes = 0
    return plans


def _together(parts: Sequence[Lane]) -> Lane:
    probed = max(parts, key=lambda part: part.probed)
    return Lane(
        passed=max(part.passed for part in parts),
        claimed=max(part.claimed for part in parts),
        probed=probed.probed,
        awaited=probed.awaited,
        probes=probed.probes,
        oldest=_bound(min, (part.oldest for part in parts)),
        newest=_bound(max, (part.newest for part in parts)),
    )


def _bound(choose: Callable[[list[float]], float], times: Iterable[float | None]) -> float | None:
    known = [time for time in times if time is not None]
    return choose(known) if known else None


def _probes(lane: Lane, now: float) -> int:
    if lane.newest is None:
        return 0
    unanswered = lane.probes if lane.passed <= lane.awaited else 0
    silent = now - max(lane.claimed, lane.newest)
    return unanswered + 1 if silent >= ring_pause(unanswered + 1) else 0
