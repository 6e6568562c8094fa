"""Doorbells are only hints: lost all at once, or doubled, they cost time and nothing else."""

from __future__ import annotations

from tests.faults.conftest import Site
from tests.workers import eventually


def test_every_doorbell_five_times(sites: list[Site], redis_url: str):
    site = Site(redis_url, copies=5)
    sites.append(site)
    runs = [f"r{number}" for number in range(10)]
    for _ in range(2):
        site.worker()
    for run in runs:
        site.run(run)
    for run in runs:
        site.whole(run)
        assert [site.done(f"{what}{run}{rest}") for what, rest in STEPS] == [1, 1, 1, 1]


STEPS = (("model:", ":0"), ("tool:", ""), ("model:", ":1"), ("outcome:", ""))


def test_the_broker_is_flushed_while_evaluations_run(site: Site):
    """A fifth of them is being worked on, the others wait: their bells are gone."""
    runs = [f"r{number}" for number in range(20)]
    site.shut("model")
    for run in runs[:4]:
        site.run(run)
    site.worker()
    eventually(lambda: all(site.done(f"model:{run}:0") for run in runs[:4]), "these are begun")
    for run in runs[4:]:
        site.run(run)
        site.redis.delete(site.plan.bells)
    site.open("model")
    for run in runs:
        site.whole(run)
        assert [site.done(f"{what}{run}{rest}") for what, rest in STEPS] == [1, 1, 1, 1]


def test_each_first_answer_of_the_store_is_lost(sites: list[Site], redis_url: str):
    site = Site(redis_url)
    sites.append(site)
    site.worker(lossy=True)
    for run in ("r1", "r2"):
        assert site.publisher(run, lossy=True).join(30) is None
    for run in ("r1", "r2"):
        site.whole(run)
        assert [site.done(f"{what}{run}{rest}") for what, rest in STEPS] == [1, 1, 1, 1]
