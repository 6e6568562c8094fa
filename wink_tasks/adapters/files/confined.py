"""Names below one folder, walked by file descriptors: neither `..`, nor a link, nor a race leads out of it."""

from __future__ import annotations

import errno
import os
import stat
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final, NoReturn

from wink_tasks.core.errors import Refusal, WorkspaceError

MOST_LINKS: Final = 40
_REFUSED: Final = {errno.EACCES, errno.EPERM, errno.ELOOP, errno.ENAMETOOLONG, errno.EILSEQ, errno.EINVAL, errno.EROFS}
_FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class Place:
    """A name in an open folder. `parts` is its way from the root, without links; none of them for the root itself."""

    def __init__(self, folder: int, parts: tuple[str, ...]) -> None:
        self.folder = folder
        self.parts = parts

    @property
    def name(self) -> str:
        """The name in `folder`."""
        return self.parts[-1] if self.parts else "."

    @property
    def path(self) -> str:
        """The whole way."""
        return "/".join(self.parts)

    def status(self) -> os.stat_result | None:
        """What is there, not followed; None for nothing."""
        try:
            return os.stat(self.name, dir_fd=self.folder, follow_symlinks=False)
        except FileNotFoundError:
            return None


MakeFolder = Callable[[int, tuple[str, ...]], None]
"""Makes the folder that is missing: its parent's descriptor, and its way."""


@contextmanager
def walked(root: str, path: str, *, follow: bool, make: MakeFolder | None = None) -> Iterator[Place]:
    """The place to which `path` leads. Links within the root are followed, the last one where `follow`.

    Raises WorkspaceError for what leads out of it, or through what is no folder.
    """
    if not path or "\0" in path or path.startswith("/"):
        raise WorkspaceError(f"{path!r} is no path in the workspace: name it like 'src/app.py'", "malformed")
    opened = [os.open(root, _FOLDER & ~os.O_NOFOLLOW)]
    try:
        yield _Walk(path, opened, make).to_the_end(follow=follow)
    except OSError as error:
        refuse(path, error)
    finally:
        for folder in opened:
            os.close(folder)


class _Walk:
    def __init__(self, path: str, opened: list[int], make: MakeFolder | None) -> None:
        self._path = path
        self._opened = opened
        self._way: list[str] = []
        self._left = deque(path.split("/"))
        self._links = 0
        self._make = make

    def to_the_end(self, *, follow: bool) -> Place:
        while self._left:
            part = self._left.popleft()
            if part in {"", "."}:
                continue
            if part == "..":
                self._up()
            elif any(rest not in {"", "."} for rest in self._left):
                self._down(part)
            elif not (follow and self._through_link(part)):
                return Place(self._opened[-1], (*self._way, part))
        return Place(self._opened[-1], tuple(self._way)) if not self._way else self._itself()

    def _itself(self) -> Place:
        """A folder that was walked into: named from its parent."""
        return Place(self._opened[-2], tuple(self._way))

    def _up(self) -> None:
        if not self._way:
            raise WorkspaceError(f"{self._path!r} leads out of the workspace", "outside")
        self._way.pop()
        os.close(self._opened.pop())

    def _down(self, part: str) -> None:
        here = self._opened[-1]
        try:
            folder = os.open(part, _FOLDER, dir_fd=here)
        except FileNotFoundError:
            if self._make is None:
                raise
            self._make(here, (*self._way, part))
            folder = os.open(part, _FOLDER, dir_fd=here)
        except OSError:
            if not self._through_link(part):
                raise
            return
        self._opened.append(folder)
        self._way.append(part)

    def _through_link(self, part: str) -> bool:
        """Whether `part` is a link; then its target is walked instead."""
        try:
            target = os.readlink(part, dir_fd=self._opened[-1])
        except OSError:
            return False
        self._links += 1
        if self._links > MOST_LINKS:
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
        if target.startswith("/"):
            raise WorkspaceError(f"{self._path!r} leads out of the workspace, by a link to an absolute path", "outside")
        self._left.extendleft(reversed(target.split("/")))
        return True


def open_exactly(root: str, parts: tuple[str, ...]) -> int:
    """The folder of that way, without following anything. Raises OSError."""
    folder = os.open(root, _FOLDER & ~os.O_NOFOLLOW)
    for part in parts:
        try:
            inner = os.open(part, _FOLDER, dir_fd=folder)
        finally:
            os.close(folder)
        folder = inner
    return folder


def refuse(path: str, error: OSError) -> NoReturn:
    """Raise in our words what the file system said about `path`."""
    reason: Refusal = "denied"
    words = f"{path!r} cannot be used ({error.strerror})"
    match error:
        case FileNotFoundError() | NotADirectoryError():
            reason, words = "missing", f"there is no file {path!r}"
        case IsADirectoryError():
            reason, words = "folder", f"{path!r} is a folder"
        case OSError(errno=number) if number not in _REFUSED:
            raise error  # the disk's fault, not the path's
    raise WorkspaceError(words, reason) from error


def kind_of(status: os.stat_result) -> str:
    """`file`, `folder`, `link` or `special`."""
    for kind, holds in (("file", stat.S_ISREG), ("folder", stat.S_ISDIR), ("link", stat.S_ISLNK)):
        if holds(status.st_mode):
            return kind
    return "special"
