"""What the in-memory store remembers."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

from wink_tasks.core.delivery import Lane, Message, State
from wink_tasks.core.events import Json, Recorded
from wink_tasks.core.ids import partition_of
from wink_tasks.ports.clock import Clock
from wink_tasks.ports.fleet import Worker
from wink_tasks.ports.ledger import Snapshot, Status
from wink_tasks.ports.pauses import Pause
from wink_tasks.ports.rejections import Rejected

HOUR = 3600.0


@dataclass
class MessageBook:
    """A message; `since` is when it came to its state, `due` when the reaper looks at it.

    Of one that is ready, `rung` is when its bell rang first, `bell` when it did last, and `again` when it rings again
    unless that one is confirmed. `lost` are the deliveries that ended with their worker.
    """

    sent: Message
    needs: int
    reads: tuple[int, ...]
    state: State = "delayed"
    since: float = 0.0
    due: float | None = None
    epoch: int = 0
    deliveries: int = 0
    pardoned: int = 0
    lost: int = 0
    rings: int = 0
    rung: float = 0.0
    bell: float = 0.0
    again: float | None = None
    owner: str = ""
    nonce: str = ""
    error: str = ""
    traceback: str = ""
    reason: str = ""
    claimed_at: float = 0.0
    checkpoint: Json = None


@dataclass
class EvaluationBook:
    """An evaluation, with the message that its end will make."""

    id: str
    tenant: str
    session: str
    prompt: str
    first: str
    outcome: Message
    status: Status
    accepted_seq: int
    accepted_at: float
    started_at: float = 0.0
    ended_seq: int = 0
    ended_at: float = 0.0
    cancelled: bool = False
    reason: str = ""
    open: set[str] = field(default_factory=set)
    dead: list[str] = field(default_factory=list)
    died: str = ""
    resumed: int = 0
    paused: str = ""
    paused_at: float = 0.0

    @property
    def stopping(self) -> bool:
        """Whether it was asked to stop, and has not ended."""
        return self.cancelled and not self.ended_seq


@dataclass
class SessionBook:
    """A session and its ledger."""

    tenant: str
    id: str
    created: float
    updated: float
    current: str = ""
    waiting: list[str] = field(default_factory=list)
    evaluations: list[str] = field(default_factory=list)
    ledger: list[Recorded] = field(default_factory=list)
    snapshot: Snapshot | None = None
    parent: str = ""
    base: int = 0


class Books:
    """Everything, under one lock. Times are rounded to milliseconds, as Redis keeps them."""

    def __init__(self, clock: Clock, partitions: int) -> None:
        self.lock = threading.RLock()
        self.partitions = partitions
        self.messages: dict[tuple[int, str], MessageBook] = {}
        self.evaluations: dict[str, EvaluationBook] = {}
        self.sessions: dict[tuple[str, str], SessionBook] = {}
        self.homes: dict[str, tuple[str, str, str]] = {}
        self.tombstones: dict[tuple[str, str], tuple[float, str]] = {}
        self.workers: dict[str, tuple[Worker, float]] = {}
        self.reaper: tuple[str, float] = ("", 0.0)
        self.turn = 0.0
        self.settings: dict[str, str] = {}
        self.pauses: dict[tuple[str, str], Pause] = {}
        self.rejected: list[Rejected] = []
        self.rejections = 0
        self.lanes: dict[tuple[int, str], Lane] = {}
        self.probing: dict[tuple[int, str], str] = {}
        self._clock = clock

    def now(self) -> float:
        """Epoch seconds."""
        return round(self._clock.now(), 3)

    def partition(self, name: str) -> int:
        """Where a session or an evaluation id lives."""
        return partition_of(name, self.partitions)

    def lane(self, m: MessageBook) -> tuple[int, str]:
        """Where a message's bells are counted: its partition, priority and mailbox."""
        priority = "" if m.sent.priority is None else m.sent.priority
        return self.partition(m.sent.session), f"{priority}:{m.sent.mailbox}"

    def message(self, session: str, message: str) -> MessageBook | None:
        """A message, until an hour after it was closed."""
        key = self.partition(session), message
        found = self.messages.get(key)
        if found is not None and found.state == "done" and self.now() >= found.since + HOUR:
            del self.messages[key]
            return None
        return found
