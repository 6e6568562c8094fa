"""What a Celery signature attaches to a run: kept with the evaluation as JSON, honoured by Celery's own functions.

A doorbell carries none of it, so Celery cannot honour it at a step's end; the outcome does, at the evaluation's end, at
least once. Callbacks get their task ids when the run is accepted, so whoever repeats it publishes the same ids.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final, cast

from celery import Celery, states
from celery.app.task import Context
from celery.canvas import Signature
from kombu.utils.json import dumps, loads

from wink_tasks.core.codec import encode
from wink_tasks.core.errors import (
    ConfigurationError,
    EvaluationFailedError,
    ParametersInvalidError,
    WinkError,
)
from wink_tasks.core.events import EvaluationCancelled, EvaluationSucceeded, Json
from wink_tasks.ports.outcome import Outcome

ATTACHED: Final = frozenset(
    {
        *("link", "link_error", "chain", "chord", "group_id", "group_index", "root_id", "parent_id"),
        *("reply_to", "ignore_result", "stamped_headers"),
    }
)
"""The options of a call that are kept until the evaluation's end."""

TAKEN_HEADERS: Final = frozenset(
    {
        *("wink", "lang", "task", "id", "shadow", "eta", "expires", "group", "group_index", "retries", "timelimit"),
        *("root_id", "parent_id", "argsrepr", "kwargsrepr", "origin", "ignore_result", "replaced_task_nesting"),
        *("stamped_headers", "stamps", "compression"),
    }
)
"""Headers of a task message that mean something to Celery or to us."""

IN_OTHER_HANDS: Final = 5.0
"""Seconds until a chord is looked at again whose body somebody has begun to publish."""


def stamps_in(options: Mapping[str, Any]) -> dict[str, Any]:
    """The stamps of a stamped signature, by name."""
    return {name: options[name] for name in options.get("stamped_headers") or () if name in options}


def attached(app: Celery, options: Mapping[str, Any]) -> dict[str, Json]:
    """What of a call's options is to be kept with the evaluation.

    Raises ParametersInvalidError for what is no signature, or no JSON, and ConfigurationError for a chord that nothing
    could count.
    """
    kept = {name: options[name] for name in ATTACHED if options.get(name)}
    if "group_index" in options:
        kept["group_index"] = options["group_index"]
    if "chord" in kept:
        _check_chords(app)
    for name in ("link", "link_error", "chain", "chord"):
        if name in kept:
            signatures = _signatures(name, kept[name])
            if name.startswith("link"):  # the others have their ids
                kept[name] = [_with_ids(app, signature) for signature in signatures]
    if kept and options.get("priority") is not None:
        kept["priority"] = options["priority"]
    if stamps := stamps_in(options):
        kept["stamps"] = stamps
    try:
        return cast("dict[str, Json]", json.loads(dumps(kept)))
    except TypeError as error:
        message = f"what a signature attaches to a run ({', '.join(sorted(kept))}) is kept as JSON: {error}"
        raise ParametersInvalidError(message) from error


def _check_chords(app: Celery) -> None:
    try:
        app.backend.ensure_chords_allowed()
    except NotImplementedError as error:
        message = f"a chord needs a result backend that counts its parts (result_backend), like Redis: {error}"
        raise ConfigurationError(message) from error


def _signatures(name: str, given: Any) -> list[Any]:
    listed = list(given) if isinstance(given, list | tuple) else [given]
    for one in listed:
        if not (isinstance(one, Mapping) and one.keys() >= {"task", "args", "kwargs", "options"}):
            raise ParametersInvalidError(f"{name}={one!r} does not fit: it takes a signature, like review.s()")
    return listed


def _with_ids(app: Celery, callback: Any) -> Signature:
    signature = Signature.from_dict(callback, app=app).clone()
    signature.freeze()
    return signature


