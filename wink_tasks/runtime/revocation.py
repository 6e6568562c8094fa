"""Ending an evaluation from outside of its steps, and giving back what a process that is gone held."""

from __future__ import annotations

import logging
from collections.abc import Callable

from wink_tasks.core.errors import LeaseLostError, UnknownRunError
from wink_tasks.core.ids import evaluation_of
from wink_tasks.ports.doorbell import Ringer
from wink_tasks.ports.ledger import Ledger, MessageRecord
from wink_tasks.ports.mailbox import Address, Mailbox, Receipt
from wink_tasks.runtime.keeper import Keeper

log = logging.getLogger(__name__)


class Revocation:
    """See `ports.work.Revoker`. `owner_of` names the process of a pid as leases do."""

    def __init__(
        self,
        *,
        mailbox: Mailbox,
        ledger: Ledger,
        ringer: Ringer,
        keeper: Keeper,
        owner_of: Callable[[int], str],
    ) -> None:
        self._mailbox = mailbox
        self._ledger = ledger
        self._ringer = ringer
        self._keeper = keeper
        self._owner_of = owner_of

    def cancel(self, some_id: str, *, by: str, reason: str) -> bool:
        """Cancel the evaluation in the ledger, whoever its tenant is; False where there is none."""
        run = evaluation_of(some_id)
        tenant = self._ledger.tenant_of(run)
        if tenant is None:
            return False
        try:
            bells = self._mailbox.cancel(tenant, run, by=by, reason=reason)
        except UnknownRunError:
            return False  # its id is reserved, but it was never accepted
        self._ringer.ring(bells)
        return True

    def is_known(self, some_id: str) -> bool:
        """Whether there is such an evaluation."""
        run = evaluation_of(some_id)
        tenant = self._ledger.tenant_of(run)
        return tenant is not None and self._ledger.evaluation(tenant, run) is not None

    def is_wanted(self, tenant: str, run: str) -> bool:
        """Whether somebody asked for its end: a control command is a hint, the ledger knows."""
        record = self._ledger.evaluation(tenant, run)
        return record is not None and record.cancelled

    def works_on(self, run: str) -> bool:
        """Whether this process holds a step of it."""
        return any(evaluation_of(receipt.address.message) == run for receipt in self._keeper.held())

    def stop(self, run: str) -> None:
        """Ask its steps in this process to stop."""
        self._keeper.cancel(run)

    def give_back(self, some_id: str, *, pid: int, counts: bool, error: str) -> MessageRecord | None:
        """Give back what a process that is gone held."""
        owner = self._owner_of(pid)
        run = evaluation_of(some_id)
        tenant = self._ledger.tenant_of(run)
        record = None if tenant is None else self._ledger.evaluation(tenant, run)
        if record is None:
            return None
        for name in record.open_messages:
            held = self._ledger.message(record.tenant, record.session, name)
            if held is None or held.state != "leased" or held.owner != owner:
                continue
            receipt = Receipt(Address(record.tenant, record.session, name), held.epoch, held.nonce)
            try:
                bells = self._mailbox.nack(receipt, delay=0.0, counts=counts, error=error, begun=True)
            except LeaseLostError as lost:
                log.info("message %s needs not be given back: %s", name, lost)
                continue
            given = self._ledger.message(record.tenant, record.session, name)
            self._ringer.ring(bells)  # not before: whoever hears it may be done with the message soon
            return given
        return None
