"""The folded sessions that a process keeps, so that a claim needs to bring the tail of the ledger only."""

from __future__ import annotations

import threading
from collections import OrderedDict

from wink_tasks.core.reducers import NO_REDUCERS, Reducers
from wink_tasks.core.session import SessionState, fold
from wink_tasks.ports.mailbox import Claimed

Place = tuple[str, str]


class SessionCache:
    """The `size` sessions used last, as `reducers` fold them."""

    def __init__(self, size: int, reducers: Reducers = NO_REDUCERS) -> None:
        self._size = size
        self._reducers = reducers
        self._lock = threading.Lock()
        self._states: OrderedDict[Place, SessionState] = OrderedDict()

    def known(self, tenant: str, session: str) -> int:
        """The sequence number up to which the session is known here; 0 where it is not."""
        state = self.get(tenant, session)
        return 0 if state is None else state.seq

    def get(self, tenant: str, session: str) -> SessionState | None:
        """The session as far as it is known here."""
        with self._lock:
            return self._states.get((tenant, session))

    def caught_up(self, claimed: Claimed) -> SessionState | None:
        """The session at the claim's head, from what is kept and the claim's tail.

        None where the two do not meet: it was dropped here meanwhile, or deleted and opened anew.
        """
        address = claimed.receipt.address
        state = self.get(address.tenant, address.session) or SessionState(reducers=self._reducers)
        another = state.seq > 0 and round(state.opened_at, 3) != round(claimed.opened_at, 3)
        if another or state.seq + len(claimed.tail) != claimed.head:
            return None
        return fold(state, claimed.tail)

    def keep(self, state: SessionState) -> None:
        """Remember the session."""
        with self._lock:
            self._states[state.tenant, state.session] = state
            self._states.move_to_end((state.tenant, state.session))
            if len(self._states) > self._size:
                self._states.popitem(last=False)