def request_of(outcome: Outcome) -> Context:
    """The evaluation as the request of one task, which is what Celery's functions take."""
    accepted = outcome.accepted
    kept = {} if outcome.resumed else loads(encode(accepted.canvas))
    run = accepted.evaluation
    return Context(
        id=run,
        task=accepted.prompt,
        args=[],
        kwargs=accepted.params,
        callbacks=kept.get("link"),
        errbacks=kept.get("link_error"),
        chain=kept.get("chain"),
        chord=kept.get("chord"),
        group=kept.get("group_id"),
        group_index=kept.get("group_index"),
        root_id=kept.get("root_id") or run,
        parent_id=kept.get("parent_id"),
        reply_to=kept.get("reply_to"),
        correlation_id=run,
        ignore_result=kept.get("ignore_result", False),
        stamped_headers=kept.get("stamped_headers"),
        stamps=kept.get("stamps"),
        delivery_info={"priority": kept.get("priority")},
        called_directly=False,
    )


def in_other_hands(app: Celery, request: Context) -> bool:
    """Whether somebody, maybe one that has died since, has begun to publish the body of the run's chord.

    Celery's Redis backend lets one claim it for some seconds; whoever comes meanwhile is told nothing.
    """
    if not request.chord:
        return False
    from celery.backends.redis import RedisBackend  # not imported by those who have another

    backend = app.backend
    if not isinstance(backend, RedisBackend):
        return False
    size, claim = (backend.client.get(backend.get_key_for_group(request.group, key)) for key in (".s", ".c"))
    return size is not None and claim not in (None, b"done", "done")


def honour(app: Celery, request: Context, outcome: Outcome, error: EvaluationFailedError | None) -> None:
    """Do at the evaluation's end what Celery does at a task's, in its order."""
    backend, end = app.backend, outcome.end
    store = not request.ignore_result
    if isinstance(end, EvaluationSucceeded):
        _call(app, request, end.output)
        backend.mark_as_done(request.id, end.output, request, store)
    else:
        state = states.REVOKED if isinstance(end, EvaluationCancelled) else states.FAILURE
        backend.mark_as_failure(request.id, error, None, request=request, store_result=store, state=state)


def _call(app: Celery, request: Context, result: Json) -> None:
    """Callbacks, then what follows in the chain: before the result is stored, so that it names its children."""
    lineage: dict[str, Any] = {"parent_id": request.id, "root_id": request.root_id}
    if app.conf.task_inherit_parent_priority:
        lineage["priority"] = request.delivery_info["priority"]
    for callback in request.callbacks or ():
        _send(app, request, Signature.from_dict(callback, app=app), result, lineage)
    if request.chain:
        *rest, following = request.chain
        _send(app, request, Signature.from_dict(following, app=app), result, {**lineage, "chain": rest})


def _send(app: Celery, request: Context, signature: Signature, result: Json, options: Mapping[str, Any]) -> None:
    try:
        request.children.append(signature.apply_async((result,), **options))
    except WinkError as error:
        if error.retryable:
            raise
        # A prompt that does not take what came before it: it has failed, and so has what follows it.
        refused = Context(
            id=signature.id,
            task=signature.task,
            errbacks=signature.options.get("link_error"),
            chain=options.get("chain"),
            chord=signature.options.get("chord"),
            group=signature.options.get("group_id"),
            group_index=signature.options.get("group_index"),
            root_id=request.root_id,
            delivery_info={},
        )
        app.backend.mark_as_failure(signature.id, error, None, request=refused)


def forget(request: Any) -> None:
    """Take from an adopted message what its evaluation has now: the tracer would honour it at the doorbell's end."""
    request.callbacks = request.errbacks = request.chain = request.chord = None
    request.ignore_result = True


def adoptable(request: Any) -> dict[str, Any]:
    """The options of a call, from the request of a message that came without our code."""
    stamps = request.stamps or {}
    return {
        "task_id": request.id,
        "link": request.callbacks,
        "link_error": request.errbacks,
        "chain": request.chain,
        "chord": request.chord,
        "group_id": request.group,
        "group_index": request.group_index,
        "root_id": request.root_id,
        "parent_id": request.parent_id,
        "reply_to": request.reply_to,
        "ignore_result": request.ignore_result,
        "expires": request.expires,
        "priority": (request.delivery_info or {}).get("priority"),
        "headers": {name: value for name, value in (request.headers or {}).items() if name not in TAKEN_HEADERS},
        "stamped_headers": sorted(stamps),
        **stamps,
    }
