"""`wink up`, `wink demo` and `wink worker` as processes: what they start, and that nothing is left of it."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from celery import Celery
from redis import Redis

from tests.workers import PATIENCE, ROOT, eventually
from wink_tasks import RunTimeoutError, Wink
from wink_tasks.adapters.redis.embedded import EmbeddedServer, ServerState
from wink_tasks.cli.children import Child, Children, WorkerLostError
from wink_tasks.cli.demo import attended
from wink_tasks.cli.ending import Ending

MAIN = [sys.executable, "-c", "from wink_tasks.cli import main; main()"]
APP = "wink_tasks.examples.code_review:wink"


class Site:
    """A folder in which commands run, each of them ended with the test."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.started: list[subprocess.Popen[str]] = []
        paths = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep)
        self.env = {name: value for name, value in os.environ.items() if not name.startswith(("WINK_", "FORCE_"))}
        self.env |= {"PYTHONPATH": paths, "PYTHONUNBUFFERED": "1", "PYTHONFAULTHANDLER": "1"}

    def start(self, *arguments: str, **env: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [*MAIN, *arguments],
            cwd=self.folder,
            env={**self.env, **env},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.started.append(process)
        return process

    def leftovers(self, process: subprocess.Popen[str]) -> list[str]:
        """The command lines of its workers and servers that still run."""
        marks = (f"@demo-{process.pid}", str(self.folder))
        lines = [place.read_bytes().replace(b"\0", b" ").decode() for place in _alive()]
        return [line for line in lines if any(mark in line for mark in marks)]


def _alive() -> Iterator[Path]:
    for place in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            place.read_bytes()
        except OSError:
            continue
        yield place


def line_with(process: subprocess.Popen[str], text: str) -> str:
    """The first line of its output that holds `text`."""
    assert process.stdout is not None
    for line in process.stdout:
        if text in line:
            return line
    pytest.fail(f"no line with {text!r}; it said:\n{process.stderr and process.stderr.read()}")


def ended(process: subprocess.Popen[str], number: int) -> tuple[int, str]:
    process.send_signal(number)
    try:
        _, err = process.communicate(timeout=PATIENCE)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGABRT)  # faulthandler tells where it hangs
        pytest.fail(f"it did not end:\n{process.communicate()[1]}")
    return process.returncode, err


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    found = Site(tmp_path)
    yield found
    for process in found.started:
        if process.poll() is None:
            process.kill()
        process.communicate()


def test_up_runs_a_server_that_others_join(site: Site):
    first = site.start("up", "--dir", "data")
    url = line_with(first, "Redis runs at").split()[3].rstrip(",")
    assert line_with(first, "export ") == f"export WINK_REDIS_URL={url} CELERY_BROKER_URL={url}\n"
    second = site.start("up", "--dir", "data")
    assert url in line_with(second, "runs already, and stays")
    line_with(second, "Ctrl-C ends this command.")
    assert ended(second, signal.SIGTERM)[0] == 143
    with Redis.from_url(url) as client:
        assert client.ping()
    assert ended(first, signal.SIGINT) == (130, "")
    assert site.leftovers(first) == []


def test_up_ends_when_its_server_is_gone(site: Site):
    process = site.start("up", "--dir", "data")
    line_with(process, "Ctrl-C ends it.")
    state = msgspec.json.decode((site.folder / "data" / "server.json").read_bytes(), type=ServerState)
    os.kill(state.pid, signal.SIGKILL)
    _, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 1
    assert err == f"wink: the server at {state.url} has gone; see {site.folder / 'data' / 'server.log'}\n"


def test_demo_reviews_a_folder_and_leaves_its_ledger_and_nothing_else(site: Site):
    (site.folder / "code").mkdir()
    (site.folder / "code" / "a.py").write_text("def f(x=[]):\n    return eval(x)\n")
    process = site.start("demo", "code", "--security", "--json")
    out, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, err
    document = json.loads(out)
    found = {(one["file"], one["line"], one["severity"]) for one in document["review"]["findings"]}
    assert ("a.py", 2, "high") in found
    assert document["usage"]["requests"] == 4
    lines = err.splitlines()
    assert lines[0].startswith("The reviewer is a set of rules, not a language model.")
    assert any("read_file(" in line and "returned" in line for line in lines)
    assert any("turn 1: offline:reviewer asks for list_files" in line and "left: " in line for line in lines)
    assert site.leftovers(process) == []
    with EmbeddedServer(site.folder / ".wink") as server:
        wink = Wink(Celery("later", set_as_current=False), redis_url=server.url)
        assert wink.run(document["run"]).explain() == "succeeded"
        wink.leave()


