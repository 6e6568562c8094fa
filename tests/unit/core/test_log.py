from __future__ import annotations

import pytest

from wink_tasks.core.log import WIDTH, Log


def of(count: int) -> Log[int]:
    log: Log[int] = Log()
    for item in range(count):
        log = log.added(item)
    return log


def test_it_shares_full_blocks_with_what_it_grew_from() -> None:
    short = of(2 * WIDTH)
    assert short.added(0)._blocks[0] is short._blocks[0]


def test_it_says_what_it_holds_and_is_a_value() -> None:
    assert repr(of(3)) == "Log([0, 1, 2])"
    assert of(3) == of(3)
    assert hash(of(70)) == hash(of(70))
    assert of(3) != of(4)
    assert of(3) != [0, 1, 2]


@pytest.mark.parametrize("index", [-4, 3])
def test_an_index_beyond_is_an_error(index: int) -> None:
    with pytest.raises(IndexError):
        of(3)[index]
