"""The pytest plugin of wink-tasks: a test may not call a real provider unless it is marked `real_provider`."""

from __future__ import annotations

from collections.abc import Iterator

import pytest


def pytest_configure(config: pytest.Config) -> None:
    """Make the marker known."""
    config.addinivalue_line("markers", "real_provider: this test may call a model provider outside of this machine")


@pytest.fixture(autouse=True)
def _no_real_provider(request: pytest.FixtureRequest) -> Iterator[None]:
    from wink_tasks.runtime.providers import refusing_remote

    if request.node.get_closest_marker("real_provider") is not None:
        yield
        return
    with refusing_remote(f"test {request.node.nodeid!r} is not marked real_provider"):
        yield
