"""What undoes a mutant of the model is done to the stores, which stand it; the same mutant in Lua does not."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from specs.tla import traces
from specs.tla.plan import Mutant, checked, configuration, plan
from tests.formal.evaluations import Evaluations
from tests.formal.hands import MemoryHand, RedisHand, lua
from tests.formal.world import ViolatedError, World, constants, replay


def by_name(mutant: Mutant) -> str:
    return mutant.name.replace(" ", "-")


def steps_of(mutant: Mutant) -> list[list[str]]:
    lines = traces.file_of(mutant.name).read_text("utf-8").splitlines()
    return [line.split() for line in lines if not line.startswith("#")]


REPLAYED = [mutant for mutant in plan().mutants if mutant.lua]


def world_of(mutant: Mutant, hand: RedisHand | MemoryHand, asked: str = "") -> World | Evaluations:
    if "\n  Evaluation =" in configuration(mutant.run):
        [runs] = re.findall(r"^  Evaluation = (.*)$", configuration(mutant.run), re.MULTILINE)
        return Evaluations(hand, re.findall(r'"(\w+)"', runs), steps_of(mutant), asked)
    return World(hand, *constants(configuration(mutant.run)), asked)


@pytest.fixture
def redis_hand(redis_url: str) -> Iterator[RedisHand]:
    hand = RedisHand(redis_url)
    yield hand
    hand.close()


@pytest.mark.parametrize("mutant", REPLAYED, ids=by_name)
def test_the_store_in_memory_stands_it(mutant: Mutant) -> None:
    replay(world_of(mutant, MemoryHand()), steps_of(mutant))


@pytest.mark.parametrize("mutant", REPLAYED, ids=by_name)
def test_redis_stands_it(mutant: Mutant, redis_hand: RedisHand) -> None:
    replay(world_of(mutant, redis_hand), steps_of(mutant))


@pytest.mark.parametrize("mutant", REPLAYED, ids=by_name)
def test_the_same_mutant_in_lua_is_caught(mutant: Mutant, redis_hand: RedisHand) -> None:
    with lua(mutant.lua), pytest.raises(ViolatedError, match=f"^{mutant.dies_by}$"):
        replay(world_of(mutant, redis_hand, asked=mutant.dies_by), steps_of(mutant))


def test_each_mutant_is_replayed_or_says_why_not() -> None:
    for mutant in plan().mutants:
        assert bool(mutant.lua) != bool(mutant.without_lua), mutant.name
        assert mutant.dies_by in checked(mutant.run), mutant.name
