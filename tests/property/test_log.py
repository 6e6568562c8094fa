from __future__ import annotations

from hypothesis import given, strategies as st

from wink_tasks.core.log import WIDTH, Log

# Lengths around the edges of the blocks.
lengths = st.integers(0, 5) | st.integers(WIDTH - 2, WIDTH + 2) | st.integers(2 * WIDTH - 2, 2 * WIDTH + 2)


def of(items: tuple[int, ...]) -> Log[int]:
    log: Log[int] = Log()
    for item in items:
        log = log.added(item)
    return log


@given(lengths, st.data())
def test_it_reads_like_a_tuple(length: int, data: st.DataObject) -> None:
    items = tuple(range(length))
    log = of(items)
    assert len(log) == length
    assert tuple(log) == items
    start = data.draw(st.integers(0, length + WIDTH))
    assert tuple(log.since(start)) == items[start:]
    cut = data.draw(st.slices(length))
    assert log[cut] == items[cut]
    if length:
        index = data.draw(st.integers(-length, length - 1))
        assert log[index] == items[index]


@given(lengths)
def test_adding_leaves_the_old_one_as_it_was(length: int) -> None:
    log = of(tuple(range(length)))
    longer = log.added(-1)
    assert tuple(log) == tuple(range(length))
    assert tuple(longer) == (*range(length), -1)
    assert (log == longer) is False
    assert of(tuple(range(length))) == log
    assert hash(of(tuple(range(length)))) == hash(log)
