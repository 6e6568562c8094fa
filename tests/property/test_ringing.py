"""Doorbells through a broker that hands them out in order, with workers of any speed, and with a flush."""

from __future__ import annotations

from collections import deque

from hypothesis import Phase, given, settings, strategies as st

from wink_tasks.core.delivery import Again, Lane, ring_again
from wink_tasks.ports.mailbox import Claimed
from wink_tasks.testing.clock import FakeClock
from wink_tasks.testing.conformance.driver import Driver, succeeded
from wink_tasks.testing.memory import MemoryStore


class Site:
    """A store, a broker's queue, and workers that take a bell as soon as a slot is free, and `seconds` for a step."""

    def __init__(self, *, runs: int, slots: int, seconds: float, prefetch: int) -> None:
        self.clock = FakeClock()
        self.d = Driver(MemoryStore(self.clock, partitions=4))
        self.queue: deque[str] = deque()
        self.taken: deque[str] = deque()
        self.slots: list[tuple[float, Claimed]] = []
        self.size, self.seconds, self.prefetch = slots, seconds, prefetch
        self.rung = self.ended = 0
        for number in range(runs):
            name = f"e{number}"
            self.clock.advance(0.001)
            self.ring(self.d.accept(name, name, visibility_timeout=10_000).doorbells)

    def ring(self, doorbells) -> None:
        """Publish."""
        self.queue.extend(bell.address.message for bell in doorbells)
        self.rung += len(doorbells)
        self.d.mailbox.confirm(doorbells)

    def second(self) -> None:
        """What happens in a second."""
        self.clock.advance(1)
        for until, claimed in list(self.slots):
            if until <= self.clock.now():
                self.slots.remove((until, claimed))
                outcome = self.d.settle(claimed, end=succeeded(claimed.message.evaluation), serves=["turns"]).claimed
                assert outcome is not None
                self.d.settle(outcome)
                self.ended += 1
        while self.queue and len(self.taken) < self.prefetch:
            self.taken.append(self.queue.popleft())
        while self.taken and len(self.slots) < self.size:
            name = self.taken.popleft()
            answer = self.d.ask(name, name)
            if isinstance(answer, Claimed):
                self.slots.append((self.clock.now() + self.seconds, answer))
            if self.queue:
                self.taken.append(self.queue.popleft())
        self.ring(self.d.mailbox.reap())


# Without the phase that shrinks a failure: it would take longer than a test may.
FEW = settings(max_examples=15, phases=[Phase.generate])


@FEW
@given(
    slots=st.integers(1, 4),
    seconds=st.sampled_from([0.5, 3.0, 20.0, 70.0, 200.0]),
    prefetch=st.sampled_from([1, 4, 20]),
)
def test_a_deep_backlog_is_not_multiplied(slots: int, seconds: float, prefetch: int) -> None:
    runs = 60
    site = Site(runs=runs, slots=slots, seconds=seconds, prefetch=prefetch)
    for _ in range(600):
        site.second()
    # A fleet that takes longer for a step than RING_LONGEST is asked once in that time, in vain.
    asked_in_vain = 12 + (600 / 60 if seconds / slots > 60 else 0)
    assert site.rung - runs <= asked_in_vain


@FEW
@given(slots=st.integers(1, 8), runs=st.integers(1, 80), flushed_at=st.integers(0, 30))
def test_after_a_flush_of_the_broker_all_run(slots: int, runs: int, flushed_at: int) -> None:
    site = Site(runs=runs, slots=slots, seconds=1.0, prefetch=1)
    for second in range(flushed_at + 20 + runs):
        if second == flushed_at:
            site.queue.clear()
            site.taken.clear()
        site.second()
    assert site.ended == runs


TIMES = st.floats(1, 1000)
LANES = st.builds(
    Lane,
    passed=TIMES,
    claimed=TIMES,
    probed=TIMES,
    awaited=TIMES,
    probes=st.integers(0, 9),
    oldest=TIMES,
    newest=TIMES,
) | st.builds(Lane, passed=TIMES, claimed=TIMES)


@given(lanes=st.lists(st.dictionaries(st.sampled_from([":a", "5:a"]), LANES), min_size=1, max_size=4), now=TIMES)
def test_at_most_one_probe_a_lane_and_nothing_where_nobody_waits(lanes: list[dict[str, Lane]], now: float) -> None:
    plans = ring_again(lanes, now)
    assert len(plans) == len(lanes)
    for name in (":a", "5:a"):
        assert sum(bool(plan.get(name, Again()).probes) for plan in plans) <= 1
    for known, plan in zip(lanes, plans, strict=True):
        for name, again in plan.items():
            assert known[name].newest is not None
            assert again != Again(), "or it would not be asked for"
