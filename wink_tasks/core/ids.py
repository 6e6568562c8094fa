"""Identifiers: their grammar, where they live, and how one id leads to the next.

An evaluation's id is the Celery task id that `.delay()` returns. The first turn's message bears the same id; later
messages of an evaluation are named after it, so any id that an operator sees leads back to its evaluation. Turns after
the first, and the end, belong to Celery tasks that are named after the prompt's: `proj.review:turn`.
"""

from __future__ import annotations

import re
from binascii import crc_hqx
from collections.abc import Callable
from hashlib import blake2b
from typing import Final
from uuid import UUID

from wink_tasks.core.contracts import require
from wink_tasks.core.errors import ParametersInvalidError
from wink_tasks.core.kinds import check_kind

STEP = "~"
TURN = ":turn"
OUTCOME = ":outcome"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:@/+=-]{0,199}")
_TENANT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
RESERVED: Final = frozenset(
    (
        *("active", "buried", "closed", "dead", "delayed", "done", "dropped", "due", "feed", "fleet", "home"),
        *("lanes", "leased", "message", "purged", "ready", "reaped", "rung", "sessions", "unconfirmed"),
    )
)
"""What else stands where a store's keys have the tenant."""


def checked_name(kind: str, value: str) -> str:
    """`value`, if it may be the name of a session or an evaluation.

    Raises ParametersInvalidError, which tells the grammar.
    """
    check_kind(kind, value, str, "text")
    if _NAME.fullmatch(value) is None:
        message = (
            f"{kind} {value!r} is not usable as a name: it takes 1 to 200 letters, digits and any of ._:@/+=-, "
            f"and starts with a letter or a digit"
        )
        raise ParametersInvalidError(message)
    return value


def checked_tenant(value: str) -> str:
    """`value`, if it may be a tenant. It stands between colons in Redis keys, so it has none itself.

    Raises ParametersInvalidError, which tells the grammar, or that the store's own keys bear that name.
    """
    check_kind("tenant", value, str, "text")
    if _TENANT.fullmatch(value) is None:
        message = (
            f"tenant {value!r} is not usable: it takes 1 to 63 letters, digits and any of ._-, "
            f"and starts with a letter or a digit"
        )
        raise ParametersInvalidError(message)
    if value in RESERVED:
        message = f"tenant {value!r} is not usable: the store's own keys bear that name; choose another"
        raise ParametersInvalidError(message)
    return value


def partition_of(name: str, partitions: int) -> int:
    """The partition of a session or the home of an evaluation: Redis Cluster's CRC16 of the name, modulo the count."""
    return crc_hqx(name.encode(), 0) % partitions


@require(lambda partition, partitions: 0 <= partition < partitions, "a partition that there is")
def fitting_id(uuid4: Callable[[], UUID], partition: int, partitions: int) -> str:
    """A new id whose home is `partition`. `uuid4` is the source of randomness."""
    stem = str(uuid4())[:-4]
    return next(
        candidate for tail in range(1 << 16) if partition_of(candidate := f"{stem}{tail:04x}", partitions) == partition
    )


def keyed_id(tenant: str, prompt: str, key: str, attempt: int) -> str:
    """The id of the run that the `attempt`-th try (the first is 0) under an idempotency key starts, whoever asks."""
    parts = (tenant, prompt, key, str(attempt))
    digest = blake2b(digest_size=16)
    for part in parts:
        digest.update(blake2b(part.encode(), digest_size=16).digest())
    return str(UUID(bytes=digest.digest(), version=5))


def turn_id(evaluation: str, turn: int) -> str:
    """The message of an evaluation's turn (the first is 1)."""
    return evaluation if turn == 1 else f"{evaluation}{STEP}turn{turn}"


def resumed_turn_id(evaluation: str, turn: int, resumed: int) -> str:
    """The message of the turn with which an evaluation goes on that is resumed for the `resumed`-th time."""
    return f"{evaluation}{STEP}turn{turn}.resumed{resumed}"


def call_id(evaluation: str, turn: int, index: int) -> str:
    """The message of the `index`-th tool call (the first is 0) that a turn asked for."""
    return f"{evaluation}{STEP}turn{turn}.call{index}"


def outcome_id(evaluation: str, resumed: int = 0) -> str:
    """The message that carries an evaluation's end to Celery; another one after each time that it was resumed."""
    return f"{evaluation}{STEP}outcome{resumed + 1 if resumed else ''}"


def evaluation_of(some_id: str) -> str:
    """The evaluation to which any id seen in Celery or Flower belongs."""
    return some_id.partition(STEP)[0]
