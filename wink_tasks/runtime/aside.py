"""Calls that block, made for coroutines by a few threads of our own."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from functools import partial
from typing import Final, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

THREADS: Final = 16
"""How many of a process's calls are on their way at once. asyncio's own threads stay the application's."""

_pools: dict[int, ThreadPoolExecutor] = {}


async def aside(call: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
    """See `ports.waiting.Aside`."""
    within = partial(copy_context().run, call, *args, **kwargs)
    return await asyncio.get_running_loop().run_in_executor(_pool(), within)


def _pool() -> ThreadPoolExecutor:
    """This process's threads; a forked child makes its own."""
    pid = os.getpid()
    if pid not in _pools:
        _pools.setdefault(pid, ThreadPoolExecutor(THREADS, thread_name_prefix="wink-aside"))
    return _pools[pid]
