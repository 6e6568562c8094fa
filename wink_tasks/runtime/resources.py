"""What tools use beside their arguments: declared by type, made at first use, closed with their call or process."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Coroutine, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from traceback import format_exception
from types import TracebackType
from typing import Any, Final, Protocol, Self, TypeVar, cast

from wink_tasks.core.bindings import Binding, Scope, is_awaited
from wink_tasks.core.errors import (
    ConfigurationError,
    ContextClosedError,
    ResourceCloseError,
    ResourceError,
)
from wink_tasks.core.redaction import redact
from wink_tasks.runtime.aside import aside
from wink_tasks.runtime.loop import BackgroundLoop
from wink_tasks.runtime.making import Await, Close, make

T = TypeVar("T")

log = logging.getLogger(__name__)

LONGEST_CLOSE: Final = 5.0
"""Seconds for which the closing of one async resource may take."""


class Nesting(Protocol):
    """The transaction of a call."""

    def nested(self) -> AbstractContextManager[None]:
        """A part of it that is put back alone where it fails."""
        ...


class _Slot:
    """Where one resource stands. Whoever makes it holds the lock; others wait for it."""

    __slots__ = ("lock", "made", "value")

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.made = False
        self.value: Any = None


class _Owner:
    """Makes resources, and closes in reverse order what it made."""

    def __init__(self, bound: Mapping[type, Binding], loop: BackgroundLoop, what: str) -> None:
        self._bound = bound
        self._loop = loop
        self._what = what
        self._slots: dict[type, _Slot] = {}
        self._opened: list[tuple[Binding, Close]] = []
        self._over = False
        self._ending = threading.Lock()

    def _new(self, binding: Binding, need: Callable[[type], Any], wait: Await) -> Any:
        needs = {name: need(wanted) for name, wanted in binding.needs(self._bound).items()}
        try:
            value, close = make(binding, needs, wait)
        except Exception as error:
            error.add_note(f"{binding.what} raised this")
            raise
        if close is not None:
            with self._ending:
                late = self._over
                if not late:
                    self._opened.append((binding, close))
            if late:
                close(None, self._wait_briefly)
                raise ResourceError(f"resource {binding.name} was made when {self._what} was over, and is closed again")
        return value

    def _close(self, error: BaseException | None) -> list[Exception]:
        """Close all, also where one fails; what they raised, each with a note that names it.

        Raises what tells the process to end, once all are closed.
        """
        with self._ending:
            self._over = True
            opened, self._opened = self._opened, []
        failures: list[Exception] = []
        ends: BaseException | None = None
        for binding, close in reversed(opened):
            try:
                close(error, self._wait_briefly)
            except Exception as failure:  # noqa: BLE001 - gathered, and raised by whoever asked to close
                if failure is not error:
                    failure.add_note(f"resource {binding.name}")
                    failures.append(failure)
            except BaseException as end:  # noqa: BLE001 - raised below
                ends = end
        self._slots.clear()
        if ends is not None:
            raise ends
        return failures

    def _wait_briefly(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return self._off_loop(asyncio.wait_for(coroutine, LONGEST_CLOSE))

    def _off_loop(self, coroutine: Coroutine[Any, Any, T]) -> T:
        if self._loop.is_current():  # which would wait for itself
            coroutine.close()
            raise ResourceError("an async resource cannot be waited for on the loop: `await ctx.resources.aget(...)`")
        return self._loop.submit(coroutine).result()


def _unclosed(what: str, failures: list[Exception]) -> ResourceCloseError:
    told = "; ".join(f"{type(one).__name__}: {one} ({one.__notes__[-1]})" for one in failures)
    message = f"of the resources of {what}, {len(failures)} did not close: {told}"
    error = ResourceCloseError(message, tuple(failures))
    error.__cause__ = ExceptionGroup("while closing", failures)
    return error


class Singletons(_Owner):
    """Those of one process."""

    def __init__(self, bound: Mapping[type, Binding], loop: BackgroundLoop) -> None:
        super().__init__(bound, loop, "the process")

    def of_call(self, key: str) -> Resources:
        """Those of one delivery of the call `key`."""
        return Resources(self._bound, self._loop, self, key)

    def made(self, wanted: type) -> bool:
        """Whether asking for it waits for nothing."""
        slot = self._slots.get(wanted)
        return slot is not None and slot.made

    def use(self, wanted: type, wait: Await) -> Any:
        """The one of that type."""
        slot = self._slots.get(wanted) or self._slots.setdefault(wanted, _Slot())
        if slot.made:
            return slot.value
        with slot.lock:
            if not slot.made:
                binding = self._bound[wanted]
                if self._over:
                    raise ResourceError(f"resource {binding.name} is not made any more: the process is ending")
                slot.value = binding.factory if binding.given else self._new(binding, self._need(wait), wait)
                slot.made = True
            return slot.value

    def _need(self, wait: Await) -> Callable[[type], Any]:
        def need(wanted: type) -> Any:
            binding = self._bound[wanted]
            if binding.scope is Scope.PROTOTYPE:
                return self._new(binding, need, wait)
            return self.use(wanted, wait)

        return need

    def close(self) -> None:
        """Close all, in reverse order of their making. Raises ResourceCloseError, which names each that failed."""
        if failures := self._close(None):
            raise _unclosed(self._what, failures)


class Resources(_Owner):
    """Those of one delivery of a call, by type. Entered while the call runs; whoever leaves it closes them."""

    def __init__(self, bound: Mapping[type, Binding], loop: BackgroundLoop, singletons: Singletons, key: str) -> None:
        super().__init__(bound, loop, f"the call {key}")
        self._singletons = singletons
        self._through: Await | None = None
        self._used: list[object] = []
        self._watchers: list[Callable[[object], object]] = []
        self._watching = threading.RLock()
        self._at_end: list[Callable[[], object]] = []
        self.transaction: Nesting | None = None

    def __getitem__(self, wanted: Callable[..., T]) -> T:
        """The resource that is bound to a class or a Protocol; made now, where its scope has none yet.

        Raises ConfigurationError where none is bound, ResourceError where it can only be had by `await aget()`,
        ContextClosedError after the call, and what the factory raises.
        """
        self.refuse_late("a resource")
        type_ = cast("type", wanted)
        if type_ not in self._bound:
            message = f"no resource is bound to {type_.__qualname__}: wink.resources.bind({type_.__qualname__}, ...)"
            raise ConfigurationError(message)
        if self._loop.is_current() and not self._made(type_) and is_awaited(type_, self._bound):
            name = type_.__qualname__
            message = f"resource {name} is async: annotate a parameter with it, or `await ctx.resources.aget({name})`"
            raise ResourceError(message)
        return cast("T", self._need(type_))

    async def aget(self, wanted: Callable[..., T]) -> T:
        """As `[]`, for async tools: the loop goes on while it is made."""
        if self._made(cast("type", wanted)):
            return self[wanted]
        return await aside(self.__getitem__, wanted)

    @contextmanager
    def watching(self, told: Callable[[object], object]) -> Iterator[None]:
        """Within it, `told` is given each resource that the call uses, once, and gives what the tool gets instead.

        Those that it uses already come first, in the order of their first use. Dependencies come before what needs
        them; PROTOTYPEs as they are made. It is called in the thread that asks, and what it raises goes there.
        """
        with self._watching:
            for value in self._used:
                told(value)
            self._watchers.append(told)
        try:
            yield
        finally:
            with self._watching:
                self._watchers.remove(told)

    def refuse_late(self, what: str) -> None:
        """Raises ContextClosedError where the call has ended."""
        if self._over:
            message = (
                f"{self._what} has ended, and its context was asked for {what}: finish all work, also that of threads "
                f"and tasks that the tool started, before it returns"
            )
            raise ContextClosedError(message)

    def provide(self, wanted: type, value: object) -> None:
        """Have `value` as the call's own one of that type."""
        slot = self._slots[wanted] = _Slot()
        slot.value, slot.made = value, True

    def use_each(self, kind: type) -> None:
        """Use all that are known to be of that Protocol by their type or their factory."""
        for wanted, binding in self._bound.items():
            if isinstance(wanted, kind) or isinstance(binding.factory, kind):
                self._need(wanted)

    def through(self, wait: Await) -> None:
        """Make async resources by `wait`, which knows when the call has to end. Never called on the loop."""
        self._through = wait

    def at_end(self, call: Callable[[], object]) -> None:
        """Have `call` called when everything is closed."""
        self._at_end.append(call)

    def given(self, needs: Mapping[str, type]) -> dict[str, Any]:
        """The resources that a function takes, by parameter."""
        return {name: self._need(wanted) for name, wanted in needs.items()}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close all, whatever happened.

        Raises ResourceCloseError where the call itself had not failed; else what could not be closed is logged, and
        noted at what the call raised.
        """
        try:
            failures = self._close(error)
        finally:
            for call in self._at_end:
                call()
            self._used.clear()
            self._through = None
        if not failures:
            return
        unclosed = _unclosed(self._what, failures)
        if error is None:
            raise unclosed
        log.error("%s", redact("".join(format_exception(unclosed))))
        error.add_note(str(unclosed))

    def _made(self, wanted: type) -> bool:
        slot = self._slots.get(wanted)
        return (slot is not None and slot.made) or self._singletons.made(wanted)

    def _need(self, wanted: type) -> Any:
        binding = self._bound[wanted]
        if binding.scope is Scope.PROTOTYPE:
            value = self._new(binding, self._need, self._wait)
            return self._tell(value)
        slot = self._slots.get(wanted) or self._slots.setdefault(wanted, _Slot())
        if slot.made:
            return slot.value
        with slot.lock:
            if not slot.made:
                if binding.scope is Scope.SINGLETON:
                    self._use_below(binding)
                    value = self._singletons.use(wanted, self._wait)
                else:
                    value = self._new(binding, self._need, self._wait)
                slot.value, slot.made = self._tell(value), True
            return slot.value

    def _wait(self, coroutine: Coroutine[Any, Any, T]) -> T:
        if self._through is None or self._loop.is_current():
            return self._off_loop(coroutine)
        return cast("T", self._through(coroutine))

    def _use_below(self, binding: Binding) -> None:
        """The call uses also what a singleton of it uses."""
        for needed in map(self._bound.__getitem__, binding.needs(self._bound).values()):
            if needed.scope is Scope.SINGLETON:
                self._need(needed.wanted)
            else:
                self._use_below(needed)

    def _tell(self, value: object) -> object:
        with self._watching:
            for told in self._watchers:
                value = told(value)
            self._used.append(value)
            return value
