"""A plugin of coverage that has its tracers take no lock. See `[tool.coverage.run]`.

Tracers call two Python functions around each call of a measured function: one takes a lock, one gives it back. An
exception out of a signal handler (Ctrl-C, a soft time limit) between them, or a fork while another thread is there,
leaves it taken for good, and the process hangs when it ends. It guards a dictionary that the C tracer looks into and
writes to within one hold of the GIL, so nothing is lost without it.
"""

from __future__ import annotations

from coverage.collector import Collector

NOTHING = staticmethod(int)
"""Written in C: no signal handler runs within it."""


def _clear_data(collector: Collector) -> None:
    for seen in [*collector.data.values()]:
        seen.clear()
    for tracer in collector.tracers:
        tracer.reset_activity()


def coverage_init(_registry: object, _options: object) -> None:
    """Coverage calls this in each process that it measures."""
    for name, ours in {"lock_data": NOTHING, "unlock_data": NOTHING, "_clear_data": _clear_data}.items():
        if not hasattr(Collector, name):
            raise RuntimeError(f"coverage's Collector has no {name} any more: look again how it locks, in {__file__}")
        setattr(Collector, name, ours)
