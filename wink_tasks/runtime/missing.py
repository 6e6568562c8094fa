"""What is said of a session that is not there."""

from __future__ import annotations

from wink_tasks.core.errors import UnknownSessionError, dropped
from wink_tasks.ports.ledger import Ledger


def missing_session(ledger: Ledger, tenant: str, session: str) -> UnknownSessionError:
    """The error for a session that has no ledger."""
    if ledger.expired(tenant, session):
        return dropped(f"session {session!r} of tenant {tenant!r}", ledger.archived(tenant, session))
    return UnknownSessionError(f"tenant {tenant!r} has no session {session!r}")
