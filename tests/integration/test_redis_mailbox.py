"""What only a real server shows: threads, lost scripts, full memory, its own clock, what it stores."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from redis import Redis

from wink_tasks.adapters.redis.ledger import TOMBSTONE_SECONDS
from wink_tasks.adapters.redis.store import RedisStore
from wink_tasks.core.codec import VERSION, decode_event, encode
from wink_tasks.core.errors import LedgerUnavailableError
from wink_tasks.core.events import ToolReturned
from wink_tasks.ports.mailbox import Claimed, NotClaimed
from wink_tasks.testing.clock import FakeClock
from wink_tasks.testing.conformance.driver import TENANT, Driver, responded, returned, rung, succeeded
