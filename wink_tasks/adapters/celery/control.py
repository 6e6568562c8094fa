"""Control commands in a worker: revoke and terminate of our ids cancel their evaluation, and nothing else.

Celery would remember the id, discard doorbells that bear it for three hours, and store a state of its own. Ids that
are not ours go to Celery's own command, untouched.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, Final, Protocol
from weakref import WeakKeyDictionary

from billiard.common import TERM_SIGNAME
from celery import Celery
from celery.platforms import signals as numbers
from celery.utils.functional import maybe_list
from celery.worker import state as worker_state
from celery.worker.control import Panel, nok, ok

from wink_tasks.adapters.celery.broadcast import CANCEL
from wink_tasks.adapters.celery.children import PoolChildren
from wink_tasks.adapters.celery.requests import StepRequest
from wink_tasks.adapters.celery.task_events import TaskEvents
from wink_tasks.core.errors import LedgerUnavailableError
from wink_tasks.core.ids import evaluation_of
from wink_tasks.ports.work import Revoker

log = logging.getLogger(__name__)

Command = Callable[..., Any]

AGAIN: Final = 0.3
"""Seconds after which a step is asked again that had claimed, but was not held yet."""


class Controlled(Protocol):
    """A member of the fleet that control commands reach."""

    app: Celery
    events: TaskEvents
    children: PoolChildren

    def revoker(self) -> Revoker:
        """What ends evaluations in this process."""
        ...


_members: WeakKeyDictionary[Celery, Controlled] = WeakKeyDictionary()
_celerys: Final[dict[str, Command]] = {}


def take_over(member: Controlled) -> None:
    """Have this worker's commands know `member`; other apps in the process keep Celery's."""
    _members[member.app] = member
    for name, ours in {"revoke": _revoke, "terminate": _terminate}.items():
        _celerys.setdefault(name, Panel.data[name])
        Panel.data[name] = ours
    for name in ("enable_events", "disable_events"):
        if name not in _celerys:
            _celerys[name] = Panel.data[name]
            Panel.data[name] = _then_refresh(_celerys[name])
    Panel.data[CANCEL] = _wink_cancel


def _revoke(state: Any, task_id: Any, terminate: bool = False, signal: Any = None, **options: Any) -> Any:
    ids = [str(one) for one in maybe_list(task_id) or []]
    ours = _cancel(state, ids, numbers.signum(signal or TERM_SIGNAME) if terminate else None)
    theirs = [one for one in ids if one not in ours]
    if not ours:
        return _celerys["revoke"](state, task_id, terminate=terminate, signal=signal, **options)
    if theirs:
        _celerys["revoke"](state, theirs, terminate=terminate, signal=signal, **options)
    return ok(f"evaluations cancelled: {', '.join(map(evaluation_of, ours))}; tasks revoked: {', '.join(theirs)}")


def _terminate(state: Any, signal: Any, task_id: Any, **_: Any) -> Any:
    return _revoke(state, task_id, terminate=True, signal=signal)


def _cancel(state: Any, ids: list[str], signum: int | None) -> list[str]:
    """Those of `ids` that are ours; their evaluations are cancelled now."""
    member, ours = _members.get(state.app), list[str]()
    if member is None:
        return ours
    for one in ids:
        try:
            found = member.revoker().cancel(one, by="celery control", reason="revoked by a control command")
        except LedgerUnavailableError as error:
            # It is left to Celery, and the doorbell that bears it cancels when it is heard: see StepRequest.revoked.
            log.warning("whether %r is an evaluation cannot be looked up: %s", one, error)
            continue
        if found:
            ours.append(one)
            _stop_here(member, state.consumer.pool, evaluation_of(one), signum)
    return ours


def _wink_cancel(state: Any, tenant: str, run: str, terminate: bool = False, signal: Any = None, **_: Any) -> Any:
    """Whoever cancelled an evaluation in the ledger tells at once; the keepers would see it seconds later."""
    member = _members.get(state.app)
    if member is None or not (_requests(run) or member.revoker().works_on(run)):
        return ok(f"nothing of {run} is here")
    if not member.revoker().is_wanted(tenant, run):
        return nok(f"{run} of tenant {tenant} is not cancelled")
    _stop_here(member, state.consumer.pool, run, numbers.signum(signal or TERM_SIGNAME) if terminate else None)
    return ok(f"{run} is asked to stop")


def _stop_here(member: Controlled, pool: Any, run: str, signum: int | None) -> None:
    member.revoker().stop(run)
    requests = _requests(run)
    for request in requests:
        request.stop(pool, signum)
    if requests:
        member.children.timer.call_after(AGAIN, member.revoker().stop, (run,))


def _requests(run: str) -> list[StepRequest]:
    return [
        request
        for request in tuple(worker_state.reserved_requests)
        if isinstance(request, StepRequest) and evaluation_of(request.id) == run
    ]


def _then_refresh(celerys: Command) -> Command:
    def command(state: Any, **arguments: Any) -> Any:
        answer = celerys(state, **arguments)
        if (member := _members.get(state.app)) is not None:
            member.events.refresh()
        return answer

    return command
