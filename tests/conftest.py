"""What holds for every test."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

# Time is no part of a property: on a busy machine any example may be slow.
settings.register_profile("wink", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("wink")

pytest_plugins = ["tests.server", "tests.workers"]
