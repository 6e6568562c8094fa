"""Recordings: sessions that tests run again."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from celery import Celery

from tests.unit.cli.conftest import Command, command, named  # noqa: F401 - fixtures
from wink_tasks import EvaluationFailedError, SlicePolicy, ToolContext, ToolError, Wink
from wink_tasks.core.errors import RecordingDriftedError, RecordingError
from wink_tasks.core.events import Dispatched, StepDied, ToolReturned
from wink_tasks.core.recording import in_one_order, read_lines
from wink_tasks.ports.provider import Request, Response
from wink_tasks.testing import answer, call, calls, recorded, scripted
from wink_tasks.testing.recorded import read, recording_of, write

pytest_plugins = ["pytester"]


@dataclass(frozen=True)
class Seen:
    name: str


@dataclass(frozen=True)
class Tried:
    name: str


class House:
    """A provider that is asked for real; it answers by script."""

    def __init__(self, script: list[Response], *, remote: bool) -> None:
        self._script = script
        self.remote = remote

    async def complete(self, request: Request) -> Response:
        return self._script.pop(0)

    async def close(self) -> None:
        """Nothing to close."""


SCRIPT = [
    calls(("look", {"name": "a"}), ("look", {"name": "bad"}), ("look", {"name": "worse"}), ("lok", {})),
    call("look", name="password=hunter2"),
    answer("done"),
]


def application(script: list[Response] | None = None, doc: str = "You talk.", *, remote: bool = False) -> Any:
    house = House(list(script or []), remote=remote)
    wink = Wink(Celery("desk", set_as_current=False), providers={"house": house}, split_queues=True)
    ran: list[str] = []
    wink.slices.event(Seen)
    wink.slices.register(Tried, policy=SlicePolicy.LOG)

    @wink.tool(parallel=True)
    def look(ctx: ToolContext, name: str) -> Seen:
        """Look."""
        ran.append(name)
        ctx.session.dispatch(Tried(name))
        if name == "bad":
            raise ToolError("that is bad")
        if name == "worse":
            raise KeyError(name)
        return Seen(name)

    def chat(text: str) -> str:
        return text

    chat.__doc__ = doc
    prompt = wink.prompt(output=str, model="house:m", tools=[look], name="chat")(chat)

    @wink.task
    def sync(name: str) -> str:
        """Synchronize."""
        return name

    wink.__dict__.update(chat=prompt, sync=sync, ran=ran)
    return wink


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "deep" / "chat.jsonl"


@pytest.fixture
def made(path: Path) -> Path:
    """A recording of a run, and of one that failed, made by asking."""
    wink = application([*SCRIPT, answer("again")])
    with recorded(wink, path, record=True) as recording:
        assert wink.chat.delay("password=hunter2").get() == "done" == recording.output
        assert wink.chat.delay("more").get() == "again"
        wink.sync.delay("x").get()
        assert wink.ran == ["a", "bad", "worse", "password=hunter2"]
    assert recording.outputs == ("done", "again")
    return path


def test_a_recording_is_a_test(made: Path):
    wink = application()
    with recorded(wink, made) as recording:
        first = wink.chat.delay("password=hunter2")
        assert first.get() == "done" == recording.outputs[0]
        assert wink.session(first.id)[Tried].all() == tuple(
            Tried(name) for name in ("a", "bad", "worse", "password=***")
        )
        assert wink.session(first.id)[Seen].latest() == Seen("password=***")
        assert wink.chat.delay("more").get() == recording.output
    assert wink.ran == [], "no tool is run"
    assert wink.registry.tools["desk.look"].timeout is None
    assert "hunter2" not in made.read_text()
    assert not list(made.parent.glob("*.new"))


def test_what_is_asked_otherwise_is_told(made: Path):
    wink = application(doc="You talk\nmuch.")
    with pytest.raises(RecordingDriftedError) as caught, recorded(wink, made):
        wink.chat.delay("other").get()
    assert isinstance(caught.value.__cause__, EvaluationFailedError)
    assert "chat.jsonl: request 1 is another one than recorded:\ninstructions:\n" in str(caught.value)
    assert "+much." in str(caught.value)
    assert 'transcript[0].content: recorded "password=***", now "other"' in str(caught.value)


def test_more_and_fewer_questions_than_recorded(made: Path):
    wink = application()
    with pytest.raises(RecordingDriftedError, match="has 1 more answers than the test asks for"), recorded(wink, made):
        wink.chat.delay("password=hunter2").get()
    told = r"chat.jsonl has 4 answers, and 'desk.chat' asks once more"

    def test() -> None:
        with recorded(wink, made):
            wink.chat.delay("password=hunter2").get()
            wink.chat.delay("more").get()
            with pytest.raises(EvaluationFailedError, match=told):
                wink.chat.delay("more").get()

    with pytest.raises(RecordingDriftedError, match=told):
        test()


def test_what_fails_in_a_test_itself_is_no_drift(made: Path):
    with pytest.raises(ZeroDivisionError), recorded(application(), made):
        raise ZeroDivisionError


def test_a_call_without_a_recorded_answer(made: Path):
    lines = [line for line in made.read_text().splitlines() if '"kind":"tool"' not in line]
    made.write_text("\n".join(lines))
    wink = application()
    told = r"^chat.jsonl has no answer of look after answer 1 of the model$"
    with pytest.raises(RecordingDriftedError, match=told), recorded(wink, made):
        wink.chat.delay("password=hunter2").get()


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "chat.jsonl, line 1: no recording begins with ''"),
        ("[]", r"chat.jsonl, line 1: no recording begins with '\[\]'"),
        ('{"x":1}', "chat.jsonl, line 1: no recording begins with"),
        ('{"wink_recording":2}', "line 1: the recording has format version 2, this one reads 1"),
        ('{"wink_recording":1}\n{"kind":"end","prompt":"p"}\n{"kind":', "chat.jsonl, line 3: Input data was truncated"),
        ('{"wink_recording":1}\n{"kind":"end"}', "line 2: Object missing required field `prompt`"),
    ],
)
def test_a_corrupt_file_names_its_line(text: str, told: str):
    with pytest.raises(RecordingError, match=told):
        read_lines("chat.jsonl", text)


def test_a_missing_file_says_how_to_make_it(path: Path):
    wink = application()
    with pytest.raises(RecordingError, match="Make it by `pytest --wink-record`"), recorded(wink, path):
        pass


def test_answers_side_by_side_may_come_in_any_order():
    def tool(name: str) -> dict[str, str]:
        return {"type": "tool", "call": name}

    user = {"type": "user", "content": "x"}
    assert in_one_order([user, tool("b"), tool("a"), user]) == [user, tool("a"), tool("b"), user]
    assert in_one_order([user, tool("b"), tool("a")]) == [user, tool("a"), tool("b")]


def test_a_session_becomes_a_recording(
    path: Path,
    named: Callable[[Wink], str],  # noqa: F811 - the fixture
    command: Command,  # noqa: F811 - the fixture
):
    wink = application()
    named(wink)
    with scripted(wink, {wink.chat: SCRIPT}) as kit:
        run = wink.chat.with_options(session="s1").delay("hello")
        assert run.get() == "done"
        refused = wink.chat.with_options(session="s1").delay("hello")
        assert refused.status == "FAILURE"
        wink.chat.with_options(session="s1", countdown=9).delay("x").cancel("enough")
        printed = command("record", "s1", "-o", str(path))
        assert (printed.code, printed.out) == (0, f"{path}: 3 answers of models, 4 of tools, 3 runs that ended\n")
        told = json.loads(command("record", "s1", "-o", str(path), "--json").out)
        assert told == {"file": str(path), "answers": 3, "tool_results": 4, "ends": 3}
        records = tuple(wink.session("s1").events())
        assert command("record", "nope", "-o", str(path)).code == 2
        assert len(kit.requests) == 4
    again = application()
    with recorded(again, path) as recording:
        assert again.chat.with_options(session="s1").delay("hello").get() == recording.output
    with pytest.raises(RecordingError, match="drifts, and would as a recording:\nturn 1, event 4: another request"):
        recording_of(application(doc="You talk well."), [records])
    died = StepDied(evaluation=run.id, message="m", reason="r", call="call_0")
    place = next(at for at, one in enumerate(records) if isinstance(one.event, ToolReturned | Dispatched))
    with pytest.raises(RecordingError, match=r"call call_0 of run .* died, which no tool can do again"):
        recording_of(application(), [[*records[:place], type(records[0])(place + 1, 0.0, "", died)]])


def test_a_fork_becomes_a_recording_where_no_run_was_under_way(path: Path):
    wink = application()
    with scripted(wink, {wink.chat: SCRIPT}) as kit:
        first = wink.chat.with_options(session="s1").delay("hello")
        first.session.fork(at=5, name="amid")
        first.session.fork(at=first.session.seq, name="after")
        kit.script(wink.chat, [answer("more")])
        wink.chat.with_options(session="after").delay("again")
        amid, after = (tuple(wink.session(name).events()) for name in ("amid", "after"))
    with pytest.raises(
        RecordingError, match=r"was cancelled when models had answered \(session amid was forked from s1"
    ):
        recording_of(wink, [amid])
    write(path, recording_of(wink, [after]))
    with recorded(wink, path) as recording:
        for content in ("hello", "again"):
            wink.chat.with_options(session="s").delay(content).get()
        assert recording.outputs == ("done", "more")


@pytest.mark.real_provider
def test_the_fixture_records_on_demand(pytester: pytest.Pytester):
    pytester.makepyfile(
        test_it="""
        import pytest
        from tests.unit.testing.test_recorded import application, SCRIPT

        def test_chat(wink_recording):
            wink = application(SCRIPT, remote=True)
            with wink_recording(wink, "chat.jsonl") as recorded:
                assert wink.chat.delay("hello").get() == recorded.output
        """,
    )
    options = ("-p", "no:randomly", "-p", "no:cacheprovider", "--import-mode=importlib")
    pytester.runpytest_inprocess(*options).assert_outcomes(failed=1)
    pytester.runpytest_inprocess(*options, "--wink-record").assert_outcomes(passed=1)
    assert len(read(pytester.path / "chat.jsonl")) == 8
    pytester.runpytest_inprocess(*options).assert_outcomes(passed=1)
    write(pytester.path / "chat.jsonl", ())
    pytester.runpytest_inprocess(*options).assert_outcomes(failed=1)
