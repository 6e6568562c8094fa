"""An immutable sequence that grows at its end at a flat cost, and shares what it has in common with its ancestors."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final, Generic, TypeVar, overload

T = TypeVar("T")

WIDTH: Final = 64


class Log(Generic[T]):
    """A sequence in blocks of `WIDTH`: `added` copies one block and the list of blocks, never the items.

    The first `absent` items may be somewhere else: they count, and whoever asks for one of them gets a LookupError.
    """

    __slots__ = ("_blocks", "_tail", "absent")

    def __init__(self, blocks: tuple[tuple[T, ...], ...] = (), tail: tuple[T, ...] = (), absent: int = 0) -> None:
        self._blocks = blocks
        self._tail = tail
        self.absent = absent

    @classmethod
    def of(cls, items: Iterable[T]) -> Log[T]:
        """A log of these items."""
        held = tuple(items)
        if len(held) < WIDTH:
            return cls((), held)
        whole = len(held) - len(held) % WIDTH
        return cls(tuple(held[start : start + WIDTH] for start in range(0, whole, WIDTH)), held[whole:])

    def added(self, item: T) -> Log[T]:
        """A log with one more item at the end."""
        tail = (*self._tail, item)
        full = len(tail) == WIDTH
        return Log((*self._blocks, tail), (), self.absent) if full else Log(self._blocks, tail, self.absent)

    def extended(self, items: Iterable[T]) -> Log[T]:
        """A log with more items at the end."""
        log = self
        for item in items:
            log = log.added(item)
        return log

    def last(self) -> T | None:
        """The last item, None where there is none."""
        if self._tail:
            return self._tail[-1]
        return self._blocks[-1][-1] if self._blocks else None

    def since(self, start: int) -> Iterator[T]:
        """The items from index `start` on."""
        if start >= len(self):
            return
        block, offset = divmod(self._held(start), WIDTH)
        for items in (*self._blocks[block:], self._tail):
            yield from items[offset:]
            offset = 0

    @overload
    def __getitem__(self, index: int) -> T: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[T, ...]: ...
    def __getitem__(self, index: int | slice) -> T | tuple[T, ...]:
        if isinstance(index, slice):
            return tuple(self)[index]
        place = self._held(range(len(self))[index])
        block, offset = divmod(place, WIDTH)
        return self._tail[offset] if block == len(self._blocks) else self._blocks[block][offset]

    def __len__(self) -> int:
        return self.absent + len(self._blocks) * WIDTH + len(self._tail)

    def _held(self, index: int) -> int:
        if index < self.absent:
            raise LookupError(f"item {index} is not held, only those from {self.absent} on")
        return index - self.absent

    def __iter__(self) -> Iterator[T]:
        return self.since(0)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Log) and self._parts() == other._parts()

    def __hash__(self) -> int:
        return hash(self._parts())

    def _parts(self) -> tuple[object, ...]:
        return self._blocks, self._tail, self.absent

    def __repr__(self) -> str:
        return f"<Log of {len(self)}>" if self.absent else f"Log({list(self)!r})"
