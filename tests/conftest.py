"""What holds for every test."""

from __future__ import annotations

import signal

from hypothesis import HealthCheck, settings

# A shell that starts the tests in the background has them ignore Ctrl-C, and with them all processes that they start.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Time is no part of a property: on a busy machine any example may be slow.
settings.register_profile("wink", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("wink")

pytest_plugins = ["tests.server", "tests.workers"]
