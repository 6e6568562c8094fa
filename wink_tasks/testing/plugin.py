"""The pytest plugin of wink-tasks: recorded sessions as tests, and no call of a real provider that nobody asked for.

A test may call one where it is marked `real_provider`, or is being recorded (`pytest --wink-record`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from wink_tasks.testing.recorded import Recording
    from wink_tasks.testing.rerun import Application

FIXTURE = "wink_recording"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Make the option known."""
    parser.addoption(
        "--wink-record",
        action="store_true",
        help="Tests with the fixture wink_recording ask real models and run their tools, and write their recordings.",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Make the marker known."""
    config.addinivalue_line("markers", "real_provider: this test may call a model provider outside of this machine")


@pytest.fixture(autouse=True)
def _no_real_provider(request: pytest.FixtureRequest) -> Iterator[None]:
    from wink_tasks.runtime.providers import refusing_remote

    records = request.config.getoption("--wink-record") and FIXTURE in request.fixturenames
    if records or request.node.get_closest_marker("real_provider") is not None:
        yield
        return
    with refusing_remote(f"test {request.node.nodeid!r} is not marked real_provider"):
        yield


@pytest.fixture
def wink_recording(request: pytest.FixtureRequest) -> Callable[[Application, str], AbstractContextManager[Recording]]:
    """Run prompts on the answers of a recording.

    `with wink_recording(wink, "review.jsonl") as recorded:`; the file's name is relative to the test's folder. See
    `wink_tasks.testing.recorded`.
    """
    from wink_tasks.testing.recorded import recorded

    folder, record = Path(request.path).parent, request.config.getoption("--wink-record")
    return lambda wink, name: recorded(wink, folder / name, record=record)
