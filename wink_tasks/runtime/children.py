"""Leases of pool children, kept by their parent: a child may hold its GIL for hours, or die, and its parent sees to it.

Child to parent: `hold` before a step begins, `release` when it is over. Parent to child: `stop` with the reason, and
`closing` when the worker ends.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable

import msgspec

from wink_tasks.core.errors import LeaseLostError, WinkError
from wink_tasks.core.redaction import redact
from wink_tasks.ports.doorbell import Ringer
from wink_tasks.ports.line import LinesToChildren, LineToParent
from wink_tasks.ports.mailbox import Mailbox, Receipt
from wink_tasks.runtime.keeper import LeaseKeeper, is_step_of
from wink_tasks.runtime.stop import Stop, read_why

log = logging.getLogger(__name__)


class Hold(msgspec.Struct, frozen=True, tag="hold"):
    """A step begins."""

    receipt: Receipt
    limit: float


class Release(msgspec.Struct, frozen=True, tag="release"):
    """It is over."""

    receipt: Receipt


class StopStep(msgspec.Struct, frozen=True, tag="stop"):
    """It should not go on."""

    receipt: Receipt
    why: str


class Closing(msgspec.Struct, frozen=True, tag="closing"):
    """The worker ends: nothing is claimed any more."""


_encode = msgspec.json.Encoder().encode
_from_child = msgspec.json.Decoder(Hold | Release).decode
_from_parent = msgspec.json.Decoder(StopStep | Closing).decode


class ForwardingKeeper:
    """The keeper of a child: its parent renews. `closing` is called when the parent says that the worker ends."""

    def __init__(self, line: LineToParent, *, closing: Callable[[], None]) -> None:
        self._line = line
        self._closing = closing
        self._steps: dict[Receipt, Stop] = {}
        self._lock = threading.Lock()

    def start(self) -> None:
        """Be ready to talk; a second call changes nothing."""
        self._line.open(self._heard)

    def stop(self) -> None:
        """Say no more; to the parent this child is gone."""
        self._line.close()

    def hold(self, receipt: Receipt, *, limit: float, stop: Stop) -> None:
        """See Keeper. `stop` is set from the line's thread."""
        with self._lock:
            self._steps[receipt] = stop
        try:
            self._line.send(_encode(Hold(receipt, limit)))
        except OSError as error:
            self._forget(receipt)
            message = f"nobody renews the lease of {receipt.address.message}: the main process does not answer: {error}"
            raise LeaseLostError(message) from error

    def release(self, receipt: Receipt) -> None:
        """The step is over."""
        if self._forget(receipt) is None:
            return
        try:
            self._line.send(_encode(Release(receipt)))
        except OSError as error:
            log.warning("the main process was not told that %s is over: %s", receipt.address.message, error)

    def held(self) -> tuple[Receipt, ...]:
        """What is held at this moment."""
        with self._lock:
            return tuple(self._steps)

    def cancel(self, evaluation: str) -> int:
        """See Keeper."""
        with self._lock:
            theirs = [stop for receipt, stop in self._steps.items() if is_step_of(receipt, evaluation)]
        for stop in theirs:
            stop.set("cancelled")
        return len(theirs)

    def _forget(self, receipt: Receipt) -> Stop | None:
        with self._lock:
            return self._steps.pop(receipt, None)

    def _heard(self, message: bytes) -> None:
        said = _from_parent(message)
        if isinstance(said, Closing):
            self._closing()
            return
        with self._lock:
            stop = self._steps.get(said.receipt)
        if stop is not None:
            stop.set(read_why(said.why))


class Children:
    """In the parent: what children hold is renewed here, and given back at once when one of them dies."""

    def __init__(self, lines: LinesToChildren, keeper: LeaseKeeper, mailbox: Mailbox, ringer: Ringer) -> None:
        self._lines = lines
        self._keeper = keeper
        self._mailbox = mailbox
        self._ringer = ringer
        self._theirs: dict[int, set[Receipt]] = {}
        self._closing = False
        self._pardons = False

    def start(self) -> None:
        """Begin to listen."""
        self._lines.open(came=self._came, hear=self._heard, gone=self._gone)

    def stop(self) -> None:
        """End all lines."""
        self._lines.close()

    def closing(self) -> None:
        """Tell all children, also those to come, that nothing is claimed any more."""
        self._closing = True
        for child in tuple(self._theirs):
            self._lines.send(child, _encode(Closing()))

    def pardon(self) -> None:
        """From now on a child's death is this worker's own doing, and costs its messages nothing."""
        self._pardons = True

    def _came(self, child: int) -> None:
        self._theirs[child] = set()
        if self._closing:
            self._lines.send(child, _encode(Closing()))

    def _heard(self, child: int, message: bytes) -> None:
        said = _from_child(message)
        receipt = said.receipt
        if isinstance(said, Hold):
            stop = Stop()
            self._theirs[child].add(receipt)
            self._keeper.hold(receipt, limit=said.limit, stop=stop)
            stop.then(lambda: self._lines.send(child, _encode(StopStep(receipt, stop.why or "lost"))))
        else:
            self._theirs[child].discard(receipt)
            self._keeper.release(receipt)

    def _gone(self, child: int) -> None:
        left = self._theirs.pop(child, set())
        for receipt in left:
            self._keeper.release(receipt)
        if left:  # a store that is away must not keep the others from being heard
            threading.Thread(target=self._give_back, args=(child, left), name="wink-lost-child", daemon=True).start()

    def _give_back(self, child: int, left: Iterable[Receipt]) -> None:
        for receipt in left:
            message = receipt.address.message
            error = f"process {child}, which worked on it, died"
            try:
                bells = self._mailbox.nack(receipt, delay=0, counts=not self._pardons, error=error, begun=True)
            except LeaseLostError:
                log.info("process %d died; %s, on which it worked, is not its own any more", child, message)
            except WinkError as failure:
                log.warning("process %d died; %s waits for its lease: %s", child, message, redact(str(failure)))
            else:
                log.warning("process %d died; %s, on which it worked, is given back", child, message)
                self._ringer.ring(bells)
