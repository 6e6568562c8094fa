"""An immutable sequence that grows at its end at a flat cost, and shares what it has in common with its ancestors."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, Generic, TypeVar, overload

T = TypeVar("T")

WIDTH: Final = 64


class Log(Generic[T]):
    """A sequence in blocks of `WIDTH`: `added` copies one block and the list of blocks, never the items."""

    __slots__ = ("_blocks", "_tail")

    def __init__(self, blocks: tuple[tuple[T, ...], ...] = (), tail: tuple[T, ...] = ()) -> None:
        self._blocks = blocks
        self._tail = tail

    def added(self, item: T) -> Log[T]:
        """A log with one more item at the end."""
        tail = (*self._tail, item)
        return Log((*self._blocks, tail)) if len(tail) == WIDTH else Log(self._blocks, tail)

    def since(self, start: int) -> Iterator[T]:
        """The items from index `start` on."""
        if start >= len(self):
            return
        block, offset = divmod(start, WIDTH)
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
        place = range(len(self))[index]
        block, offset = divmod(place, WIDTH)
        return self._tail[offset] if block == len(self._blocks) else self._blocks[block][offset]

    def __len__(self) -> int:
        return len(self._blocks) * WIDTH + len(self._tail)

    def __iter__(self) -> Iterator[T]:
        return self.since(0)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Log) and self._blocks == other._blocks and self._tail == other._tail

    def __hash__(self) -> int:
        return hash((self._blocks, self._tail))

    def __repr__(self) -> str:
        return f"Log({list(self)!r})"
