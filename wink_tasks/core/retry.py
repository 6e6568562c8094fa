"""How long to wait before the next try: exponential backoff with full jitter, on a random number that is given."""

from __future__ import annotations

from typing import Final

from wink_tasks.core.contracts import require

FIRST_DELAY: Final = 1.0
LONGEST_DELAY: Final = 60.0
EQUAL_JITTER: Final = 0.5


@require(lambda failures: failures >= 1, "a first failure")
@require(lambda draw: 0 <= draw < 1, "a draw in [0, 1)")
def backoff(
    failures: int,
    draw: float,
    *,
    first: float = FIRST_DELAY,
    longest: float = LONGEST_DELAY,
    jitter: float = EQUAL_JITTER,
) -> float:
    """Seconds to wait after the `failures`-th failure in a row (the first is 1).

    `draw` is uniform in [0, 1), `jitter` the part of the growing delay that is drawn. By default that is half of it, so
    that tries neither crowd nor follow at once ("equal jitter" of the AWS Architecture Blog, "Exponential Backoff And
    Jitter").
    """
    delay = min(longest, first * 2.0 ** min(failures - 1, 32))
    return delay * (1.0 - jitter + jitter * draw)
