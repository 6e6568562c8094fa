from __future__ import annotations

from uuid import UUID

from hypothesis import given, settings, strategies as st

from tests.property.strategies import names
from wink_tasks.core.ids import call_id, checked_name, evaluation_of, fitting_id, outcome_id, partition_of, turn_id


@settings(max_examples=50)
@given(st.uuids(version=4), st.integers(1, 64), st.data())
def test_an_id_can_be_made_to_live_anywhere(uuid: UUID, partitions: int, data: st.DataObject) -> None:
    partition = data.draw(st.integers(0, partitions - 1))
    made = fitting_id(lambda: uuid, partition, partitions)
    assert partition_of(made, partitions) == partition
    assert made[:-4] == str(uuid)[:-4]
    assert checked_name("run", str(UUID(made))) == made


@given(names, st.integers(1, 99), st.integers(0, 99))
def test_steps_have_different_ids_that_lead_back(run: str, turn: int, index: int) -> None:
    steps = [turn_id(run, turn), turn_id(run, turn + 1), call_id(run, turn, index), call_id(run, turn, index + 1)]
    steps.append(outcome_id(run))
    assert len(set(steps)) == len(steps)
    assert {evaluation_of(step) for step in steps} == {run}
