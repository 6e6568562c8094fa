from __future__ import annotations

import pytest

from wink_tasks.core.errors import ContractViolationError
from wink_tasks.core.retry import FIRST_DELAY, LONGEST_DELAY, backoff


def test_it_doubles_up_to_the_longest() -> None:
    assert [backoff(failures, 0.0) for failures in (1, 2, 3)] == [0.5, 1.0, 2.0]
    assert backoff(10**6, 0.0) == LONGEST_DELAY / 2
    assert backoff(1, 0.5) == FIRST_DELAY * 0.75
    assert backoff(3, 0.0, first=0.1, longest=0.3) == 0.15


@pytest.mark.parametrize(("failures", "draw"), [(0, 0.5), (1, 1.0), (1, -0.1)])
def test_it_needs_a_failure_and_a_draw(failures: int, draw: float) -> None:
    with pytest.raises(ContractViolationError):
        backoff(failures, draw)
