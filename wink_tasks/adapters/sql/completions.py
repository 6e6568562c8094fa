"""What a call came to, kept in the database in which its rows are: the record by which a later delivery knows."""

from __future__ import annotations

import time
from hashlib import blake2b
from typing import Final

import msgspec
from sqlalchemy import Column, Connection, Engine, Float, MetaData, String, Table, Text, delete, insert, select

from wink_tasks.core.errors import LedgerFormatError
from wink_tasks.ports.transaction import Answer, Attempt

METADATA: Final = MetaData()
COMPLETIONS: Final = Table(
    "wink_completions",
    METADATA,
    Column("id", String(32), primary_key=True, comment="of the call, its session and its tenant"),
    Column("idempotency_key", String(300), nullable=False),
    Column("result_digest", String(32), nullable=False),
    Column("answer", Text(2**24 - 1), nullable=False, comment="JSON: the value, and the events for the session"),
    Column("recorded_at", Float, nullable=False, index=True, comment="epoch seconds"),
)


def record(connection: Connection, attempt: Attempt, answer: Answer) -> None:
    """Add the record, in the connection's transaction. Raises IntegrityError where there is one."""
    text = msgspec.json.encode(answer).decode()
    row = {
        "id": _id_of(attempt),
        "idempotency_key": attempt.key,
        "result_digest": _digest(text),
        "answer": text,
        "recorded_at": time.time(),
    }
    connection.execute(insert(COMPLETIONS), row)


def recorded(engine: Engine, attempt: Attempt) -> Answer | None:
    """The answer that an attempt of this call recorded. Raises LedgerFormatError where it was changed since."""
    columns = (COMPLETIONS.c.answer, COMPLETIONS.c.result_digest)
    with engine.connect() as connection:
        found = connection.execute(select(*columns).where(COMPLETIONS.c.id == _id_of(attempt))).first()
    if found is None:
        return None
    if _digest(found.answer) != found.result_digest:
        raise LedgerFormatError(f"the completion record of {attempt.key} in {engine.url!r} was changed since")
    return msgspec.json.decode(found.answer, type=Answer)


def prune(engine: Engine, older_than: float) -> int:
    """See `SqlTransaction.prune`."""
    with engine.begin() as connection:
        old = COMPLETIONS.c.recorded_at < time.time() - older_than
        return connection.execute(delete(COMPLETIONS).where(old)).rowcount


def _id_of(attempt: Attempt) -> str:
    """An id of a run may be used again when its session is gone: the new session tells them apart."""
    return _digest("\n".join((attempt.tenant, attempt.session, repr(attempt.opened_at), attempt.key)))


def _digest(text: str) -> str:
    return blake2b(text.encode(), digest_size=16).hexdigest()
