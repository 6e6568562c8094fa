"""An archive in a folder."""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from tempfile import NamedTemporaryFile

from wink_tasks.core.errors import ArchiveFailedError


class DirectoryArchive:
    """Files below a folder, which is made with the first of them. Readable by their owner only."""

    def __init__(self, folder: str | Path) -> None:
        self._folder = Path(folder)

    def put(self, name: str, lines: Iterable[bytes]) -> str:
        """See `ports.archive`. Raises ArchiveFailedError."""
        path = (self._folder / name).absolute()
        write_whole(path, lines)
        return str(path)


def write_whole(path: Path, lines: Iterable[bytes]) -> None:
    """Write a file so that it is there as a whole or not at all, also after a loss of power.

    A process that is killed meanwhile leaves a hidden `*.part` beside it. Raises ArchiveFailedError.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with NamedTemporaryFile(dir=path.parent, prefix=f".{path.stem[:100]}.", suffix=".part", delete=False) as part:
            try:
                part.writelines(lines)
                part.flush()
                os.fsync(part.fileno())
                Path(part.name).replace(path)
            except BaseException:
                with suppress(OSError):
                    Path(part.name).unlink()
                raise
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as error:
        raise ArchiveFailedError(f"{str(path)!r} cannot be written: {error.strerror or error}") from error