@pytest.mark.parametrize("moment", ["The reviewer is", "come up", "turn 2", "sessions show"])
def test_ctrl_c_ends_a_demo_and_all_that_it_started(site: Site, moment: str):
    process = site.start("demo", "--model", "offline:reviewer")
    line_with(process, moment)
    code, err = ended(process, signal.SIGINT)
    assert (code, err) == (130, "")
    assert site.leftovers(process) == []


def test_demo_with_a_worker_that_dies_says_why(site: Site):
    (site.folder / "broken" / "workers").mkdir(parents=True)
    (site.folder / "broken" / "workers" / "__init__.py").write_text("raise SystemExit('no worker today')\n")
    path = f"{site.folder / 'broken'}{os.pathsep}{site.env['PYTHONPATH']}"
    process = site.start("demo", PYTHONPATH=path)
    _, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 1
    assert re.match(r"wink: worker (turns|tools)@demo-\d+ ended with exit code 1; the end of .*\.log:\n", err)
    assert "no worker today" in err
    assert site.leftovers(process) == []


def test_demo_with_a_provider_that_there_is_not(site: Site):
    process = site.start("demo", "--model", "nobody:m")
    _, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 2
    assert err.startswith("wink: no provider is called 'nobody'")
    assert site.leftovers(process) == []


@pytest.fixture
def lonely(redis_url: str) -> Iterator[Wink]:
    """An application that no worker serves."""
    wink = Wink(Celery("lonely", set_as_current=False, broker=redis_url), redis_url=redis_url)
    yield wink
    wink.leave()


def test_a_run_that_takes_too_long_is_cancelled(lonely: Wink):
    @lonely.prompt(output=str, model="offline:m")
    def chat(text: str) -> str:
        """You talk."""
        return text

    run = chat.delay("x")
    with pytest.raises(RunTimeoutError, match="no live worker serves"):
        list(attended(run, Children(), Ending(), 1.5))
    assert run.status == "REVOKED"


def test_a_run_whose_worker_died_is_cancelled(lonely: Wink, tmp_path: Path):
    @lonely.prompt(output=str, model="offline:m")
    def chat(text: str) -> str:
        """You talk."""
        return text

    run = chat.delay("x")
    with Children() as children:
        children.start(Child("w1", [sys.executable, "-c", ""], log=tmp_path / "w1.log"))
        with pytest.raises(WorkerLostError, match="exit code 0"):
            list(attended(run, children, Ending(), 60))
    assert run.status == "REVOKED"


def metrics_of(port: str) -> dict[str, float]:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        lines = answer.read().decode().splitlines()
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines if line[:1] != "#")}


def test_a_worker_serves_all_and_its_children_are_measured(site: Site, redis_url: str, lonely: Wink):
    (site.folder / "a.py").write_text("x = 1\n")
    env = {"WINK_APP": APP, "WINK_REDIS_URL": redis_url, "CELERY_BROKER_URL": redis_url, "WINK_SPLIT_QUEUES": "1"}
    env["WINK_DEMO_ROOT"] = str(site.folder)
    worker = site.start("worker", "-c", "1", "--metrics-port", "0", "-n", "w@cli", "--without-mingle", **env)
    assert worker.stderr is not None
    port = next(found[1] for line in worker.stderr if (found := re.search(r"127\.0\.0\.1:(\d+)/metrics", line)))
    eventually(lonely.house().store.fleet.workers, "the worker is alive")
    doctor, run = site.start("doctor", **env), site.start("run", "review", "--param", "path=.", "--json", **env)
    out, err = run.communicate(timeout=PATIENCE)
    assert json.loads(out)["status"] == "SUCCESS", err
    warned = doctor.communicate(timeout=PATIENCE)[1]
    assert (doctor.returncode, warned.count("\n"), "no persistence" in warned) == (0, 1, True), warned
    found = metrics_of(port)
    assert found['wink_tool_invocations_total{status="ok",tool="list_files"}'] == 1
    assert found['wink_prompt_duration_seconds_count{prompt="code_review.review",status="success"}'] == 1
    assert found['wink_mailbox_depth{mailbox="turns",state="ready"}'] == 0
    assert found['wink_mailbox_age_seconds{mailbox="tools"}'] == 0
    assert found["wink_session_active"] == 0
    code, err = ended(worker, signal.SIGTERM)
    assert code == 0, err


def test_demo_beside_a_running_server_keeps_to_itself(site: Site):
    up = site.start("up")
    url = line_with(up, "Redis runs at").split()[3].rstrip(",")
    demo = site.start("demo")
    assert url not in line_with(demo, "the workers come up")
    _, err = demo.communicate(timeout=PATIENCE)
    assert demo.returncode == 0, err
    with Redis.from_url(url) as client:
        assert client.ping()
    assert ended(up, signal.SIGINT) == (130, "")
