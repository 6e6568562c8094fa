"""A process is killed before or after each of its writes; another one brings the run to its end."""

from __future__ import annotations

import os

import pytest

from tests.faults.conftest import Site
from tests.workers import eventually

# What kills the first worker, and what is done twice because of it: only what was begun and not recorded.
WORKER = {
    "before:claim:1": set(),
    "after:claim:1": set(),
    "before:settle:1": {"model:r:0"},
    "after:settle:1": set(),
    "before:claim:2": set(),
    "after:claim:2": set(),
    "before:settle:2": {"tool:r"},
    "after:settle:2": set(),
    "before:ring:1": set(),
    "after:ring:1": set(),
    "before:settle:3": {"model:r:1"},
    "after:settle:3": set(),
    "before:deliver:1": set(),
    "after:deliver:1": {"outcome:r"},
    "before:settle:4": {"outcome:r"},
    "after:settle:4": set(),
}
PUBLISHER = ("after:accept:1", "before:ring:1", "after:ring:1")
EACH = {"model:r:0", "tool:r", "model:r:1", "outcome:r"}


def test_a_worker_killed_at_a_write_costs_at_most_the_step_in_its_hands(sites: list[Site], redis_url: str):
    found = {trip: Site(redis_url) for trip in WORKER}
    sites.extend(found.values())
    doomed = {trip: site.worker(trip=trip) for trip, site in found.items()}
    for site in found.values():
        site.run("r")
    for trip, process in doomed.items():
        eventually(lambda process=process: process.exitcode is not None, f"killed: {trip}")
        assert process.exitcode == -9, trip
        found[trip].worker()
    for trip, site in found.items():
        site.whole("r")
        twice = {what for what in EACH if site.done(what) == 2}
        assert (trip, twice) == (trip, WORKER[trip])
        assert {what for what in EACH if site.done(what) == 1} == EACH - twice, trip


def test_a_publisher_killed_between_commit_and_ring_loses_no_run(sites: list[Site], redis_url: str):
    found = {trip: Site(redis_url) for trip in PUBLISHER}
    sites.extend(found.values())
    for trip, site in found.items():
        site.worker()
        process = site.publisher("r", trip=trip)
        process.join(30)
        assert process.exitcode == -9, trip
    for site in found.values():
        site.whole("r")
        assert {site.done(what) for what in EACH} == {1}


def test_a_publisher_killed_before_it_accepts_has_started_nothing(site: Site):
    process = site.publisher("r", trip="before:accept:1")
    process.join(30)
    assert process.exitcode == -9
    assert site.wink.house().store.ledger.evaluation("default", "r") is None
    site.run("r")
    site.worker()
    site.whole("r")


@pytest.mark.parametrize("what", ["model", "tool"])
def test_a_worker_killed_inside_a_step(site: Site, what: str):
    site.shut(what)
    first = site.worker()
    site.run("r")
    begun = "tool:r" if what == "tool" else "model:r:0"
    eventually(lambda: site.done(begun), "it begins")
    os.kill(first.pid, 9)
    site.open(what)
    site.worker()
    site.whole("r")
    assert {name: site.done(name) for name in EACH} == dict.fromkeys(EACH, 1) | {begun: 2}
