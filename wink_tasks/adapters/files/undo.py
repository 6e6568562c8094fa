"""The undo log of one call in one workspace: what there was before each change, written down before the change.

A line is appended first, then the old file is kept, then the change is made. So a process may be killed anywhere: a
line whose file is not kept describes a change that never was. Undoing goes from the last line to the first, and takes
each line away when it is undone; so that may be killed as well, and begun again.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, Literal

import msgspec

from wink_tasks.adapters.files.confined import Place, open_exactly
from wink_tasks.adapters.files.copying import keep_copy

LOG: Final = "log"


class Line(msgspec.Struct, frozen=True, omit_defaults=True):
    """`kept`: what was at `path` is the journal's file `other`. `new`: nothing was there. `folder`: it was made.

    `moved`: what is at `other` was at `path`.
    """

    kind: Literal["kept", "new", "folder", "moved"]
    path: str
    other: str = ""


class UndoLog:
    """In the folder `here`, of the workspace at `root`. Its user holds the workspace's lock."""

    def __init__(self, root: str, here: int) -> None:
        self._root = root
        self.here = here
        self.file = os.open(LOG, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600, dir_fd=here)
        self._lines: list[tuple[int, Line]] = []
        self._count = 0
        self._known: set[str] = set()
        self.paths: set[str] = set()
        """All that it was ever about."""
        self._read()

    def mark(self) -> int:
        """What changes from now on is kept anew; a mark to which `undo` goes back."""
        self._known.clear()
        return self._end

    # Before a change

    def before_replacing(self, place: Place) -> None:
        """A file will be there instead of what there is, if anything is."""
        if place.path in self._known:
            return
        if place.status() is None:
            self._append(Line("new", place.path))
        else:
            kept = self._keep(place)
            keep_copy(place.folder, place.name, self.here, kept)
        self._known.add(place.path)

    def before_making(self, parts: tuple[str, ...]) -> None:
        """A folder will be made there."""
        self._append(Line("folder", "/".join(parts)))

    def take(self, place: Place, *, whole: bool) -> None:
        """Take away what is there; `whole`: a folder with all that is in it."""
        if place.path in self._known and not whole:
            os.unlink(place.name, dir_fd=place.folder)
            return
        os.rename(place.name, self._keep(place), src_dir_fd=place.folder, dst_dir_fd=self.here)
        self._forget(place.path)

    def before_moving(self, source: Place, target: Place) -> None:
        """What is at `source` will be at `target`, where nothing is that matters any more."""
        self._append(Line("moved", source.path, target.path))
        self._forget(source.path)
        self._forget(target.path)

    def _keep(self, place: Place) -> str:
        self._count += 1
        kept = str(self._count)
        self._append(Line("kept", place.path, kept))
        return kept

    def _forget(self, path: str) -> None:
        """What is known of a path and what is below it does not hold any more."""
        self._known = {one for one in self._known if one != path and not one.startswith(f"{path}/")}

    def _append(self, line: Line) -> None:
        data = msgspec.json.encode(line) + b"\n"
        try:
            written = os.pwrite(self.file, data, self._end)
        except OSError:
            os.ftruncate(self.file, self._end)
            raise
        if written != len(data):
            os.ftruncate(self.file, self._end)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self._add(line, len(data))

    def _add(self, line: Line, size: int) -> None:
        self._lines.append((self._end, line))
        self._end += size
        self.paths.add(line.path)
        if line.kind == "moved":
            self.paths.add(line.other)

    def _read(self) -> None:
        """What another process wrote. A line without an end was being written: its change never was."""
        with open(self.file, "rb", closefd=False) as file:
            file.seek(0)
            whole = file.read()
        self._end = 0
        for data in whole.splitlines(keepends=True):
            if not data.endswith(b"\n"):
                break
            line = msgspec.json.decode(data, type=Line)
            self._add(line, len(data))
            if line.kind == "kept":
                self._count = max(self._count, int(line.other))

    # Afterwards

    def undo(self, mark: int) -> None:
        """Undo all that came after `mark`. May be called again. Raises OSError."""
        self._known.clear()
        while self._lines and self._lines[-1][0] >= mark:
            at, line = self._lines[-1]
            self._undo(line)
            os.ftruncate(self.file, at)
            self._lines.pop()
            self._end = at

    def _undo(self, line: Line) -> None:
        match line.kind:
            case "kept":
                if self._has(line.other):
                    with self._at(line.path) as (folder, name):
                        os.rename(line.other, name, src_dir_fd=self.here, dst_dir_fd=folder)
                    with contextlib.suppress(FileNotFoundError):  # a rename onto itself leaves both names
                        os.unlink(line.other, dir_fd=self.here)
            case "new":
                with contextlib.suppress(FileNotFoundError), self._at(line.path) as (folder, name):
                    os.unlink(name, dir_fd=folder)
            case "folder":
                # Where another call has put something there since, it stays.
                with contextlib.suppress(FileNotFoundError), self._at(line.path) as (folder, name):
                    try:
                        os.rmdir(name, dir_fd=folder)
                    except OSError as error:
                        if error.errno not in {errno.ENOTEMPTY, errno.EEXIST}:
                            raise
            case "moved":  # pragma: no branch - there is no other kind
                self._move_back(line)

    def _move_back(self, line: Line) -> None:
        with self._at(line.path) as (folder, name), self._at(line.other) as (there, moved):
            if Place(folder, (name,)).status() is None:
                os.rename(moved, name, src_dir_fd=there, dst_dir_fd=folder)

    def _has(self, name: str) -> bool:
        return Place(self.here, (name,)).status() is not None

    @contextmanager
    def _at(self, path: str) -> Iterator[tuple[int, str]]:
        *parents, name = path.split("/")
        folder = open_exactly(self._root, tuple(parents))
        try:
            yield folder, name
        finally:
            os.close(folder)

    def close(self) -> None:
        """Let go of the file, and so of what it holds locked."""
        os.close(self.file)
