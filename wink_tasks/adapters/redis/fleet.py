"""The registry of workers on Redis."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from wink_tasks.adapters.redis.commands import Commands, nonce
from wink_tasks.adapters.redis.rows import pairs
from wink_tasks.core.codec import encode
from wink_tasks.ports.fleet import Beat, StoreFacts, Worker


class RedisFleet:
    """See the port for what each method does."""

    def __init__(self, commands: Commands) -> None:
        self._commands = commands
        self._registry = [commands.keys.fleet(kind) for kind in ("workers", "alive", "reaper")]

    def beat(self, worker: Worker, *, every: float, term: float, spacing: float = 0.0) -> Beat:
        """Be alive, and be the reaper where there is none."""
        args = (self._commands.stated(), worker.id, encode(worker), *map(repr, (every, term, spacing)), nonce())
        reaper, pause, vacant = self._commands.link.run("beat", self._registry, *args)
        return Beat(reaper=reaper == 1, pause=float(pause), vacant=float(vacant))

    def leave(self, worker: str) -> None:
        """Be gone at once."""
        self._commands.link.run("leave", self._registry, worker)

    def workers(self) -> Sequence[Worker]:
        """Those alive, by name."""
        workers, alive, _ = self._registry
        now = self._commands.now()
        ids, flat = self._commands.link.ask(("ZRANGEBYSCORE", alive, f"({now:.3f}", "+inf"), ("HGETALL", workers))
        rows = pairs(flat)
        return [_worker(rows[id_]) for id_ in sorted(ids) if id_ in rows]

    def agree(self, settings: Mapping[str, str]) -> Mapping[str, str]:
        """What is in force."""
        given = (part for item in settings.items() for part in item)
        answer = self._commands.link.run("agree", [self._commands.keys.fleet("settings")], *given)
        return {name.decode(): value.decode() for name, value in pairs(answer).items()}

    def facts(self) -> StoreFacts:
        """What INFO says."""
        text, (seconds, micros) = self._commands.link.ask(("INFO",), ("TIME",))
        info: dict[str, str] = dict(line.split(":", 1) for line in text.decode().splitlines() if ":" in line)
        return StoreFacts(
            product="valkey" if "valkey_version" in info else "redis",
            version=info.get("valkey_version") or info["redis_version"],
            persistent=info["aof_enabled"] == "1" or info["rdb_last_bgsave_time_sec"] != "-1",
            eviction=info["maxmemory_policy"],
            used_memory=int(info["used_memory"]),
            max_memory=int(info["maxmemory"]),
            append_only=info["aof_enabled"] == "1",
            now=int(seconds) + int(micros) / 1_000_000,
        )


def _worker(row: bytes) -> Worker:
    seen_at, _, description = row.partition(b" ")
    return msgspec.structs.replace(msgspec.json.decode(description, type=Worker), seen_at=float(seen_at))
