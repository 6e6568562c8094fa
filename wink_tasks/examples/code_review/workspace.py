"""The one folder that the reviewer's tools may read, and the one place that keeps them in it."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from pathlib import Path

from wink_tasks import ToolError

LARGEST_FILE = 1_000_000
"""Bytes; what is larger was not written by hand."""


@dataclass(frozen=True)
class Workspace:
    """`root` is an absolute path without symbolic links. Models name files relative to it."""

    root: Path

    @classmethod
    def at(cls, root: str | Path) -> Workspace:
        """The workspace of a folder, wherever links lead."""
        return cls(Path(os.path.realpath(root)))

    @classmethod
    def from_environment(cls) -> Workspace:
        """`WINK_DEMO_ROOT`, else the sample project beside this file."""
        return cls.at(os.environ.get("WINK_DEMO_ROOT") or Path(__file__).with_name("sample"))

    def resolve(self, path: str) -> Path:
        """Where `path` leads once every `..` and every symbolic link is followed.

        Raises ToolError for a path that is absolute or leads out of the workspace.
        """
        if "\0" in path or Path(path).is_absolute():
            raise ToolError(f"{path!r} is no path in the workspace: name it as list_files does, like 'src/app.py'")
        place = Path(os.path.realpath(self.root / path))
        if not place.is_relative_to(self.root):
            raise ToolError(f"{path!r} leads out of the workspace: only what list_files shows can be read")
        return place

    def read(self, path: str) -> str:
        """The text of a file. Raises ToolError, which tells the model what to do instead."""
        try:
            with open(self.resolve(path), "rb", opener=_open) as file:
                status = os.fstat(file.fileno())
                if not stat.S_ISREG(status.st_mode):
                    raise ToolError(f"{path!r} is neither a file nor a folder: go on with other files")
                data = file.read(LARGEST_FILE + 1)
        except (FileNotFoundError, NotADirectoryError) as error:
            raise ToolError(f"there is no file {path!r}: call list_files to see what there is") from error
        except IsADirectoryError as error:
            raise ToolError(f"{path!r} is a folder: list_files(path={path!r}) shows its files") from error
        except OSError as error:
            raise ToolError(f"{path!r} cannot be read ({error.strerror}): go on with other files") from error
        if len(data) > LARGEST_FILE:
            raise ToolError(f"{path!r} has {status.st_size} bytes, the most is {LARGEST_FILE}: go on with other files")
        return _decoded(path, data)


def _open(place: str, flags: int) -> int:
    """What `resolve` returned has no link in it: one that appears since then is not followed."""
    # Without O_NONBLOCK, opening a named pipe would wait for its writer.
    return os.open(place, flags | os.O_NOFOLLOW | os.O_NONBLOCK)


def _decoded(path: str, data: bytes) -> str:
    if b"\0" in data:
        raise ToolError(f"{path!r} is a binary file: go on with other files")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ToolError(f"{path!r} is not UTF-8 text (byte {error.start}): go on with other files") from error
