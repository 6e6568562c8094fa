"""Where sessions are kept that are dropped from the store."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol


class Archive(Protocol):
    """Keeps files. What was put once is never changed by us, only put again as a whole."""

    def put(self, name: str, lines: Iterable[bytes]) -> str:
        """Keep a file under a name like `tenant/session.digest.jsonl`, in the place of an older one; where it is.

        When this returns the file is safe; until then nobody finds a part of it, nor has lost the older one.
        Raises whatever went wrong: the session is then not dropped.
        """
        ...
