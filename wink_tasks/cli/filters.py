"""Which dead letters, or which runs: filters that several commands take."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from inspect import Parameter, Signature, signature
from typing import Annotated, Any, Final, Protocol

import typer

from wink_tasks.app import Wink
from wink_tasks.core.errors import ParametersInvalidError, UnknownMailboxError
from wink_tasks.runtime.letters import REJECTED, Wanted

_SECONDS: Final = {"s": 1.0, "m": 60.0, "h": 3_600.0, "d": 86_400.0}

Mailbox = Annotated[str, typer.Option("--mailbox", help="In this mailbox; what Celery rejected is in rejected:QUEUE.")]
Prompt = Annotated[str, typer.Option("--prompt", help="Of this prompt; the last part of its name is enough.")]
Reason = Annotated[str, typer.Option("--reason", help="With this text in the reason of its death.")]
Error = Annotated[str, typer.Option("--error", help="With this text in its last error.")]
Label = Annotated[list[str] | None, typer.Option("--label", help="With this label, as name=value; may be repeated.")]
Age = Annotated[str, typer.Option("--age", help="At least so old, as 90s, 15m, 2h or 7d.")]
OfTenant = Annotated[str, typer.Option("--tenant", help="Of this tenant.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and do nothing.")]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask.")]


class Which(Protocol):
    """What a command gets of its filters."""

    def __call__(self, wink: Wink, ids: Sequence[str] | None = None) -> Wanted:
        """The filters as one value. Raises ParametersInvalidError, UnknownMailboxError."""
        ...


def _filters(
    *,
    mailbox: Mailbox = "",
    prompt: Prompt = "",
    reason: Reason = "",
    error: Error = "",
    label: Label = None,
    age: Age = "",
    tenant: OfTenant = "",
) -> Which:
    def which(wink: Wink, ids: Sequence[str] | None = None) -> Wanted:
        if mailbox:
            check_mailbox(wink, mailbox)
        return Wanted(
            ids=tuple(ids or ()),
            mailbox=mailbox,
            prompt=prompt,
            reason=reason,
            error=error,
            labels=labels(label or ()),
            age=seconds(age),
            tenant=tenant,
        )

    return which


def filtered(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the filters as options; it is called with `which` in their place."""
    filters = signature(_filters, eval_str=True).parameters
    own = {name: one for name, one in signature(command, eval_str=True).parameters.items() if name != "which"}

    @wraps(command)
    def run(**given: Any) -> None:
        which = _filters(**{name: given.pop(name) for name in filters})
        command(which=which, **given)

    everything = [one.replace(kind=Parameter.KEYWORD_ONLY) for one in (*own.values(), *filters.values())]
    run.__signature__ = Signature(everything)  # type: ignore[attr-defined]  # what typer reads
    run.__annotations__ = {one.name: one.annotation for one in everything}
    return run


def check_mailbox(wink: Wink, name: str) -> None:
    """Raise UnknownMailboxError, which names those that there are."""
    store = wink.house().store
    served = {mailbox for worker in store.fleet.workers() for mailbox in worker.mailboxes}
    known = {*wink.registry.mailboxes(), *served, *store.mailbox.dead()}
    if name not in known and not name.startswith(REJECTED):
        message = f"no mailbox is called {name!r}; there are: {', '.join(sorted(known)) or 'none'}"
        raise UnknownMailboxError(message)


def labels(given: Sequence[str]) -> Mapping[str, str]:
    """Labels as name=value. Raises ParametersInvalidError."""
    pairs = [text.partition("=") for text in given]
    for name, equals, value in pairs:
        if not (name and equals):
            message = f"--label takes name=value, not {name + equals + value!r}"
            raise ParametersInvalidError(message)
    return {name: value for name, _, value in pairs}


def seconds(age: str, option: str = "--age") -> float:
    """An age in seconds; '' is none. `option` is what an error is about. Raises ParametersInvalidError."""
    if not age:
        return 0.0
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([smhd])", age)
    if found is None:
        message = f"{option} takes a number and a unit, as 90s, 15m, 2h or 7d, not {age!r}"
        raise ParametersInvalidError(message)
    return float(found[1]) * _SECONDS[found[2]]
