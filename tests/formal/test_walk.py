"""Every step of a small state graph of the model, taken on both stores: they show what the model says."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice

import pytest

from specs.tla import walk
from specs.tla.plan import configuration
from tests.formal.hands import MemoryHand, RedisHand
from tests.formal.world import World, constants

Step = tuple[tuple[str, ...], int]
LINES = walk.FILE.read_text("utf-8").splitlines()
PARTS = 4
STATES = [line.partition(" ")[2] for line in LINES if line.startswith("=")]


def graph() -> Mapping[int, Sequence[Step]]:
    steps: dict[int, list[Step]] = {number: [] for number in range(len(STATES))}
    for line in LINES[len(STATES) :]:
        here, *words, there = line.split()
        steps[int(here)].append((tuple(words), int(there)))
    return steps


def routes() -> Iterator[list[Step]]:
    """Ways from the first state which together take every step."""
    steps, here, route = graph(), 0, list[Step]()
    left = {number: set(some) for number, some in steps.items()}
    while any(left.values()):
        way = shortest(steps, left, here)
        if way is None:
            yield route
            here, route = 0, []
            continue
        for step in way:
            left[here].discard(step)
            route.append(step)
            here = step[1]
    yield route


def shortest(steps: Mapping[int, Sequence[Step]], left: Mapping[int, set[Step]], here: int) -> list[Step] | None:
    """The way to the nearest step that was not taken, that step included; None where none can be reached."""
    ways, queue = {here: list[Step]()}, deque([here])
    while queue:
        at = queue.popleft()
        if left[at]:
            loops = [step for step in left[at] if step[1] == at]
            return [*ways[at], min(loops or left[at])]
        for step in steps[at]:
            if step[1] not in ways:
                ways[step[1]] = [*ways[at], step]
                queue.append(step[1])
    return None


def shown(world: World) -> str:
    """A store as walk.txt shows states."""
    parts = [
        f"{name}:{seen.state}{'!' * seen.due},{seen.epoch},{seen.deliveries},{seen.pardoned}"
        for name, seen in world.seen.items()
    ]
    return " ".join([*parts, "|", *world.names()])


def walked(world: World, route: Sequence[Step]) -> None:
    done = []
    for words, there in route:
        world.step(*words)
        done.append(" ".join(words))
        assert shown(world) == STATES[there], done


def test_the_store_in_memory_takes_every_step_of_the_model() -> None:
    for route in routes():
        walked(World(MemoryHand(), *constants(configuration("Walk"))), route)


@pytest.mark.parametrize("part", range(PARTS))
def test_redis_takes_every_step_of_the_model(part: int, redis_url: str) -> None:
    hand = RedisHand(redis_url)
    for route in islice(routes(), part, None, PARTS):
        hand.fall_back(None)
        walked(World(hand, *constants(configuration("Walk"))), route)
    hand.close()
