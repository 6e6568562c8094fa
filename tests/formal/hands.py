"""The stores under the actions of the model, and their return to an earlier state."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import resources
from typing import Any

import pytest
from redis import Redis

from specs.tla.plan import Edit
from wink_tasks.adapters.redis import mailbox, scripts
from wink_tasks.adapters.redis.store import RedisStore
from wink_tasks.core.ids import partition_of
from wink_tasks.testing.clock import FakeClock
from wink_tasks.testing.memory import MemoryStore

PARTITIONS = 2
KEPT = ("messages", "evaluations", "sessions", "homes", "tombstones")


class RedisHand:
    """A store on Redis whose commands carry the nonce that the test says, so that a command can be asked again."""

    repeats = True

    def __init__(self, url: str) -> None:
        self.clock = FakeClock()
        self.store = RedisStore(url, partitions=PARTITIONS, clock=self.clock)
        self._client = Redis.from_url(url)

    def nonce_of(self, session: str, message: str) -> str:
        """The nonce of the newest receipt, as the store has it."""
        key = f"wink:{{{partition_of(session, PARTITIONS):02}}}:message:{message}"
        return (self._client.hget(key, "nonce") or b"").decode()

    @contextmanager
    def saying(self, nonce: str) -> Iterator[None]:
        """Commands inside carry `nonce`."""
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(mailbox, "nonce", lambda: nonce)
            yield

    def keep(self) -> Any:
        """What a replica has."""
        return {key: self._client.dump(key) for key in self._client.scan_iter()}

    def fall_back(self, kept: Any) -> None:
        """Be as the replica is; None: empty."""
        self._client.flushall()
        for key, value in (kept or {}).items():
            self._client.restore(key, 0, value)

    def close(self) -> None:
        """Let go of the connections."""
        self.store.close()
        self._client.close()


class MemoryHand:
    """The store in memory, where no reply is lost: what is asked again is not done again."""

    repeats = False

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.store = MemoryStore(self.clock, partitions=PARTITIONS)

    def nonce_of(self, session: str, message: str) -> str:
        """The nonce of the newest receipt, as the store has it."""
        book = self.store._books.message(session, message)
        return book.nonce if book else ""

    @contextmanager
    def saying(self, nonce: str) -> Iterator[None]:
        """It draws its own."""
        del nonce
        yield

    def keep(self) -> Any:
        """What a replica has."""
        return copy.deepcopy({name: getattr(self.store._books, name) for name in KEPT})

    def fall_back(self, kept: Any) -> None:
        """Be as the replica is; None: empty."""
        for name, value in copy.deepcopy(kept or {name: {} for name in KEPT}).items():
            setattr(self.store._books, name, value)

    def close(self) -> None:
        """Nothing to let go of."""


@contextmanager
def lua(edits: Sequence[Edit]) -> Iterator[None]:
    """The scripts, with pieces of their files replaced. An edit has to fit exactly once."""
    original, fits = scripts.source_of, {edit: _file_of(edit) for edit in edits}

    def source_of(name: str) -> str:
        text = original(name)
        for edit, file in fits.items():
            text = text.replace(edit.find, edit.replace) if file == name else text
        return text

    scripts.script.cache_clear()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scripts, "source_of", source_of)
        yield
    scripts.script.cache_clear()


def _file_of(edit: Edit) -> str:
    files = resources.files(scripts.__package__).joinpath("lua").iterdir()
    texts = {file.name.removesuffix(".lua"): file.read_text("utf-8") for file in files}
    [name] = [name for name, text in texts.items() if text.count(edit.find) == 1 and edit.file in ("", name)]
    return name
