"""A worker that is killed in or behind a tool that writes leaves nothing half written, and nothing twice."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from tests.apps.writing import Wrote, files, rows
from tests.faults.conftest import Site
from tests.workers import eventually
from wink_tasks import Workspace


def writing(sites: list[Site], redis_url: str, folder: Path) -> Site:
    """A site whose tool writes a file that is there already, a new one, a row and an event."""
    folder.mkdir()
    sites.append(Site(redis_url, folder=str(folder)))
    Workspace.at(folder / "files").write("shared.txt", "before")
    return sites[-1]


@pytest.mark.parametrize("run", ["r", "fails"])
def test_killed_inside_of_the_tool_leaves_neither_file_nor_row_nor_event(
    sites: list[Site], redis_url: str, tmp_path: Path, run: str
):
    """The next delivery finds all as it was: it does the work, or fails."""
    site = writing(sites, redis_url, tmp_path / "site")
    folder = site.plan.folder
    site.shut("tool")
    first = site.worker()
    site.run(run)
    eventually(lambda: site.done(f"tool:{run}"), "it is in the tool")
    assert files(folder) == {"shared.txt": run, f"new/{run}.txt": run}
    os.kill(first.pid, signal.SIGKILL)
    first.join()
    site.open("tool")
    site.worker()
    site.result(run)
    session = site.wink.session(run)
    if run == "fails":
        assert (files(folder), rows(folder), session[Wrote].all()) == ({"shared.txt": "before"}, [], ())
        assert "ToolFailed" in site.events(run)
    else:
        assert files(folder) == {"shared.txt": run, f"new/{run}.txt": run}
        assert (rows(folder), session[Wrote].all(), site.done(f"tool:{run}")) == ([run], (Wrote(run),), 2)
    assert list((Path(folder) / "files/.wink-journal/calls").iterdir()) == []


def test_killed_between_the_commit_of_rows_and_settle_leaves_each_row_once(
    sites: list[Site], redis_url: str, tmp_path: Path
):
    site = writing(sites, redis_url, tmp_path / "site")
    folder = site.plan.folder
    doomed = site.worker(trip="before:settle:2")
    site.run("r")
    eventually(lambda: doomed.exitcode is not None, "killed")
    assert (doomed.exitcode, rows(folder)) == (-9, ["r"])
    site.worker()
    assert site.result("r").total == 3
    assert (site.done("tool:r"), rows(folder)) == (1, ["r"]), "it is answered from the record"
    assert files(folder) == {"shared.txt": "r", "new/r.txt": "r"}
    assert site.wink.session("r")[Wrote].all() == (Wrote("r"),)
    assert [name for name in site.events("r") if name.startswith("Tool")] == ["ToolReturned"]


def test_killed_behind_settle_leaves_all_and_the_next_call_clears_the_journal(
    sites: list[Site], redis_url: str, tmp_path: Path
):
    site = writing(sites, redis_url, tmp_path / "site")
    folder = site.plan.folder
    doomed = site.worker(trip="after:settle:2")
    site.run("r")
    eventually(lambda: doomed.exitcode is not None, "killed")
    site.worker()
    assert site.result("r").total == 3
    site.run("s")
    assert site.result("s").total == 3
    assert files(folder) == {"shared.txt": "s", "new/r.txt": "r", "new/s.txt": "s"}
    assert rows(folder) == ["r", "s"]
