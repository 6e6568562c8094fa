"""A connection that loses the first reply of every script: the server has run it, and nobody hears of it."""

from __future__ import annotations

from typing import Any

from redis import Connection, ConnectionError as LinkError

from wink_tasks.adapters.redis.store import RedisStore


class Lossy:
    def __init__(self) -> None:
        self.lost = 0
        self.told: set[bytes] = set()

    def loses(self, command: bytes) -> bool:
        """Each command, told apart by its bytes and so by its nonce, loses its reply the first time it is sent."""
        if b"EVALSHA" not in command or command in self.told:
            return False
        self.told.add(command)
        self.lost += 1
        return True


class LossyConnection(Connection):
    lossy = Lossy()
    losing = False

    @classmethod
    def at(cls, store: RedisStore) -> Lossy:
        """Have `store` lose replies; what it has lost is counted in the answer."""
        cls.lossy = Lossy()
        store.link._connections._factory.connection_class = cls
        return cls.lossy

    def send_packed_command(self, command: Any, check_health: bool = True) -> None:
        whole = command if isinstance(command, bytes) else b"".join(command)
        self.losing = self.lossy.loses(whole)
        super().send_packed_command(command, check_health)

    def read_response(self, *args: Any, **options: Any) -> Any:
        if not self.losing:
            return super().read_response(*args, **options)
        super().read_response(*args, **options)
        self.losing = False
        self.disconnect()
        raise LinkError("the reply was lost")
