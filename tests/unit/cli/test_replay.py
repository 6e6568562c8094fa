"""`wink replay`: what was recorded, folded and run again by the code of today."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import msgspec
import pytest
from celery import Celery
from pydantic import BaseModel

from tests.unit.cli.conftest import Command
from wink_tasks import ReducerContext, Replace, SliceDeclarations, ToolError, Wink
from wink_tasks.core.errors import ProviderUnavailableError
from wink_tasks.core.events import EvaluationFailed, OutputRejected, Recorded, ToolFailed, ToolReturned
from wink_tasks.core.ids import turn_id
from wink_tasks.ports.ledger import Snapshot
from wink_tasks.testing import FakeClock, answer, call, calls, scripted
from wink_tasks.testing.rerun import rerun
from wink_tasks.testing.scripted import Everywhere, Scripted


@dataclass(frozen=True)
class Seen:
    name: str


@dataclass(frozen=True)
class Tally:
    count: int


MODELS = ("house:small", "house:large")


class Sum(BaseModel):
    total: int


def tallied(view: Any, event: Seen, *, context: ReducerContext) -> Replace[Tally]:
    latest = view.latest()
    return Replace((Tally(1 + (latest.count if latest else 0)),))


def application(
    *,
    doc: str = "You add.",
    content: str = "Add {text}",
    settings: Any = None,
    output: type = Sum,
    tool_doc: str = "Look.",
    named: str = "name",
) -> Any:
    wink = Wink(Celery("desk", set_as_current=False), providers={"house": object}, split_queues=True)
    wink.slices.event(Seen)
    wink.slices.register(Tally, {Seen: tallied})

    def look(**given: str) -> Any:
        if given[named] == "bad":
            raise ToolError("no")
        return Seen(given[named])

    namespace: dict[str, Any] = {"look": look, "R": Seen}
    exec(f"def seen({named}: str) -> R:\n    {tool_doc!r}\n    return look({named}={named})", namespace)  # noqa: S102 - a tool with another parameter
    tool = wink.tool(parallel=True, name="look")(namespace["seen"])

    def total(text: str) -> str:
        return content.format(text=text)

    total.__doc__ = doc
    prompt = wink.prompt(output=output, model=MODELS, tools=[tool], model_settings=settings, name="total")(total)

    @wink.task
    def sync(name: str) -> str:
        """Synchronize."""
        return name

    wink.__dict__.update(look=tool, total=prompt, sync=sync)
    return wink


SCRIPT = [
    calls(("look", {"name": "a"}), ("look", {"name": "bad"}), ("look", {"nom": "x"}), ("lok", {})),
    answer("no JSON"),
    answer(Sum(total=3)),
]


@pytest.fixture
def wink(named: Callable[[Wink], str]) -> Any:
    made = application()
    named(made)
    return made


@pytest.fixture
def kit(wink: Any) -> Iterator[Scripted]:
    with scripted(wink, {wink.total: SCRIPT}) as kit:
        yield kit


@pytest.fixture
def run(wink: Any, kit: Scripted) -> Any:
    """A run with all that can happen in a turn."""
    run = wink.total.with_options(session="s1", labels={"team": "a"}).delay("password=hunter2")
    assert run.get() == Sum(total=3)
    return run


def again(wink: Any, run: Any, **changes: Any) -> Any:
    [found] = rerun(application(**changes), tuple(run.session.events()))
    return found


def test_a_session_folds_to_what_was_kept(wink: Any, run: Any, command: Command):
    printed = command("replay", "s1")
    assert (printed.code, printed.err) == (0, "")
    lines = printed.out.splitlines()
    assert lines[0] == f"Session s1 of tenant default: {run.session.seq} events, 1 runs"
    assert lines[1:] == [
        "Snapshot: none is kept (one is, from each 100th event on)",
        "Runs: the index has them as they fold",
    ]
    for place in range(120):
        wink.session("s1").dispatch(Seen(f"x{place}"))
    printed = command("replay", "s1")
    assert (printed.code, printed.out.splitlines()[1]) == (
        0,
        "Snapshot: that of event 100 is what the ledger folds to",
    )
    told = json.loads(command("replay", "s1", "--json").out)
    assert (told["differs"], told["snapshot"], told["snapshot_seq"]) == (False, "same", 100)


def kept(wink: Any, seq: int, fingerprint: str, slices: bytes) -> None:
    wink.house().store.ledger.keep_snapshot("default", "s1", Snapshot(seq=seq, fingerprint=fingerprint, slices=slices))


def test_a_snapshot_that_the_ledger_does_not_fold_to(wink: Any, run: Any, command: Command):
    name = f"{__name__}.Tally"
    kept(
        wink,
        5,
        wink.registry.reducers.fingerprint,
        json.dumps({name: {"count": 3, "values": [{"count": 7}]}, "x.Y": {"count": 0, "values": []}}).encode(),
    )
    printed = command("replay", "s1")
    assert printed.code == 1
    assert "Snapshot: that of event 5 differs from what the ledger folds to\n" in printed.out
    assert f"  {name}: recorded 3 values, now 0\n    [0]: recorded " in printed.out
    assert '{"count":7}, now nothing' in printed.out
    told = json.loads(command("replay", "s1", "--json").out)
    assert told["slices"][0]["slice"] == name
    assert "x.Y" not in printed.out


def test_other_reducers_are_told_and_no_error(wink: Any, run: Any, command: Command):
    kept(wink, 5, "abc", b"no JSON")
    printed = command("replay", "s1")
    assert printed.code == 0
    here = wink.registry.reducers.fingerprint
    assert f"was made by other reducers (abc; here they are {here}): nobody reads it, and it is not" in printed.out


def test_a_snapshot_that_cannot_be_read(wink: Any, run: Any, command: Command):
    kept(wink, 5, wink.registry.reducers.fingerprint, b"[]")
    printed = command("replay", "s1")
    assert (printed.code, printed.err[:41]) == (1, "wink: a snapshot cannot be read: Expected")


def test_an_index_that_says_otherwise(wink: Any, run: Any, command: Command):
    wink.house().store._books.evaluations[run.id].status = "FAILURE"
    printed = command("replay", "s1")
    assert printed.code == 1
    place = f"evaluations.{run.id}.end"
    assert f'  {place}: recorded "EvaluationFailed", now "EvaluationSucceeded"\n' in printed.out


def test_a_resumed_run_and_one_that_goes_on_fold_as_the_index_has_them(wink: Any, kit: Scripted, command: Command):
    kit.script(wink.total, [ProviderUnavailableError("down")] * 4)
    dead = wink.total.with_options(session="s1").delay("x")
    with pytest.raises(Exception, match="dead letter"):
        dead.get()
    assert command("replay", "s1").code == 0
    kit.script(wink.total, [answer(Sum(total=1))])
    assert command("dlq", "replay", dead.id).code == 0
    wink.total.with_options(session="s1", countdown=5).delay("x")
    assert command("replay", "s1").code == 0
    assert command("replay", "s1", "--evaluate").code == 0


def test_the_runs_that_a_fork_shares_are_its_parents(wink: Any, kit: Scripted, run: Any, command: Command):
    run.session.fork(at=4, name="f")
    forked = wink.session("f").fork(at=6, name="g")
    kit.script(wink.total, [answer(Sum(total=1))])
    wink.total.with_options(session="g").delay("more").get()
    for name, runs in (("f", 0), (forked.id, 1), ("s1", 1)):
        printed = command("replay", name)
        assert (printed.code, f", {runs} runs\n" in printed.out) == (0, True), printed.out
        assert printed.out.endswith("Runs: the index has them as they fold\n")


def test_what_was_written_meanwhile_is_read_again(
    wink: Any, run: Any, monkeypatch: pytest.MonkeyPatch, command: Command
):
    ledger = wink.house().store.ledger
    plain, came = ledger.evaluations, []

    def slow(tenant: str, session: str) -> Any:
        if not came:
            came.append(wink.session("s1").dispatch(Seen("late")))
        return plain(tenant, session)

    monkeypatch.setattr(ledger, "evaluations", slow)
    told = command("replay", "s1").out
    assert f"{came[0]} events" in told


def test_todays_code_does_what_it_did(wink: Any, run: Any, kit: Scripted, command: Command):
    done = len(kit.requests)
    wink.sync.with_options(session="s1").delay("x").get()
    printed = command("replay", "s1", "--evaluate")
    assert (printed.code, printed.err) == (0, "")
    first, second = printed.out.splitlines()
    assert first == f"Run {run.id} of desk.total: 3 turns do today what they did"
    assert second.endswith("of desk.sync is not run again: it is a durable task, which asks no model")
    assert len(kit.requests) == done, "no model is asked"
    only = json.loads(command("replay", "s1", "--evaluate", "--run", turn_id(run.id, 2), "--json").out)
    assert [one["run"] for one in only["runs"]] == [run.id]
    assert only["differs"] is False


def test_a_drift_is_told(run: Any, named: Callable[[Wink], str], command: Command):
    records = tuple(run.session.events())
    changed = application(doc="You add carefully.", content="Add\n{text}")
    named(changed)
    with changed.in_memory(clock=FakeClock()) as house:
        house.store.ledger.append("default", "s1", [one.event for one in records], expected=0, actor="a")
        printed = command("replay", "s1", "--evaluate")
        assert printed.code == 1
        assert printed.out.splitlines() == [
            f"Run {run.id} of desk.total drifts; the prompt is declared otherwise than then",
            "  turn 1, event 3: it would begin otherwise",
            "    content:",
            "      --- recorded",
            "      +++ now",
            "      @@ -1 +1,2 @@",
            "      -Add password=***",
            "      +Add",
            "      +password=***",
        ]
        assert json.loads(command("replay", "s1", "--evaluate", "--json").out)["runs"][0]["drift"]["what"] == "start"


@pytest.mark.parametrize(
    ("changes", "what", "told"),
    [
        (
            {"doc": "You add\ncarefully."},
            "request",
            ["instructions", "    You add\n    carefully.", "is declared otherwise"],
        ),
        ({"tool_doc": "Look well."}, "request", ["what differs: tools", "the tools of today:\n    look: {"]),
        ({"settings": {"seed": 1}}, "request", ["settings", 'the model settings of today: {"seed":1}, of which']),
        ({"output": Tally}, "request", ["what differs: output", "the output's schema of today: {"]),
        ({"named": "nom"}, "request", ["what differs: tools"]),
    ],
)
def test_what_differs_in_a_request_is_named(wink: Any, run: Any, changes: Any, what: str, told: list[str]):
    drift = again(wink, run, **changes).drift
    assert (drift.what, drift.turn, drift.seq) == (what, 1, 4)
    text = "\n".join(drift.lines())
    assert all(one in text for one in told), text


def test_another_model(wink: Any, run: Any):
    records = tuple(run.session.events())
    changed = application()

    class Large:
        def select_model(self, prompt: Any, terms: Any, *, attempt: int) -> str:
            return "house:large"

    changed._router = Large()
    [found] = rerun(changed, records)
    assert list(found.drift.lines())[1] == '  model: recorded "house:small", now "house:large"'
    begun = [replace_event(one, model="house:large") if one.seq == 3 else one for one in records]
    [found] = rerun(changed, begun)
    assert found.drift.message == "another request would be sent; what differs: model"


def replace_event(record: Recorded, **fields: Any) -> Recorded:
    return Recorded(record.seq, record.at, record.actor, msgspec.structs.replace(record.event, **fields))


def test_a_ledger_that_does_not_know_the_parts_and_one_folded_otherwise(wink: Any, run: Any):
    records = tuple(run.session.events())
    old = [replace_event(one, parts={}, request="old") if one.seq == 4 else one for one in records]
    assert rerun(wink, old)[0].drift.notes == ("which part it is was not recorded",)
    parts = {**records[3].event.parts, "transcript": "other"}
    other = [replace_event(one, parts=parts, request="old") if one.seq == 4 else one for one in records]
    assert "this version folds them otherwise" in rerun(wink, other)[0].drift.notes[0]


def changed_at(records: Any, kind: str, **fields: Any) -> list[Recorded]:
    place = next(place for place, one in enumerate(records) if type(one.event).__name__ == kind)
    return [replace_event(one, **fields) if at == place else one for at, one in enumerate(records)]


@pytest.mark.parametrize(
    ("kind", "fields", "message"),
    [
        ("ToolFailed", {"message": "Not so."}, "a call would be refused for another reason"),
        ("OutputRejected", {"reason": "Another."}, "the answer is read otherwise"),
        ("EvaluationSucceeded", {"output": {"total": 4}}, "the answer is read otherwise"),
    ],
)
def test_what_follows_an_answer_is_compared(wink: Any, run: Any, kind: str, fields: Any, message: str):
    drift = rerun(wink, changed_at(tuple(run.session.events()), kind, **fields))[0].drift
    assert (drift.message, drift.what) == (message, "tool call" if kind == "ToolFailed" else "output")
    assert len(drift.places) == 1


def test_a_run_that_ended_by_its_limits(wink: Any, kit: Scripted):
    kit.script(wink.total, [call(wink.look, name="a")])
    run = wink.total.with_options(session="s1").delay("x")
    records = tuple(run.session.events())
    assert isinstance(records[-1].event, EvaluationFailed), "the provider refused, as the script had ended"
    [found] = rerun(wink, records)
    assert (found.turns, found.drift) == (1, None), "an end from outside is not judged"
    reason = "no result after 1 turns (max_turns)"
    limited = EvaluationFailed(evaluation=run.id, code="TurnLimitError", message=reason)
    ended = [*records[:-1], Recorded(records[-1].seq, records[-1].at, "", limited)]
    [found] = rerun(wink, ended)
    assert found.drift.message == f"the run ended with TurnLimitError ({reason}), today's code asks the model"
    assert (found.drift.what, found.drift.turn) == ("end", 2)
    terms = msgspec.structs.replace(records[1].event.terms, max_turns=1)
    [found] = rerun(wink, [replace_event(one, terms=terms) if one.seq == 2 else one for one in ended])
    assert (found.turns, found.drift) == (2, None)
    other = msgspec.structs.replace(limited, message="otherwise")
    told = [replace_event(one, terms=terms) if one.seq == 2 else one for one in records[:-1]]
    [found] = rerun(wink, [*told, Recorded(records[-1].seq, 0.0, "", other)])
    assert found.drift.message == "it ends otherwise"


def test_a_call_that_was_run_and_would_be_refused_and_the_other_way(wink: Any, run: Any):
    records = tuple(run.session.events())
    [refused] = (one for one in records if isinstance(one.event, ToolFailed) and one.event.kind == "unknown_tool")
    ran = ToolReturned(evaluation=run.id, turn=1, call=refused.event.call, tool="lok", value=1, seconds=0.0)
    [found] = rerun(wink, [Recorded(one.seq, one.at, "", ran) if one is refused else one for one in records])
    assert found.drift.message.startswith(
        "the run recorded nothing more here, today's code gives a refused call of lok"
    )
    fit = tuple(msgspec.structs.replace(one, tool="look", arguments={"name": "b"}) for one in records[3].event.calls)
    [found] = rerun(wink, changed_at(records, "ModelResponded", calls=fit))
    assert found.drift.message.startswith("the run recorded a refused call of look")
    assert found.drift.message.endswith("today's code gives nothing")


def test_an_answer_that_would_be_taken_and_one_that_was_cut_off(wink: Any, run: Any):
    records = tuple(run.session.events())
    place = next(place for place, one in enumerate(records) if isinstance(one.event, OutputRejected))
    taken = [replace_event(one, text='{"total": 1}') if at == place - 1 else one for at, one in enumerate(records)]
    [found] = rerun(wink, taken)
    assert found.drift.message.startswith("the run recorded a rejected answer (Your answer is not JSON")
    assert found.drift.message.endswith("today's code gives a result")
    [found] = rerun(wink, records[:-1])
    assert (found.turns, found.drift) == (3, None), "a run that was ended by its worker's death, or goes on"


def test_a_prompt_that_fails_today(wink: Any, run: Any):
    records = tuple(run.session.events())
    [found] = rerun(application(content="{nothing}"), records)
    assert found.drift.message.startswith("the run recorded EvaluationStarted, today's code gives PromptFailedError: ")
    failed = EvaluationFailed(evaluation=run.id, code="PromptFailedError", message="KeyError")
    [found] = rerun(wink, [*records[:2], Recorded(3, 0.0, "", failed)])
    assert found.drift.message == "the run ended with PromptFailedError (KeyError), today's code asks the model"
    refused = EvaluationFailed(evaluation=run.id, code="PromptFailedError", message=found.drift.message)
    [found] = rerun(application(content="{nothing}"), [*records[:2], Recorded(3, 0.0, "", refused)])
    assert found.drift.places[0].at == "message"


def test_a_turn_that_today_does_not_finish(wink: Any, run: Any, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(Everywhere, "__getitem__", lambda *_: Down)
    [found] = rerun(wink, tuple(run.session.events()))
    assert found.drift.message == "today's code does not finish this turn: ProviderUnavailableError: down"


class Down:
    async def complete(self, request: Any) -> Any:
        raise ProviderUnavailableError("down")

    async def close(self) -> None:
        """Nothing to close."""


def test_a_result_that_is_none_of_todays_tool(wink: Any, run: Any):
    records = tuple(run.session.events())
    drift = rerun(wink, changed_at(records, "ToolReturned", slice="old.Seen"))[0].drift
    assert drift.message.endswith(f"it goes to slice {__name__}.Seen now, not to old.Seen")
    drift = rerun(wink, changed_at(records, "ToolReturned", value={"nom": 1}))[0].drift
    assert (drift.what, drift.turn) == ("tool result", 1)
    assert "is no result of today's tool: name: Field required" in drift.message
    del wink.registry.tools["desk.look"]
    assert rerun(wink, records)[0].drift.message.endswith("there is no such tool any more")


def test_a_prompt_that_is_gone(wink: Any, run: Any, command: Command):
    del wink.registry.prompts["desk.total"]
    printed = command("replay", "s1", "--evaluate")
    assert printed.code == 0
    assert "is not run again: no prompt is called 'desk.total' any more; there are: none" in printed.out


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (["nope"], "tenant 'default' has no session 'nope'"),
        (["nope", "--evaluate"], "tenant 'default' has no session 'nope'"),
        (["s1", "--evaluate", "--run", "nope"], "the session has no run 'nope'; it has: "),
        (["s1", "--run", "x"], "--run names what --evaluate runs again: give both"),
        ([], "replay takes a SESSION, or --reducers together with --sessions"),
        (["s1", "--reducers", "m", "--sessions", "x"], "replay takes a SESSION, or --reducers"),
        (["--sessions", "x"], "replay takes a SESSION, or --reducers together"),
        (
            ["--reducers", "nope.x", "--sessions", "total"],
            "the module 'nope.x' (--reducers) cannot be imported: ",
        ),
        (["--reducers", "json", "--sessions", "total"], "the module 'json' (--reducers) has no `slices` and no `wink`"),
        (["--reducers", "json:loads", "--sessions", "total"], "the module 'json' (--reducers) has no 'loads' that"),
        (["--reducers", "json", "--sessions", "total since soon"], "--sessions: since takes a number and a unit"),
        (["--reducers", "json", "--sessions", "total since"], "--sessions: 'since' names nothing; it takes [PROMPT]"),
        (["--reducers", "json", "--sessions", "a b"], "--sessions: 'b' is a second prompt after 'a'; it takes"),
    ],
)
def test_bad_input_is_one_clear_error(run: Any, command: Command, given: list[str], told: str):
    printed = command("replay", *given)
    assert printed.code == 2
    assert printed.err.startswith(f"wink: {told}")


def twice(view: Any, event: Seen, *, context: ReducerContext) -> Replace[Tally]:
    if event.name == "refused":
        raise ValueError("no")
    latest = view.latest()
    return Replace((Tally(2 + (latest.count if latest else 0)),))


@pytest.fixture
def module(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    made = ModuleType("new_reducers")
    monkeypatch.setitem(sys.modules, "new_reducers", made)
    made.__dict__["slices"] = slices = SliceDeclarations()
    slices.event(Seen)
    slices.register(Tally, {Seen: twice})
    return made


@pytest.mark.parametrize(
    ("which", "count"),
    [
        ("total", 1),
        ("desk.total since 7d", 1),
        ("total since 60s", 0),
        ("since 7d", 2),
        ("other", 0),
        ("total label team=a", 1),
        ("total label team=b", 0),
        ("tenant globex", 0),
        ("tenant default", 2),
    ],
)
@pytest.mark.usefixtures("run", "module")
def test_reducers_are_tried_on_old_sessions(wink: Any, kit: Scripted, command: Command, which: str, count: int):
    wink.session("s2").dispatch(Seen("a"))
    kit.clock.advance(120)
    printed = command("replay", "--reducers", "new_reducers", "--sessions", which, "--json")
    told = json.loads(printed.out)
    assert (told["sessions"], printed.code) == (count, 1 if count else 0)
    assert {one["slices"][0]["slice"] for one in told["differ"]} <= {f"{__name__}.Tally"}


@pytest.mark.usefixtures("run")
def test_slices_that_the_module_does_not_declare_are_left_out(wink: Any, module: ModuleType, command: Command):
    module.__dict__["slices"] = SliceDeclarations()
    given = ("replay", "--reducers", "new_reducers", "--sessions", "total")
    printed, told = command(*given), json.loads(command(*given, "--json").out)
    assert printed.out.splitlines() == [
        f"Not declared by new_reducers, and not compared: {__name__}.Tally",
        "1 sessions folded by both, 0 of them end in other slices",
    ]
    assert told == {"reducers": "new_reducers", "sessions": 1, "left_out": [f"{__name__}.Tally"], "differ": []}


@pytest.mark.usefixtures("run", "module")
def test_that_no_session_fits_is_told(command: Command):
    printed = command("replay", "--reducers", "new_reducers", "--sessions", "other since 7d")
    assert (printed.code, printed.out) == (0, "No session fits 'other since 7d'\n")


def test_what_differs_is_a_table(wink: Any, run: Any, module: ModuleType, command: Command):
    wink.session("s2").dispatch(Seen("refused"))
    wink.session("s3").dispatch(Tally(1))
    printed = command("replay", "--reducers", "new_reducers:slices", "--sessions", "since 1d")
    assert printed.code == 1
    assert "[0].count: recorded 1, now 2" in printed.out
    assert "twice of slice" in printed.out
    assert printed.out.splitlines()[-1] == "3 sessions folded by both, 2 of them end in other slices"
    assert (
        "More than 1 sessions fit"
        in command("replay", "--reducers", "new_reducers", "--sessions", "since 1d", "--limit", "1", "--json").err
    )
    module.__dict__["wink"] = wink
    alike = command("replay", "--reducers", "new_reducers:wink", "--sessions", "since 1d")
    assert (alike.code, alike.out) == (0, "3 sessions folded by both, 0 of them end in other slices\n")
