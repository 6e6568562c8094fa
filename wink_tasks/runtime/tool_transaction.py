"""The transaction of a call: what it wrote to its session, and each resource that it used and that can be put back.

    begin -> the function runs -> decide -> settle -> close(kept)
                   |                          |
                   +-- raised: roll back      +-- refused: roll back

The one commit is `settle`. Only where a resource commits elsewhere (rows of a database), `decide` commits these with
the call's answer before it, and a later delivery of the call, if there is one, gives that answer.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from typing import Any

from wink_tasks.core.codec import VERSION, decode_event, encode
from wink_tasks.core.errors import ContextClosedError, RollbackFailedError, UnsupportedError
from wink_tasks.core.events import Json
from wink_tasks.ports.transaction import Answer, Attempt, FateOf, Joined, Participant, Snapshotable, Transactional
from wink_tasks.runtime.resources import Resources
from wink_tasks.runtime.session import Session
from wink_tasks.runtime.transaction import ToolSession

log = logging.getLogger(__name__)


def tool_transaction(session: Session, resources: Resources) -> AbstractContextManager[None]:
    """A part of a call, in which a tool may fail without failing the call: `ctx.transaction()` is the same.

    Where an exception leaves it, what was written to the session meanwhile is taken back (but for slices of policy
    LOG), and each resource that was used and can be put back is, newest first; the exception goes on. Else nothing
    happens: the call commits it. May be nested, not be used by several threads or coroutines at once. Raises
    RollbackFailedError, after which the call cannot succeed, ContextClosedError after the call, and UnsupportedError
    outside of one.
    """
    resources.refuse_late("a transaction")
    if resources.transaction is None or not isinstance(session, ToolSession):
        raise UnsupportedError("a transaction is part of a call: use it in a tool or a task, with its own context")
    return resources.transaction.nested()


class Plain:
    """The part of a resource that only knows how to be put back."""

    decides = False

    def __init__(self, resource: Snapshotable) -> None:
        self.snapshot = resource.snapshot
        self.restore = resource.restore

    def earlier(self) -> Answer | None:
        """It knows of no other attempt."""
        return None

    def take_over(self, *, kept: bool) -> None:
        """An attempt that was killed took it along."""

    def prepare(self, *, decided: bool) -> None:
        """It is always ready."""

    def decide(self, answer: Answer) -> Answer:
        """There is nothing to decide."""
        return answer

    def close(self, *, kept: bool | None) -> None:
        """It holds nothing."""


@dataclass(eq=False)
class _Level:
    """Where a transaction, or an inner one, began: a mark of the session, and a token of each part used since."""

    session: int
    tokens: dict[int, Any] = field(default_factory=dict)


class Transaction:
    """That of one delivery of a call. Without an `attempt`, as in a test, only what is in memory takes part."""

    def __init__(self, session: ToolSession, resources: Resources, attempt: Attempt | None, fate_of: FateOf) -> None:
        self._session = session
        self._resources = resources
        self._attempt = attempt
        self._fate_of = fate_of
        self._lock = threading.RLock()
        self._parts: list[Participant] = []
        self._names: list[str] = []
        self._joined: list[tuple[object, object]] = []
        self._levels = [_Level(0)]
        self._broken: RollbackFailedError | None = None
        self._decided = False
        self._watching = resources.watching(self.use)
        self._watching.__enter__()
        resources.transaction = self

    def use(self, resource: object) -> object:
        """What the call gets in the place of a resource, which takes part from now on."""
        with self._lock:
            if self._attempt is not None and isinstance(resource, Transactional):
                return self._used(resource, resource.join_transaction)
            if isinstance(resource, Snapshotable):
                return self._used(resource, lambda *_: Joined(resource, Plain(resource)))
            return resource

    def _used(self, resource: object, join: Callable[[Any, FateOf], Joined]) -> object:
        for known, given in self._joined:
            same = isinstance(resource, Transactional) and type(known) is type(resource) and known == resource
            if known is resource or same:  # two journals of one folder would undo each other
                return given
        joined = join(self._attempt, self._fate_of)
        self._joined.append((resource, joined.resource))
        self._parts.append(joined.part)
        self._names.append(type(resource).__qualname__)
        self._levels[-1].tokens[len(self._parts) - 1] = joined.part.snapshot()
        return joined.resource

    # In order

    def begin(self, *, redelivered: bool) -> Answer | None:
        """Before the function: put back what an earlier attempt left, or find the answer that it committed.

        Raises RollbackFailedError.
        """
        if not redelivered:
            return None
        self._resources.use_each(Transactional)
        answer = next((found for part in self._parts if (found := part.earlier()) is not None), None)
        for part in self._parts:
            part.take_over(kept=answer is not None)
        if answer is not None:
            self._adopt(answer)
        return answer

    @contextmanager
    def nested(self) -> Iterator[None]:
        """See `tool_transaction`."""
        with self._lock:
            level = _Level(self._session.mark())
            for place, part in enumerate(self._parts):
                level.tokens[place] = part.snapshot()
            self._levels.append(level)
        try:
            yield
        except BaseException:
            with self._lock:
                if level not in self._levels:  # the call ended inside of it, and was put back
                    raise
                self._leave(level)
                self._put_back(level)
                # What was used for the first time in it is as it was before the call.
                self._levels[-1].tokens = {**level.tokens, **self._levels[-1].tokens}
            raise
        with self._lock:
            self._leave(level)
            self._levels[-1].tokens = {**level.tokens, **self._levels[-1].tokens}

    def decide(self, value: Json) -> Json:
        """After the function: commit what is committed elsewhere; the value that counts, maybe another attempt's.

        Raises LeaseLostError where another attempt has taken over, and what the commit raises.
        """
        if self._broken is not None:
            raise self._broken
        if len(self._levels) > 1:
            raise ContextClosedError("the function returned inside of a transaction: leave each `with` before")
        deciders = [part for part in self._parts if part.decides]
        if len(deciders) > 1:
            raise UnsupportedError("a call wrote rows to two databases, which nothing commits as one: use one")
        for part in self._parts:
            part.prepare(decided=bool(deciders))
        answer = Answer(value=value, events=tuple(encode(event) for event in self._session.written()), version=VERSION)
        for part in deciders:
            counts = part.decide(answer)
            self._decided = True
            if counts is not answer:
                self._adopt(counts)
                return counts.value
        return value

    def roll_back(self) -> None:
        """Put all back, newest first, and end it. Raises RollbackFailedError, after trying each."""
        with self._lock:
            del self._levels[1:]
            try:
                self._put_back(self._levels[0], session=False)
            except RollbackFailedError:
                self._close(kept=None)
                raise
            self._close(kept=False)

    def close(self, *, settled: bool | None) -> None:
        """After the settlement: it counts, it was refused, or (None) nobody knows. Raises RollbackFailedError."""
        if settled or (settled is not None and self._decided):
            self._close(kept=True)
        elif settled is None:
            self._close(kept=None)
        else:
            self.roll_back()

    def _adopt(self, answer: Answer) -> None:
        self._session.adopt([decode_event(event, answer.version) for event in answer.events])
        self._decided = True

    def _leave(self, level: _Level) -> None:
        if self._levels[-1] is not level:
            raise UnsupportedError("transactions of one call are nested, and were left in another order")
        self._levels.pop()

    def _put_back(self, level: _Level, *, session: bool = True) -> None:
        if session:
            self._session.back_to(level.session)
        failures: list[tuple[str, Exception]] = []
        for place in sorted(level.tokens, reverse=True):
            try:
                self._parts[place].restore(level.tokens[place])
            except Exception as error:  # noqa: BLE001 - whatever a resource raises: the others are put back
                failures.append((self._names[place], error))
        if failures:
            told = "; ".join(f"{name}: {type(error).__name__}: {error}" for name, error in failures)
            key = "" if self._attempt is None else self._attempt.key
            self._broken = RollbackFailedError(f"what {key} had changed could not be put back: {told}")
            raise self._broken from failures[0][1]

    def _close(self, *, kept: bool | None) -> None:
        self._watching.__exit__(None, None, None)
        for part in reversed(self._parts):
            try:
                part.close(kept=kept)
            except Exception:  # what it left is found by the next one
                log.exception("the end of a transaction: %s is not cleared away", type(part).__name__)
        self._parts, self._names, self._levels = [], [], [_Level(0)]
