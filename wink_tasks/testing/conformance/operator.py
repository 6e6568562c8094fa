"""What operators hold back, and what Celery could not run."""
# ruff: noqa: D102, PLR2004 - tests

from __future__ import annotations

from wink_tasks.ports.pauses import Pause, Subject
from wink_tasks.ports.rejections import Rejected
from wink_tasks.ports.store import Store


def pause(subject: Subject, name: str, at: float) -> Pause:
    """Ann holds back."""
    return Pause(subject=subject, name=name, by="ann", at=at, reason="too hot")


def rejected(number: int, body: bytes = b"\xff") -> Rejected:
    """A message that nobody can read."""
    return Rejected(
        queue="celery", reason="undecodable", at=float(number), size=len(body), body=body, task=f"t{number}"
    )


class OperatorConformance:
    """Pauses and rejections."""

    def test_a_pause_is_in_force_until_it_is_lifted_and_the_first_one_stands(self, store: Store) -> None:
        first = pause("prompt", "proj.review", 7.0)
        assert store.pauses.paused() == []
        assert store.pauses.pause(first) == first
        assert store.pauses.pause(pause("prompt", "proj.review", 9.0)) == first
        second = pause("tenant", "acme", 8.0)
        earlier = pause("model", "a:b", 5.0)
        assert [store.pauses.pause(one) for one in (second, earlier)] == [second, earlier]
        assert store.pauses.paused() == [earlier, first, second]
        store.pauses.resume("prompt", "proj.review")
        store.pauses.resume("mailbox", "nobody")
        assert store.pauses.paused() == [earlier, second]
        assert str(first) == "prompt 'proj.review' is paused by ann: too hot"
        assert str(Pause(subject="model", name="a:b", by="bob", at=0.0)) == "model 'a:b' is paused by bob"

    def test_what_was_rejected_is_counted_kept_and_dropped(self, store: Store) -> None:
        for number in range(230):
            store.rejections.keep(rejected(number, b"\x00\xff" * number))
        kept = list(store.rejections.kept())
        assert [one.task for one in kept] == [f"t{number}" for number in range(230)]
        assert (kept[3].body, kept[3].queue, kept[3].is_whole) == (b"\x00\xff" * 3, "celery", True)
        assert len({one.id for one in kept}) == 230
        names = [one.id for one in kept[:150]]
        assert store.rejections.drop([*names, "1-99"]) == 150
        assert (store.rejections.drop(names), store.rejections.drop([])) == (0, 0)
        assert [one.task for one in store.rejections.kept()] == [f"t{number}" for number in range(150, 230)]
        assert store.rejections.count() == 230
