"""A folder for tools: nothing outside of it can be reached, and what a failed call did to it is undone."""

from __future__ import annotations

import io
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import count
from pathlib import Path
from typing import IO, Any, Final, Literal, Self, overload

from wink_tasks.adapters.files.confined import Place, kind_of, walked
from wink_tasks.adapters.files.copying import clone
from wink_tasks.adapters.files.journal import CONTROL, Control, Journal
from wink_tasks.adapters.files.undo import UndoLog
from wink_tasks.core.errors import WorkspaceError
from wink_tasks.ports.transaction import Answer, Attempt, FateOf, Joined

_NEW: Final = count()

TextMode = Literal["r", "w", "a", "x", "r+", "w+", "a+", "x+"]
BinaryMode = Literal["rb", "wb", "ab", "xb", "r+b", "w+b", "a+b", "x+b"]


@dataclass(frozen=True)
class Workspace:
    """The files below `root`, an absolute path without symbolic links. Paths are relative to it, with slashes.

    `..` and links are followed inside of it only. A file is replaced whole, never written in place: a reader sees the
    old one or the new one. What a call of a tool or a task changes through it is undone where the call fails, and
    until the call is over nobody else changes the same paths: RetryLaterError says so. All raise WorkspaceError for a
    path that cannot be used.
    """

    root: Path
    _journal: Journal | None = field(default=None, repr=False, compare=False)

    @classmethod
    def at(cls, root: str | os.PathLike[str]) -> Self:
        """The workspace of a folder, wherever links lead."""
        return cls(Path(os.path.realpath(root)))

    # Reading

    def read(self, path: str) -> bytes:
        """What a file holds."""
        with self.open(path, "rb") as file:
            return file.read()

    def read_text(self, path: str) -> str:
        """What a file holds, as UTF-8. Raises UnicodeDecodeError."""
        return self.read(path).decode()

    def exists(self, path: str) -> bool:
        """Whether there is anything."""
        return self._kind(path) is not None

    def is_file(self, path: str) -> bool:
        """Whether it is a file."""
        return self._kind(path) == "file"

    def is_folder(self, path: str) -> bool:
        """Whether it is a folder."""
        return self._kind(path) == "folder"

    def list(self, path: str = ".") -> list[str]:
        """The names in a folder, sorted."""
        with self._place(path) as place:
            folder = os.open(place.name, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=place.folder)
            try:
                names = os.listdir(folder)  # noqa: PTH208 - of a descriptor
                return sorted(name for name in names if place.parts or name != CONTROL)
            finally:
                os.close(folder)

    def walk(self, path: str = ".", *, skip: Callable[[str], bool] = lambda _: False) -> Iterator[str]:
        """The files of a folder and of all folders in it, sorted folder by folder, as paths of the workspace.

        Links are left out, and what has a name that `skip` says.
        """
        with self._place(path) as place:
            top = f"{place.path}/" if place.parts else ""
            for at, folders, files, here in os.fwalk(place.name, dir_fd=place.folder):
                folders[:] = sorted(one for one in folders if one != CONTROL and not skip(one))
                inner = at[len(place.name) :].lstrip("/")
                below = f"{top}{inner}/" if inner else top
                for name in sorted(files):
                    status = Place(here, (name,)).status()
                    if status is not None and kind_of(status) == "file" and not skip(name):
                        yield below + name

    # Reading and writing

    @overload
    def open(self, path: str, mode: TextMode = "r") -> AbstractContextManager[IO[str]]: ...
    @overload
    def open(self, path: str, mode: BinaryMode) -> AbstractContextManager[IO[bytes]]: ...
    def open(self, path: str, mode: str = "r") -> AbstractContextManager[IO[Any]]:
        """As `open` of Python, in a `with`. Text is UTF-8.

        What is written goes to a new file, which takes the place of the old one at the end of the `with`, and is thrown
        away where an exception ends it. Folders that are missing are made. For `a` and `r+` that file begins as a copy
        of the old one, which shares its blocks where the file system can.
        """
        return self._reading(path, mode) if mode in {"r", "rb"} else self._writing(path, mode)

    def write(self, path: str, data: str | bytes) -> None:
        """Have a file hold this, and nothing else."""
        with self.open(path, "wb") as file:
            file.write(data.encode() if isinstance(data, str) else data)

    def delete(self, path: str) -> None:
        """Remove a file, a link, or a folder with all that is in it."""
        with self._changing() as change, self._place(path, follow=False) as place:
            status = change.status(place)
            whole = kind_of(status) == "folder"
            change.claim(place, whole=whole)
            if change.log is not None:
                change.log.take(place, whole=whole)
            elif whole:
                shutil.rmtree(place.name, dir_fd=place.folder)
            else:
                os.unlink(place.name, dir_fd=place.folder)

    def rename(self, path: str, to: str) -> None:
        """Give a file or a folder another place; a file that is there is replaced, a folder is not."""
        with self._changing() as change, self._place(path, follow=False) as source:
            whole = kind_of(change.status(source)) == "folder"
            with self._place(to, follow=False, make=change.make) as target:
                there = target.status()
                if there is not None and (whole or kind_of(there) == "folder"):
                    raise WorkspaceError(f"{to!r} is there already: delete it first, or choose another name", "exists")
                change.claim(source, whole=whole)
                change.claim(target)
                if change.log is not None:
                    if there is not None:
                        change.log.before_replacing(target)
                    change.log.before_moving(source, target)
                os.rename(source.name, target.name, src_dir_fd=source.folder, dst_dir_fd=target.folder)

    # Transactions

    def join_transaction(self, attempt: Attempt, fate_of: FateOf) -> Joined:
        """See `ports.transaction`. What others left there whose process and call are over is put back now."""
        control = Control(str(self.root))
        journal = Journal(control, attempt)
        control.sweep(fate_of, journal.call)
        return Joined(replace(self, _journal=journal), WorkspacePart(journal))

    def _kind(self, path: str) -> str | None:
        try:
            with self._place(path) as place:
                status = place.status()
        except WorkspaceError as error:
            if error.reason != "missing":
                raise
            return None
        return None if status is None else kind_of(status)

    @contextmanager
    def _place(
        self, path: str, *, follow: bool = True, make: Callable[[int, tuple[str, ...]], None] | None = None
    ) -> Iterator[Place]:
        with walked(str(self.root), path, follow=follow, make=make) as place:
            if CONTROL in place.parts[:1]:
                raise WorkspaceError(f"{path!r} belongs to the workspace itself: leave it alone", "outside")
            yield place

    @contextmanager
    def _changing(self) -> Iterator[_Change]:
        if self._journal is None:
            control = Control(str(self.root))
            with control.locked() as here:
                yield _Change(partial(control.refuse_claimed, here, ""), here, None)
        else:
            with self._journal.changing() as (here, log):
                yield _Change(partial(self._journal.claim, here), log.here, log)

    @contextmanager
    def _reading(self, path: str, mode: str) -> Iterator[IO[Any]]:
        with self._place(path) as place:
            # Without O_NONBLOCK, opening a named pipe would wait for its writer.
            flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
            opened = os.open(place.name, flags, dir_fd=place.folder)
            with _file(opened, mode) as file:
                _refuse_other_than_file(path, os.fstat(opened))
                yield file

    @contextmanager
    def _writing(self, path: str, mode: str) -> Iterator[IO[Any]]:
        name = f"new-{os.getpid()}-{next(_NEW)}"
        with self._changing() as change:
            aside = os.dup(change.aside)
            file = os.open(name, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666, dir_fd=aside)
        try:
            with _file(file, mode.replace("x", "w")) as opened:
                if mode[0] in "ar":
                    self._copy(path, file, missing=mode[0] == "a")
                    opened.seek(0, io.SEEK_END if mode[0] == "a" else io.SEEK_SET)
                yield opened
            self._put(path, aside, name, new=mode[0] == "x")
        except BaseException:
            os.unlink(name, dir_fd=aside)
            raise
        finally:
            os.close(aside)

    def _copy(self, path: str, target: int, *, missing: bool) -> None:
        if missing and not self.exists(path):
            return
        with self._reading(path, "rb") as source:
            clone(source.fileno(), target)

    def _put(self, path: str, aside: int, name: str, *, new: bool) -> None:
        """Have the file `name` as `path`."""
        with self._changing() as change, self._place(path, make=change.make) as place:
            there = place.status()
            if there is not None:
                if new:
                    raise WorkspaceError(f"{path!r} is there already", "exists")
                _refuse_other_than_file(path, there)
                os.chmod(name, there.st_mode & 0o7777, dir_fd=aside)
            change.claim(place)
            if change.log is not None:
                change.log.before_replacing(place)
            os.rename(name, place.name, src_dir_fd=aside, dst_dir_fd=place.folder)


