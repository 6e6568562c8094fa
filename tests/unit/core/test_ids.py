from __future__ import annotations

import re
from uuid import UUID, uuid4

import pytest

from wink_tasks.core.errors import ContractViolationError, ParametersInvalidError
from wink_tasks.core.ids import (
    call_id,
    checked_name,
    checked_tenant,
    evaluation_of,
    fitting_id,
    outcome_id,
    partition_of,
    turn_id,
)


@pytest.mark.parametrize("name", ["a", "ticket:42", "A1._:@/+=-z", "x" * 200])
def test_names_that_may_be(name: str) -> None:
    assert checked_name("session", name) == name


@pytest.mark.parametrize("name", ["", ":a", "a~b", "a b", "ä", "x" * 201, "a\n"])
def test_names_that_may_not_be(name: str) -> None:
    with pytest.raises(ParametersInvalidError, match=rf"^session {re.escape(repr(name))} is not usable.*1 to 200"):
        checked_name("session", name)


def test_a_name_or_tenant_that_is_no_text() -> None:
    with pytest.raises(ParametersInvalidError, match=r"^session=5 does not fit: it takes text, not int"):
        checked_name("session", 5)  # type: ignore[arg-type]
    with pytest.raises(ParametersInvalidError, match=r"^tenant=5 does not fit: it takes text, not int"):
        checked_tenant(5)  # type: ignore[arg-type]


@pytest.mark.parametrize("tenant", ["default", "a.b-c_1", "x" * 63])
def test_tenants_that_may_be(tenant: str) -> None:
    assert checked_tenant(tenant) == tenant


@pytest.mark.parametrize("tenant", ["", "a:b", "x" * 64, "-a", "a*"])
def test_tenants_that_may_not_be(tenant: str) -> None:
    with pytest.raises(ParametersInvalidError, match=r"^tenant .*1 to 63"):
        checked_tenant(tenant)


@pytest.mark.parametrize("tenant", ["message", "home", "closed", "sessions", "delayed", "fleet"])
def test_no_tenant_is_called_like_a_part_of_the_stores_keys(tenant: str) -> None:
    with pytest.raises(ParametersInvalidError, match=rf"^tenant '{tenant}' is not usable: .* choose another"):
        checked_tenant(tenant)
    assert checked_tenant(f"{tenant}1")


def test_partitions_are_redis_clusters_slots() -> None:
    # The value that the Redis Cluster specification gives for its CRC16.
    assert partition_of("123456789", 0x10000) == 0x31C3


def test_every_step_leads_back_to_its_evaluation() -> None:
    assert turn_id("run", 1) == "run"
    assert turn_id("run", 2) == "run~turn2"
    assert call_id("run", 2, 0) == "run~turn2.call0"
    assert outcome_id("run") == "run~outcome"
    for step in ("run", turn_id("run", 2), call_id("run", 2, 0), outcome_id("run")):
        assert evaluation_of(step) == "run"


def test_a_made_id_lives_where_it_was_wanted_and_is_a_uuid() -> None:
    made = fitting_id(uuid4, 11, 16)
    assert partition_of(made, 16) == 11
    assert str(UUID(made)) == made


@pytest.mark.parametrize("partition", [-1, 16])
def test_no_id_fits_a_partition_that_is_not_there(partition: int) -> None:
    with pytest.raises(ContractViolationError, match="fitting_id requires a partition that there is"):
        fitting_id(uuid4, partition, 16)
