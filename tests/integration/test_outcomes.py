"""What the outcome of a run does with what a signature attached to it, on Celery's Redis result backend."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import pytest
from celery import Celery, chain, group
from celery.app.trace import build_tracer
from celery.canvas import Signature

from tests.canvas import let_go
from wink_tasks import RunTimeoutError, Wink
from wink_tasks.adapters.celery.canvas import IN_OTHER_HANDS
from wink_tasks.adapters.celery.children import PoolChildren
from wink_tasks.adapters.celery.options import call_options
from wink_tasks.adapters.celery.outcomes import CeleryOutcomes
from wink_tasks.adapters.celery.task_events import TaskEvents
from wink_tasks.core.errors import ConfigurationError, LedgerUnavailableError, ParametersInvalidError, TurnLimitError
from wink_tasks.core.events import (
    EvaluationAccepted,
    EvaluationCancelled,
    EvaluationFailed,
    EvaluationSucceeded,
    Terminal,
    Terms,
)
from wink_tasks.ports.outcome import Outcome
from wink_tasks.testing.scripted import answer

# Celery's own, with redis-py 8.
pytestmark = pytest.mark.filterwarnings("ignore:Call to deprecated setex:DeprecationWarning")


class Project:
    """A Celery app whose messages stay in memory, and ends of runs that are told to it."""

    def __init__(self, backend: str) -> None:
        self.queue = f"q{uuid4()}"
        self.app = Celery("project", broker="memory://", backend=backend, set_as_current=False)
        self.app.conf.task_default_queue = self.queue
        self.outcomes = CeleryOutcomes(self.app, TaskEvents(self.app, PoolChildren()))

    def sig(self, name: str, *args: Any) -> Signature:
        return self.app.signature(name, args)

    def tell(self, run: str, end: Terminal, options: dict[str, Any], *, again: bool = False) -> float | None:
        canvas = call_options(self.app, options).canvas or {}
        return self.outcomes.deliver(self.outcome(run, end, canvas, again=again))

    def outcome(self, run: str, end: Terminal, canvas: Any, *, again: bool = False) -> Outcome:
        terms = Terms(models=("m",))
        accepted = EvaluationAccepted(
            evaluation=run, prompt="p.q", digest="d", params={"a": 1}, terms=terms, canvas=dict(canvas)
        )
        return Outcome(tenant="t", session="s", accepted=accepted, end=end, seconds=1.0, again=again)

    def sent(self, queue: str | None = None) -> list[SimpleNamespace]:
        """The messages in the queue, which is empty then."""
        with self.app.connection_for_read() as connection, connection.SimpleQueue(queue or self.queue) as messages:
            found = []
            while messages.qsize():
                message = messages.get(block=False)
                message.ack()
                found.append(SimpleNamespace(headers=message.headers, properties=message.properties, **_body(message)))
            return found


def _body(message: Any) -> dict[str, Any]:
    body = json.loads(message.body)
    return {"args": body[0], "embed": body[2]} if isinstance(body, list) else {"body": body}


@pytest.fixture
def project(redis_url: str) -> Iterator[Project]:
    made = Project(redis_url)
    yield made
    let_go(made.app)


def good(run: str, output: Any = 1) -> EvaluationSucceeded:
    return EvaluationSucceeded(evaluation=run, output=output)


def bad(run: str) -> EvaluationFailed:
    return EvaluationFailed(evaluation=run, code="TurnLimitError", message="no result")


def test_what_is_told_twice_is_published_twice_under_the_same_ids(project: Project):
    first, second, third, fourth = (project.sig(f"t.{name}") for name in "abcd")
    options = {
        "link": [first, group(second, third), chain(project.sig("t.e"), fourth)],
        "chain": [project.sig("t.last"), project.sig("t.next").set(task_id="n1")],
        "root_id": "root",
        "priority": 3,
    }
    canvas = call_options(project.app, options).canvas
    told = project.outcome("r1", good("r1", {"x": 1}), canvas)
    published = []
    for _ in range(2):
        assert project.outcomes.deliver(told) is None
        published.append(project.sent())
    once, again = ({message.headers["task"]: message.headers["id"] for message in sent} for sent in published)
    assert once == again
    assert list(once) == ["t.a", "t.b", "t.c", "t.e", "t.next"]
    assert once["t.next"] == "n1"
    for message in published[0]:
        assert message.args == [{"x": 1}]
        assert message.headers["root_id"] == "root"
        assert message.properties["priority"] == 0
    assert [message.headers["parent_id"] for message in published[0] if message.headers["task"] != "t.e"] == ["r1"] * 4
    assert [step["task"] for step in published[0][-1].embed["chain"]] == ["t.last"]
    stored = project.app.backend.get_task_meta("r1")
    assert stored["result"] == {"x": 1}
    assert {child[0][0] for child in stored["children"]} >= {once["t.a"], "n1"}


def test_callbacks_inherit_the_priority_where_the_app_says_so(project: Project):
    project.app.conf.task_inherit_parent_priority = True
    project.tell("r1", good("r1"), {"link": project.sig("t.a"), "priority": 3})
    assert [message.properties["priority"] for message in project.sent()] == [3]


def header(project: Project, size: int) -> tuple[str, dict[str, Any]]:
    chord_id = str(uuid4())
    project.app.backend.set_chord_size(chord_id, size)
    body = project.sig("t.body").set(task_id="b1", link_error=[project.sig("t.err")])
    return chord_id, {"chord": body, "group_id": chord_id}


def test_a_part_of_a_chord_counts_once_also_where_it_is_told_twice(project: Project):
    _, options = header(project, 2)
    for again in (False, True):
        assert project.tell("r0", good("r0", "zero"), {**options, "group_index": 0}, again=again) is None
    assert project.sent() == []
    for again in (False, True):
        assert project.tell("r1", good("r1", "one"), {**options, "group_index": 1}, again=again) is None
    [body] = project.sent()
    assert (body.headers["id"], body.args) == ("b1", [["zero", "one"]])


@pytest.mark.parametrize("end", [bad("r0"), EvaluationCancelled(evaluation="r0", reason="enough")])
def test_a_part_that_ended_badly_fails_the_chord(project: Project, end: Terminal):
    _, options = header(project, 1)
    for again in (False, True):
        assert project.tell("r0", end, {**options, "group_index": 0}, again=again) is None
    [errback] = project.sent()
    assert (errback.headers["task"], errback.args) == ("t.err", ["b1"])
    assert "Dependency r0 raised" in str(project.app.backend.get_result("b1"))


def test_a_body_that_a_dead_worker_had_in_hand_is_waited_for(project: Project):
    chord_id, options = header(project, 1)
    backend = project.app.backend
    claim = backend.get_key_for_group(chord_id, ".c")
    backend.client.set(claim, "another's")
    options["group_index"] = 0
    assert project.tell("r0", good("r0"), options, again=True) == IN_OTHER_HANDS
    assert (project.sent(), backend.get_state("r0")) == ([], "PENDING")
    backend.client.delete(claim)
    assert project.tell("r0", good("r0"), options, again=True) is None
    assert [message.headers["id"] for message in project.sent()] == ["b1"]


def test_where_the_parts_of_a_chord_are_polled_nobody_has_its_body_in_hand(tmp_path: Path):
    project = Project(f"file://{tmp_path}")
    options = {"chord": project.sig("t.body").set(task_id="b1"), "group_id": "g", "group_index": 0}
    assert project.tell("r0", good("r0"), options, again=True) is None
    assert (project.app.backend.get_result("r0"), project.sent()) == (1, [])
    project.app.close()


def test_a_chain_that_breaks_fails_what_would_follow(project: Project):
    following = [project.sig("t.last").set(task_id="c2"), project.sig("t.next").set(task_id="c1")]
    project.tell("r1", bad("r1"), {"chain": following, "link": project.sig("t.a"), "link_error": project.sig("t.err")})
    [errback] = project.sent()
    assert (errback.headers["task"], errback.args) == ("t.err", ["r1"])
    for name in ("r1", "c1", "c2"):
        assert isinstance(project.app.backend.get_result(name), TurnLimitError)


def test_results_are_not_stored_where_the_caller_wants_none(project: Project):
    project.tell("r1", good("r1"), {"ignore_result": True})
    project.tell("r2", bad("r2"), {"ignore_result": True})
    assert [project.app.backend.get_state(run) for run in ("r1", "r2")] == ["PENDING", "PENDING"]


def test_stamps_reach_errbacks_and_headers(project: Project):
    options = call_options(project.app, {"stamped_headers": ["team"], "team": "blue", "headers": {"ticket": 7}})
    assert options.headers == {"ticket": 7, "stamped_headers": ["team"], "stamps": {"team": "blue"}}
    assert options.canvas == {"stamped_headers": ["team"], "stamps": {"team": "blue"}}


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"headers": {"eta": 1}}, "headers: eta mean something to Celery"),
        ({"headers": {"x": object()}}, "headers=.* are kept as JSON"),
        ({"link": Signature("t", args=(object(),))}, r"what a signature attaches to a run \(link\) is kept as JSON"),
    ],
)
def test_what_does_not_fit(project: Project, options: dict[str, Any], complaint: str):
    with pytest.raises(ParametersInvalidError, match=complaint):
        call_options(project.app, options)


@pytest.mark.parametrize("backend", ["disabled://", "rpc://"])
def test_a_chord_needs_a_backend_that_counts(backend: str):
    project = Project(backend)
    with pytest.raises(ConfigurationError, match="a chord needs a result backend that counts its parts"):
        call_options(project.app, {"chord": project.sig("t.body")})
    assert project.tell("r1", good("r1"), {"link": project.sig("t.a")}) is None
    assert [message.headers["task"] for message in project.sent()] == ["t.a"], "callbacks need none"
    project.app.close()


def test_an_rpc_backend_answers_whoever_asked():
    project = Project("rpc://")
    reply_to = f"replies-{uuid4()}"
    with project.app.connection_for_read() as connection, connection.SimpleQueue(reply_to) as replies:
        assert project.tell("r1", good("r1", "x"), {"reply_to": reply_to}) is None
        message = replies.get(timeout=5)
        message.ack()
        assert (message.payload["result"], message.payload["task_id"]) == ("x", "r1")
    project.app.close()


def test_a_run_that_a_broken_chain_never_comes_to(redis_url: str):
    app = Celery("chained", broker="memory://", backend=redis_url, set_as_current=False)
    wink = Wink(app, redis_url=redis_url)

    @wink.prompt(output=str, model="offline:m")
    def chat(text: str) -> str:
        """You talk."""
        return text

    run = chat.task.AsyncResult("r1")
    with pytest.raises(RunTimeoutError, match="run r1 is not accepted yet"):
        run.get(timeout=0.05)
    app.backend.store_result("r1", ValueError("before it"), "FAILURE")
    with pytest.raises(ValueError, match="before it"):
        run.get(timeout=5)
    assert run.state == "FAILURE"
    wink.leave()
    let_go(app)


def test_a_prompt_that_refuses_what_came_before_it_has_failed(project: Project, redis_url: str):
    wink = Wink(project.app, redis_url=redis_url)

    @wink.prompt(output=str, model="offline:m")
    def chat(text: str) -> str:
        """You talk."""
        return text

    following = chat.s().set(task_id="c1", link_error=[project.sig("t.err")])
    project.tell("r1", good("r1", {"no": "text"}), {"chain": [project.sig("t.last").set(task_id="c2"), following]})
    [errback] = project.sent()
    assert (errback.headers["task"], errback.args) == ("t.err", ["c1"])
    for name in ("c1", "c2"):
        assert isinstance(project.app.backend.get_result(name), ParametersInvalidError)
    assert project.app.backend.get_result("r1") == {"no": "text"}
    wink.leave()


def test_a_prompt_that_cannot_be_accepted_now_is_sent_again_later(project: Project):
    wink = Wink(project.app, redis_url="redis://127.0.0.1:1/0", store_give_up_after=0.05)

    @wink.prompt(output=str, model="offline:m")
    def chat(text: str) -> str:
        """You talk."""
        return text

    with pytest.raises(LedgerUnavailableError):
        project.tell("r1", good("r1", "x"), {"link": chat.s()})
    assert project.app.backend.get_state("r1") == "PENDING"
    wink.leave()


class Parrot:
    """Says what it is told."""

    async def complete(self, request):
        return answer(request.items[-1].content)

    async def close(self) -> None:
        """Nothing to close."""


def test_celerys_tracer_finds_nothing_to_honour_on_an_adopted_message(project: Project, redis_url: str):
    wink = Wink(project.app, redis_url=redis_url, providers={"house": Parrot()})

    @wink.prompt(output=str, model="house:m")
    def chat(text: str) -> str:
        """You talk."""
        return text

    _, options = header(project, 1)
    request = {
        "id": "r1",
        "root_id": "r1",
        "callbacks": [project.sig("t.a")],
        "errbacks": [project.sig("t.err")],
        "chain": [project.sig("t.next").set(task_id="n1")],
        "chord": options["chord"],
        "group": options["group_id"],
        "group_index": 0,
        "ignore_result": False,
        "delivery_info": {"priority": 0},
        "timelimit": [None, None],
    }
    trace = build_tracer(chat.name, chat.task, app=project.app)
    trace("r1", ("hello",), {}, request)
    told = [(message.headers["task"], message.args) for message in project.sent() if "wink" not in message.headers]
    assert sorted(told) == [("t.a", ["hello"]), ("t.body", [["hello"]]), ("t.next", ["hello"])]
    assert project.app.backend.get_result("r1") == "hello"
    trace("r1", ("hello",), {}, request)
    assert [message.headers["task"] for message in project.sent()] == [], "delivered twice"
    wink.leave()
