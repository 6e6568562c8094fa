"""Rows that a tool writes: committed together with the record of what the call came to, in one transaction."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from sqlalchemy import Connection, Engine, Executable, Result, event
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.orm import Session

from wink_tasks.adapters.sql import completions
from wink_tasks.core.errors import ContextClosedError, RetryLaterError, UnsupportedError
from wink_tasks.ports.transaction import Answer, Attempt, FateOf, Joined

log = logging.getLogger(__name__)

Rows = Mapping[str, Any] | Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class SqlTransaction:
    """Rows in the database of `engine`. A call of a tool or a task writes them in one transaction, begun at first use.

    It is committed when the function has returned, together with a completion record (idempotency key, result digest
    and value). A call that is killed before leaves no row; one that is killed after, before its result is in the
    ledger, is answered from the record when it is delivered again. So its rows are written exactly once. A call uses
    one database in this way: a second one is refused.

    Outside of a call each use is a transaction of its own. On SQLite, one call at a time writes.
    """

    engine: Engine
    _part: SqlPart | None = field(default=None, repr=False, compare=False)

    def execute(self, statement: Executable, rows: Rows | None = None) -> Result[Any]:
        """Execute a statement of SQLAlchemy, once or for many rows. Raises what the database raises."""
        if self._part is not None:
            return self._part.connection().execute(statement, rows)
        with self.engine.begin() as connection:
            result = connection.execute(statement, rows)
            return result.freeze()() if result.returns_rows else result

    @contextmanager
    def session(self) -> Iterator[Session]:
        """A session of SQLAlchemy's ORM in this transaction. What is in it is flushed at the end of the `with`."""
        bind: Engine | Connection = self.engine if self._part is None else self._part.connection()
        with Session(bind, join_transaction_mode="create_savepoint") as session, session.begin():
            yield session

    def create_tables(self) -> None:
        """Create the table of the completion records, where it is not there. Migrations find it in `metadata`."""
        completions.METADATA.create_all(self.engine)

    metadata = completions.METADATA

    def prune(self, *, older_than: float) -> int:
        """Forget the completion records that are older than so many seconds; how many there were.

        Keep them for as long as their calls may be delivered again: a month, as sessions are, is plenty.
        """
        return completions.prune(self.engine, older_than)

    def join_transaction(self, attempt: Attempt, _: FateOf) -> Joined:
        """See `ports.transaction`."""
        part = SqlPart(self.engine, attempt)
        return Joined(replace(self, _part=part), part)


class SqlPart:
    """The part of a database in the transaction of a call: see `ports.transaction`."""

    def __init__(self, engine: Engine, attempt: Attempt) -> None:
        self._engine = engine
        self._attempt = attempt
        self._connection: Connection | None = None
        self._lock = threading.Lock()
        self._savepoints = 0
        self._committing = self._committed = False
        self._over = False

    @property
    def decides(self) -> bool:
        """Whether anything was asked of the database."""
        return self._connection is not None

    def connection(self) -> Connection:
        """In the transaction, which begins now if it did not before. Raises ContextClosedError."""
        with self._lock:
            if self._over:
                raise ContextClosedError(f"the call {self._attempt.key} has ended: its rows are not written any more")
            if self._connection is None:
                connection = self._engine.connect()
                event.listen(connection, "commit", self._refuse_commit)
                connection.begin()
                # SQLite's driver begins later, and not for a savepoint.
                driver: Any = connection.connection.dbapi_connection
                if self._engine.dialect.name == "sqlite" and not driver.in_transaction:
                    connection.exec_driver_sql("BEGIN IMMEDIATE")
                self._connection = connection
            return self._connection

    def snapshot(self) -> str | None:
        """A savepoint, where the transaction has begun."""
        if self._connection is None:
            return None
        self._savepoints += 1
        name = f"wink_{self._savepoints}"
        self._engine.dialect.do_savepoint(self._connection, name)
        return name

    def restore(self, token: str | None, /) -> None:
        """Back to the savepoint, or to before the transaction began."""
        if self._connection is None:
            return
        if token is None:
            self._let_go()
        else:
            self._engine.dialect.do_rollback_to_savepoint(self._connection, token)

    def earlier(self) -> Answer | None:
        """See Participant."""
        return completions.recorded(self._engine, self._attempt)

    def take_over(self, *, kept: bool) -> None:
        """The database has put back what was not committed."""

    def prepare(self, *, decided: bool) -> None:
        """It decides itself."""

    def decide(self, answer: Answer) -> Answer:
        """Commit rows and record. Raises RetryLaterError where nobody knows whether that came to be."""
        connection = self.connection()
        self._committing = True
        try:
            completions.record(connection, self._attempt, answer)
            connection.commit()
            self._committed = True
        except DBAPIError as error:
            return self._answered_before(error)
        finally:
            self._committing = False
            self._let_go()
        return answer

    def close(self, *, kept: bool | None) -> None:  # noqa: ARG002 - what is not committed is not kept
        """See Participant."""
        with self._lock:
            self._over = True
        self._let_go()

    def _answered_before(self, error: DBAPIError) -> Answer:
        """Another attempt may have been first, or the commit may have come to be whose answer was lost."""
        self._let_go()
        found = self.earlier()
        if found is not None:
            return found
        if isinstance(error, IntegrityError) or not error.connection_invalidated:
            raise error
        raise RetryLaterError(f"the database went away while it committed {self._attempt.key}: {error}") from error

    def _let_go(self) -> None:
        connection, self._connection = self._connection, None
        if connection is None:
            return
        if not (self._committed or connection.in_transaction()):
            connection.invalidate()  # a commit failed, and left the driver in the transaction: nobody may go on in it
        connection.close()

    def _refuse_commit(self, _: Connection) -> None:
        if not self._committing:
            raise UnsupportedError("rows are committed with the result of the call: do not commit them in the function")
