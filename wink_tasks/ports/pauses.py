"""What operators hold back: steps that are postponed, uncounted, until somebody lets them go on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Protocol

import msgspec

Subject = Literal["prompt", "mailbox", "tenant", "model"]


class Pause(msgspec.Struct, frozen=True, kw_only=True):
    """All steps of this prompt, mailbox, tenant or model are held back. `at` is epoch seconds."""

    subject: Subject
    name: str
    by: str
    at: float
    reason: str = ""

    def __str__(self) -> str:
        why = f": {self.reason}" if self.reason else ""
        return f"{self.subject} {self.name!r} is paused by {self.by}{why}"


class Pauses(Protocol):
    """The pauses in force. All raise LedgerUnavailableError where the store cannot be reached."""

    def pause(self, pause: Pause) -> Pause:
        """Hold back; what is in force, which is an earlier one where there was one."""
        ...

    def resume(self, subject: Subject, name: str) -> None:
        """Let go on; nothing happens where nothing is held back."""
        ...

    def paused(self) -> Sequence[Pause]:
        """Those in force, the earliest first."""
        ...
