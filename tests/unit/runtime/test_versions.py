"""Runs that meet a worker with another definition: two applications on one store in memory."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from celery import Celery

from tests.unit.runtime.conftest import NoProvider
from wink_tasks import DeadlineExceededError, DeclarationError, ParamsChangedError, PromptChangedError, Wink
from wink_tasks.cli.story import told_events
from wink_tasks.core.events import PromptChanged, StepDied, StepRevived, ToolFailed
from wink_tasks.core.ids import call_id
from wink_tasks.ports.mailbox import Address
from wink_tasks.runtime.versions import UNKNOWN_HERE
from wink_tasks.testing import answer, call, scripted
from wink_tasks.testing.inline import NoObserver
from wink_tasks.testing.scripted import Scripted


def shop(doc: str = "You talk.", *, more: bool = False, **options: Any) -> Wink:
    """One version of an application."""
    wink = Wink(Celery("shop", set_as_current=False), providers={"house": NoProvider()})

    if more:

        @wink.tool
        def look(where: str, depth: int) -> str:
            """Look somewhere."""
            return f"{where} to depth {depth}"

    else:

        @wink.tool
        def look(where: str) -> str:
            """Look somewhere."""
            return f"{where}: nothing"

    @wink.prompt(output=str, model="house:m", tools=[look], **{"deadline": None, **options})
    def chat(text: str) -> str:
        """Replaced below."""
        return text

    section = type(chat.definition.sections[0])("chat", doc, tools=[look.definition])
    object.__setattr__(chat.definition, "sections", (section,))
    for computed in ("digest", "_declared"):
        chat.definition.__dict__.pop(computed, None)

    if more:

        @wink.task(**options)
        def add(x: int, z: int = 0) -> int:
            return x + z

    else:

        @wink.task(**options)
        def add(x: int) -> int:
            return x + 1

    wink.chat, wink.add = chat, add
    return wink


def deployed(kit_of: Wink, new: Wink) -> None:
    """From now on the workers of `kit_of` have what `new` declares."""
    for kind in ("prompts", "tasks", "tools"):
        known = getattr(kit_of.registry, kind)
        known.update(getattr(new.registry, kind))


def reap(wink: Wink, kit: Scripted, seconds: float) -> None:
    house = wink.house()
    for _ in range(int(seconds)):
        kit.clock.advance(1)
        house.ringer.ring(house.store.mailbox.reap())


def changes(run: Any) -> list[PromptChanged]:
    return [one.event for one in run.session.refresh().events() if isinstance(one.event, PromptChanged)]


def test_by_default_a_run_goes_on_with_the_new_one_and_says_so():
    old, new = shop(version="1"), shop("You shout.", version="2")
    with scripted(old, {old.chat: [call("look", where="x"), answer("hi")]}) as kit:
        run = old.chat.with_options(countdown=1).delay("x")
        deployed(old, new)
        assert run.get() == "hi"
        [changed] = changes(run)
        assert (changed.version_before, changed.version) == ("1", "2")
        assert (changed.before, changed.digest) == (old.chat.definition.digest, new.chat.definition.digest)
        assert [request.instructions for request in kit.requests] == ["You shout."] * 2
        told = list(told_events(run.session.events()))
        assert told[1].endswith("accepted: shop.chat(text='x') version 1")
        assert f"goes on with another definition: 2, {changed.digest[:12]} (before: 1, " in told[2]
        assert run.evaluation().version == "2"


def test_a_version_alone_is_a_change_and_a_run_that_meets_its_own_is_not():
    old, new = shop(), shop(version="2")
    assert old.chat.definition.digest == new.chat.definition.digest
    with scripted(old, {old.chat: [answer("hi")] * 2}):
        same = old.chat.delay("x")
        same.get()
        assert changes(same) == []
        run = old.chat.with_options(countdown=1).delay("x")
        deployed(old, new)
        run.get()
        assert [(one.version_before, one.version) for one in changes(run)] == [("", "2")]


def test_a_parked_run_waits_for_a_worker_with_the_old_one():
    old, new = shop(version="1"), shop(version="2", on_change="park")
    with scripted(old, {old.chat: [answer("hi")]}) as kit:
        run = old.chat.with_options(countdown=1).delay("x")
        deployed(old, new)
        reap(old, kit, 60)
        why = run.explain()
        assert "is delayed" in why
        assert "parked until a worker with the old one takes it: shop.chat is version 2 (" in why
        assert "and the run goes by version 1 (" in why
        assert kit.requests == ()
        deployed(old, shop(version="1"))
        assert run.get() == "hi"
        assert changes(run) == []
        assert old.house().store.mailbox.depth(["celery"])["celery"].dead == 0, "nothing was counted"


@pytest.mark.parametrize("started", [False, True])
def test_a_parked_run_ends_with_its_deadline(started: bool):
    old, new = shop(version="1"), shop(version="2", on_change="park")
    with scripted(old, {old.chat: [call("look", where="x"), answer("hi")]}) as kit:
        run = old.chat.with_options(countdown=1, deadline=20).delay("x")
        if started:
            step(old, kit, run.id, run.id, "shop.chat")
        deployed(old, new)
        reap(old, kit, 10)
        assert run.status == "STARTED"
        reap(old, kit, 20)
        with pytest.raises(DeadlineExceededError, match="the deadline passed"):
            run.get()


def step(wink: Wink, kit: Scripted, run: str, message: str, task: str) -> None:
    """Work on one message, and on nothing that follows."""
    kit.clock.advance(1)
    house = wink.house()
    object.__setattr__(house.parts, "ringer", SimpleNamespace(ring=lambda _: None))
    claimed = house.store.mailbox.claim(Address("default", run, message), task=task, owner="w", after=0)
    house.steps._step(claimed, (), NoObserver(), first=True)


@pytest.mark.parametrize("what", ["chat", "add"])
def test_a_run_fails_where_it_is_to(what: str):
    old, new = shop(version="1"), shop(version="2", on_change="fail")
    with scripted(old, {}) as kit:
        run = getattr(old, what).with_options(countdown=1).delay(1 if what == "add" else "x")
        deployed(old, new)
        with pytest.raises(PromptChangedError, match=rf"shop.{what} is version 2 .* goes by version 1"):
            run.get()
        assert kit.requests == ()


@pytest.mark.parametrize("on_change", ["park", "continue"])
def test_a_call_is_parked_with_its_run_and_else_goes_on(on_change: str):
    old, new = shop(version="1"), shop(version="2", on_change=on_change)
    with scripted(old, {old.chat: [call("look", where="x"), answer("hi")]}) as kit:
        run = old.chat.with_options(countdown=1).delay("x")
        step(old, kit, run.id, run.id, "shop.chat")
        deployed(old, new)
        asked = call_id(run.id, 1, 0)
        step(old, kit, run.id, asked, "shop.look")
        record = old.house().store.ledger.message("default", run.id, asked)
        assert record.state == ("delayed" if on_change == "park" else "done")
        assert ("parked until a worker with the old one takes it" in record.error) == (on_change == "park")


def test_arguments_that_fit_the_tool_no_more_are_told_to_the_model():
    old, new = shop(), shop(more=True)
    with scripted(old, {old.chat: [call("look", where="x"), answer("hi")]}):
        run = old.chat.with_options(countdown=1).delay("x")
        old.registry.tools.update(new.registry.tools)
        assert run.get() == "hi"
        [failed] = [one.event for one in run.events() if isinstance(one.event, ToolFailed)]
        assert failed.kind == "invalid_arguments"
        assert "depth" in failed.message


def test_a_task_goes_on_or_waits_like_a_prompt():
    old = shop(version="1")
    with scripted(old, {}) as kit:
        run = old.add.with_options(countdown=1).delay(1)
        deployed(old, shop(version="2", on_change="park"))
        reap(old, kit, 2 * UNKNOWN_HERE)
        assert "parked" in run.explain()
        deployed(old, shop(version="3"))
        assert run.get() == 2
        assert [(one.version_before, one.version) for one in changes(run)] == [("1", "3")]
        late = old.add.with_options(countdown=1, deadline=20).delay(1)
        deployed(old, shop(version="4", on_change="park"))
        reap(old, kit, 30)
        with pytest.raises(DeadlineExceededError):
            late.get()


@pytest.mark.parametrize("what", ["chat", "add"])
def test_parameters_that_do_not_fit_are_a_dead_letter_that_is_tried_again(what: str):
    """Until the mend is deployed."""
    old, changed = shop(), shop()

    if what == "chat":

        @changed.prompt(output=str, model="house:m", deadline=None, name="other")
        def other(number: int) -> str:
            """You changed."""
            return str(number)

        broken = other.definition
        object.__setattr__(broken, "key", "chat")
    else:

        @changed.task(name="other")
        def another(y: int) -> int:
            return y

        broken = another.definition
    with scripted(old, {old.chat: [answer("hi")]}) as kit:
        run = getattr(old, what).with_options(countdown=1).delay(1 if what == "add" else "x")
        registry = old.registry.prompts if what == "chat" else old.registry.tasks
        mended = registry[f"shop.{what}"]
        registry[f"shop.{what}"] = broken
        with pytest.raises(ParamsChangedError, match="is a dead letter: its recorded parameters do not fit any more"):
            run.get()
        [died] = [one.event for one in run.events() if isinstance(one.event, StepDied)]
        assert died.code == "ParamsChangedError"
        mailbox = old.house().store.mailbox
        [letter] = mailbox.peek("celery")
        assert letter.deliveries == 1, "it was not tried in vain"
        registry[f"shop.{what}"] = mended
        reap(old, kit, 1)
        revived = mailbox.revive(Address("default", run.id, run.id), by="ann")
        assert revived.effect == "ready"
        old.house().ringer.ring(revived.doorbells)
        assert run.get() == ("hi" if what == "chat" else 2)
        assert any(isinstance(one.event, StepRevived) for one in run.events())


@pytest.mark.parametrize(
    ("options", "told"), [({"version": 3}, "version=3 is no text"), ({"on_change": "wait"}, "'park'")]
)
def test_what_a_version_may_be(options: dict[str, Any], told: str):
    wink = Wink(Celery("shop", set_as_current=False), providers={"house": NoProvider()})

    def chat(text: str) -> str:
        """You talk."""
        return text

    with pytest.raises(DeclarationError, match=f"prompt 'shop.chat': .*{told}"):
        wink.prompt(output=str, model="house:m", **options)(chat)
    with pytest.raises(DeclarationError, match=f"task 'shop.chat': .*{told}"):
        wink.task(**options)(chat)
