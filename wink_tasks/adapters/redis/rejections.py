"""The rejected messages, on Redis."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

import msgspec

from wink_tasks.adapters.redis.commands import Commands, nonce
from wink_tasks.core.codec import encode
from wink_tasks.ports.rejections import MOST_BYTES, MOST_KEPT, Rejected

PAGE: Final = 100
_known: Final = msgspec.json.Decoder(Rejected)


class RedisRejections:
    """See the port for what each method does."""

    def __init__(self, commands: Commands, *, most: int = MOST_KEPT, most_bytes: int = MOST_BYTES) -> None:
        self._link = commands.link
        self._keys = [commands.keys.fleet("rejected"), commands.keys.fleet("rejections")]
        self._bounds = most, most_bytes

    def keep(self, rejected: Rejected) -> None:
        """Count it, and keep it."""
        known = encode(msgspec.structs.replace(rejected, body=b""))
        self._link.run("reject", self._keys, nonce(), *self._bounds, known, rejected.body)

    def kept(self) -> Iterator[Rejected]:
        """Those that are kept, oldest first."""
        after = "-"
        while True:
            [entries] = self._link.ask(("XRANGE", self._keys[0], after, "+", "COUNT", PAGE))
            for name, (_, known, _, body) in entries:
                yield msgspec.structs.replace(_known.decode(known), id=name.decode(), body=body)
            if len(entries) < PAGE:
                return
            after = f"({entries[-1][0].decode()}"

    def count(self) -> int:
        """How many there ever were."""
        [found] = self._link.ask(("HGET", self._keys[1], "count"))
        return int(found or 0)

    def drop(self, names: Sequence[str]) -> int:
        """Forget those with these ids."""
        return sum(
            self._link.run("forget", self._keys, nonce(), *names[start : start + PAGE])
            for start in range(0, len(names), PAGE)
        )
