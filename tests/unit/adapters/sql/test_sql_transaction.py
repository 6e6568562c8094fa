"""Rows and the record of a call's answer: both or none, once."""

from __future__ import annotations

import sys

import pytest
from sqlalchemy import Column, Integer, MetaData, String, Table, create_engine, event, insert, select, text
from sqlalchemy.exc import DBAPIError, IntegrityError, OperationalError
from sqlalchemy.orm import DeclarativeBase

import wink_tasks
from wink_tasks import ConfigurationError, RetryLaterError, SqlTransaction, UnsupportedError
from wink_tasks.adapters.sql import completions
from wink_tasks.core.errors import ContextClosedError, LedgerFormatError
from wink_tasks.ports.transaction import Answer, Attempt

METADATA = MetaData()
NOTES = Table("notes", METADATA, Column("id", Integer, primary_key=True), Column("text", String(50), unique=True))


class Base(DeclarativeBase):
    metadata = METADATA


class Note(Base):
    __table__ = NOTES


@pytest.fixture
def engine(tmp_path):
    engine = create_engine(f"sqlite:///{tmp_path}/notes.db")
    METADATA.create_all(engine)
    yield engine
    engine.dispose()


@pytest.fixture
def sql(engine):
    found = SqlTransaction(engine)
    found.create_tables()
    found.create_tables()
    return found


def joined(sql, key="run~turn1.call0", opened_at=1.0):
    attempt = Attempt(
        key=key,
        epoch=1,
        tenant="t",
        session="s",
        evaluation="run",
        turn=1,
        call="c",
        opened_at=opened_at,
        after=3,
        actor="host:1",
    )
    return sql.join_transaction(attempt, lambda _: "open")


def notes(sql):
    return [row.text for row in sql.execute(select(NOTES.c.text).order_by(NOTES.c.id))]


def write(sql, word):
    sql.execute(insert(NOTES), {"text": word})


def test_rows_and_record_are_committed_together(sql):
    mine = joined(sql)
    assert not mine.part.decides
    write(mine.resource, "one")
    assert notes(mine.resource) == ["one"]
    assert (notes(sql), mine.part.earlier()) == ([], None)
    answer = Answer(value={"n": [1, None]}, events=(b'{"a":1}',))
    mine.part.prepare(decided=True)
    assert mine.part.decide(answer) is answer
    mine.part.close(kept=True)
    mine.part.take_over(kept=True)
    assert notes(sql) == ["one"]
    assert joined(sql).part.earlier() == answer
    assert joined(sql, opened_at=2.0).part.earlier() is None, "the session is another one of the same name"


def test_what_was_not_committed_is_gone(sql):
    mine = joined(sql)
    token = mine.part.snapshot()
    write(mine.resource, "one")
    mine.part.restore(token)
    mine.part.restore(token)
    write(mine.resource, "two")
    mine.part.close(kept=False)
    assert notes(sql) == []
    with pytest.raises(ContextClosedError, match="has ended: its rows are not written any more"):
        write(mine.resource, "three")


def test_an_inner_part_alone_is_put_back(sql):
    mine = joined(sql)
    write(mine.resource, "outer")
    first = mine.part.snapshot()
    write(mine.resource, "inner")
    mine.part.snapshot()
    write(mine.resource, "innermost")
    mine.part.restore(first)
    write(mine.resource, "after")
    mine.part.decide(Answer(value=None))
    assert notes(sql) == ["outer", "after"]


def test_the_orm_writes_in_the_same_transaction(sql):
    mine = joined(sql)
    with mine.resource.session() as session:
        session.add(Note(text="one"))
    with pytest.raises(IntegrityError), mine.resource.session() as session:
        session.add(Note(text="one"))
    with mine.resource.session() as session:
        assert [note.text for note in session.scalars(select(Note))] == ["one"]
    assert notes(sql) == []
    mine.part.decide(Answer(value=None))
    assert notes(sql) == ["one"]
    with sql.session() as session:
        session.add(Note(text="two"))
    assert notes(sql) == ["one", "two"]


@pytest.mark.filterwarnings("ignore:nested transaction already deassociated")
def test_the_function_does_not_commit(sql):
    mine = joined(sql)
    with (
        pytest.raises(UnsupportedError, match="do not commit them in the function"),
        mine.resource.session() as session,
    ):
        session.connection().commit()
    mine.part.close(kept=False)
    assert notes(sql) == []


def test_of_two_attempts_the_first_one_counts(sql):
    first, second = joined(sql), joined(sql)
    write(first.resource, "first")
    first.part.decide(Answer(value=1))
    write(second.resource, "second")
    assert second.part.decide(Answer(value=2)) == Answer(value=1)
    assert notes(sql) == ["first"]


def test_what_the_database_refuses_at_the_end_is_raised(sql):
    mine = joined(sql)
    write(mine.resource, "one")
    mine.resource.execute(text("DROP TABLE wink_completions"))
    with pytest.raises(OperationalError, match="no such table"):
        mine.part.decide(Answer(value=1))
    assert notes(sql) == []


@pytest.mark.parametrize("came_to_be", [True, False])
def test_a_commit_whose_answer_is_lost(sql, came_to_be):
    mine = joined(sql)
    write(mine.resource, "one")

    def lose(connection):
        if came_to_be:
            connection.connection.dbapi_connection.commit()
        raise DBAPIError("COMMIT", {}, OSError("gone"), connection_invalidated=True)

    event.listen(mine.resource._part.connection(), "commit", lose)
    if came_to_be:
        assert mine.part.decide(Answer(value=1)) == Answer(value=1)
    else:
        with pytest.raises(RetryLaterError, match="went away while it committed"):
            mine.part.decide(Answer(value=1))
    assert notes(sql) == (["one"] if came_to_be else [])


def test_a_record_that_was_changed_is_not_believed(sql):
    mine = joined(sql)
    write(mine.resource, "one")
    mine.part.decide(Answer(value=1))
    sql.execute(completions.COMPLETIONS.update().values(answer='{"value":2}'))
    with pytest.raises(LedgerFormatError, match="was changed since"):
        joined(sql).part.earlier()


def test_old_records_are_pruned(sql):
    for key in ("a", "b"):
        mine = joined(sql, key)
        write(mine.resource, key)
        mine.part.decide(Answer(value=key))
    old = completions.COMPLETIONS.c
    sql.execute(completions.COMPLETIONS.update().where(old.idempotency_key == "a").values(recorded_at=1000.0))
    assert sql.prune(older_than=30 * 86_400) == 1
    assert (joined(sql, "a").part.earlier(), joined(sql, "b").part.earlier()) == (None, Answer(value="b"))


def test_an_engine_that_begins_itself(tmp_path):
    engine = create_engine(f"sqlite:///{tmp_path}/notes.db")
    event.listen(engine, "begin", lambda connection: connection.exec_driver_sql("BEGIN"))
    METADATA.create_all(engine)
    sql = SqlTransaction(engine)
    sql.create_tables()
    mine = joined(sql)
    write(mine.resource, "one")
    mine.part.decide(Answer(value=1))
    assert notes(sql) == ["one"]
    engine.dispose()


def test_sqlalchemy_is_an_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "wink_tasks.adapters.sql.transaction", None)
    with pytest.raises(ConfigurationError, match=r"pip install 'wink-tasks\[sql\]'"):
        _ = wink_tasks.SqlTransaction
    with pytest.raises(AttributeError, match="no attribute 'Nonsense'"):
        _ = wink_tasks.Nonsense
