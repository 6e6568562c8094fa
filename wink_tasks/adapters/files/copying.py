"""A second copy of a file: none where a link does, shared blocks where the file system can, else its bytes."""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
from typing import Final

FICLONE: Final = 0x40049409
"""Linux's ioctl that makes a file share another one's blocks until one of them is written."""

_NO_LINK: Final = {errno.EPERM, errno.EMLINK, errno.ENOTSUP, errno.ENOSYS, errno.EXDEV}


def keep_copy(folder: int, name: str, kept_in: int, kept: str) -> None:
    """Have what `name` is now as `kept`, also once `name` was replaced. Costs the file's size only without links."""
    try:
        os.link(name, kept, src_dir_fd=folder, dst_dir_fd=kept_in, follow_symlinks=False)
    except OSError as error:
        if error.errno not in _NO_LINK:
            raise
        # Whoever finds it has all of it: it gets its name when it is whole.
        source = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
        try:
            target = os.open(
                f"{kept}.part", os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600, dir_fd=kept_in
            )
            try:
                clone(source, target)
                status = os.fstat(source)
                os.fchmod(target, status.st_mode & 0o7777)
                os.utime(target, ns=(status.st_atime_ns, status.st_mtime_ns))
            finally:
                os.close(target)
        finally:
            os.close(source)
        os.rename(f"{kept}.part", kept, src_dir_fd=kept_in, dst_dir_fd=kept_in)


def clone(source: int, target: int) -> None:
    """Give `target`, an empty file, the content of `source`."""
    try:
        fcntl.ioctl(target, FICLONE, source)
    except OSError:  # another file system, or one that cannot share
        with open(source, "rb", closefd=False) as reading, open(target, "wb", closefd=False) as writing:
            shutil.copyfileobj(reading, writing)
