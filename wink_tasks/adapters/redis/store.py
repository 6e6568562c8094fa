"""The store on Redis: all its ports over one link."""

from __future__ import annotations

from wink_tasks.adapters.redis.commands import Commands
from wink_tasks.adapters.redis.fleet import RedisFleet
from wink_tasks.adapters.redis.keys import Keys
from wink_tasks.adapters.redis.ledger import RedisLedger
from wink_tasks.adapters.redis.link import Link
from wink_tasks.adapters.redis.mailbox import RedisMailbox
from wink_tasks.adapters.redis.pauses import RedisPauses
from wink_tasks.adapters.redis.rejections import RedisRejections
from wink_tasks.ports.clock import Clock


class RedisStore:
    """All that is kept in one Redis, under `prefix`. It connects at the first command, in each process anew.

    A command is repeated for up to `give_up_after` seconds while the server does not answer, then it raises
    LedgerUnavailableError. `replica_acks` is for how many replicas accept and settle wait. Without a `clock` the
    server's time counts. `url` is shown without its password.
    """

    def __init__(
        self,
        url: str,
        *,
        prefix: str = "wink",
        partitions: int = 16,
        give_up_after: float = 3.0,
        replica_acks: int = 0,
        clock: Clock | None = None,
    ) -> None:
        self.link = Link(url, give_up_after, replica_acks)
        self._commands = commands = Commands(self.link, Keys(prefix, partitions), clock)
        self.url = self.link.url
        self.mailbox = RedisMailbox(commands)
        self.ledger = RedisLedger(commands)
        self.fleet = RedisFleet(commands)
        self.pauses = RedisPauses(commands)
        self.rejections = RedisRejections(commands)

    def now(self) -> float:
        """Epoch seconds by the server's clock. Raises LedgerUnavailableError."""
        return self._commands.now()

    def close(self) -> None:
        """Let go of this process's connections; a later command makes new ones."""
        self.link.close()