class WorkspacePart:
    """A workspace's part in the transaction of a call: see `ports.transaction`."""

    decides = False

    def __init__(self, journal: Journal) -> None:
        self._journal = journal

    def snapshot(self) -> int:
        """Copies nothing: whatever is changed from now on is kept first."""
        return self._journal.mark()

    def restore(self, token: int, /) -> None:
        """Costs what was changed since."""
        self._journal.undo(token)

    def earlier(self) -> Answer | None:
        """Files say nothing of what a call returned."""
        return None

    def take_over(self, *, kept: bool) -> None:
        """See Participant."""
        self._journal.take_over(kept=kept)

    def prepare(self, *, decided: bool) -> None:
        """See Participant."""
        self._journal.check(deciding=decided)

    def decide(self, answer: Answer) -> Answer:
        """There is nothing to decide."""
        return answer

    def close(self, *, kept: bool | None) -> None:
        """See Participant."""
        self._journal.close(kept=kept)


class _Change:
    """One change, while the lock is held. `aside` is where new files are made; without a `log` it is for good."""

    def __init__(self, claim: Callable[..., None], aside: int, log: UndoLog | None) -> None:
        self._claim = claim
        self.aside = aside
        self.log = log

    def claim(self, place: Place, *, whole: bool = False) -> None:
        """Before anything is changed there."""
        self._claim(place.path, whole=whole)

    def make(self, parent: int, parts: tuple[str, ...]) -> None:
        """Make a folder that is missing."""
        if self.log is not None:
            self.log.before_making(parts)
        os.mkdir(parts[-1], dir_fd=parent)

    def status(self, place: Place) -> os.stat_result:
        """What is there. Raises FileNotFoundError, and WorkspaceError for the workspace itself."""
        if not place.parts:
            raise WorkspaceError("the workspace itself cannot be deleted or renamed", "folder")
        return os.stat(place.name, dir_fd=place.folder, follow_symlinks=False)


def _file(descriptor: int, mode: str) -> IO[Any]:
    try:
        return open(descriptor, mode, encoding=None if "b" in mode else "utf-8")
    except BaseException:
        os.close(descriptor)
        raise


def _refuse_other_than_file(path: str, status: os.stat_result) -> None:
    kind = kind_of(status)
    if kind == "folder":
        raise WorkspaceError(f"{path!r} is a folder", "folder")
    if kind != "file":
        raise WorkspaceError(f"{path!r} is neither a file nor a folder", "special")
