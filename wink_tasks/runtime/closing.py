"""The end of a process: what is in hand goes to others, and each part ends in its turn."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence

from wink_tasks.core.errors import LeaseLostError, LedgerUnavailableError, WinkError
from wink_tasks.core.redaction import redact
from wink_tasks.ports.doorbell import Ringer
from wink_tasks.ports.mailbox import Mailbox
from wink_tasks.runtime.keeper import LeaseKeeper

log = logging.getLogger(__name__)

HANDED_BACK = "handed back: its worker shut down"


def hand_back(keeper: LeaseKeeper, mailbox: Mailbox, ringer: Ringer) -> int:
    """Give all that is held to others, ready at once and at no cost; how many there were.

    Only then its steps are told to stop: one that ends by itself meanwhile is refused by the fence. What cannot be
    given back runs out by itself; a store that is away is asked once.
    """
    given, away = 0, False
    for receipt in keeper.held():
        stop = keeper.stop_of(receipt)
        keeper.release(receipt)
        if not away:
            try:
                ringer.ring(mailbox.nack(receipt, delay=0, counts=False, error=HANDED_BACK, begun=True))
                given += 1
            except LeaseLostError:
                pass  # its step ended in this moment
            except WinkError as error:
                away = isinstance(error, LedgerUnavailableError)
                log.warning("%s not handed back: %s", receipt.address.message, redact(str(error)))
        if stop is not None:
            stop.set("handed back")
    return given


def close_each(parts: Sequence[tuple[str, Callable[[], object]]], *, seconds: float) -> None:
    """End each part, one after the other; one that fails, or takes more than `seconds`, does not keep the next."""
    for name, close in parts:
        ended = threading.Event()
        thread = threading.Thread(target=_close, args=(name, close, ended), name=f"wink-close-{name}", daemon=True)
        thread.start()
        if not ended.wait(seconds):
            log.warning("%s did not end within %g s; going on without it", name, seconds)
    log.info("ended, in this order: %s", ", ".join(name for name, _ in parts))


def _close(name: str, close: Callable[[], object], ended: threading.Event) -> None:
    try:
        close()
    except Exception as error:  # noqa: BLE001 - whatever it is, the others are to be told
        log.warning("%s did not end cleanly: %s", name, redact(f"{type(error).__name__}: {error}"))
    finally:
        ended.set()
