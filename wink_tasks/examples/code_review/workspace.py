"""The folder that is reviewed, which tools only read, and the one that reports go to."""

from __future__ import annotations

import os
from pathlib import Path

from wink_tasks import ToolError, Workspace, WorkspaceError

LARGEST_FILE = 1_000_000
"""Bytes; what is larger was not written by hand."""

_HINTS = {
    "malformed": "name it as list_files does, like 'src/app.py'",
    "outside": "only what list_files shows can be read",
    "missing": "call list_files to see what there is",
    "folder": "list_files shows its files",
}


class Reviewed(Workspace):
    """The code that is reviewed."""

    @classmethod
    def from_environment(cls) -> Reviewed:
        """`WINK_DEMO_ROOT`, else the sample project beside this file."""
        return cls.at(os.environ.get("WINK_DEMO_ROOT") or Path(__file__).with_name("sample"))

    def text(self, path: str) -> str:
        """The text of a file. Raises ToolError, which tells the model what to do instead."""
        try:
            with self.open(path, "rb") as file:
                data = file.read(LARGEST_FILE + 1)
        except WorkspaceError as error:
            raise ToolError(f"{error}: {_HINTS.get(error.reason, 'go on with other files')}") from error
        if len(data) > LARGEST_FILE:
            raise ToolError(f"{path!r} has more than {LARGEST_FILE} bytes: go on with other files")
        return _decoded(path, data)


class Reports(Workspace):
    """Where reviews are written down."""

    @classmethod
    def from_environment(cls) -> Reports:
        """The folder `reports` in `WINK_DEMO_OUT`, else in `.wink`."""
        folder = demo_folder() / "reports"
        folder.mkdir(parents=True, exist_ok=True)
        return cls.at(folder)


def demo_folder() -> Path:
    """`WINK_DEMO_OUT`, else `.wink`."""
    return Path(os.environ.get("WINK_DEMO_OUT") or ".wink")


def _decoded(path: str, data: bytes) -> str:
    if b"\0" in data:
        raise ToolError(f"{path!r} is a binary file: go on with other files")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ToolError(f"{path!r} is not UTF-8 text (byte {error.start}): go on with other files") from error
