"""Waits: between tries, between rings, until a message may be claimed."""

from __future__ import annotations

from hypothesis import given, strategies as st

from wink_tasks.core.delivery import RING_AGAIN, RING_LONGEST, State, claimable, out_of_retries, ring_pause
from wink_tasks.core.retry import backoff

draws = st.floats(0, 1, exclude_max=True)
many = st.integers(1, 10**9)


@given(many, draws, st.floats(0.001, 10), st.floats(10, 1000))
def test_a_backoff_is_at_least_half_and_never_the_whole(
    failures: int, draw: float, first: float, longest: float
) -> None:
    wait = backoff(failures, draw, first=first, longest=longest)
    whole = min(longest, first * 2.0 ** min(failures - 1, 32))
    assert whole / 2 <= wait <= whole
    assert backoff(failures + 1, draw, first=first, longest=longest) >= wait


@given(st.integers(0, 10**9))
def test_rings_grow_apart_within_their_bounds(rings: int) -> None:
    assert RING_AGAIN <= ring_pause(rings) <= ring_pause(rings + 1) <= RING_LONGEST


@given(st.sampled_from(["ready", "delayed", "leased", "done", "dead"]), st.floats(0, 1e9), st.floats(0, 1e9), draws)
def test_what_was_claimable_stays_so_as_time_passes(state: State, now: float, due: float, later: float) -> None:
    assert claimable(state, now=now + later, due=due) >= claimable(state, now=now, due=due)
    assert claimable(state, now=due, due=due) is (state in ("ready", "delayed", "leased"))


@given(st.integers(0, 50), st.integers(0, 50))
def test_pardoned_deliveries_do_not_count(max_retries: int, pardoned: int) -> None:
    assert not out_of_retries(1 + max_retries + pardoned, pardoned, max_retries)
    assert out_of_retries(2 + max_retries + pardoned, pardoned, max_retries)
