from __future__ import annotations

from typing import get_args

import pytest

from wink_tasks.core.delivery import (
    RING_AGAIN,
    RING_LONGEST,
    TABLE,
    Command,
    State,
    claimable,
    out_of_retries,
    ring_pause,
)


def test_the_table_knows_every_state_and_leads_to_no_other() -> None:
    assert set(TABLE) == set(get_args(State))
    for moves in TABLE.values():
        assert set(moves) <= set(get_args(Command)) - {"send"}
        assert set(moves.values()) <= set(TABLE)


def test_every_command_does_something_and_what_is_closed_stays_closed() -> None:
    assert {command for moves in TABLE.values() for command in moves} == set(get_args(Command)) - {"send"}
    assert (TABLE["done"], TABLE["dead"]) == ({}, {"revive": "ready"})
    assert all("cancel" in TABLE[state] and "bury" in TABLE[state] for state in ("ready", "delayed", "leased"))


def test_only_a_claim_leases_what_was_not_leased() -> None:
    leasing = {(state, command) for state, moves in TABLE.items() for command, to in moves.items() if to == "leased"}
    assert leasing == {
        ("ready", "claim"),
        ("delayed", "claim"),
        ("leased", "claim"),
        ("leased", "extend"),
        ("ready", "extend"),
    }


@pytest.mark.parametrize(
    ("deliveries", "pardoned", "max_retries", "out"),
    [(1, 0, 0, False), (2, 0, 0, True), (4, 0, 3, False), (5, 0, 3, True), (9, 5, 3, False), (10, 5, 3, True)],
)
def test_a_message_is_tried_once_and_retried_so_often(
    deliveries: int, pardoned: int, max_retries: int, out: bool
) -> None:
    assert out_of_retries(deliveries, pardoned, max_retries) is out


@pytest.mark.parametrize(
    ("state", "now", "may"),
    [
        ("ready", 0.0, True),
        ("leased", 9.0, False),
        ("leased", 10.0, True),
        ("delayed", 9.0, False),
        ("delayed", 10.0, True),
        ("done", 99.0, False),
        ("dead", 99.0, False),
    ],
)
def test_a_lease_or_a_delay_ends_when_it_is_due(state: State, now: float, may: bool) -> None:
    assert claimable(state, now=now, due=10.0) is may


def test_doorbells_are_rung_again_ever_more_seldom() -> None:
    assert [ring_pause(rings) for rings in (0, 1, 2, 3)] == [RING_AGAIN, RING_AGAIN, 10.0, 20.0]
    assert ring_pause(10**6) == RING_LONGEST
