"""The pauses in force, on Redis."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from wink_tasks.adapters.redis.commands import Commands
from wink_tasks.core.codec import encode
from wink_tasks.ports.pauses import Pause, Subject

_pauses: Final = msgspec.json.Decoder(Pause)


class RedisPauses:
    """See the port for what each method does."""

    def __init__(self, commands: Commands) -> None:
        self._link = commands.link
        self._key = commands.keys.fleet("paused")

    def pause(self, pause: Pause) -> Pause:
        """Hold back; what is in force."""
        field = _field(pause.subject, pause.name)
        _, kept = self._link.ask(("HSETNX", self._key, field, encode(pause)), ("HGET", self._key, field))
        return _pauses.decode(kept)

    def resume(self, subject: Subject, name: str) -> None:
        """Let go on."""
        self._link.ask(("HDEL", self._key, _field(subject, name)))

    def paused(self) -> Sequence[Pause]:
        """Those in force, the earliest first."""
        [found] = self._link.ask(("HVALS", self._key))
        return sorted(map(_pauses.decode, found), key=lambda pause: (pause.at, pause.subject, pause.name))


def _field(subject: Subject, name: str) -> str:
    return f"{subject}:{name}"
