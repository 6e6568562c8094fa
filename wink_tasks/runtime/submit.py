"""Accepting a run: arguments and options are checked before anything is written."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from wink_tasks.core.codec import refuse_large
from wink_tasks.core.delivery import MAX_RETRIES, Message
from wink_tasks.core.errors import LedgerUnavailableError, ParametersInvalidError
from wink_tasks.core.events import EvaluationAccepted, Json, Terms
from wink_tasks.core.ids import OUTCOME, STEP, checked_name, checked_tenant, fitting_id, outcome_id, partition_of
from wink_tasks.core.kinds import check_kind, models_in
from wink_tasks.core.options import CallOptions
from wink_tasks.core.prompt import PromptDefinition
from wink_tasks.core.task import TaskDefinition
from wink_tasks.ports.mailbox import Acceptance
from wink_tasks.runtime.once import Claim, once
from wink_tasks.runtime.parts import Parts
from wink_tasks.runtime.turn import shown

log = logging.getLogger(__name__)

Definition = PromptDefinition | TaskDefinition
"""What a run may be a run of."""


class Submitter:
    """Accepts runs in this process. `uuid4` is where ids come from; `partitions` is the store's count."""

    def __init__(
        self,
        parts: Parts,
        *,
        uuid4: Callable[[], UUID],
        partitions: int,
        tenant: str,
        visibility_timeout: float,
        expects_workers: bool,
    ) -> None:
        self._parts = parts
        self._uuid4 = uuid4
        self._partitions = partitions
        self._tenant = tenant
        self._visibility_timeout = visibility_timeout
        self._expects_workers = expects_workers
        self._looked_for: set[str] = set()

    def submit(
        self, prompt: Definition, args: Sequence[Any], kwargs: Mapping[str, Any], options: CallOptions
    ) -> tuple[str, str]:
        """The tenant and the id of the accepted run, of a prompt or of a durable task.

        Raises ParametersInvalidError, PayloadTooLargeError, DuplicateError, ConflictError, SessionBusyError,
        LedgerUnavailableError.
        """
        check_kind("args", args, list | tuple, "a list or a tuple")
        check_kind("kwargs", kwargs, Mapping, "names with values")
        for name in kwargs:
            check_kind("a name in kwargs", name, str, "text")
        try:
            params = prompt.bind(*args, **kwargs)
            tenant = checked_tenant(options.tenant or self._tenant)
            if options.idempotency_key is None:
                run = self._run_id(options)
                self._accept(prompt, params, tenant, run, options)
            else:
                run = once(
                    self._parts.ledger,
                    Claim(tenant, prompt.name, options.idempotency_key, params, options.session),
                    lambda run: self._accept(prompt, params, tenant, run, options),
                )
        except UnicodeEncodeError as error:
            message = f"the arguments of {prompt.name!r} hold text that is no UTF-8: {error}"
            raise ParametersInvalidError(message) from error
        return tenant, run

    def _accept(self, prompt: Definition, params: dict[str, Json], tenant: str, run: str, options: CallOptions) -> bool:
        """Accept the run, ring, and tell whether it is new."""
        parts = self._parts
        task = prompt if isinstance(prompt, TaskDefinition) else None
        if task is not None:
            _refuse_model_options(task, options)
        lease = task and task.visibility_timeout
        now = parts.clock.now()
        session = checked_name("session", options.session) if options.session is not None else run
        with parts.tracer.span("wink.accept", {"wink.prompt": prompt.name, "wink.run": run}):
            trace = parts.tracer.headers()
            event = EvaluationAccepted(
                evaluation=run,
                prompt=prompt.name,
                digest=prompt.digest,
                params=params,
                terms=self._terms(prompt, options, now),
                canvas=dict(options.canvas or {}),
                version=prompt.version,
            )
            refuse_large(event, f"the parameters of {event.prompt!r} make an event of")
            limits = [limit for limit in (event.terms.deadline_at, event.terms.expires_at) if limit is not None]
            first = Message(
                id=run,
                kind="turn" if task is None else "task",
                mailbox=options.queue or parts.registry.mailbox(prompt),
                task=prompt.name,
                tenant=tenant,
                session=session,
                evaluation=run,
                not_before=self._not_before(options, now),
                limit_at=min(limits, default=None),
                max_retries=MAX_RETRIES if task is None else task.work.max_retries,
                visibility_timeout=lease or self._visibility_timeout,
                priority=options.priority,
                shown=shown(params),
                trace=trace,
                headers=dict(options.headers or {}),
            )
            outcome = Message(
                id=outcome_id(run),
                kind="outcome",
                mailbox=first.mailbox,
                task=f"{prompt.name}{OUTCOME}",
                tenant=tenant,
                session=session,
                evaluation=run,
                visibility_timeout=self._visibility_timeout,
                shown="",
                trace=trace,
            )
            accepted = parts.mailbox.accept(
                Acceptance(event=event, message=first, outcome=outcome, busy=options.busy or "wait", actor=parts.actor)
            )
            parts.ringer.ring(accepted.doorbells)
        self._warn_unserved(first.mailbox)
        return accepted.created

    def _run_id(self, options: CallOptions) -> str:
        if options.task_id is not None:
            if STEP in options.task_id:
                message = f"task_id {options.task_id!r} may not hold {STEP!r}, which separates a run from its steps"
                raise ParametersInvalidError(message)
            return checked_name("task_id", options.task_id)
        if options.session is None:
            return str(self._uuid4())
        return fitting_id(self._uuid4, partition_of(options.session, self._partitions), self._partitions)

    def _terms(self, prompt: Definition, options: CallOptions, now: float) -> Terms:
        model = options.model
        deadline = prompt.deadline if options.deadline is None else options.deadline
        absolute = epoch_of("deadline", deadline) if isinstance(deadline, datetime) else None
        expires = options.expires
        expires_at = None
        if isinstance(expires, datetime):
            expires_at = epoch_of("expires", expires)
        elif expires is not None:
            expires_at = now + expires
        return Terms(
            models=prompt.models if model is None else models_in(model),
            deadline=None if isinstance(deadline, datetime) else deadline,
            deadline_at=absolute,
            expires_at=expires_at,
            budget=options.budget or prompt.budget,
            max_turns=prompt.max_turns,
            history=prompt.history,
            model_settings=dict(options.model_settings or {}),
            labels=dict(options.labels or {}),
        )

    def _not_before(self, options: CallOptions, now: float) -> float:
        if options.eta is not None:
            return epoch_of("eta", options.eta)
        return 0.0 if options.countdown is None else now + options.countdown

    def _warn_unserved(self, mailbox: str) -> None:
        if not self._expects_workers or mailbox in self._looked_for:
            return
        self._looked_for.add(mailbox)
        try:
            served = any(mailbox in worker.mailboxes for worker in self._parts.fleet.workers())
        except LedgerUnavailableError:  # the run is accepted; this was only for a warning
            return
        if not served:
            log.warning("no live worker serves mailbox %r (-Q %s); the run waits for one", mailbox, mailbox)


def epoch_of(option: str, moment: datetime) -> float:
    """Epoch seconds of an option. Raises ParametersInvalidError where it has no time zone."""
    if moment.tzinfo is None:
        message = f"{option}={moment!r} has no time zone: give an aware datetime, like datetime.now(UTC)"
        raise ParametersInvalidError(message)
    return moment.timestamp()


def _refuse_model_options(task: TaskDefinition, options: CallOptions) -> None:
    asked = [name for name in ("model", "model_settings", "budget") if getattr(options, name) is not None]
    if asked:
        raise ParametersInvalidError(f"{task.what} asks no model, so it takes no {', '.join(asked)}")
